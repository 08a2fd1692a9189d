"""The same steps in plain pandas: python -m benchmarks.pipeline.with_pandas PROJECT FOLDER [--objects].

Written as a competent user of pandas writes it: merges, groupby, boolean masks and list comprehensions over columns,
no row-wise apply. The project's small text functions (ids, words, rendering of literals) are shared, since the work on
frames is compared. The members of all splits are the same, to the last position.

From pandas 3 on, text columns hold Arrow strings, and `isin` and boolean masks over them are slower than over objects;
`--objects` takes the strings of pandas 2.
"""

# pandas has no complete types for what is done here.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import hashlib
import itertools
import sys
import tomllib
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.pipeline.outcome import PERCENTS, RECIPES, SMALLEST, Outcome

LEAK, ANSWER_WORDS, ANSWER_SHARE, ECHO_SHARE = 0.5, 10, 0.05, 0.04
CODE = "^([A-Z]+)-"
USES = ("canonical", "validation", "training", "test")
SIZES = {
    "retain_train": 1000,
    "retain_eval": 500,
    "neighbor_relation": 500,
    "world_facts": 500,
    "neighbor_subject": 500,
}
RETAIN = (500, 1500)
NARROW = ["fact_id", "topic", "stem", "kind", "subject", "subject_label", "value", "answer", "functional"]
NARROW += ["subject_mentions", "object_mentions"]
PAIRED = ["fact_id", "topic", "stem", "subject", "bond", "side", "rank", "key", "length"]
ROLES = ("retain_train", "retain_train", "retain_eval", "neighbor_relation")


def hash_rank(keys: Any, salt: str) -> list[int]:
    """The first 8 bytes of sha256("salt|key")."""
    ranks = {
        key: int.from_bytes(hashlib.sha256(f"{salt}|{key}".encode()).digest()[:8], "big") for key in dict.fromkeys(keys)
    }
    return [ranks[key] for key in keys]


def read_facts(project: Path, folder: Path, outcome: Outcome) -> Any:  # noqa: PLR0915 - one script, as such scripts are
    """All triplets, with ids from labels, counts, and the reasons of rejected ones."""
    import pandas as pd

    from dual_data.config import load_relations, load_topics
    from dual_data.ids import fact_id, label_id
    from dual_data.sources.values import cell
    from dual_data.text.words import clean

    relations = load_relations(project / "pipeline" / "relations")
    topics = load_topics(project / "pipeline" / "topics.toml")
    excluded = tomllib.loads((project / "pipeline" / "relations" / "EXCLUDED.toml").read_text("utf-8"))
    tables = []
    for topic in topics:
        path = folder / f"{topic}.csv"
        if path.is_file():
            tables.append(pd.read_csv(path, dtype=str, keep_default_na=False).assign(topic=topic))
    rows = pd.concat(tables, ignore_index=True)
    outcome.rows = len(rows)

    labels = {text: clean(text) for text in pd.unique(pd.concat([rows.subjectLabel, rows.objectLabel]))}
    minted = {text: label_id(text) for text in set(labels.values())}
    rows["subject_label"], rows["object_label"] = rows.subjectLabel.map(labels), rows.objectLabel.map(labels)
    rows["subject"], rows["object"] = rows.subject_label.map(minted), rows.object_label.map(minted)

    stems = {
        (label, topic): stem
        for stem, relation in relations.items()
        for label in relation.labels
        for topic in relation.topics
    }
    claimed: dict[str, set[str]] = {}
    for relation in relations.values():
        for label in relation.labels:
            claimed.setdefault(label, set()).add(relation.property)
    label_rows: list[tuple[str | None, ...]] = []
    for topic, written in rows[["topic", "relation"]].drop_duplicates().itertuples(index=False):
        stem = stems.get((written, topic)) or stems.get((written, "*"))
        if stem is not None:
            label_rows.append((topic, written, stem, relations[stem].property, relations[stem].object, None))
            continue
        candidates = claimed.get(written, set())
        reason = "not_asked_in_topic" if candidates else "unknown_relation"
        excluded_topics = excluded[written].get("topics", ["*"]) if written in excluded else []
        if topic in excluded_topics or "*" in excluded_topics:
            reason = "excluded_relation"
        property_id = next(iter(candidates)) if len(candidates) == 1 else label_id(written)
        label_rows.append((topic, written, None, property_id, "entity", reason))
    table = pd.DataFrame(label_rows, columns=["topic", "relation", "stem", "property", "kind", "reason"])
    rows = rows.merge(table, on=["topic", "relation"], how="left")
    bare = rows.subject_label.str.fullmatch(r"Q[1-9]\d*") | rows.object_label.str.fullmatch(r"Q[1-9]\d*")
    rows.loc[bare, "reason"] = "no_label"
    asks_who = [stem for stem, relation in relations.items() if relation.questions.canonical.startswith("Who ")]
    nobody = rows.stem.isin(asks_who) & rows.object_label.isin(["anonymous", "unknown"])
    rows.loc[nobody & rows.reason.isna(), "reason"] = "somevalue"

    rows["value"], rows["text"] = rows["object"], rows.object_label
    literals = rows[(rows.kind != "entity") & rows.reason.isna()]
    for index, stem, text in zip(literals.index, literals.stem, literals.object_label, strict=True):
        rows.loc[index, ["value", "text", "reason"]] = cell(text, relations[stem])[:3]
    entity = rows.kind == "entity"

    triplets = rows.drop_duplicates(["subject", "property", "kind", "value"])
    as_object = triplets.loc[(triplets.kind == "entity") & (triplets.value != triplets.subject), "value"]
    mentions = pd.concat([triplets.subject, as_object]).value_counts()
    rows["subject_mentions"] = rows.subject.map(mentions)
    rows["object_mentions"] = rows.value.map(mentions).where(entity)
    rows["scope"] = rows.stem.where(rows.kind == "date", "")
    pair = ["subject", "property", "scope"]
    objects = rows.drop_duplicates([*pair, "kind", "value"]).groupby(pair).size().rename("objects").reset_index()
    rows = rows.merge(objects, on=pair, how="left")

    keys = zip(rows.subject, rows.property, rows.kind, rows.value, strict=True)
    rows["fact_id"] = [fact_id(*key) for key in keys]
    usable = rows.reason.isna()
    repeated = usable & rows[usable].duplicated("fact_id").reindex(rows.index, fill_value=False)
    rows.loc[repeated, "reason"] = "duplicate"

    one_object = [stem for stem, relation in relations.items() if relation.unique == "one"]
    repeated = mirror_images(rows[rows.reason.isna() & rows.stem.isin(one_object)], relations)
    rows.loc[rows.reason.isna() & rows.fact_id.isin(repeated), "reason"] = "mirrored"
    return rows


