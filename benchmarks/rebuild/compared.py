"""The results beside the expected ones: facts, rejects and recipes."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.rebuild.delivered import Key, names, rows
from benchmarks.rebuild.truth import Pair, Truth, knows
from benchmarks.rebuild.world import Rehearsal, project_files

KEY = ("subject_qid", "property_id", "object_kind", "object_value")
SAMPLES = 15
"""Samples of the published rule: the stand-in can name at most so many objects of a pair."""


def keys(frame: pl.DataFrame) -> list[Key]:
    """The keys of the facts of a table."""
    return [(str(a), str(b), str(c), str(d)) for a, b, c, d in frame.select(KEY).iter_rows()]


def facts(expected: Truth, tables: Mapping[str, pl.DataFrame]) -> dict[str, int]:
    """Numbers of lost and invented facts, and of those that are asked from both sides."""
    frame = tables["facts/data"]
    fact_keys, asked_keys = keys(frame), set(keys(_asked(tables)))
    got = set(fact_keys)
    missing = expected.facts - got
    mirrored = {key for key in missing if expected.mirrored.get(key, set()) & got}
    both = {key for key in asked_keys if expected.mirrored.get(key, set()) & asked_keys}
    return {
        "expected": len(expected.facts),
        "got": len(got),
        "kept_from_the_other_side": len(mirrored),
        "lost": len(missing - mirrored),
        "invented": len(got - expected.facts),
        "duplicates": len(fact_keys) - len(got) + int(frame["fact_id"].is_duplicated().sum()),
        "mirrored_twice": len(both),
    }


def rejects(expected: Truth, artifacts: Path) -> dict[str, dict[str, int]]:
    """Rejected rows of the stage `facts` by reason, beside the numbers of the truth."""
    counts: dict[str, int] = json.loads((artifacts / "facts" / "manifest.json").read_text("utf-8"))["rejected"]
    reasons = sorted({*counts, *(reason for reason, count in expected.rejects.items() if count)})
    return {reason: {"expected": expected.rejects[reason], "got": counts.get(reason, 0)} for reason in reasons}


def askable(expected: Truth, tables: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """The facts with one object that have a question."""
    got = set(keys(_asked(tables).filter(pl.col("functional"))))
    return {
        "expected": len(expected.survive),
        "expected_if_worded_so": len(expected.unsure),
        "got": len(got),
        "lost": len(expected.survive - got),
        "invented": len(got - expected.survive - expected.unsure),
        "namesakes": dict(expected.namesakes),
    }


def matched(rehearsal: Rehearsal, expected: Truth, tables: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """The facts that may be in the splits of `matched`, and how many the stage `splits` counts itself.

    Its forget splits ask for a tenth of each topic's eligible facts: `topics_off` are the topics where that is not a
    tenth of what the truth expects.
    """
    known = tables["knowledge/data"].filter((pl.col("rule") == "matched") & pl.col("known"))["fact_id"]
    counted = _counted(tables)
    eligible = _asked(tables).filter(
        pl.col("functional") & pl.col("subject_qid").is_in(counted) & pl.col("fact_id").is_in(known.implode())
    )
    name_of = names(rehearsal)

    def choosable(chosen: set[Key]) -> set[Key]:
        titled = {key for key in chosen if rehearsal.world.items[key[0]].title and key[0] in name_of}
        return {key for key in titled if knows(key[0], key[1], rehearsal.links[key[0]])}

    sure, unsure, got = choosable(expected.survive), choosable(expected.unsure), set(keys(eligible))
    members = tables["splits/data"].filter(pl.col("recipe") == "matched")
    inside = set(keys(tables["facts/data"].join(members.select("fact_id").unique(), on="fact_id")))
    wanted = dict(tables["splits/capacity"].filter(pl.col("recipe") == "matched").select("split", "wanted").iter_rows())
    topics_off = []
    for topic in rehearsal.members:
        topic_keys = set(keys(tables["facts/data"].filter(pl.col("topic") == topic)))
        size = wanted.get(f"{topic.partition('_')[2] or topic}_forget_rare_10", 0)
        if not len(sure & topic_keys) // 10 <= size <= len((sure | unsure) & topic_keys) // 10:
            topics_off.append(topic)
    return {
        "expected": len(sure),
        "expected_if_worded_so": len(unsure),
        "eligible": len(got),
        "lost": len(sure - got),
        "invented": len((got | inside) - sure - unsure),
        "topics_off": topics_off,
        "pairs_in_splits": members["pair"].n_unique(),
    }


def paper(rehearsal: Rehearsal, expected: Truth, tables: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """The split `full_` of `paper`: one fact of each pair that the model knows by the published rule, with all links.

    Where that rule was not run, what the model knows does not matter.

    Of several accepted objects one carries the question, by hash: any of them is right, as long as all have links. The
    rule cuts answers at a full stop and takes the first sample with the most words of the answer. So it depends on the
    wording for names with a full stop, and for pairs where one object's name contains another's.
    """
    items, name_of = rehearsal.world.items, names(rehearsal)
    answers: dict[Pair, set[str]] = defaultdict(set)
    for row in rows(rehearsal, project_files()[1]):
        if not row.reason and row.key[2] == "entity":
            answers[row.key[0], row.stem].add(name_of[row.key[3]])
    validated = "paper" in tables["knowledge/data"]["rule"]
    sure: set[Pair] = set()
    possible: set[Pair] = set()
    allowed: set[Key] = set()
    for pair in {*expected.fair, *expected.doubtful}:
        fair, doubtful = expected.fair.get(pair, set()), expected.doubtful.get(pair, set())
        linked = {key for key in fair | doubtful if key[2] == "entity" and items[key[3]].title}
        if not linked or not items[pair[0]].title:
            continue
        if validated and not knows(pair[0], next(iter(linked))[1], rehearsal.links[pair[0]]):
            continue
        allowed |= linked
        certain = not doubtful and linked == fair and (not validated or _told_apart(answers[pair]))
        (sure if certain else possible).add(pair)
    full = tables["splits/data"].filter((pl.col("recipe") == "paper") & (pl.col("split") == "full_"))
    got = tables["facts/data"].join(full.select("fact_id"), on="fact_id")
    pairs = Counter((str(subject), str(stem)) for subject, stem in got.select("subject_qid", "relation").iter_rows())
    candidates = _asked(tables).filter(
        pl.col("subject_qid").is_in(_counted(tables)) & pl.col("object_qid").is_in(_counted(tables)).fill_null(False)
    )
    return {
        "validated": validated,
        "candidates": candidates.height,
        "expected": len(sure),
        "expected_if_worded_so": len(possible),
        "in_full": got.height,
        "lost": len(sure - set(pairs)),
        "invented": len(set(pairs) - sure - possible) + len(set(keys(got)) - allowed),
        "duplicates": sum(count - 1 for count in pairs.values()),
    }


def by_alias(tables: Mapping[str, pl.DataFrame]) -> int:
    """Number of facts that count as known though no answer had the canonical name, but only an alias."""
    known = tables["knowledge/data"].filter((pl.col("rule") == "matched") & pl.col("known"))
    rows = known.join(tables["questions/data"].select("fact_id", "answer"), on="fact_id")
    folded = rows.select(pl.col("answer").str.to_lowercase(), pl.col("generations").list.join("\n").str.to_lowercase())
    return sum(answer not in text for answer, text in folded.iter_rows())


def _told_apart(texts: Iterable[str]) -> bool:
    """Whether the published rule can tell these answers apart."""
    words = [set(re.findall(r"\w+", text.lower())) for text in texts]
    nested = any(answer <= other for place, answer in enumerate(words) for other in words[:place] + words[place + 1 :])
    return not nested and len(words) <= SAMPLES and all(words) and not any("." in text for text in texts)


def _asked(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Questions with their facts."""
    return tables["questions/data"].join(tables["facts/data"].drop("relation", strict=False), on="fact_id")


def _counted(tables: Mapping[str, pl.DataFrame]) -> pl.Series:
    """Ids of the entities whose links were counted."""
    links = tables["links/data"]
    return links.filter(pl.col("inbound_links").is_not_null())["qid"].implode()
