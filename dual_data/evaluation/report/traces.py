"""Sections on the chosen cells: popularity, traces of unlearning, and the attacks that needed the model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from dual_data.evaluation.report.chart import Axis, Series, Spot, chart
from dual_data.evaluation.report.document import Block, Figures, Heading, Table
from dual_data.evaluation.report.extras import Extras
from dual_data.evaluation.report.places import PLACE, Place, place_of, shown, spot, title_of

_QUANTISED = ("forget_before", "forget_unlearned", "forget", "retain_eval")


def by_popularity(found: Sequence[Extras]) -> list[Block]:
    """Forgetting by tenth of popularity."""
    rows, charts = [], []
    drops: dict[Place, list[Series]] = defaultdict(list)
    for one in found:
        if one.frequency is None:
            continue
        key = one.group.key
        spots = tuple(spot(i, decile.probability_drop) for i, decile in enumerate(one.frequency.deciles))
        drops[place_of(key)].append(Series(key.method, spots))
        frequency = one.frequency
        rows.append(
            (
                *place_of(key), key.method, shown(frequency.by_probability), shown(frequency.by_answer),
                shown(frequency.agreement), str(len(frequency.disagreeing)),
            )
        )  # fmt: skip
    for place, series in drops.items():
        names = tuple(str(i + 1) for i in range(max(len(one.spots) for one in series)))
        axes = (Axis("part by popularity, least popular first", names=names), Axis("drop of the answer's probability"))
        charts.append(chart(title_of(place, drops), *axes, series))
    if not rows:
        return []
    header = (
        *PLACE, "method", "popularity and probability drop", "popularity and answer drop",
        "the two drops", "facts on which they disagree",
    )  # fmt: skip
    caption = "Rank correlations with 95 % intervals, first seed of the chosen learning rate."
    return [
        Heading("Forgetting by popularity"),
        Figures(tuple(charts), "Mean drop by tenth of popularity within the set; small sets have fewer parts."),
        Table(header, tuple(rows), caption),
    ]


def membership(found: Sequence[Extras]) -> list[Block]:
    """Membership inference, posterior-difference audit, forget quality, model utility, fluency."""
    rows = []
    for one in found:
        quality, aucs = one.quality, one.membership
        worst = max(aucs, key=lambda name: abs(aucs[name].value - 0.5)) if aucs else ""
        rows.append(
            (
                *place_of(one.group.key), one.group.key.method, one.held_out,
                *(shown(aucs[name]) if aucs else "-" for name in ("loss", "min_k_plus_plus_20")),
                f"{worst} {shown(aucs[worst])}" if aucs else "-",
                "over-unlearned" if aucs and aucs[worst].high < 0.5 else "",
                shown(one.audit.auc) if one.audit else "-",
                f"{quality.p_value:.3g} (D {quality.distance:.3f})" if quality else "-",
                "-" if one.utility is None else f"{one.utility:.3f}",
                f"{one.fluency.entropy:.2f}", f"{one.fluency.looping:.1%}",
            )
        )  # fmt: skip
    if not rows:
        return []
    header = (
        *PLACE, "method", "told from", "loss", "min-k++", "strongest attack", "note",
        "posterior-difference audit", "forget quality p", "model utility", "n-gram entropy", "looping",
    )  # fmt: skip
    caption = (
        "Membership inference: AUC of telling forget facts from facts that neither the stage nor unlearning was "
        "trained on, paired by popularity where the column does not say unmatched; 0.5 is ignorance, below it the "
        "model was pushed past it. The audit's AUC is 0.5 where unlearning left no trace beyond general drift. "
        "Neither has a number where every other set was trained on. Forget quality is against the model tuned without "
        "the forget facts."
    )
    return [Heading("Traces of unlearning, quality and utility"), Table(header, tuple(rows), caption)]


def attacks(found: Sequence[Extras]) -> list[Block]:
    """Relearning, quantisation and the utility panel, where `dual-data eval attack` was run."""
    blocks: list[Block] = []
    charts, quantised, utility = [], [], []
    for one in found:
        key, known = one.group.key, one.attacks
        for curve in known.get("relearning", ()):
            series = [
                Series(name, tuple(Spot(1 + point["step"], point["probability"]) for point in curve[side]))
                for name, side in (("unlearned", "points"), ("control from the base", "control"))
            ]
            title = f"{key.method}, {key.stage}, {key.set}: tuned on {curve['tuned_on']}"
            axes = (Axis("1 + steps", log=True), Axis("probability of held-out forget answers", 0, 1))
            charts.append(chart(title, *axes, series))
        for bits, scores in known.get("quantisation", {}).items():
            quantised.append((*place_of(key), key.method, bits, *(f"{scores[name]:.3f}" for name in _QUANTISED)))
        if "utility" in known:
            scores = known["utility"]
            utility.append(
                (
                    *place_of(key), key.method, _of(scores["accuracy"]), _of(scores["accuracy_by_length"]),
                    _of(known["utility_before"]["accuracy"]),
                    "-" if scores["text_nll"] is None else f"{scores['text_nll']:.3f}",
                )
            )  # fmt: skip
    if charts:
        blocks += [Heading("Relearning"), Figures(tuple(charts), "Ordinary fine-tuning after unlearning.")]
        blocks.append(_relearning_table(found))
    if quantised:
        titles = (*PLACE, "method", "weights", "forget before", "forget unlearned", "forget rounded", "retain rounded")
        caption = "ROUGE-L recall; the last two after round-to-nearest of the merged weights, groups of 128 inputs."
        blocks += [Heading("Quantisation"), Table(titles, tuple(quantised), caption)]
    if utility:
        columns = (*PLACE, "method", "accuracy", "by length", "accuracy before", "NLL of plain text")
        blocks += [
            Heading("Utility panel"),
            Table(columns, tuple(utility), "The shipped panel of 88 choices and 8 texts."),
        ]
    return blocks


def _relearning_table(found: Sequence[Extras]) -> Table:
    rows = [
        (
            *place_of(one.group.key), one.group.key.method, curve["tuned_on"], f"{curve['area']:.3f}",
            *("never" if curve[name] is None else str(curve[name]) for name in ("half", "most")),
        )
        for one in found
        for curve in one.attacks.get("relearning", ())
    ]  # fmt: skip
    header = (*PLACE, "method", "tuned on", "area", "steps to 50 %", "steps to 90 %")
    return Table(header, tuple(rows), "Share of the gap between unlearned model and base that is recovered.")


def _of(values: Sequence[float]) -> str:
    return f"{values[0]:.3f} [{values[1]:.3f}, {values[2]:.3f}]"