def mirror_images(rows: Any, relations: Any) -> Any:
    """Ids of facts that another one states with subject and object swapped, except the first of each such group."""
    from dual_data.sources.assembly import directions

    family = directions(relations)
    stated = rows[(rows.kind == "entity") & rows.property.isin(list(family))].copy()
    is_turned = [
        (value < subject) if family[name].symmetric else family[name].flipped
        for name, subject, value in zip(stated.property, stated.subject, stated.value, strict=True)
    ]
    ends = zip(is_turned, stated.subject, stated.value, strict=True)
    stated["ends"] = [f"{value}|{subject}" if turned else f"{subject}|{value}" for turned, subject, value in ends]
    stated["root"] = [family[name].root for name in stated.property]
    one_object = {stem for stem, relation in relations.items() if relation.unique == "one"}
    stated["several"] = stated.stem.isin(one_object) & (stated.objects > 1)
    stated["number"] = [int(name[1:]) for name in stated.property]
    stated["length"] = stated.subject.str.len()
    ordered = stated.sort_values(["several", "number", "length", "subject"], kind="stable")
    return ordered.fact_id[ordered.duplicated(["root", "ends"])]


def words_by_use(wording: Any, words: Any) -> list[list[frozenset[str]]]:
    """The words of every wording, without the subject; one list per use."""
    return [[frozenset(words(text.replace("{subject}", " "))) for text in texts] for texts in wording.by_use().values()]


