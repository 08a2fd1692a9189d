"""The page: all sections of a grid's report, in order, with the short ones that are written here."""

from __future__ import annotations

from collections.abc import Sequence

from dual_data.engine.manifest import git_text
from dual_data.evaluation.report.analysis.examined import ExaminedCell
from dual_data.evaluation.report.analysis.frontier import CHOICE
from dual_data.evaluation.report.analysis.relearned import relearned
from dual_data.evaluation.report.analysis.runs import Collection, before_of, chosen_cells
from dual_data.evaluation.report.document import (
    Block,
    Entry,
    Folded,
    Heading,
    Link,
    Paragraph,
    Table,
    with_content,
    without_items,
)
from dual_data.evaluation.report.findings.section import findings
from dual_data.evaluation.report.findings.sentences import LEVEL
from dual_data.evaluation.report.places import BEFORE, is_trained, place_columns, rate_of, starts, title_of
from dual_data.evaluation.report.sections.attacked import attacks
from dual_data.evaluation.report.sections.by_popularity import by_popularity
from dual_data.evaluation.report.sections.caveats import caveats
from dual_data.evaluation.report.sections.common_answers import frequent_answers
from dual_data.evaluation.report.sections.every_cell import every_cell
from dual_data.evaluation.report.sections.further import further_scores
from dual_data.evaluation.report.sections.methods import pairs
from dual_data.evaluation.report.sections.own_words import own_words
from dual_data.evaluation.report.sections.panel import panel
from dual_data.evaluation.report.sections.plots import frontiers, shifts, stability, worst_cases
from dual_data.evaluation.report.sections.prompts import by_prompt
from dual_data.evaluation.report.sections.settings import prompts_and_rows, settings
from dual_data.evaluation.report.sections.traces import traces
from dual_data.text.display import count

_ABOUT = (
    "This page shows what unlearning removed and what it kept, method by method, and, where there are results of it, "
    "whether popular facts are harder to forget than rare ones, whether a training stage before unlearning helps, and "
    "whether other wordings or fine-tuning still bring the facts out."
)
_READING = (
    "Brackets after a score hold its 95 % interval. Where the interval of a difference contains 0, the results are "
    f"compatible with no difference. A single comparison counts as a difference only if its p-value, corrected for the "
    f"number of comparisons, is below {LEVEL:g}; else no difference is shown, which is not proof that there is "
    "none."
)


def build(collection: Collection, main: Table, cells: Sequence[ExaminedCell], *, items: bool) -> list[Block]:
    """All sections of which there are results, with the main table and the figures of the chosen `cells`.

    Without `items`, sections contain no questions or answers and no links to them.
    """
    tuned = relearned(collection, cells)
    blocks: list[Block] = [
        *map(Paragraph, _opening(collection, items)),
        *caveats(collection),
        *findings(collection, tuned),
        Heading("Chosen learning rates"),
        Paragraph(f"Rule: {CHOICE}."),
        main,
        *frequent_answers(collection),
        *pairs(collection),
        Heading("Forgetting against retention"),
        *frontiers(collection),
        Heading("Stability over learning rates"),
        *stability(collection),
        Heading("Ranks and log-probabilities"),
        *shifts(collection),
        *further_scores(collection),
        Heading("Other wordings and prompts"),
        *worst_cases(collection),
        *by_prompt(collection),
        *own_words(collection),
        *by_popularity(collection, cells),
        *traces(cells),
        *panel(collection),
        *attacks(tuned, cells),
        *(_examples(collection) if items else []),
        *every_cell(collection),
        *_failures(collection),
        Heading("How it was run"),
        _provenance(collection),
        *settings(collection),
    ]
    blocks = with_content(blocks)
    return blocks if items else list(map(without_items, blocks))


