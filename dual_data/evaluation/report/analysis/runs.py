"""Runs of grids as arrays: what a result holds of a set and of the panel, groups of runs, and their scores stacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dual_data.bootstrap import ANY, SHARE, UNIT, Scale
from dual_data.errors import InputError
from dual_data.evaluation.metrics.chance import Rule
from dual_data.evaluation.report.analysis.frontier import Point, choose
from dual_data.statistics import Floats
from dual_data.text.rouge import is_scorable

_POSITIVE = Scale(low=0.0)
_COSINE = Scale(-1.0, 1.0)
SCORES: Mapping[str, Scale] = {
    "rougeL_recall": SHARE,
    "contains_answer": SHARE,
    "probability": UNIT,
    "mean_log_probability": Scale(high=0.0),
    "own_words_log_probability": Scale(high=0.0),
    "own_words_likeliest": SHARE,
    "own_words_begun": SHARE,
    "change_mean_log_probability": ANY,
    "first_rank": Scale(low=1.0),
    "kl": _POSITIVE,
    "minilm_cosine": _COSINE,
    "truth_ratio": _POSITIVE,
    "normalised_probability": UNIT,
    "rougeL_recall_uni": SHARE,
    "exact_answer": SHARE,
    "exact_memorisation": SHARE,
    "extraction_strength": SHARE,
    "hidden_cosine": _COSINE,
    "ended": SHARE,
    "worst": SHARE,
}
"""Scores of items that are kept. `ended` is whether the generation ended before the limit of new tokens, `worst`
whether the question, another wording or a fair attack elicited the answer."""
OTHER_WORDINGS, ANY_WORDING = "other wordings", "any other wording"
"""Kinds of prompts besides the attacks: the share of the other wordings that elicit an answer, and whether any does."""
PANEL = "utility panel"
"""Name of its columns and rows."""
PANEL_SCORES = {
    "right": ("accuracy", SHARE),
    "right_by_length": ("accuracy by length", SHARE),
    "probability": ("probability of the right option", UNIT),
    "nll": ("NLL of the texts", _POSITIVE),
}
"""Scores of a utility panel that are kept, by question or by text, with what their means are called."""

SETS = ("forget", "retain_train", "retain_eval")
"""The sets of every result."""
SHOWN_SETS = ("forget", "retain_eval")
"""Those by which unlearning is judged; learning rates are chosen on retain_train."""


class Items(NamedTuple):
    """One set of one result."""

    ids: tuple[str, ...]
    subjects: tuple[str, ...]
    """The cluster of each item (`results.cluster_of`): the units that are resampled."""
    facts: tuple[tuple[str, str], ...]
    """Question and answer of each item."""
    scores: Mapping[str, Floats]
    """By SCORES; NaN where the model gave no number."""
    rephrased: bool
    """Whether any item was asked in another wording or by an attack."""
    prompts: Mapping[str, Floats]
    """By kind of other prompt, whether one elicited each item's answer; NaN where the item was not asked so."""
    generations: tuple[str, ...]
    """Those of the first items, as examples."""

    @property
    def unscorable(self) -> int:
        """Number of items whose answer the plain ROUGE scores cannot tell from a wrong one (:func:`is_scorable`)."""
        return sum(not is_scorable(answer) for _, answer in self.facts)


class PanelTable(NamedTuple):
    """The utility panel in one result."""

    name: str
    hash: str
    """Hash of the questions and texts."""
    guessing: float
    """Accuracy of a model that knows nothing."""
    kinds: Mapping[str, Sequence[int]]
    """Indices of the questions of each kind."""
    scores: Mapping[str, Floats]
    """By PANEL_SCORES, the score of each question or text; NaN where the model gave no number."""