def ask(facts: Any, project: Path) -> Any:  # noqa: PLR0915
    """The facts with their questions, and the reasons of those that cannot be asked."""
    import re

    import pandas as pd

    from dual_data import templates
    from dual_data.config import load_relations, load_topics
    from dual_data.text.rouge import unicode_tokens
    from dual_data.text.words import fold

    relations = load_relations(project / "pipeline" / "relations")
    topics = load_topics(project / "pipeline" / "topics.toml")
    facts = facts.assign(rank=hash_rank(facts.fact_id, "questions"), reason=None).sort_values("fact_id")
    one_object = facts.stem.map({stem: relation.unique == "one" for stem, relation in relations.items()})
    literal = [
        templates.literal_answers(relations[stem], kind, value) if kind != "entity" else (label,)
        for stem, kind, value, label in zip(facts.stem, facts.kind, facts.value, facts.text, strict=True)
    ]
    facts["answers"] = [list(forms) for forms in literal]
    facts["answer"] = [forms[0] if forms else None for forms in literal]

    def reject(wrong: Any, reason: str) -> None:
        facts.loc[wrong & facts.reason.isna(), "reason"] = reason

    reject((facts.subject == facts.value) | (facts.subject_label.str.lower() == facts.text.str.lower()), "self_answer")
    reject(one_object & (facts.objects > 1), "several_objects")
    reject(facts.answer.isna(), "unanswerable")
    reject(facts.answer.fillna("").str.split().str.len() > ANSWER_WORDS, "answer_too_long")
    several = facts.groupby(facts.subject_label.str.lower()).subject.transform("nunique") > 1
    reject(several, "ambiguous_subject")

    takes_article = facts.topic.isna()
    answer_takes_article = takes_article.copy()
    for name, topic in topics.items():
        here = facts.topic == name
        is_answer = facts.value.isin(facts.subject[here])
        for pattern in topic.article:
            takes_article |= here & facts.subject_label.str.contains(re.compile(pattern))
            answer_takes_article |= is_answer & facts.text.str.contains(re.compile(pattern))
    with_article = {
        stem
        for stem, relation in relations.items()
        if re.search(r"\b(the|an?) \{answer\}", relation.questions.statement or "", re.IGNORECASE)
    }
    answer_takes_article &= ~facts.stem.isin(with_article)
    answer_takes_article &= ~facts.answer.fillna("").str.contains(re.compile("^[Tt]he "))
    bare = facts.subject_label.str.replace(re.compile("^[Tt]he "), "", regex=True)
    facts["form"] = facts.subject_label.where(~takes_article, "the " + bare)

    wording_words = {stem: words_by_use(relation.questions, unicode_tokens) for stem, relation in relations.items()}
    vocabularies = {
        stem: frozenset().union(*itertools.chain.from_iterable(uses)) for stem, uses in wording_words.items()
    }

    def fair_wordings(stem: str, form: str, answer: str) -> tuple[list[int], ...]:
        """Places of the wordings of each use that do not hold the answer."""
        subject_words, uses = unicode_tokens(form), wording_words[stem]
        if templates.overlap(answer, vocabularies[stem].union(subject_words)) < LEAK:
            return tuple(list(range(len(texts))) for texts in uses)
        fair = tuple(
            [place for place, text in enumerate(texts) if templates.overlap(answer, text.union(subject_words)) < LEAK]
            for texts in uses
        )
        if len(fair[1]) % 2 == 0:
            del fair[1][-1:]
        return fair

    columns = (facts.stem, facts.form, facts.answer, facts.reason)
    facts["fair"] = [
        ([], [], [], []) if isinstance(reason, str) else fair_wordings(stem, form, answer)
        for stem, form, answer, reason in zip(*columns, strict=True)
    ]
    reject(~facts.fair.map(lambda fair: bool(fair[0])), "answer_in_question")
    reject(~facts.fair.map(lambda fair: bool(fair[1] and fair[3])), "no_wording_left")
    names = zip(facts.subject_label, facts.answer, facts.reason, strict=True)
    begins_with_answer = [
        not isinstance(reason, str) and fold(label).startswith(fold(answer)) for label, answer, reason in names
    ]
    reject(pd.Series(begins_with_answer, index=facts.index), "answer_is_prefix")
    reject(facts.fact_id.isin(mirror_images(facts[facts.reason.isna()], relations)), "mirrored")

    def render(template: str | None, form: str, answer: str) -> str | None:
        if template is None:
            return None
        text = template.format(subject=form, answer=answer)
        first = text.split(" ", 1)[0]
        text = text[:1].upper() + text[1:] if first == first.lower() else text
        return re.sub(r"([^.]\.)\.$|([^?]\?)\?$", r"\1\2", text) if text.endswith(("..", "??")) else text

    wanted = facts[["stem", "form", "answer"]].fillna("")
    triples = list(wanted.itertuples(index=False, name=None))
    facts["question"] = [render(relations[stem].questions.canonical, *rest) for stem, *rest in triples]
    named = wanted.answer.where(~answer_takes_article, "the " + wanted.answer)
    facts["statement"] = [
        render(relations[stem].questions.statement, *rest)
        for stem, *rest in zip(facts.stem, wanted.form, named, strict=True)
    ]
    for use, name in enumerate(USES[1:], start=1):
        facts[name] = [
            [render(getattr(relations[stem].questions, name)[place], *rest) for place in fair[use]]
            for (stem, *rest), fair in zip(triples, facts.fair, strict=True)
        ]

    right_facts = facts[~one_object & (facts.reason.isna() | (facts.reason == "mirrored"))]
    right_facts = right_facts.assign(last=right_facts.reason.notna()).sort_values(["last", "rank", "fact_id"])
    grouped = right_facts.groupby(["stem", "subject"], sort=False)
    carriers = grouped.fact_id.first()
    merged = {
        carriers[key]: list(dict.fromkeys(itertools.chain.from_iterable(lists))) for key, lists in grouped.answers
    }
    reject(~one_object & ~facts.fact_id.isin(merged), "further_object")
    facts["answers"] = [merged.get(key, own) for key, own in zip(facts.fact_id, facts.answers, strict=True)]

    def accepted(stem: str, form: str, fair: tuple[list[int], ...], answers: list[str]) -> list[str]:
        """The canonical answer, and the others that no fair wording holds."""
        if not any(
            templates.overlap(other, vocabularies[stem].union(unicode_tokens(form))) >= LEAK for other in answers[1:]
        ):
            return answers
        wordings = [
            wording_words[stem][use][place].union(unicode_tokens(form))
            for use, places in enumerate(fair)
            for place in places
        ]
        return answers[:1] + [
            other for other in answers[1:] if all(templates.overlap(other, text) < LEAK for text in wordings)
        ]

    several = facts.reason.isna() & (facts.answers.str.len() > 1)
    facts["answers"] = [
        accepted(stem, form, fair, answers) if more else answers
        for more, stem, form, fair, answers in zip(
            several, facts.stem, facts.form, facts.fair, facts.answers, strict=True
        )
    ]
    askable = facts.reason.isna()
    same = facts.question.str.lower().where(askable).duplicated(keep=False) & askable
    reject(same, "same_question")
    facts["functional"] = one_object & (facts.objects == 1)
    return facts


