"""The dataset card: YAML for the Hub and `datasets`, and text for people, made from the manifest and the tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Any, NamedTuple

import polars as pl

from dual_data.audit.baselines import scorable
from dual_data.audit.pairs import LARGEST_DIFFERENCE, LARGEST_DISTANCE
from dual_data.config import POOLED
from dual_data.release.columns import describe
from dual_data.release.licences import WIKIDATA, licences
from dual_data.released import WHOLE, Place, Release, read_table
from dual_data.text.markdown import code, folded, number, table, text

FOLD = 40
"""Tables with more rows are collapsed."""
SAMPLES = 10
"""Most rows that the card shows."""
SOURCES = 30
"""Most sources of a build that the card names."""
OWN = 1_000
"""Most characters of a text that is ours but for a name in it."""
RECIPES = {
    "matched": "Rare and popular paired on relation and answer length; functional facts only; no question that holds "
    "half or more of its answer's words, with small words or without (a related word, such as Estonia for Estonian, "
    "may stand there), no self-answers, no mirrored facts. **Recommended.**",
    "matched_answer": "As `matched`, paired on relation and answer: stricter and smaller.",
    "paper": "The published rules of selection, column names and split names, on the facts and questions of this "
    "build: it shows what that selection does. Its scores do not compare with those on the published rows.",
}
TABLES = {
    "facts": "Every fact, by id.",
    "links": "How often each entity is linked to.",
    "questions": "How each fact is asked, with every accepted answer and paraphrases by permitted use.",
    "knowledge": "What the probed models answered closed-book.",
    "salience": "How well known each fact is by an LLM judge.",
    "splits": "Which fact is in which split, in order.",
    "recipes": "Which recipes were made.",
    "capacity": "How many rows each split was chosen from, and why some were not made.",
    "baselines": "What answers that know nothing score.",
    "balance": "How far rare and popular differ.",
}
UNSCORABLE = "*Unscorable* answers have no letter from A to Z and no digit: ROUGE-L gives them 0, whatever is answered."
TAGS = ("unlearning", "machine-unlearning", "llm", "knowledge", "wikidata", "benchmark")
_ARXIV = re.compile(r"https?://arxiv\.org/abs/(\d{4}\.\d{4,5})")
_SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"),
)  # fmt: skip


class Source(NamedTuple):
    """The release that a card describes, and the place of its tables."""

    release: Release
    place: Place

    def small(self, name: str) -> pl.DataFrame | None:
        """A table of one split, if the release has it."""
        file = self.release.whole(name)
        return None if file is None else read_table(self.place, file)

    def recipes(self) -> list[str]:
        """Configurations that hold splits, the recommended one first."""
        return sorted(self.release.recipes(), key=lambda name: ([*RECIPES, name].index(name), name))


def card(release: Release, place: Place) -> str:
    """README.md of the release."""
    import yaml

    head = yaml.safe_dump(front_matter(release), sort_keys=False, allow_unicode=True, width=1_000)
    template = Template(files("dual_data.release").joinpath("card.md").read_text(encoding="utf-8"))
    return f"---\n{head}---\n\n{template.substitute(_values(Source(release, place)))}"


def front_matter(release: Release) -> dict[str, Any]:
    """The card's YAML: configurations and their files, licence, size, tags."""
    rows, default = sum(file.rows for file in release.tables()), release.default()
    names = licences(release)
    # Ids that were minted from labels are not Wikidata's.
    tags = [tag for tag in TAGS if tag != "wikidata" or not release.state.unresolved]
    if match := _ARXIV.match(release.about.url):
        tags.append(f"arxiv:{match[1]}")
    return {
        "license": names[0] if len(names) == 1 else names,
        "language": [release.about.language],
        "pretty_name": release.title,
        "task_categories": ["question-answering", "text-generation"],
        "size_categories": [next((name for most, name in _SIZES if rows < most), "1B<n<10B")],
        "annotations_creators": ["machine-generated"],
        "multilinguality": ["monolingual"],
        "source_datasets": ["original"],
        "tags": tags,
        "configs": [
            {
                "config_name": config,
                **({"default": True} if config == default else {}),
                "data_files": [{"split": split, "path": file.path} for split, file in splits.items()],
            }
            for config, splits in release.declared().items()
        ],
    }


