"""What must come out, told from the world by plain Python.

Neither SPARQL nor the code of the stages has a part in it. What it shares with them is `dual_data.words`, which cuts a
text into words, and the hash `digest`.

Where the pipeline may choose (which of two mirrored facts it keeps, whether a hint that begins like the answer gives it
away), the truth says so instead of guessing: such facts are doubtful, counted apart, and never many.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.rebuild.delivered import NO_OBJECT, Key, names, rows
from benchmarks.rebuild.namesakes import Namesakes
from benchmarks.rebuild.world import Rehearsal
from dual_data.config import Relation
from dual_data.ids import digest
from dual_data.words import fold, words

Pair = tuple[str, str]
"""subject, stem of the relation's file."""
LONGEST, LEAK = 10, 0.5


class Truth(NamedTuple):
    """Sets of keys."""

    facts: set[Key]
    """Every current, best-rank statement that somebody asks about and whose two sides have names."""
    rejects: Counter[str]
    """Statements that are no facts, by reason."""
    mirrored: dict[Key, set[Key]]
    """Facts that are stated from the other side as well; one of each such group is to be asked."""
    survive: set[Key]
    """Facts with one object that can be asked fairly."""
    unsure: set[Key]
    """Facts of which the wording decides: some namesakes, quantities, mirrored pairs, answers that share "the" with
    what is asked."""
    fair: dict[Pair, set[Key]]
    """Every fact that can be asked fairly, those among several accepted objects included."""
    doubtful: dict[Pair, set[Key]]
    """The same for facts of which the wording decides."""
    namesakes: Counter[str]
    """Facts of subjects with a namesake: kept, refused (nothing tells the two apart), doubtful."""


def truth(rehearsal: Rehearsal, relations: Mapping[str, Relation]) -> Truth:
    """The facts, and those that the recipes may choose from."""
    called, delivered = names(rehearsal), rows(rehearsal, relations)
    stated: dict[Key, list[str]] = defaultdict(list)
    objects: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for row in delivered:
        if row.reason not in NO_OBJECT:
            objects[_scope(row.key, row.stem)].add(row.key[3])
        if not row.reason:
            stated[row.key].append(row.stem)
    rejects = Counter(row.reason for row in delivered if row.reason)
    rejects["duplicate"] = sum(len(by) - 1 for by in stated.values())
    mirrored = _mirrored(set(stated), relations)
    # The stage facts keeps one of each group, and all of relations that allow several objects: they are answers.
    one_object = {key for key, by in stated.items() if relations[by[0]].unique == "one"}
    groups = {key: frozenset({key, *others} & one_object) for key, others in mirrored.items() if key in one_object}
    rejects["mirrored"] = len(groups) - len(set(groups.values()))
    judge = Namesakes(
        rehearsal, called, sorted({key[0] for key in stated}), {key[0] for key in set(stated) - set(mirrored)}
    )
    found = Truth(set(stated), rejects, mirrored, set(), set(), defaultdict(set), defaultdict(set), Counter())
    for key, by in stated.items():
        for stem in dict.fromkeys(by):
            relation, alone = relations[stem], len(objects[_scope(key, stem)]) == 1
            if relation.unique == "one" and not alone:
                continue
            verdict = _verdict(key, relation, called, judge, found.namesakes)
            if verdict == "no":
                continue
            doubtful = verdict == "doubtful" or key in mirrored or len(by) > 1 or key[2] == "quantity"
            (found.doubtful if doubtful else found.fair)[key[0], stem].add(key)
            if relation.unique == "one":
                (found.unsure if doubtful else found.survive).add(key)
    return found


def _scope(key: Key, stem: str) -> tuple[str, str, str]:
    """Objects are counted a pair; dates, which each relation cuts in its own way, a relation."""
    return key[0], key[1], stem if key[2] == "date" else ""


def _verdict(key: Key, relation: Relation, called: Mapping[str, str], judge: Namesakes, counts: Counter[str]) -> str:
    """Whether a fact can be asked fairly: yes, no, or doubtful."""
    subject, _, kind, value = key
    answer = called[value] if kind == "entity" else value
    if kind in ("entity", "text") and fold(called[subject]).startswith(fold(answer)):
        return "no"
    if subject == value or (kind == "entity" and called[subject].lower() == answer.lower()):
        return "no"
    asked, sure = called[subject], True
    if subject in judge.shared:
        hint = judge.hint(subject, answer, value if kind == "entity" else "")
        counts["refused" if hint is None else "doubtful" if hint == "" else "kept"] += 1
        if hint is None:
            return "no"
        asked, sure = f"{asked} ({hint})" if hint else asked, hint != ""
    if kind in ("date", "quantity"):
        return "yes" if sure else "doubtful"
    fair = _fair(asked, answer, relation)
    if sure and fair == _fair(f"the {asked}", answer, relation):
        return "yes" if fair else "no"
    return "doubtful"


def knows(subject: str, property_id: str, links: int) -> bool:
    """Whether the rehearsal's model knows a fact: the more its subject is linked, the likelier."""
    share = min(0.9, 0.3 + 0.06 * links.bit_length())
    return int(digest(f"{subject} {property_id} knows", 8), 16) / 16**8 < share


def _fair(subject: str, answer: str, relation: Relation) -> bool:
    """Not too long, not the subject, and less than half of its words stand in the question.

    Nor in all of the wordings for validation, nor in all of those for tests.
    """
    told, wording = words(answer), relation.questions

    def leaks(template: str) -> bool:
        asked = {*words(template.replace("{subject}", " ")), *words(subject)}
        return bool(told) and sum(word in asked for word in told) / len(told) >= LEAK

    if len(answer.split()) > LONGEST or subject.lower() == answer.lower() or leaks(wording.canonical):
        return False
    return not all(map(leaks, wording.validation)) and not all(map(leaks, wording.test))


def _mirrored(facts: set[Key], relations: Mapping[str, Relation]) -> dict[Key, set[Key]]:
    turned: dict[str, set[str]] = defaultdict(set)
    for relation in relations.values():
        if relation.symmetric:
            turned[relation.property].add(relation.property)
        for other in relation.inverse:
            turned[relation.property].add(other)
            turned[other].add(relation.property)
    found: dict[Key, set[Key]] = {}
    for key in facts:
        subject, property_id, kind, value = key
        others = ({(value, other, kind, subject) for other in turned[property_id]} - {key}) & facts
        # Two properties with one inverse say the same as well.
        same = {middle for other in turned[property_id] for middle in turned[other]} - {property_id}
        others |= {(subject, other, kind, value) for other in same} & facts
        if others:
            found[key] = others
    return found