def choose(pool: Any) -> dict[str, dict[str, Any]]:
    """The members of every split of every recipe, in order."""
    from dual_data.text.rouge import share_a_word

    pool = pool[NARROW].assign(rank=hash_rank(pool.fact_id, "facts"))
    ends = zip(pool.subject, pool.value, pool.kind, pool.fact_id, strict=True)
    pool["bond"] = ["|".join(sorted((s, v))) if kind == "entity" else fact for s, v, kind, fact in ends]
    names = {topic: topic.partition("_")[2] or topic for topic in sorted(pool.topic.unique())}
    splits: dict[str, dict[str, Any]] = {}
    eligible = pool[pool.functional].copy()
    roles = [ROLES[rank % len(ROLES)] for rank in hash_rank(eligible.subject, "role")]
    words = eligible.answer.str.split().str.len().astype(str)
    code = eligible.answer.str.extract(CODE, expand=False).fillna("")
    eligible["role"], eligible["key"] = roles, eligible.answer.str.lower()
    eligible["echo"] = share_a_word(eligible.answer, eligible.subject_label)
    eligible["length"] = words + "w" + eligible.answer.str.len().astype(str) + code
    sided = thirds(eligible)
    for recipe, by in (("matched", "length"), ("matched_answer", "key")):
        splits[recipe] = {}
        for topic, name in [*names.items(), (None, "all")]:
            facts = eligible if topic is None else eligible[eligible.topic == topic]
            sided_facts = sided if topic is None else sided[sided.topic == topic]
            splits[recipe].update(family(eligible, facts, sided_facts, topic, name=name, by=by))
    splits["paper"] = {}
    pool["pop_sum"] = pool.subject_mentions + pool.object_mentions
    candidates = pool[pool.pop_sum.notna()].sort_values(["pop_sum", "rank"])
    for topic, name in names.items():
        splits["paper"].update(published(candidates[candidates.topic == topic], name))
    splits["paper"]["full_"] = candidates
    return splits