def _opening(collection: Collection, items: bool) -> list[str]:
    """What the page is about, how to read an interval, and what its results lack."""
    models, data = (sorted({getattr(key, name) for key in collection.keys}) for name in ("model", "data"))
    seeds = {run.seed for run in collection.runs if run.sets and is_trained(run)} or {0}
    hours = collection.gpu_hours
    incomplete = f", incomplete: {collection.incomplete}" if collection.incomplete else ""
    scope = (
        f"{count(len(collection.runs), 'result')} of the grid{'' if len(collection.grids) == 1 else 's'} "
        f"{', '.join(collection.grids)}: {', '.join(models)} on {', '.join(data)}, "
        f"{count(len(seeds), 'seed')}{incomplete}.{f' {hours:.2f} GPU hours.' if hours else ''} "
    )
    scope += (
        "Rows of tables link to the results behind them, with every question, generation and score; points of charts "
        "link to rows."
        if items
        else "Questions and answers, and links to them, are left out."
    )
    seeds_of_cells = {len(group.at(lr)) for group in collection.groups for lr in group.lrs}
    if 1 in seeds_of_cells:
        scope += (
            f" {'All' if len(seeds_of_cells) == 1 else 'Some'} cells have only one seed: their intervals leave out the "
            "variation between seeds, and they are not tested."
        )
    return [_ABOUT, _READING, scope]


def _examples(collection: Collection) -> list[Block]:
    blocks: list[Block] = [Heading("Examples")]
    keys = [start.key for start in starts(collection)]
    for group, runs in chosen_cells(collection.groups):
        run = runs[0]
        before, after = (model.sets["forget"] for model in (before_of(group.before, run), run))
        generations = zip(before.generations, after.generations, strict=True)
        rows = tuple((*fact, *texts) for fact, texts in zip(after.facts, generations, strict=False))
        header = ("question", "answer", "before", "after")
        title = f"{title_of(group.key, keys)}, {group.key.method} at {run.lr:g}"
        blocks.append(Folded(title, (Table(header, rows, f"First forget items of seed {run.seed}, word for word."),)))
    return blocks


def _failures(collection: Collection) -> list[Block]:
    place = place_columns(collection.keys)
    rows: tuple[tuple[Entry, ...], ...] = tuple(
        (
            (Link(run.id, run.path),),
            *(str(run.cell[name]) for name in place),
            str(run.cell["method"]) if run.lr else BEFORE,
            rate_of([run]),
            str(run.seed),
            run.status,
            run.reason,
        )
        for run in collection.unfinished
    )
    caption = (
        "Stopped cells were measured in the state in which they stopped, and are included; failed cells could not be "
        "measured."
    )
    header = ("cell", *place, "method", "lr", "seed", "status", "reason")
    return [Heading("Stopped and failed cells"), Table(header, rows, caption, ("lr", "seed", "reason"))]


def _provenance(collection: Collection) -> Table:
    provenance = collection.provenance
    rows = [("dual-data", str(provenance.get("dual_data", "")))]
    rows += [(name, str(value)) for name, value in provenance.get("packages", {}).items()]
    git = git_text(provenance.get("git")) or "the project was not in a repository"
    rows += [("device", str(provenance.get("device", ""))), ("git", git)]
    for name, model in sorted(collection.models.items()):
        of_model = f" of {name}" if len(collection.models) > 1 else ""
        rows += [
            (f"{key}{of_model}", str(model[key])) for key in ("spec", "revision", "weights", "dtype") if model.get(key)
        ]
    runs = collection.runs
    settings = sorted({f"{run.cell['preset']} / {run.cell['profile']}" for run in runs})
    rows += [("preset and profile", ", ".join(settings))]
    rows += prompts_and_rows(collection)
    limits = sorted({int(run.settings["max_new_tokens"]) for run in runs})
    rows += [("most new tokens of a generation", ", ".join(map(str, limits)))]
    rows += [("note", note) for note in sorted({note for run in runs for note in run.notes})]
    caption = "Versions are of the first result, and of each model of its first; every result file holds its own."
    return Table(("what", "value"), tuple(rows), caption)
