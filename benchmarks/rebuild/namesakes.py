"""Subjects that share a name, and the hints that tell them apart."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from benchmarks.rebuild.world import Rehearsal
from dual_data.text.words import words

LONGEST_HINT = 60


class Namesakes:
    """Who shares a name with whom, and the hint that each is asked with: "Name (city)", "Name (city in Country)"."""

    def __init__(
        self, rehearsal: Rehearsal, name_of: Mapping[str, str], subjects: Iterable[str], certain: set[str]
    ) -> None:
        """`certain` are the subjects that have a fact whichever of two mirrored facts is rejected."""
        self._items, self._name_of, self._certain = rehearsal.world.items, name_of, certain
        by_name: dict[str, list[str]] = defaultdict(list)
        for qid in subjects:
            by_name[name_of[qid].casefold()].append(qid)
        self.shared = {qid: group for group in by_name.values() if len(group) > 1 for qid in group}

    def hint(self, subject: str, answer: str, target: str) -> str | None:
        """The shortest hint that no namesake could have; None if there is none, "" if it depends on the wording.

        A hint must not give the answer away. Where a word of it begins like a word of the answer or of its aliases,
        the result is "": that test is stricter than the rule.
        """
        others = [qid for qid in self.shared[subject] if qid != subject]
        theirs = {hint for qid in others for hint in self._hints(qid)}
        own = [hint for hint in self._hints(subject) if hint not in theirs]
        if not self._certain.intersection(others) or any("," in hint or "(" in hint for hint in (*own, *theirs)):
            return ""  # The namesake's facts may all be rejected, or a description has several clauses.
        if not own:
            return None
        item = self._items.get(target)
        texts = (answer, *(item.aliases if item else ()), *((item.label, item.mul) if item else ()))
        starts = {word[:2] for text in texts for word in words(text or "")}
        return "" if any(word[:2] in starts for word in words(own[0])) else own[0]

    def _hints(self, qid: str) -> list[str]:
        """Hints from the description, which is "city" or "city in Country" in this world; long ones are left out."""
        whole = (self._items[qid].description or "").casefold()
        kind = re.split(r" (?:in|of) ", whole)[0]
        return [hint for hint in dict.fromkeys((kind, whole)) if hint and len(hint) <= LONGEST_HINT]