def thirds(eligible: Any) -> Any:
    """The lowest and the highest third of each relation in each topic, where no popularity is in both."""
    ordered = eligible.sort_values(["topic", "stem", "subject_mentions", "rank"])
    groups = ordered.groupby(["topic", "stem"])
    place, size = groups.cumcount(), groups.subject.transform("size")
    third = size // 3
    ordered["side"] = None
    ordered.loc[place < third, "side"] = "rare"
    ordered.loc[place >= size - third, "side"] = "popular"
    sided = ordered[ordered.side.notna()]
    groups = sided.groupby(["topic", "stem", "side"]).subject_mentions
    ends = groups.agg(["min", "max"]).unstack("side")
    apart = ends[("max", "rare")] < ends[("min", "popular")]
    keys = list(zip(sided.topic, sided.stem, strict=True))
    return sided[apart.reindex(keys).to_numpy()]


def rank_pairs(rows: Any, cell: list[str]) -> Any:
    """Pairs of rare and popular rows of each cell, matched in rank order, in the order of the higher rank."""
    rows = rows.sort_values("rank")
    rows = rows.assign(place=rows.groupby([*cell, "side"]).cumcount())
    rare, popular = rows[rows.side == "rare"], rows[rows.side == "popular"]
    pairs = rare.merge(popular, on=[*cell, "place"], suffixes=("_rare", "_popular"))
    pairs["rank"] = pairs[["rank_rare", "rank_popular"]].max(axis=1)
    return pairs.sort_values(["rank", "fact_id_rare"])


def matched_pairs(sided: Any, cell: list[str], most: int) -> Any:
    """All pairs such that no subject and no bond occurs twice, and no answer more than `most` times per side."""
    import numpy as np
    import pandas as pd

    used: set[str] = set()
    counts: Counter[tuple[str, str]] = Counter()
    rounds: list[Any] = []
    remaining = sided[PAIRED].assign(answer_key=sided.key)
    while True:
        remaining = remaining[~remaining.subject.isin(used) & ~remaining.bond.isin(used)].sort_values("rank")
        answer_counts = [counts[key] for key in zip(remaining.side, remaining.answer_key, strict=True)]
        rows = remaining[remaining.groupby(["side", "answer_key"]).cumcount() + answer_counts < most]
        if not rounds:
            rows = rows.drop_duplicates("subject")
        pairs = rank_pairs(rows, cell)
        disjoint = []
        columns = (pairs.subject_rare, pairs.subject_popular, pairs.bond_rare, pairs.bond_popular)
        for values in zip(*columns, strict=True):
            is_free = used.isdisjoint(values) and len(set(values)) == 4
            disjoint.append(is_free)
            if is_free:
                used.update(values)
        pairs = pairs[np.array(disjoint, dtype=bool)]
        for side in ("rare", "popular"):
            counts.update((side, value) for value in pairs[f"answer_key_{side}"])
        rounds.append(pairs)
        if pairs.empty and len(rounds) > 1:
            return pd.concat(rounds)


