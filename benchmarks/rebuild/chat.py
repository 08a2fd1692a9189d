"""The model and the judge of the rehearsal: an OpenAI-compatible server that answers from the world."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping

from benchmarks.rebuild.delivered import Key, names, rows
from benchmarks.rebuild.traps import alias_of
from benchmarks.rebuild.truth import knows
from benchmarks.rebuild.wiki import Response
from benchmarks.rebuild.world import Rehearsal
from dual_data.config import Relation
from dual_data.ids import digest
from dual_data.templates import literal_answers
from tests.faults.proxy import Request
from tests.services.stand_in import Body, completion

_FACT = re.compile(r"^(subject|object): (\".*\")$", re.MULTILINE)
NEVER = "I cannot tell."


class Model:
    """Finds relation and subject of a question by the wordings of the relations, and answers what it knows."""

    def __init__(self, rehearsal: Rehearsal, relations: Mapping[str, Relation]) -> None:
        self._links, self._names = rehearsal.links, names(rehearsal)
        self._objects: dict[tuple[str, str], list[Key]] = defaultdict(list)
        for row in rows(rehearsal, relations):
            if not row.reason and row.key not in self._objects[row.key[0], row.stem]:
                self._objects[row.key[0], row.stem].append(row.key)
        self._items = rehearsal.world.items
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for members in rehearsal.members.values():
            for qid in members:
                if qid in self._names and qid not in self._by_name[self._names[qid].lower()]:
                    self._by_name[self._names[qid].lower()].append(qid)
        self._descriptions = {item.qid: item.description or "" for item in rehearsal.world.items.values()}
        # By the first letters of a template, the longest template first: the most specific wording wins.
        self._relations = relations
        self._templates: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        for stem, relation in relations.items():
            for template in relation.questions.questions():
                before, _, after = template.partition("{subject}")
                self._templates[before[:4]].append((before, after, stem))
        for group in self._templates.values():
            group.sort(key=lambda template: -len(template[0]) - len(template[1]))

    def __call__(self, request: Request) -> Response:
        body = json.loads(request.body)
        status, data = self._answer(body)
        return status, [("Content-Type", "application/json")], json.dumps(data).encode()

    def _answer(self, body: Body) -> tuple[int, Body]:
        text = body["messages"][-1]["content"]
        if "\nFact:\n" in text:
            return self._judge(text)
        if "animal" in text and "sentence" in text:
            return completion("A cat", [("A", {"A": 0.5, "The": 0.3}), (" cat", {" cat": 0.4, " dog": 0.3})])
        answer = self.say(text, body.get("seed") if body.get("temperature") else None)
        return completion(answer, [(answer, {answer: 0.6, "No": 0.2})])

    def _judge(self, text: str) -> tuple[int, Body]:
        fact = {name: json.loads(value) for name, value in _FACT.findall(text)}
        subject = re.sub(r" \([^)]*\)$", "", str(fact["subject"])).lower()
        qids = self._by_name.get(subject) or self._by_name.get(subject.removeprefix("the ")) or []
        links = max((self._links.get(qid, 0) for qid in qids), default=0)
        label = str(min(9, 1 + links.bit_length() // 2))
        return completion(
            label, [(label, {label: 0.9, "The": 0.05})], usage={"prompt_tokens": 340, "completion_tokens": 1}
        )

    def say(self, question: str, seed: int | None = None) -> str:
        """The answer of the model to a closed-book question; a sampled one has a seed."""
        groups = (self._templates.get(question[:letters], ()) for letters in range(4, -1, -1))
        for before, after, stem in (template for group in groups for template in group):
            if question.startswith(before) and question.endswith(after) and len(question) > len(before) + len(after):
                subject = question[len(before) : len(question) - len(after)]
                if (answer := self._known(subject, stem, seed)) is not None:
                    return answer
        return NEVER

    def _known(self, written: str, stem: str, seed: int | None) -> str | None:
        """The answer if the subject has the relation; None lets the caller try another wording."""
        bare, _, hint = written.partition(" (")
        # A subject at the start of a sentence has a capital, and of two question marks only one is written.
        spellings = [name.lower() for name in (written, bare, f"{written}?")]
        candidates = [
            qid
            for name in (*spellings, *(name.removeprefix("the ") for name in spellings))
            for qid in self._by_name.get(name, ())
            if self._objects.get((qid, stem))
        ]
        if not candidates:
            return None
        hinted = [qid for qid in candidates if hint and self._descriptions[qid].startswith(hint.rstrip(")"))]
        qid = (hinted or candidates)[0]
        if not knows(qid, self._relations[stem].property, self._links.get(qid, 0)):
            return NEVER
        objects = self._objects[qid, stem]
        # Samples go through all objects; a greedy answer is the first object, in half of the cases by its alias.
        key = objects[0 if seed is None else seed % len(objects)]
        return self._text(key, stem, by_alias=seed is None and digest(f"{key} alias", 1) < "8")

    def _text(self, key: Key, stem: str, by_alias: bool) -> str:
        _, _, kind, value = key
        if kind != "entity":
            return literal_answers(self._relations[stem], kind, value)[0]
        alias = alias_of(value)
        return alias if by_alias and alias in self._items[value].aliases else self._names[value]
