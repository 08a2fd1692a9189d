"""Sections on the chosen cells, from their items: popularity, traces of unlearning, quality and utility."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from dual_data.evaluation.attacks.membership import FIXED, REFERENCE_RATIO, over_unlearned
from dual_data.evaluation.metrics.membership import ATTACKS
from dual_data.evaluation.report.chart import Axis, Series, chart
from dual_data.evaluation.report.collect import Key
from dual_data.evaluation.report.document import Block, Entry, Figures, Heading, Table
from dual_data.evaluation.report.extras import Extras
from dual_data.evaluation.report.held_out import CALIPER
from dual_data.evaluation.report.places import PLACE, place_of, row_id, shown, sources, spot, title_of
from dual_data.evaluation.results import BASE


def by_popularity(found: Sequence[Extras], folder: Path) -> list[Block]:
    """Forgetting by tenth of popularity."""
    rows: list[tuple[Entry, ...]] = []
    ids: list[str] = []
    charts = []
    drops: dict[tuple[Key, str], list[Series]] = defaultdict(list)
    for one in found:
        if one.frequency is None:
            continue
        key = one.group.key
        frequency = one.frequency
        ids.append(row_id("popularity", [one.run]))
        for what, of_parts in (
            ("the answer's probability", [part.probability_drop for part in frequency.deciles]),
            ("generations that hold the answer", [part.answer_drop for part in frequency.deciles]),
        ):
            spots = tuple(spot(i, drop, f"part {i + 1}: ", ids[-1]) for i, drop in enumerate(of_parts))
            drops[key._replace(method=BASE), what].append(Series(key.method, spots))
        rows.append(
            (
                *place_of(key), key.method, shown(frequency.by_probability), shown(frequency.by_answer),
                shown(frequency.agreement), str(len(frequency.disagreeing)),
                sources([one.run], folder),
            )
        )  # fmt: skip
    known = [start for start, _ in drops]
    for (start, what), series in drops.items():
        names = tuple(str(i + 1) for i in range(max(len(one.spots) for one in series)))
        axes = (Axis("part by popularity, least popular first", names=names), Axis(f"drop of {what}"))
        charts.append(chart(f"{title_of(start, known)}: {what}", *axes, series))
    if not rows:
        return []
    header = (
        *PLACE, "method", "popularity and probability drop", "popularity and answer drop",
        "the two drops", "facts on which they disagree", "items",
    )  # fmt: skip
    drop_caption = (
        "Mean drop by tenth of popularity within the set, of the answer's probability and of the share of generations "
        "that hold it; small sets have fewer parts."
    )
    caption = "Rank correlations with 95 % intervals, first seed of the chosen learning rate."
    return [
        Heading("Forgetting by popularity"),
        Figures(tuple(charts), drop_caption),
        Table(header, tuple(rows), caption, ("facts on which they disagree",), tuple(ids)),
    ]


def membership(found: Sequence[Extras], folder: Path) -> list[Block]:
    """Membership inference and posterior-difference audit; forget quality, model utility, fluency."""
    if not found:
        return []
    heading = Heading("Traces of unlearning, quality and utility")
    return [heading, _traces(found, folder), _quality(found, folder)]


def _traces(found: Sequence[Extras], folder: Path) -> Table:
    rows: list[tuple[Entry, ...]] = []
    for one in found:
        aucs = one.membership.unlearned
        strongest = max(aucs, key=lambda name: abs(aucs[name].value - 0.5), default="")
        rows.append(
            (
                *place_of(one.group.key), one.group.key.method, one.held_out,
                *(shown(by[name]) if by else "-" for name in (FIXED, "min_k_plus_plus_20") for by in one.membership),
                f"{strongest} {shown(aucs[strongest])}" if aucs else "-",
                "over-unlearned" if over_unlearned(aucs, one.membership.retrained) else "",
                shown(one.audit.auc) if one.audit else "-", sources((one.befores[0], one.run), folder),
            )
        )  # fmt: skip
    models = ("", " before", " retrained")
    header = (
        *PLACE, "method", "told from", *(f"{attack}{model}" for attack in (FIXED, "min-k++") for model in models),
        "strongest attack", "note", "posterior-difference audit", "items",
    )  # fmt: skip
    caption = (
        "Membership inference: AUC of telling forget facts from facts that neither the stage nor unlearning was "
        "trained on; before: by the model before unlearning; retrained: by the model whose stage learned the same but "
        "for the forget facts, where the grid has it; all on the same facts. 0.5: as likely as the held-out facts, "
        f"which the model may know. Over-unlearned: the interval of {FIXED} lies below the AUC of the retrained model. "
        f"The strongest attack is the one of {len(ATTACKS) + 1} whose AUC is farthest from 0.5, a choice that its "
        f"interval does not hold; {REFERENCE_RATIO} looks at the change from before, so it is below 0.5 wherever "
        f"unlearning works. Pairs are of a forget and a held-out fact, within {CALIPER} standard deviations of "
        "log(1 + popularity), and facts without one are left out; what is unmatched can be told by popularity. The "
        "audit's AUC is 0.5 where unlearning left no trace beyond a drift that both sides share. There is no number "
        "where every other set was trained on. Of the first seed."
    )
    return Table(header, tuple(rows), caption, ("told from",))


def _quality(found: Sequence[Extras], folder: Path) -> Table:
    rows: list[tuple[Entry, ...]] = []
    for one in found:
        quality, runs = one.quality, {run.id: run for run in (*one.befores, *one.runs)}
        rows.append(
            (
                *place_of(one.group.key), one.group.key.method,
                f"{quality.p_value:.3g} (D {quality.distance:.3f})" if quality else "-",
                *("-" if mean is None else shown(mean) for mean in (one.utility_before, one.model_utility)),
                shown(one.fluency.entropy), shown(one.fluency.looping), sources(runs.values(), folder),
            )
        )  # fmt: skip
    header = (
        *PLACE, "method", "forget quality p", "model utility before", "model utility", "n-gram entropy", "looping",
        "items",
    )  # fmt: skip
    caption = (
        "Forget quality is against the model whose stage learned the same but for the forget facts, and has no number "
        "where no stage taught those or the grid lacks that model; it is the p-value of the Kolmogorov-Smirnov test, D "
        "its statistic. Model utility is the harmonic mean of probability, ROUGE-L recall and truth ratio of what is "
        "to be kept, over all seeds and before unlearning on the same facts; what else stands here is of the first "
        "seed. Both are after TOFU and not its numbers: wrong answers are those of other facts of the relation. "
        "Looping: share of generations of eight words or more that repeat one in more than half."
    )
    return Table(header, tuple(rows), caption, ("forget quality p",))
