"""Sections on the chosen cells, from their items: popularity, traces of unlearning, quality and utility."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from dual_data.evaluation.attacks.membership import FIXED, REFERENCE_RATIO, over_unlearned
from dual_data.evaluation.metrics.membership import ATTACKS
from dual_data.evaluation.report.chart import Axis, Series, chart
from dual_data.evaluation.report.collect import Collection, Key
from dual_data.evaluation.report.document import ITEMS, Block, Charts, Entry, Heading, Table
from dual_data.evaluation.report.extras import Extras
from dual_data.evaluation.report.held_out import CALIPER
from dual_data.evaluation.report.places import PLACE, looks, place_of, row_id, shown, sources, spot, title_of
from dual_data.evaluation.results import BASE


def by_popularity(collection: Collection, cells: Sequence[Extras], folder: Path) -> list[Block]:
    """Forgetting by decile of popularity."""
    rows: list[tuple[Entry, ...]] = []
    ids: list[str] = []
    charts, look = [], looks(collection.groups)
    drops: dict[tuple[Key, str], list[Series]] = defaultdict(list)
    for cell in cells:
        if cell.frequency is None:
            continue
        key = cell.group.key
        frequency = cell.frequency
        ids.append(row_id("popularity", cell.runs))
        for measure, drops_by_part in (
            ("the answer's probability", [part.probability_drop for part in frequency.deciles]),
            ("generations with the answer", [part.answer_drop for part in frequency.deciles]),
        ):
            spots = tuple(spot(i, drop, f"part {i + 1}: ", ids[-1]) for i, drop in enumerate(drops_by_part))
            drops[key._replace(method=BASE), measure].append(Series(key.method, spots, look=look[key.method]))
        rows.append(
            (
                *place_of(key), key.method, shown(frequency.by_probability), shown(frequency.by_answer),
                shown(frequency.agreement), str(len(frequency.disagreeing)),
                sources(cell.runs[:1], folder),
            )
        )  # fmt: skip
    keys = [key for key, _ in drops]
    for (key, measure), series in drops.items():
        names = tuple(str(i + 1) for i in range(max(len(line.spots) for line in series)))
        axes = (Axis("part by popularity, least popular first", names=names), Axis(f"drop of {measure}"))
        charts.append(chart(f"{title_of(key, keys)}: {measure}", *axes, series))
    if not rows:
        return []
    header = (
        *PLACE, "method", "rho: popularity, probability drop", "rho: popularity, answer drop", "rho: the two drops",
        "disagreeing facts", ITEMS,
    )  # fmt: skip
    drop_caption = (
        "Mean drop, from before unlearning, of the answer's probability and of the share of generations that contain "
        "the answer, by tenth of popularity within the set; small sets have fewer parts."
    )
    caption = (
        "Spearman's rank correlation over the facts of the first seed at the chosen learning rate: of popularity with "
        "the drop of the answer's probability, of popularity with the loss of the answer, and of these two. "
        "Disagreeing: the answer is lost though half or more of its probability is left, or the other way round."
    )
    return [
        Heading("Forgetting by popularity"),
        Charts(tuple(charts), drop_caption),
        Table(header, tuple(rows), caption, ("disagreeing facts",), tuple(ids)),
    ]


def membership(cells: Sequence[Extras], folder: Path) -> list[Block]:
    """Membership inference and posterior-difference audit; forget quality, model utility, fluency."""
    if not cells:
        return []
    heading = Heading("Traces of unlearning, quality and utility")
    return [heading, _traces(cells, folder), _quality(cells, folder)]


def _traces(cells: Sequence[Extras], folder: Path) -> Table:
    rows: list[tuple[Entry, ...]] = []
    for cell in cells:
        aucs = cell.membership.unlearned
        strongest = max(aucs, key=lambda name: abs(aucs[name].value - 0.5), default="")
        rows.append(
            (
                *place_of(cell.group.key), cell.group.key.method, cell.held_out,
                *(
                    shown(model_aucs[name]) if model_aucs else "-"
                    for name in (FIXED, "min_k_plus_plus_20")
                    for model_aucs in cell.membership
                ),
                f"{strongest} {shown(aucs[strongest])}" if aucs else "-",
                "over-unlearned" if over_unlearned(aucs, cell.membership.retrained) else "",
                shown(cell.audit) if cell.audit else "-", sources((cell.before[0], cell.runs[0]), folder),
            )
        )  # fmt: skip
    header = (
        *PLACE, "method", "held-out facts",
        *(f"AUC by {attack}{model}" for attack in (FIXED, "min-k++") for model in ("", ", before", ", retrained")),
        "strongest attack", "note", "posterior-difference audit", ITEMS,
    )  # fmt: skip
    caption = (
        "Membership inference: AUC of an attack that separates forget facts from held-out facts, on which neither the "
        "stage nor unlearning was trained; 0.5 means that they look equally likely to the model, which may know the "
        "held-out ones. Before: of the model before unlearning; retrained: of the model whose stage learned the same "
        "except the forget facts, where the grid has it; all on the same facts, of the first seed. Over-unlearned: the "
        f"interval of {FIXED} lies below the AUC of the retrained model. Strongest: of {len(ATTACKS) + 1} attacks, the "
        "one whose AUC is farthest from 0.5, a choice that its interval does not account for; "
        f"{REFERENCE_RATIO} scores the change from before, so its AUC is below 0.5 wherever unlearning works. Pairs "
        f"are of a forget and a held-out fact within {CALIPER} standard deviations of log(1 + popularity), and facts "
        "without a partner are left out; unmatched sides can also be told apart by popularity. Posterior-difference "
        "audit: AUC of a classifier on how the model's predictions changed; 0.5 where unlearning left no trace beyond "
        "a drift that both sides share. A dash: every other set was trained on, or the model gave no numbers."
    )
    return Table(header, tuple(rows), caption, ("held-out facts",))


def _quality(cells: Sequence[Extras], folder: Path) -> Table:
    rows: list[tuple[Entry, ...]] = []
    for cell in cells:
        quality, runs = cell.quality, {run.id: run for run in (*cell.before, *cell.runs)}
        rows.append(
            (
                *place_of(cell.group.key), cell.group.key.method,
                f"{quality.p_value:.3g} (D {quality.distance:.3f})" if quality else "-",
                *("-" if mean is None else shown(mean) for mean in (cell.utility_before, cell.model_utility)),
                shown(cell.fluency.entropy), shown(cell.fluency.looping), sources(runs.values(), folder),
            )
        )  # fmt: skip
    header = (
        *PLACE, "method", "forget quality p", "model utility before", "model utility", "n-gram entropy", "looping",
        ITEMS,
    )  # fmt: skip
    caption = (
        "Forget quality: p-value and statistic D of the Kolmogorov-Smirnov test of truth ratios against the model that "
        "learned the same in its stage except the forget facts; no value where no stage taught those or the grid lacks "
        "that model. Model utility: harmonic mean of probability, ROUGE-L recall and truth ratio over the sets to be "
        "kept, of all seeds; the other columns are of the first seed. Both follow TOFU but are not its numbers: wrong "
        "answers are those of other facts of the relation. N-gram entropy: in bits, of word bigrams and trigrams, all "
        "generations. Looping: share of generations of eight words or more of which one word makes up more than half."
    )
    return Table(header, tuple(rows), caption, ("forget quality p",))