def _values(source: Source) -> dict[str, str]:
    release = source.release
    config = next(iter(source.recipes()), next(iter(release.configs), "facts"))
    splits = list(release.configs.get(config, {WHOLE: None}))
    forgotten = [name for name in splits if "forget" in name] or splits[:1]
    models = sorted(set(_models(source)))
    about = release.about
    apart = release.told_apart()
    return {
        "title": text(release.title),
        "description": f"{about.description.strip()}\n\n" if about.description.strip() else "",
        "citation": f"Please cite:\n\n```bibtex\n{about.citation.strip()}\n```\n" if about.citation.strip() else "",
        "builder": text(release.stages["facts"].build.get("dual_data", "")) if "facts" in release.stages else "",
        "item": "a Wikidata item" if not release.state.unresolved else "an entity, named by its label",
        "warnings": "".join(f"\n> [!WARNING]\n> {doubt}\n" for doubt in release.state.doubts().values()),
        "recipes": _contents(source),
        "absent": _absent(release),
        "repository": release.repository or "PATH/OF/THIS/FOLDER",
        "revision": f', revision="v{release.version}"' if release.version else "",
        "config": config,
        "split": forgotten[0],
        "samples": _samples(source, config, forgotten),
        "popularity": f"{text(apart, OWN)}\n\n" if apart else "",
        "baselines": _baselines(source.small("baselines"), _unscorable(source)),
        "largest_difference": str(LARGEST_DIFFERENCE),
        "largest_distance": str(LARGEST_DISTANCE),
        "balance": _balance(source.small("balance")),
        "models": ", ".join(map(text, models)) or "none in this build",
        "judged": _judged(source.small("salience")),
        "known": _known(source.small("knowledge")),
        "origin": _origin(release),
        "stages": _stages(release),
        "columns": _columns(source),
        "content": release.content,
        "licence": _licence(release),
    }


def _contents(source: Source) -> str:
    rows = []
    recipes = source.recipes()
    declared = source.release.declared()
    for config in [*recipes, *(name for name in declared if name not in recipes)]:
        splits = declared[config]
        about = RECIPES.get(config) or TABLES.get(config) or _pooled(config) or ""
        rows.append((code(config), number(len(splits)), number(sum(f.rows for f in splits.values())), about))
    return table(("configuration", "splits", "rows", "what it is"), rows)


def _pooled(config: str) -> str:
    """What the card says of a configuration that repeats splits of another."""
    whole = config.removesuffix(f"_{POOLED}")
    return f"the splits of {code(whole)} for all topics together" if whole in RECIPES else ""


def _licence(release: Release) -> str:
    names = ", ".join(licences(release))
    if release.state.snapshot:
        return f"The licences of the sources of the snapshot ({names}): their texts are in `sources/`."
    if names != WIKIDATA:
        return f"{code(names)}."
    return "[CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/), as Wikidata's statements are."


def _absent(release: Release) -> str:
    if not release.absent:
        return "Every recipe and table could be made."
    return "Not in this release:\n\n" + "\n".join(
        f"- {text(name)}: {text(reason)}" for name, reason in release.absent.items()
    )


