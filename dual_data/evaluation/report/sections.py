"""The sections of a grid's report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dual_data.engine.manifest import git_text
from dual_data.evaluation.report import answers
from dual_data.evaluation.report.attacked import attacks
from dual_data.evaluation.report.collect import Collection
from dual_data.evaluation.report.contrast import SHARE
from dual_data.evaluation.report.document import (
    ITEMS,
    Block,
    Folded,
    Heading,
    Paragraph,
    Points,
    Table,
    TableCell,
    without_items,
)
from dual_data.evaluation.report.every_cell import every_cell
from dual_data.evaluation.report.extras import Extras
from dual_data.evaluation.report.frontier import RULE
from dual_data.evaluation.report.main_table import Row, main_table
from dual_data.evaluation.report.pairs import pairs
from dual_data.evaluation.report.panel import panel
from dual_data.evaluation.report.places import chosen_cells, p_value, shown, sources, starts, title_of
from dual_data.evaluation.report.plots import frontiers, shifts, stability, worst_cases
from dual_data.evaluation.report.traces import by_popularity, membership


def build(
    collection: Collection, rows: Sequence[Row], cells: Sequence[Extras], folder: Path, *, items: bool
) -> list[Block]:
    """All sections, with the `rows` of the main table and the figures of the chosen `cells`.

    Links are relative to `folder`, where the report is written. Without `items`, sections contain no questions or
    answers and no links to them.
    """
    blocks: list[Block] = [Paragraph(_opening(collection, items)), Heading("Findings")]
    popularity, compared = answers.popularity_answer(collection)
    stages, retained = answers.stage_answer(collection)
    smoother, jumps = answers.smoothness_answer(collection)
    further = (*answers.wording_answer(collection), *answers.baseline_answer(collection))
    blocks.append(Points((*popularity, *stages, *smoother, *further)))
    popularity_title = "Loss of ROUGE-L recall on popular and on rare facts, paired on the confidence before unlearning"
    retention_title = f"Share of the retain_eval score that is left where {SHARE:.0%} of the forget score is gone"
    jump_title = (
        "Largest jump of the forget score between neighbouring learning rates, as a share of that before unlearning"
    )
    blocks += _comparisons(popularity_title, ("popular", "rare"), compared, folder)
    blocks += _comparisons(retention_title, ("after the stage", "pretrained"), retained, folder)
    blocks += _comparisons(jump_title, ("after the stage", "pretrained"), jumps, folder)
    blocks += [Heading("Chosen learning rates"), Paragraph(f"Rule: {RULE}."), *_overlaps(collection)]
    blocks.append(main_table(rows, folder))
    blocks += [*pairs(collection, folder), Heading("Forgetting against retention"), *frontiers(collection)]
    blocks += [Heading("Stability over learning rates"), *stability(collection, folder)]
    blocks += [Heading("Ranks and log-probabilities"), *shifts(collection, folder)]
    blocks += [Heading("Other wordings and prompts"), *worst_cases(collection)]
    blocks += [*by_popularity(collection, cells, folder), *membership(cells, folder)]
    blocks += [*panel(collection, folder), *attacks(collection, cells, folder)]
    if items:
        blocks += [Heading("Examples"), *_examples(collection)]
    blocks += [*every_cell(collection, folder), *_failures(collection, folder)]
    blocks += [Heading("How it was run"), _provenance(collection)]
    return blocks if items else list(map(without_items, blocks))


def _opening(collection: Collection, items: bool) -> str:
    models = sorted({key.model for key in collection.bases} | {group.key.model for group in collection.groups})
    data = sorted({group.key.data for group in collection.groups})
    seeds = sorted({run.seed for group in collection.groups for run in group.runs})
    hours = collection.gpu_hours
    measured = collection.planned - len(collection.missing)
    incomplete = f", incomplete: {measured} of {collection.planned} planned cells" if collection.missing else ""
    text = (
        f"{collection.runs} results of the grid {', '.join(collection.grids)}: {', '.join(models)} on "
        f"{', '.join(data)}, {len(seeds)} seed{'' if len(seeds) == 1 else 's'}{incomplete}. Intervals are 95 % "
        "intervals over subjects, drawn with replacement, and seeds, whose mean is drawn from Student's distribution, "
        "crossed, since every seed is measured on the same subjects; for an average over comparisons, the same draws "
        "in all of them. p-values are Holm-corrected. "
    )
    text += (
        "The rows of tables link to the results behind them, which hold every question with its generation and scores; "
        "the points of charts link to such rows."
        if items
        else "Left out are the questions and answers, and links to them."
    )
    fewest = min(
        (len({run.seed for run in group.at(lr)}) for group in collection.groups for lr in group.lrs), default=1
    )
    if fewest == 1:
        text += (
            f" {'All' if len(seeds) == 1 else 'Some'} cells have one seed: their intervals leave out what another seed "
            "would change, and nothing is tested on them."
        )
    text += f" {_facts(collection)}"
    return text + (f" {hours:.2f} GPU hours." if hours else "")


def _facts(collection: Collection) -> str:
    """The number of facts in each set, and whether they are a sample; of data that grids cut differently, by folder."""
    samples: list[_Sample] = []
    for key, runs in sorted(collection.bases.items()):
        counts = {
            f"{key.set} (to forget)" if name == "forget" else name: len(items.ids)
            for name, items in runs[0].sets.items()
        }
        same = (sample for sample in samples if sample.agrees(key.data, runs[0].limit, counts))
        if (sample := next(same, None)) is None:
            samples.append(sample := _Sample(key.data, runs[0].limit, {}, {}))
        sample.counts.update(counts)
        sample.folders.update(dict.fromkeys(run.path.absolute().parents[1].name for run in runs))
    samples_of = Counter(sample.data for sample in samples)
    sentences = []
    for data, limit, counts, folders in samples:
        where = f" in {', '.join(folders)}" if samples_of[data] > 1 else ""
        whole = f", a sample: the grid takes at most {limit} of a set" if limit else ""
        sentences.append(f"{data}{where}: {', '.join(f'{name} {count}' for name, count in counts.items())}{whole}")
    return f"Facts in each set of {'; '.join(sentences)}." if sentences else ""


class _Sample(NamedTuple):
    """The facts of a dataset that some grids take."""

    data: str
    limit: int | None
    counts: dict[str, int]
    """Number of facts by set."""
    folders: dict[str, None]
    """Names of the grids' folders."""

    def agrees(self, data: str, limit: int | None, counts: Mapping[str, int]) -> bool:
        """Whether these may be counts of the same facts: no set has another number of them."""
        equal = all(self.counts.get(name, count) == count for name, count in counts.items())
        return equal and (self.data, self.limit) == (data, limit)


