"""Relearning curves: how few steps of ordinary fine-tuning bring the forgotten facts back?

The unlearned adapter is tuned on a part of the forget facts, on facts to retain, or on unrelated questions of the same
relations, while the other forget facts are scored. As a control, a fresh adapter on the base is tuned in the same way:
its gain is due to tuning, not memory, and is subtracted (Hu et al. 2025, arXiv 2406.13356, Deeb and Roger 2024, arXiv
2410.08827). The base is the model before unlearning. It knows the facts, so it has little to gain; the control of a
cell in the stage sft_retain starts from a model that never saw them, and the report prefers it where a grid has both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from dual_data.errors import InputError
from dual_data.evaluation.attack_results import RELEARNED_TOKENS
from dual_data.evaluation.grid.cells import Cell, Grid
from dual_data.evaluation.measuring.measure import rounded
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.metrics.likelihood import probability
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.encoding import PromptFormat, TrainingRows, encode
from dual_data.evaluation.rows.request import request_of
from dual_data.evaluation.training import fine_tune
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.train import train
from dual_data.ids import digest
from dual_data.text.matching import contains_answer

STEPS = (1, 2, 4, 8, 16, 32, 64)
"""Steps after which the held-out facts are scored; step 0, before tuning, always is."""
TUNED_SHARE = 0.2
"""Share of the forget subjects that relearning is tuned on; the others are scored."""
BATCH = 32
"""Most facts that are tuned on; every step uses all of them."""


class Point(NamedTuple):
    """Scores of the held-out forget facts after some steps."""

    step: int
    probabilities: tuple[float, ...]
    """Of each fact's answer, in the order of the held-out facts. Tuning on any answers of this format raises them."""
    hits: tuple[bool, ...]
    """Whether the greedy generation has the answer; recovery is measured by this."""


class Curve(NamedTuple):
    """One relearning run."""

    points: list[Point]
    note: str
    """Where tuning ended early, and why; all later points are of the weights at that step. Empty where it did not."""


def relearning_rows(grid: Grid, cell: Cell) -> tuple[dict[str, list[Item]], list[Item]]:
    """By name, the facts that relearning tunes a model on in turn, and the other facts to forget, which are scored.

    Raises InputError as `split_by_subject`.
    """
    sets = grid.sets[cell.stage]
    items = sets.forget[cell.set]
    tuned, scored = split_by_subject(items, TUNED_SHARE)
    rows = {"forget facts": tuned, "retain facts": sample(sets.retain_train, len(tuned))}
    if other_facts := unrelated(sets.measured, items):
        rows["other facts of the relations"] = sample(other_facts, len(tuned))
    return rows, scored


def split_by_subject(items: Sequence[Item], share: float) -> tuple[list[Item], list[Item]]:
    """The forget facts to tune on, those of a `share` of the subjects by hash, and the others, which are scored.

    Both sides have at least one subject; the tuned facts fit into one step. Raises InputError for fewer than two
    subjects.
    """
    sizes = Counter(item.cluster for item in items)
    subjects = sorted(sizes, key=lambda name: digest(f"relearn|{name}"))
    if len(subjects) < 2:
        raise InputError("relearning needs facts of at least two subjects: some to tune on, others to score")
    tuned: set[str] = set()
    for name in subjects[: min(max(1, round(share * len(subjects))), len(subjects) - 1)]:
        if tuned and sum(sizes[subject] for subject in (*tuned, name)) > BATCH:
            break
        tuned.add(name)
    return [item for item in items if item.cluster in tuned], [item for item in items if item.cluster not in tuned]


def sample(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` items, chosen by hash: the first rows of a sorted file would be no random sample."""
    facts = {item.fact: item for item in items}  # measured sets may share facts
    return sorted(facts.values(), key=lambda item: (digest(f"relearn|{item.id}"), item.question))[:most]


def unrelated(measured: Mapping[str, Sequence[Item]], items: Sequence[Item]) -> list[Item]:
    """Facts with the relations of the forget facts but other subjects, from the sets that are never trained on.

    A fact without a subject is its own; not by its id, which may be another fact's in another set.
    """
    relations, subjects = {item.relation for item in items}, {item.subject or item.fact for item in items}
    return [
        item
        for rows in measured.values()
        for item in rows
        if item.relation and item.relation in relations and (item.subject or item.fact) not in subjects
    ]


def relearn(
    loaded: Loaded,
    adapters: Adapters,
    k: int | None,
    facts: Sequence[Item],
    *,
    held_out: Sequence[Item],
    profile: PromptFormat,
    lr: float,
    steps: Sequence[int],
    seed: int,
) -> Curve:
    """The curve of adapter `k`, unlearned, that is tuned on `facts`, or with None that of a fresh one, the control.

    `adapters` stay unchanged. A step uses the first `BATCH` facts, or all if there are fewer. The curve has a point for
    every step, even where tuning diverges before.
    """
    tuned = encode(loaded.tokenizer, facts[:BATCH], profile)
    requests = [request_of(row) for row in encode(loaded.tokenizer, held_out, profile)]
    points = list[Point]()
    with _copied(loaded, adapters, k, seed) as copy:
        engine = open_engine(loaded, copy, max_new_tokens=RELEARNED_TOKENS)

        def score(step: int) -> None:
            (outcomes,) = engine.run(requests)
            texts = [loaded.text(outcome.generation) for outcome in outcomes]
            hits = (contains_answer(text, item.answers, item.kind) for text, item in zip(texts, held_out, strict=True))
            probabilities = (rounded(probability(outcome.scores[0])) for outcome in outcomes)
            points.append(Point(step, tuple(probabilities), tuple(hits)))

        score(0)
        # One step per epoch, since `on_epoch` is called only at the end of epochs.
        (trace,) = train(
            loaded,
            copy,
            fine_tune.METHOD,
            TrainingRows(tuned, (), seed),
            [lr],
            # Tuning may start from a model that unlearning destroyed, which elsewhere would count as divergence.
            Optimisation(epochs=max(steps), batch=len(tuned), diverged_nll=0.0, diverged_norm=0.0),
            on_epoch=lambda epoch: score(epoch + 1) if epoch + 1 in steps else None,
        )
        # Training ends when it is stopped; then no weight changes, so one scoring serves all remaining steps.
        remaining = sorted(step for step in steps if step > points[-1].step)
        if remaining:
            score(remaining[0])
    points += [points[-1]._replace(step=step) for step in remaining[1:]]
    model = "model before unlearning" if k is None else "unlearned model"
    note = f"tuning of the {model} ended early ({trace.stopped}); later points are of the weights it had then"
    return Curve(points, note if trace.stopped else "")


@contextmanager
def _copied(loaded: Loaded, adapters: Adapters, k: int | None, seed: int) -> Iterator[Adapters]:
    """Yields a copy of the unlearned adapter, or with None a fresh adapter, which replaces `adapters` inside."""
    copy = Adapters(loaded.model, adapters.spec, seeds=(seed,))
    try:
        if k is not None:
            copy.load_weights(0, adapters.weights(k))
        with adapters.disabled():
            yield copy
    finally:
        copy.remove()
