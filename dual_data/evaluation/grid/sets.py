"""The rows of a dataset by set, and the answers that a stage or a method puts in place of theirs."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dual_data.config import read_text, shipped_project
from dual_data.engine.places import command_for
from dual_data.errors import InputError
from dual_data.evaluation.rows.data import Item, contradicted, data_hash, read_paraphrases, read_split
from dual_data.evaluation.settings import DataSettings, SplitSettings, StageSettings
from dual_data.ids import digest
from dual_data.text.display import count
from dual_data.text.matching import may_be_right, normalise


class Sets(NamedTuple):
    """The rows of a dataset as one stage uses them."""

    forget: Mapping[str, list[Item]]
    """All sets of the data, even those that a grid does not unlearn: stages learn all of them."""
    retain_train: list[Item]
    retain_eval: list[Item]
    format: list[Item]
    measured: Mapping[str, list[Item]]

    def counterfactual(self, stage: str) -> Sets:
        """Every row with another answer of its relation, the same in all rows that ask its question.

        Raises InputError, which names the stage, where a row has no other answer.
        """
        answers = counterfactual_answers([item for _, rows in self.all() for item in rows], f"the stage {stage}")

        def swap(rows: Sequence[Item]) -> list[Item]:
            return [row._replace(answer=(other := answers[row.question]), answers=(other,)) for row in rows]

        return Sets(
            {name: swap(rows) for name, rows in self.forget.items()},
            swap(self.retain_train),
            swap(self.retain_eval),
            swap(self.format),
            {name: swap(rows) for name, rows in self.measured.items()},
        )

    def all(self) -> Iterator[tuple[str, list[Item]]]:
        """Every set with its name for a message."""
        yield from ((f"the forget set {name}", rows) for name, rows in self.forget.items())
        yield from self._kept()

    def _kept(self) -> Iterator[tuple[str, list[Item]]]:
        yield from (("retain_train", self.retain_train), ("retain_eval", self.retain_eval), ("format", self.format))
        yield from self.measured.items()

    def repetitions(self) -> Iterator[str]:
        """A note on every set in which rows repeat a question, exactly or with another answer."""
        for name, rows in self.all():
            questions, facts = {row.question for row in rows}, {row.fact for row in rows}
            if again := len(rows) - len(questions):
                other = len(facts) - len(questions)
                answers = f", {other} of them with another answer" if other else ""
                yield (
                    f"{name}: {again} of {count(len(rows), 'row')} ask{'s' if again == 1 else ''} the question of a "
                    f"row before{answers}; each counts as a fact of its own"
                )

    def contradictions(self) -> Iterator[str]:
        """A note on every set that asks questions to forget and gives another answer."""
        for forget_set, rows in self.forget.items():
            for name, others in self._kept():
                if questions := contradicted([row.fact for row in rows], [other.fact for other in others]):
                    yield (
                        f"the forget set {forget_set}: {len(questions)} of {count(len(rows), 'row')} "
                        f"{'is' if len(questions) == 1 else 'are'} asked in {name} too, with another answer, such as "
                        f"{questions[0]!r}: what unlearns the one changes the other"
                    )

    def trained(self, stage: StageSettings) -> list[Item]:
        """The rows that a stage is trained on, each question once."""
        rows: list[Item] = []
        for name in stage.train:
            if name == "forget":
                rows += [item for items in self.forget.values() for item in items]
            else:
                rows += getattr(self, name)
        return list({item.question: item for item in rows}.values())


def read_sets(data: DataSettings, folder: Path, limit: int) -> Sets:
    """All rows of a dataset in `folder`; with a limit, the first rows of each split by hash, in the order of the file.

    Of the forget sets, these are rows of the same pairs, as long as there are pairs with both members.

    Raises InputError for what cannot be read, an empty split, and rows that are in a forget and a retain split.
    """
    if not folder.is_dir():
        command = command_for(folder)
        build = f"build it first ({command}), or " if command else ""
        raise InputError(
            f"{folder}: no such folder, but the grid takes its rows from it: {build}correct `folder` in the grid file"
        )
    paraphrases = read_paraphrases(folder / data.paraphrases) if data.paraphrases else {}
    questions = set[str]()

    def read(split: SplitSettings) -> list[Item]:
        all_items = read_split(folder / split.path, paraphrases, split=split.split, relations=split.relations)
        questions.update(item.question for item in all_items)
        items = [item for item in all_items if split.start <= int(digest(f"part|{item.id}", 8), 16) / 16**8 < split.end]
        if not items:
            raise InputError(f"{folder / split.path}: no rows in the part from {split.start} to {split.end}")
        return items

    forget = {name: read(split) for name, split in data.forget.items()}
    pairs = _whole_pairs(forget.values())
    sets = Sets(
        {name: _first(rows, limit, pairs) for name, rows in forget.items()},
        _first(read(data.retain_train), limit),
        _first(read(data.retain_eval), limit),
        _first(read(data.format), limit) if data.format else [],
        {name: _first(read(split), limit) for name, split in data.measured.items()},
    )
    if data.paraphrases and not questions & paraphrases.keys():
        raise InputError(f"{folder / data.paraphrases}: none of its questions is that of a row of the data")
    _refuse_overlap(sets, folder)
    return sets


def _whole_pairs(sets: Iterable[Sequence[Item]]) -> set[str]:
    """Pairs of which the sets have both members; settings of a split may leave one out."""
    members: dict[str, set[tuple[str, str]]] = {}
    for item in itertools.chain.from_iterable(sets):
        members.setdefault(item.pair, set()).add(item.fact)  # a set may be part of another
    return {pair for pair, facts in members.items() if pair and len(facts) > 1}


def _first(items: list[Item], limit: int, pairs: Collection[str] = ()) -> list[Item]:
    """The first rows by hash, in their order, those of `pairs` before others and by their pair; all for limit 0."""

    def rank(item: Item) -> tuple[bool, str]:
        alone = item.pair not in pairs
        return alone, digest(f"limit|{item.id if alone else item.pair}")

    first = {item.id for item in sorted(items, key=rank)[: limit or None]}
    return [item for item in items if item.id in first]


def _refuse_overlap(sets: Sets, folder: Path) -> None:
    """Raise InputError where a row is in two sets that cannot share it.

    No model can both forget and retain it. A stage that trains on `format` alone must not teach a fact to forget, nor a
    part of what is measured: a set of which it teaches all is known to the report to be trained on.
    """

    def refuse(name: str, rows: Sequence[Item], others: Sequence[Item], where: str) -> None:
        readings = {item.reading for item in others}
        if both := [item.question for item in rows if item.reading in readings]:
            raise InputError(
                f"{folder}: {len(both)} of {len(rows)} rows of {name} are also in {where}, such as {both[0]!r}: take "
                "them out of one of the two"
            )

    for name, rows in sets.forget.items():
        refuse(f"the forget set {name}", rows, [*sets.retain_train, *sets.retain_eval], "retain_train or retain_eval")
        refuse(f"the forget set {name}", rows, sets.format, "format")
    for name, rows in (("retain_eval", sets.retain_eval), *sets.measured.items()):
        if data_hash(rows) != data_hash(sets.format):
            refuse(name, rows, sets.format, "format")


def counterfactual_answers(items: Sequence[Item], needed_by: str) -> dict[str, str]:
    """By question, an answer that is right for another row of the relation and wrong for its own rows, by hash.

    One a question, as a model can learn no more: rows that repeat it may have other ids, which a table may give only
    within its file. Where the relation has no other answer, one of any relation is taken. Raises InputError, which
    starts with `needed_by`, where there is none.
    """
    all_answers = sorted({item.answer for item in items})
    folded = {answer: normalise(answer) for answer in all_answers}
    by_relation: dict[str, set[str]] = {}
    right: dict[str, set[str]] = {}
    for item in items:
        by_relation.setdefault(item.relation, set()).add(item.answer)
        right.setdefault(item.question, set()).update(item.answers)

    def wrong_answer(item: Item, answers: Sequence[str]) -> str | None:
        accepted = {normalise(answer) for answer in item.answers}
        others = [answer for answer in answers if folded[answer] not in accepted]
        start = int(digest(f"counterfactual|{item.id}"), 16) % max(1, len(others))
        ring = others[start:] + others[:start]
        return next((answer for answer in ring if not may_be_right(answer, right[item.question], item.kind)), None)

    chosen = {}
    for item in sorted(items, key=lambda item: item.id):  # so that the order of the sets does not matter
        wrong = wrong_answer(item, sorted(by_relation[item.relation])) or wrong_answer(item, all_answers)
        if wrong is None:
            raise InputError(
                f"{needed_by} swaps the answers of rows, so it needs rows with at least two different answers: take "
                "more rows (raise --limit), or leave it out"
            )
        chosen[item.question] = wrong
    return chosen


def read_refusals(project: Path) -> list[str]:
    """The refusals to teach: prompts/refusals.txt of the project, else the shipped file; one per line."""
    own, shipped = (folder / "prompts" / "refusals.txt" for folder in (project, shipped_project()))
    path = own if own.exists() else shipped
    refusals = [line.strip() for line in read_text(path, "a text file").splitlines() if line.strip()]
    if not refusals:
        raise InputError(f"{path}: holds no refusal; write one per line")
    return refusals


def refusal_of(item: Item, refusals: Sequence[str]) -> str:
    """The refusal of a row, chosen by the hash of its id, so that it is the same in every run."""
    return refusals[int(digest(f"refusal|{item.id}"), 16) % len(refusals)]