class Run(NamedTuple):
    """One result: what a report keeps of it, its scores as arrays."""

    id: str
    path: Path
    cell: Mapping[str, Any]
    """Its coordinates."""
    lr: float
    seed: int
    status: str
    reason: str
    sets: Mapping[str, Items]
    norms: tuple[float, ...]
    hours: float
    """GPU hours, without those of its stage."""
    stage_address: str
    """Of the training stage before it, which other runs may share; empty without one."""
    stage_hours: float
    """That stage's GPU hours."""
    notes: tuple[str, ...]
    recipe: Mapping[str, Any] | None
    """How the stage before it was trained; None for the stage that trains nothing."""
    same_as_stage: tuple[str, ...]
    """Sets whose rows are exactly those that the stage was trained on."""
    panel: PanelTable | None
    """None where the grid has no utility panel."""
    rule: Rule
    """The trivial rule, which knows no fact, that does best on the forget items; empty except before unlearning."""
    limit: int | None
    """The most rows of a set that the grid took; None where it took all."""
    settings: Mapping[str, Any]
    """Settings that must equal those of runs with other seeds, learning rates and sets."""
    popularity: str = ""
    """What popularity counts, as the data's settings say."""
    has_random_weights: bool = False
    """Whether the model is one of those that only show that a grid runs."""
    was_uncommitted: bool = False
    """Whether the project had uncommitted changes when the grid was opened."""

    @property
    def stopped(self) -> bool:
        """Whether training ended early, because it diverged or met a limit; the model was measured as it was then."""
        return self.status == "stopped"

    @property
    def trained(self) -> tuple[str, ...]:
        """The sets that the stage was trained on, as its recipe names them."""
        return tuple(self.recipe["train"]) if self.recipe else ()

    def shows_retention(self, name: str) -> bool:
        """Whether a set measures retention: not where the recipe swaps answers but did not train on the set."""
        return not (self.recipe or {}).get("counterfactual") or name in self.trained


class Key(NamedTuple):
    """What the runs of a group share: all coordinates except learning rate and seed."""

    data: str
    model: str
    stage: str
    set: str
    method: str
    preset: str
    profile: str

    @property
    def rare(self) -> Key | None:
        """The key of the rare set where this is of a popular one, by their names."""
        return self._replace(set=self.set.replace("popular", "rare")) if "popular" in self.set else None


class Group(NamedTuple):
    """All runs of one method in one place, and the runs of the same model before unlearning."""

    key: Key
    runs: tuple[Run, ...]
    before: tuple[Run, ...]

    @property
    def lrs(self) -> list[float]:
        """Learning rates with a measured run, in ascending order."""
        return sorted({run.lr for run in self.runs if run.sets})

    def at(self, lr: float) -> list[Run]:
        """Measured runs at a learning rate, by seed."""
        return sorted((run for run in self.runs if run.lr == lr and run.sets), key=lambda run: run.seed)

    def point(self, lr: float | None) -> Point:
        """Mean scores on forget and retain_train at a learning rate, or with None before unlearning."""
        runs = self.before if lr is None else self.at(lr)
        return Point(lr or 0.0, _mean(runs, "forget"), _mean(runs, "retain_train"))

    def chosen(self) -> float | None:
        """The learning rate that the rule of `frontier` picks; None where unlearned cells or a base are missing."""
        if not self.lrs or not self.before:
            return None
        return choose([self.point(lr) for lr in self.lrs], self.point(None)).lr


