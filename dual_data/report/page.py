"""The page: sections in one HTML file, which uses no network and forbids it by its policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from dual_data.config import Relation
from dual_data.report import audited, content, knowledge, popularity, provenance, salience, samples
from dual_data.report.figures import Figure, in_page, write_figures
from dual_data.report.read import Built
from dual_data.report.tables import Section
from dual_data.system.files import write_text
from dual_data.text.markup import Content, Html, element, html_page


def write_report(
    built: Built, relations: Mapping[str, Relation], page: Path, figures: Path | None = None
) -> list[Path]:
    """Write the page, and its figures as files if a folder is given; returns the paths of these files.

    Raises MissingExtra without matplotlib.
    """
    all_sections = sections(built, relations)
    write_text(page, render(built, all_sections))
    drawings = [part for section in all_sections for part in section.parts if isinstance(part, Figure)]
    return write_figures(drawings, figures) if figures else []


def sections(built: Built, relations: Mapping[str, Relation]) -> list[Section]:
    """All sections, in order; those without data say so."""
    return [
        content.stages(built),
        content.topics(built),
        content.relations(built, relations),
        content.recipes(built),
        popularity.section(built),
        salience.section(built),
        knowledge.section(built),
        audited.section(built),
        samples.section(built),
        provenance.section(built),
    ]


def render(built: Built, sections: Sequence[Section]) -> str:
    """The page as text; deterministic for the same build."""
    title = f"{built.title} build report: {built.name}" if built.title else f"Build report: {built.name}"
    links = (element("li", element("a", section.title, href=f"#{section.identifier}")) for section in sections)
    return html_page(
        title,
        _asset("page.css"),
        element("a", "Skip to the content", href="#content", class_="skip"),
        element(
            "header",
            element("h1", title),
            _summary(built),
            element("nav", element("ul", *links), aria_label="Sections"),
        ),
        element("main", _doubts(built), *map(_section, sections), id="content", tabindex=-1),
        element("footer", element("p", "Written by dual-data report from the manifests and tables of the build.")),
        script=_asset("page.js"),
    )


def _section(section: Section) -> Html:
    heading = element("h2", section.title, id=f"{section.identifier}-title")
    body = (in_page(part) if isinstance(part, Figure) else part for part in section.parts)
    return element("section", heading, *body, id=section.identifier, aria_labelledby=f"{section.identifier}-title")


def _summary(built: Built) -> Html:
    """The main numbers of the build."""
    counts: list[tuple[str, Content]] = []
    for stage in ("facts", "questions"):
        if stage in built.manifests:
            counts.append((stage, f"{built.manifests[stage].outcome['data'].rows:,}"))
    facts, splits = built.table("facts"), built.table("splits")
    if facts is not None:
        counts += [("topics", facts["topic"].n_unique()), ("relations", facts["relation"].n_unique())]
    if splits is not None:
        counts.append(("splits", splits.select("recipe", "split").n_unique()))
    return element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in counts))


def _doubts(built: Built) -> Html | None:
    if not built.doubts:
        return None
    items = (element("li", doubt) for doubt in built.doubts)
    title = element("h2", "Before you cite this build", id="doubts-title")
    return element("section", title, element("ul", *items), class_="doubts", aria_labelledby="doubts-title")


def _asset(name: str) -> str:
    return files("dual_data.report").joinpath(name).read_text(encoding="utf-8")
