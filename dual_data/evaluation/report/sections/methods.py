"""Methods compared within one place, each at its chosen learning rate, on the same facts and seeds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from dual_data.bootstrap import SHARE, Interval, bootstrap_difference
from dual_data.evaluation.report.analysis.runs import Collection, Group, Run, chosen_cells, clusters, same_seeds, stack
from dual_data.evaluation.report.document import ITEMS, Block, Entry, Folded, Heading, Points, Table
from dual_data.evaluation.report.findings.sentences import LEVEL, untested_all
from dual_data.evaluation.report.numbers import p_value, shown, size
from dual_data.evaluation.report.places import place_columns, place_of, sources, starts, title_of
from dual_data.statistics import holm
from dual_data.text.display import count

_BETTER = {"forget": "lower", "retain_eval": "higher"}
_SETS = tuple(_BETTER)
_MOST = 5
"""Most pairs that a sentence names."""


class Pair(NamedTuple):
    """One score of two methods."""

    first: Group
    second: Group
    set: str
    difference: Interval
    runs: tuple[Run, ...]
    seeds: int
    corrected: float | None = None
    """p-value after Holm's correction over all pairs of the report; None for one seed, where nothing is tested."""


def method_pairs(collection: Collection) -> list[Pair]:
    """Difference in ROUGE-L recall of every two methods with the same place, preset and profile, paired over seeds."""
    all_pairs = list[Pair]()
    for start in starts(collection):
        for (first, left), (second, right) in itertools.combinations(chosen_cells(start.groups), 2):
            sides = same_seeds(left, right)
            if sides is None:
                continue
            for name in _SETS:
                runs = (*sides[0], *sides[1])
                scores = stack(runs, name, "rougeL_recall")  # raises where the two were measured on different facts
                seeds = len(sides[0])
                difference = bootstrap_difference(scores[:seeds], scores[seeds:], clusters(runs, name), SHARE)
                all_pairs.append(Pair(first, second, name, difference, runs, seeds))
    corrected = holm([pair.difference.p_value if pair.seeds > 1 else None for pair in all_pairs])
    return [pair._replace(corrected=value) for pair, value in zip(all_pairs, corrected, strict=True)]


def _sentence(name: str, all_pairs: Sequence[Pair]) -> str:
    """How many pairs of methods differ on a set, and which do most clearly."""
    keys = [pair.first.key for pair in all_pairs]
    of_set = [pair for pair in all_pairs if pair.set == name]
    tested = [(pair.corrected, pair) for pair in of_set if pair.corrected is not None]
    start = f"{name}, {_BETTER[name]} is better"
    if not tested:
        return f"{start}: {untested_all(len(of_set), 'pair')}."
    untested = f" ({len(of_set) - len(tested)} of one seed, not tested)" if len(tested) < len(of_set) else ""
    start += f": of {count(len(of_set), 'pair')} of methods{untested}"
    clearest = sorted(((p, pair) for p, pair in tested if p < LEVEL), key=lambda entry: entry[0])
    if not clearest:
        return f"{start}, none is shown to differ."
    texts = []
    for _, pair in clearest[:_MOST]:
        methods = [pair.first.key.method, pair.second.key.method]
        higher, lower = methods if pair.difference.value > 0 else reversed(methods)
        texts.append(f"{higher} {shown(size(pair.difference))} above {lower} ({title_of(pair.first.key, keys)})")
    if len(clearest) == 1:
        return f"{start}, one differs: {texts[0]}."
    these = "these" if len(clearest) <= _MOST else "most clearly these"
    return f"{start}, {len(clearest)} differ, {these}: {'; '.join(texts)}."


def pairs(collection: Collection) -> list[Block]:
    """The pairs that differ, and a table of all; empty where no place has two methods."""
    all_pairs = method_pairs(collection)
    if not all_pairs:
        return []
    place = place_columns([pair.first.key for pair in all_pairs])
    rows: tuple[tuple[Entry, ...], ...] = tuple(
        (
            *place_of(pair.first.key, place), pair.set, pair.first.key.method, pair.second.key.method, str(pair.seeds),
            shown(pair.difference), p_value(pair.corrected), sources(pair.runs),
        )
        for pair in all_pairs
    )  # fmt: skip
    tested = sum(pair.corrected is not None for pair in all_pairs)
    tests = (
        f"p-values are Holm-corrected over the {count(tested, 'row')} with several seeds; rows of one seed are not "
        "tested."
        if tested
        else "All rows have one seed only, so none is tested."
    )
    caption = (
        "Difference: ROUGE-L recall of the first method minus that of the second, each at its chosen learning rate, on "
        "the same facts and the seeds that both have; other tables use all seeds, so their means can differ. "
        f"{tests} They are of these models: the choice of the rates, made on the same scores, is not accounted for, so "
        "equal methods are found to differ more often than the p-values say. On forget, lower is better. Methods "
        "forget different amounts, so one that keeps less may have forgotten more: see the frontiers."
    )
    header = (*place, "measured on", "first", "second", "seeds", "difference", "p (Holm)", ITEMS)
    return [
        Heading("Methods against each other"),
        Points(tuple(_sentence(name, all_pairs) for name in _SETS)),
        Folded(f"Paired differences ({len(rows)})", (Table(header, rows, caption, ("seeds", "p (Holm)")),)),
    ]