class Collection(NamedTuple):
    """Everything in some folders of results."""

    groups: tuple[Group, ...]
    """Unlearned cells by method; those before unlearning are in `bases`."""
    bases: Mapping[Key, tuple[Run, ...]]
    """Measured runs before unlearning, by key, in the order of their seeds."""
    folders: tuple[Path, ...]
    """Folders of the grids."""
    provenance: Mapping[str, Any]
    """Versions, device and git state of the first result."""
    models: Mapping[str, Mapping[str, Any]]
    """By name of a model, what identifies it in its first result that could load it."""
    grids: tuple[str, ...]
    runs: tuple[Run, ...]
    """Those of all results, each once."""
    planned: int
    """Number of cells that were planned; 0 where the plan was not saved."""
    missing: tuple[Mapping[str, Any], ...]
    """Coordinates of the planned cells that are not measured yet."""

    @property
    def keys(self) -> list[Key]:
        """Keys of the models before unlearning and of the groups."""
        return [*self.bases, *(group.key for group in self.groups)]

    @property
    def unfinished(self) -> list[Run]:
        """Runs that were not measured, or stopped early."""
        return [run for run in self.runs if run.status != "done"]

    @property
    def incomplete(self) -> str:
        """How many of the planned cells are measured; empty where all are."""
        if not self.missing:
            return ""
        failed = sum(not run.sets for run in self.runs)
        measured = self.planned - len(self.missing)
        return f"{measured} of {self.planned} planned cells measured{f', {failed} failed' if failed else ''}"

    @property
    def gpu_hours(self) -> float:
        """GPU hours of all runs, and of the stages before them, each counted once."""
        return sum(run.hours for run in self.runs) + sum(
            {run.stage_address: run.stage_hours for run in self.runs}.values()
        )


def stack(runs: Sequence[Run], name: str, score: str) -> Floats:
    """A score of the items of a set, [runs, items]. Raises InputError where the runs have different items."""
    tables = [run.sets[name] for run in runs]
    if len({table.ids for table in tables}) != 1:
        raise InputError(
            f"{runs[0].path.parent}: some cells of one method measured other items of {name} than the rest, since rows "
            "or settings changed in between; remove the older results, or run the newer ones in a preset of another "
            "name"
        )
    return np.stack([table.scores[score] for table in tables])


def stack_panel(runs: Sequence[Run], score: str) -> Floats:
    """A score of the utility panel, [runs, questions or texts]. Raises InputError for runs with different panels."""
    by_hash = {run.panel and run.panel.hash: run for run in runs}
    if len(by_hash) > 1 or None in by_hash:
        paths = " and ".join(str(run.path) for run in by_hash.values())
        raise InputError(
            f"{paths} were not asked the same utility panel, or none: remove the results of the setting that you "
            "do not need, or run the other one in a preset of another name"
        )
    return np.stack([run.panel.scores[score] for run in runs if run.panel is not None])


def before_of(before: Sequence[Run], run: Run) -> Run:
    """The run before unlearning, with the same seed where there is one."""
    return next((base_run for base_run in before if base_run.seed == run.seed), before[0])


def same_seeds(first: Sequence[Run], second: Sequence[Run]) -> tuple[list[Run], list[Run]] | None:
    """The runs of the common seeds, in the same order; None where there is no common seed."""
    left, right = ({run.seed: run for run in side} for side in (first, second))
    common = sorted(left.keys() & right.keys())
    return ([left[seed] for seed in common], [right[seed] for seed in common]) if common else None


def answered_before(runs: Sequence[Run], before: Sequence[Run], name: str) -> NDArray[np.bool_]:
    """Items of a set that every model from which the runs start answered, and was scored on where it did, [items]."""
    own = stack([before_of(before, run) for run in runs], name, "own_words_log_probability")
    answered: NDArray[np.bool_] = np.all(~np.isnan(own), axis=0)
    return answered


def clusters(runs: Sequence[Run], name: str) -> tuple[str, ...]:
    """Subjects of the items of a set."""
    return runs[0].sets[name].subjects


def _mean(runs: Sequence[Run], name: str) -> float:
    missing = [run for run in runs if name not in run.sets]
    if missing:
        raise InputError(f"{missing[0].path}: {name} was not measured; run the cell again")
    return float(np.mean([run.sets[name].scores["rougeL_recall"].mean() for run in runs]))


def chosen_cells(groups: Sequence[Group]) -> list[tuple[Group, list[Run]]]:
    """Every group that has a chosen learning rate, with its runs at that rate."""
    return [(group, group.at(lr)) for group in groups if (lr := group.chosen()) is not None]