def family(eligible: Any, own: Any, sided: Any, topic: str | None, *, name: str, by: str) -> dict[str, Any]:
    """The splits of one topic, or of all."""
    import pandas as pd

    from dual_data.text.words import fold

    sizes = {percent: len(own) * percent // 100 for percent in PERCENTS}
    if max(sizes.values()) < SMALLEST:
        return {}
    pairs = matched_pairs(sided, ["topic", "stem", by], max(1, int(ANSWER_SHARE * max(sizes.values()) + 1e-9)))
    counts: Counter[str] = Counter()
    chosen: list[int] = []
    filled: dict[int, int] = {}
    answers = [(f"r{a}", f"p{b}") for a, b in zip(pairs.answer_key_rare, pairs.answer_key_popular, strict=True)]
    waiting = list(range(len(answers)))
    for size in sorted(set(sizes.values())):
        most, passed = max(1, int(ANSWER_SHARE * size + 1e-9)), []
        for index in waiting:
            if len(chosen) < size and all(counts[value] < most for value in answers[index]):
                counts.update(answers[index])
                chosen.append(index)
            else:
                passed.append(index)
        filled[size], waiting = len(chosen), passed
    splits: dict[str, Any] = {}
    ordered, largest = pairs.iloc[chosen], 0
    by_id = own.set_index("fact_id", drop=False)
    for side in ("rare", "popular"):
        for percent, size in sizes.items():
            if SMALLEST <= size == filled[size]:
                splits[f"{name}_forget_{side}_{percent}"] = by_id.loc[ordered[f"fact_id_{side}"].head(size)]
                largest = max(largest, size)
    if not splits:
        return {}
    top = [
        by_id.loc[ordered[f"fact_id_{side}"].head(largest)].assign(order=range(largest)) for side in ("rare", "popular")
    ]
    forget = pd.concat(top)
    free = own[~own.subject.isin(forget.subject)].sort_values("rank")
    neighbors = eligible[eligible.subject.isin(forget.subject) & ~eligible.fact_id.isin(forget.fact_id)]
    order = dict(zip(forget.subject, forget.order, strict=True))
    candidates = {
        "retain_train": free[free.role == "retain_train"],
        "retain_eval": free[free.role == "retain_eval"],
        "neighbor_relation": free[free.role == "neighbor_relation"],
        "world_facts": eligible[(eligible.topic != topic) & ~eligible.subject.isin(own.subject)].sort_values("rank"),
        "neighbor_subject": neighbors.assign(order=neighbors.subject.map(order)).sort_values(["order", "rank"]),
    }
    bonds, named = set(forget.bond), set(map(fold, forget.subject_label))
    shares = forget.stem.value_counts()
    for split, facts in candidates.items():
        fresh = facts[~facts.bond.isin(bonds) & ~facts.answer.map(fold).isin(named)]
        if split == "neighbor_relation":
            fresh = fresh[fresh.groupby("key").cumcount() < int(ANSWER_SHARE * SIZES[split] + 1e-9)]
            fresh = fresh[fresh.stem.isin(shares.index)]
            quota = -(-fresh.stem.map(shares) * SIZES[split] // len(forget))
            fresh = fresh[fresh.groupby("stem").cumcount() < quota]
        rows = within_shares(fresh, SIZES[split])
        if len(rows) >= SMALLEST and not (topic is None and split == "world_facts"):
            splits[f"{name}_{split}"] = rows
            bonds.update(rows.bond)
    return splits


def within_shares(rows: Any, wanted: int) -> Any:
    """The most rows in which no answer exceeds its share, nor do the answers that echo their subjects."""
    answers, echoes = rows.groupby("key").cumcount(), rows.echo.cumsum() - 1
    size, possible = -1, min(wanted, len(rows))
    while size != possible:
        size = possible
        few = answers < max(1, int(ANSWER_SHARE * size + 1e-9))
        allowed = rows[few & (~rows.echo | (echoes < max(1, int(ECHO_SHARE * size + 1e-9))))]
        possible = min(size, len(allowed))
    return allowed.head(size)


def published(own: Any, name: str) -> dict[str, Any]:
    """The published selection of one topic."""
    splits = {f"{name}_full": own} if len(own) >= SMALLEST else {}
    forget_ids: set[str] = set()
    for percent in PERCENTS:
        size = len(own) * percent // 100
        if size >= SMALLEST:
            for side, rows in (("rare", own.head(size)), ("popular", own.tail(size))):
                splits[f"{name}_forget_{side}_{percent}"] = rows
                forget_ids.update(rows.fact_id)
    rest = own[~own.fact_id.isin(forget_ids)].sort_values("rank")
    for wanted in RETAIN:
        if forget_ids and len(rest) >= wanted:
            splits[f"{name}_fast_retain_{wanted}"] = rest.head(wanted)
    return splits


def main() -> None:
    """Run and print the outcome."""
    outcome = Outcome()
    project, folder = Path(sys.argv[1]), Path(sys.argv[2])
    with outcome.part("imports"):
        import pandas as pd
    if "--objects" in sys.argv:
        warnings.simplefilter("ignore")
        pd.set_option("future.infer_string", False)
    with outcome.part("facts"):
        rows = read_facts(project, folder, outcome)
    with outcome.part("questions"):
        questions = ask(rows[rows.reason.isna()], project)
        pool = questions[questions.reason.isna()]
    with outcome.part("splits"):
        splits_by_recipe = choose(pool)
        for splits in splits_by_recipe.values():
            members = [rows[["fact_id"]].assign(split=name, position=range(len(rows))) for name, rows in splits.items()]
            pd.concat(members).merge(pool, on="fact_id", how="left")
    outcome.facts, outcome.questions = int(rows.reason.isna().sum()), len(pool)
    outcome.removed = pd.concat([rows.reason, questions.reason]).value_counts().to_dict()
    outcome.splits = {
        recipe: {split: (len(rows), 0) for split, rows in splits_by_recipe[recipe].items()} for recipe in RECIPES
    }
    outcome.keep(
        (recipe, split, position, fact)
        for recipe, splits in splits_by_recipe.items()
        for split, rows in splits.items()
        for position, fact in enumerate(rows.fact_id)
    )
    outcome.print()


if __name__ == "__main__":
    main()
