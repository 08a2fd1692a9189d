"""Subjects that share a name, and when something tells them apart."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from benchmarks.rebuild.world import Rehearsal
from dual_data.words import words

LONGEST_HINT = 60


class Namesakes:
    """Who shares a name with whom, and the hint that each is asked with: "Name (city)", "Name (city in Country)"."""

    def __init__(
        self, rehearsal: Rehearsal, called: Mapping[str, str], subjects: Iterable[str], certain: set[str]
    ) -> None:
        """`certain` are the subjects that keep a fact, whichever of two mirrored ones goes."""
        self._items, self._called, self._certain = rehearsal.world.items, called, certain
        by_name: dict[str, list[str]] = defaultdict(list)
        for qid in subjects:
            by_name[called[qid].casefold()].append(qid)
        self.shared = {qid: group for group in by_name.values() if len(group) > 1 for qid in group}

    def hint(self, subject: str, answer: str, target: str) -> str | None:
        """The shortest hint that no namesake could have; None where there is none, "" where the wording decides.

        It must not give the answer away: no word of it may begin like one of the answer's or of its aliases', which is
        stricter than the rule, and so in doubt.
        """
        others = [qid for qid in self.shared[subject] if qid != subject]
        theirs = {hint for qid in others for hint in self._hints(qid)}
        own = [hint for hint in self._hints(subject) if hint not in theirs]
        if not self._certain.intersection(others) or any("," in hint or "(" in hint for hint in (*own, *theirs)):
            return ""  # The namesake may have left the facts, or the description has clauses of its own.
        if not own:
            return None
        item = self._items.get(target)
        told = (answer, *(item.aliases if item else ()), *((item.label, item.mul) if item else ()))
        starts = {word[:2] for text in told for word in words(text or "")}
        return "" if any(word[:2] in starts for word in words(own[0])) else own[0]

    def _hints(self, qid: str) -> list[str]:
        """The world's descriptions are "city" or "city in Country"; a longer hint is not asked with."""
        whole = (self._items[qid].description or "").casefold()
        kind = re.split(r" (?:in|of) ", whole)[0]
        return [hint for hint in dict.fromkeys((kind, whole)) if hint and len(hint) <= LONGEST_HINT]
