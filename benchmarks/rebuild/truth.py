"""The expected results, derived from the world by plain Python.

It uses neither SPARQL nor the code of the stages. It shares with them only the functions that split a text into words
and stem them, and the hash `digest`.

Where the pipeline may choose (which of two mirrored facts it keeps, whether a hint that begins like the answer gives it
away), the truth does not guess: such facts are doubtful and counted separately, and there are few.
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
from dual_data.templates import overlap
from dual_data.text.rouge import unicode_tokens
from dual_data.text.words import fold

Pair = tuple[str, str]
"""subject, stem of the relation's file."""
LONGEST, LEAK = 10, 0.5


class Truth(NamedTuple):
    """Sets of keys."""

    facts: set[Key]
    """Every current, best-rank statement that a relation asks for and whose two sides have names."""
    rejects: Counter[str]
    """Number of rejected statements by reason."""
    mirrored: dict[Key, set[Key]]
    """Facts that are also stated from the other side, with those statements; one of each such group is to be asked."""
    survive: set[Key]
    """Facts with one object that can be asked fairly."""
    unsure: set[Key]
    """Facts with one object that depend on the wording: some namesakes, quantities, mirrored pairs, answers that share
    "the" with the question."""
    fair: dict[Pair, set[Key]]
    """Every fact that can be asked fairly, also with several accepted objects."""
    doubtful: dict[Pair, set[Key]]
    """The same for facts that depend on the wording."""
    namesakes: Counter[str]
    """Facts of subjects with a namesake: kept, refused (nothing tells the two apart), doubtful."""


def truth(rehearsal: Rehearsal, relations: Mapping[str, Relation]) -> Truth:
    """The facts, and those from which the recipes may choose."""
    name_of, delivered = names(rehearsal), rows(rehearsal, relations)
    stated: dict[Key, list[str]] = defaultdict(list)
    objects: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for row in delivered:
        if row.reason not in NO_OBJECT:
            objects[_scope(row.key, row.stem)].add(row.key[3])
        if not row.reason:
            stated[row.key].append(row.stem)
    rejects = Counter(row.reason for row in delivered if row.reason)
    rejects["duplicate"] = sum(len(stems) - 1 for stems in stated.values())
    mirrored = _mirrored(set(stated), relations)
    # The stage facts keeps one fact of each group, and all of relations that allow several objects: they are answers.
    one_object = {key for key, stems in stated.items() if relations[stems[0]].unique == "one"}
    groups = {key: frozenset({key, *others} & one_object) for key, others in mirrored.items() if key in one_object}
    rejects["mirrored"] = len(groups) - len(set(groups.values()))
    judge = Namesakes(
        rehearsal, name_of, sorted({key[0] for key in stated}), {key[0] for key in set(stated) - set(mirrored)}
    )
    result = Truth(set(stated), rejects, mirrored, set(), set(), defaultdict(set), defaultdict(set), Counter())
    for key, stems in stated.items():
        for stem in dict.fromkeys(stems):
            relation, alone = relations[stem], len(objects[_scope(key, stem)]) == 1
            if relation.unique == "one" and not alone:
                continue
            verdict = _verdict(key, relation, name_of, judge, result.namesakes)
            if verdict == "no":
                continue
            doubtful = verdict == "doubtful" or key in mirrored or len(stems) > 1 or key[2] == "quantity"
            (result.doubtful if doubtful else result.fair)[key[0], stem].add(key)
            if relation.unique == "one":
                (result.unsure if doubtful else result.survive).add(key)
    return result


def _scope(key: Key, stem: str) -> tuple[str, str, str]:
    """What objects are counted by: subject and property; for dates also the relation, which sets their precision."""
    return key[0], key[1], stem if key[2] == "date" else ""


def _verdict(key: Key, relation: Relation, name_of: Mapping[str, str], judge: Namesakes, counts: Counter[str]) -> str:
    """Whether a fact can be asked fairly: yes, no, or doubtful."""
    subject, _, kind, value = key
    answer = name_of[value] if kind == "entity" else value
    if kind in ("entity", "text") and fold(name_of[subject]).startswith(fold(answer)):
        return "no"
    if subject == value or (kind == "entity" and name_of[subject].lower() == answer.lower()):
        return "no"
    wording, sure = name_of[subject], True
    if subject in judge.shared:
        hint = judge.hint(subject, answer, value if kind == "entity" else "")
        counts["refused" if hint is None else "doubtful" if hint == "" else "kept"] += 1
        if hint is None:
            return "no"
        wording, sure = f"{wording} ({hint})" if hint else wording, hint != ""
    if kind in ("date", "quantity"):  # a number in the name may be the one that is asked for
        return "yes" if sure and not any(map(str.isdigit, wording)) else "doubtful"
    fair = _fair(wording, answer, relation)
    if sure and fair == _fair(f"the {wording}", answer, relation):
        return "yes" if fair else "no"
    return "doubtful"


def knows(subject: str, property_id: str, links: int) -> bool:
    """Whether the rehearsal's model knows a fact: the more links its subject has, the likelier."""
    share = min(0.9, 0.3 + 0.06 * links.bit_length())
    return int(digest(f"{subject} {property_id} knows", 8), 16) / 16**8 < share


def _fair(subject: str, answer: str, relation: Relation) -> bool:
    """Whether an answer is not too long, is not the subject, and leaks (half of its stems or more) neither into the
    canonical question, nor into all wordings for validation, nor into all for tests."""
    wording = relation.questions

    def leaks(template: str) -> bool:
        question_words = unicode_tokens(template.replace("{subject}", " ")) + unicode_tokens(subject)
        return overlap(answer, frozenset(question_words)) >= LEAK

    if len(answer.split()) > LONGEST or subject.lower() == answer.lower() or leaks(wording.canonical):
        return False
    return not all(map(leaks, wording.validation)) and not all(map(leaks, wording.test))


def _mirrored(facts: set[Key], relations: Mapping[str, Relation]) -> dict[Key, set[Key]]:
    inverses: dict[str, set[str]] = defaultdict(set)
    for relation in relations.values():
        if relation.symmetric:
            inverses[relation.property].add(relation.property)
        for other in relation.inverse:
            inverses[relation.property].add(other)
            inverses[other].add(relation.property)
    groups: dict[Key, set[Key]] = {}
    for key in facts:
        subject, property_id, kind, value = key
        mirrors = ({(value, other, kind, subject) for other in inverses[property_id]} - {key}) & facts
        # Two properties with the same inverse also state the same.
        same = {middle for other in inverses[property_id] for middle in inverses[other]} - {property_id}
        mirrors |= {(subject, other, kind, value) for other in same} & facts
        if mirrors:
            groups[key] = mirrors
    return groups