def _comparisons(title: str, sides: tuple[str, str], compared: Sequence[answers.Compared], folder: Path) -> list[Block]:
    if not compared:
        return []
    rows = tuple(
        (
            comparison.label,
            shown(comparison.contrast.first),
            shown(comparison.contrast.second),
            shown(comparison.contrast.difference),
            p_value(comparison.p_value),
            str(comparison.contrast.facts),
            str(comparison.contrast.seeds),
            sources(comparison.runs, folder),
        )
        for comparison in compared
    )
    header = ("comparison", *sides, "difference", "p (Holm)", "facts", "seeds", ITEMS)
    table = Table(header, rows, f"{title}.", ("comparison", "p (Holm)", "facts", "seeds"))
    return [Folded(f"{title} ({len(rows)})", (table,))]


def _overlaps(collection: Collection) -> list[Block]:
    """Warnings where sets that should be disjoint share rows, by data."""
    sentences: dict[str, None] = {}
    for key, runs in sorted(collection.bases.items()):
        sets = {name: set(items.ids) for name, items in runs[0].sets.items()}
        shared = len(sets.get("retain_train", set()) & sets.get("retain_eval", set()))
        if shared:
            sentences.setdefault(
                f"{key.data}: {shared} of the {len(sets['retain_eval'])} rows of retain_eval are rows of retain_train "
                "too, so the retain score is taken on what was trained on, and the learning rate is chosen on it."
            )
        for name in ("retain_train", "retain_eval"):
            if common := len(sets["forget"] & sets.get(name, set())):
                sentences.setdefault(f"{key.data}, {key.set}: {common} forget rows are rows of {name} too.")
    return [Points(tuple(sentences))] if sentences else []


def _examples(collection: Collection) -> list[Block]:
    blocks: list[Block] = []
    keys = [start.key for start in starts(collection)]
    for group, runs in chosen_cells(collection.groups):
        run = runs[0]
        before = group.before[0].sets["forget"].examples
        after = run.sets["forget"].examples
        rows = tuple(
            (question, answer, old[2], new) for (question, answer, new), old in zip(after, before, strict=True)
        )
        header = ("question", "answer", "before", "after")
        title = f"{title_of(group.key, keys)}, {group.key.method} at {run.lr:g}"
        blocks.append(Folded(title, (Table(header, rows, f"First forget items of seed {run.seed}, word for word."),)))
    return blocks


def _failures(collection: Collection, folder: Path) -> list[Block]:
    if not collection.failed:
        return []
    rows = tuple(
        (TableCell(run.id, os.path.relpath(run.path, folder)), f"{run.lr:g}", str(run.seed), run.status, run.reason)
        for run in collection.failed
    )
    caption = "Stopped cells were measured as they then were and are in the figures; failed ones could not be."
    header = ("cell", "lr", "seed", "status", "reason")
    return [Heading("Stopped and failed cells"), Table(header, rows, caption, ("lr", "seed", "reason"))]


def _provenance(collection: Collection) -> Table:
    provenance = collection.provenance
    rows: list[tuple[TableCell | str, ...]] = [("dual-data", str(provenance.get("dual_data", "")))]
    rows += [(name, str(value)) for name, value in provenance.get("packages", {}).items()]
    rows += [("device", str(provenance.get("device", ""))), ("git", git_text(provenance.get("git")))]
    model: Mapping[str, object] = provenance.get("model", {})
    rows += [(name, str(model[name])) for name in ("spec", "revision", "weights", "dtype") if model.get(name)]
    keys = {(group.key.preset, group.key.profile) for group in collection.groups}
    rows += [("preset and profile", ", ".join(" / ".join(pair) for pair in sorted(keys)))]
    notes = sorted({note for group in collection.groups for run in group.runs for note in run.notes})
    rows += [("note", note) for note in notes]
    return Table(("what", "value"), tuple(rows), "Of the first result; every result file holds its own.", ("value",))