def _samples(source: Source, config: str, splits: Sequence[str]) -> str:
    """The first row of each relation, or of every n-th if there are more than `SAMPLES`."""
    files = source.release.configs.get(config, {})
    frames = [read_table(source.place, files[split]) for split in splits if split in files]
    columns = ["question", "answer", "relation"]
    if not frames or not set(columns) <= set(frames[0].columns):
        return ""
    rows = pl.concat(frame.select(columns) for frame in frames).unique("relation", keep="first", maintain_order=True)
    chosen = rows.gather_every(-(-rows.height // SAMPLES)).select("question", "answer").rows()
    shown = table(("question", "answer"), [(text(question), text(answer)) for question, answer in chosen])
    return f"Rows of {code(config)}, each of another relation:\n\n{shown}"


def _unscorable(source: Source) -> pl.DataFrame | None:
    """Columns recipe, split and unscorable: how many answers ROUGE-L cannot score. None where it can score all."""
    members, questions = source.small("splits"), source.small("questions")
    if members is None or questions is None:
        return None
    answers = questions.select("fact_id", unscorable=~scorable(questions))
    counts = members.join(answers, on="fact_id").group_by("recipe", "split").agg(pl.col("unscorable").sum())
    return counts if counts["unscorable"].sum() else None


def _baselines(frame: pl.DataFrame | None, unscorable: pl.DataFrame | None = None) -> str:
    if frame is None:
        return "Not measured in this build."
    figures = [name for name in frame.columns if name not in ("recipe", "split", "rows")]
    sections = []
    if unscorable is not None:
        sections.append(UNSCORABLE)
        frame = frame.join(unscorable, on=["recipe", "split"], how="left", maintain_order="left")
        figures = ["unscorable", *figures]
    for (recipe,), group in frame.group_by("recipe", maintain_order=True):
        rows = [
            (code(row["split"]), number(row["rows"]), *(number(row[name]) for name in figures))
            for row in group.iter_rows(named=True)
        ]
        rendered = table(("split", "rows", *(name.replace("_", " ") for name in figures)), rows)
        sections.append(_titled(str(recipe), rendered, len(rows)))
    return "\n\n".join(sections)


def _balance(frame: pl.DataFrame | None) -> str:
    if frame is None:
        return "No pair of rare and popular splits was made in this build."
    sections = []
    for (recipe,), group in frame.group_by("recipe", maintain_order=True):
        measures = [
            (measure, column)
            for measure in group["measure"].unique(maintain_order=True)
            for column in ("difference", "auc")
            if group.filter(pl.col("measure") == measure)[column].count()
        ]
        rows = [
            (
                code(str(rare)),
                *(_figure(pair.filter(pl.col("measure") == measure), column) for measure, column in measures),
            )
            for (rare,), pair in group.group_by("rare", maintain_order=True)
        ]
        titles = [
            text(measure.replace("_", " ")) + (", AUC" if column == "auc" else "") for measure, column in measures
        ]
        sections.append(_titled(str(recipe), table(("rare split, and its popular twin", *titles), rows), len(rows)))
    return "\n\n".join(sections)


def _figure(row: pl.DataFrame, column: str) -> str:
    value: float | None = row.item(0, column) if row.height else None
    if value is None:
        return "-"
    fits = abs(value) <= LARGEST_DIFFERENCE if column == "difference" else abs(value - 0.5) <= LARGEST_DISTANCE
    return number(value) if fits else f"**{number(value)}**"


def _titled(name: str, content: str, rows: int) -> str:
    return folded(f"<code>{text(name)}</code>: {rows} rows", content) if rows > FOLD else f"{code(name)}\n\n{content}"


def _judged(salience: pl.DataFrame | None) -> str:
    """For how many facts each judge did not answer on its scale; empty where all did."""
    if salience is None or not {"judge", "low_mass"} <= set(salience.columns):
        return ""
    return "".join(
        f"\n  **{text(judge)} put little probability on the scale for {low:,} of {rows:,} facts** (`low_mass`): "
        "scores of these say little."
        for judge, low, rows in salience.group_by("judge").agg(pl.col("low_mass").sum(), pl.len()).sort("judge").rows()
        if low
    )


def _known(knowledge: pl.DataFrame | None) -> str:
    """How many of the facts asked each model knows."""
    if knowledge is None or not {"model", "rule", "known"} <= set(knowledge.columns):
        return ""
    counts = knowledge.group_by("model", "rule").agg(pl.col("known").sum(), pl.len()).sort("model", "rule")
    return "".join(
        f"\n  {text(model)} knows {known:,} of the {rows:,} facts that it was asked (rule {code(rule)})."
        for model, rule, known, rows in counts.rows()
    )


def _origin(release: Release) -> str:
    state = release.state
    dates = sorted(stage.day for stage in release.stages.values())
    commit = f"commit {code(state.commit[:12])}" if state.commit else "no commit that git could name"
    services = {
        f"{name} {value}"
        for stage in release.stages.values()
        if stage.calls  # a stage knows the addresses of services that this build did not need
        for name, value in stage.basis.services.items()
    }
    sources = list(dict.fromkeys(name for stage in release.stages.values() for name in stage.basis.sources))
    inputs = f"; services: {', '.join(map(text, sorted(services)))}" if services else ""
    if sources:
        inputs += f"; read: {', '.join(map(text, sources[:SOURCES]))}{' and more' if len(sources) > SOURCES else ''}"
    days = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    return f"Profile {text(release.name)}, {commit}, built {days}{inputs}."


def _stages(release: Release) -> str:
    rows = []
    for name, stage in release.stages.items():
        reasons = ", ".join(f"{text(reason)} {count:,}" for reason, count in list(stage.rejected.items())[:5])
        more = f", and {len(stage.rejected) - 5} more" if len(stage.rejected) > 5 else ""
        counts = (stage.outcome["data"].rows, sum(stage.rejected.values()))
        rows.append((code(name), *map(number, counts), reasons + more))
    return table(("stage", "rows", "rejected", "most frequent reasons"), rows)


def _columns(source: Source) -> str:
    parts = []
    for config, splits in source.release.configs.items():
        schema = pl.scan_parquet(source.place.file(next(iter(splits.values())).path), glob=False).collect_schema()
        rows = [(code(name), text(str(kind)), text(describe(name, config), OWN)) for name, kind in schema.items()]
        parts.append(folded(f"<code>{config}</code>", table(("column", "type", "meaning"), rows)))
    return "\n\n".join(parts)


def _models(source: Source) -> list[str]:
    splits = source.release.stages.get("splits")
    params = splits.basis.params if splits is not None else {}
    models = [*params.get("matched", {}).get("models", []), params.get("paper", {}).get("model", "")]
    return [str(model) for model in models if model]
