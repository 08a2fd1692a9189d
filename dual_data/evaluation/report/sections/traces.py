"""Sections on the chosen cells, from their items: popularity, traces of unlearning, quality and utility."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from dual_data.evaluation.metrics.membership import MEMBERSHIP_ATTACKS
from dual_data.evaluation.report.analysis.estimates import shown
from dual_data.evaluation.report.analysis.extras import Extras
from dual_data.evaluation.report.analysis.held_out import CALIPER_SD
from dual_data.evaluation.report.analysis.membership import FIXED, REFERENCE_RATIO, over_unlearned
from dual_data.evaluation.report.analysis.runs import Collection, Key
from dual_data.evaluation.report.chart import Axis, Series, chart
from dual_data.evaluation.report.document import Block, Charts, Heading, Table
from dual_data.evaluation.report.marks import looks, spot
from dual_data.evaluation.report.places import CellLine, cell_table, row_id, sources, title_of
from dual_data.evaluation.results import BASE


def by_popularity(collection: Collection, cells: Sequence[Extras]) -> list[Block]:
    """Forgetting by decile of popularity."""
    lines = list[CellLine]()
    charts, look = [], looks(collection)
    drops: dict[tuple[Key, str], list[Series]] = defaultdict(list)
    for cell in cells:
        if cell.frequency is None:
            continue
        key = cell.group.key
        frequency = cell.frequency
        row = row_id("popularity", cell.runs)
        for measure, drops_by_part in (
            ("the answer's probability", [part.probability_drop for part in frequency.deciles]),
            ("generations with the answer", [part.answer_drop for part in frequency.deciles]),
        ):
            spots = tuple(spot(i, drop, f"part {i + 1}: ", row, hollow=True) for i, drop in enumerate(drops_by_part))
            drops[key._replace(method=BASE), measure].append(Series(key.method, spots, look=look[key.method]))
        correlations = (frequency.by_probability, frequency.by_answer, frequency.agreement)
        texts = (*map(shown, correlations), str(frequency.disagreeing))
        lines.append(CellLine(key, key.method, texts, sources(cell.runs[:1]), row))
    keys = [key for key, _ in drops]
    for (key, measure), series in drops.items():
        names = tuple(str(i + 1) for i in range(max(len(line.spots) for line in series)))
        axes = (Axis("part by popularity, least popular first", names=names), Axis(f"drop of {measure}"))
        charts.append(chart(f"{title_of(key, keys)}: {measure}", *axes, series))
    columns = (
        "rho: popularity, probability drop", "rho: popularity, answer drop", "rho: the two drops", "disagreeing facts",
    )  # fmt: skip
    drop_caption = (
        "Mean drop since before unlearning, by decile of popularity within the set: of the answer's probability, and "
        "of the share of generations that contain the answer. Facts of equal popularity are in one part, so sets of "
        "few popularities have fewer parts, as have small ones. Hollow points are of one seed, here the first."
    )
    caption = (
        "rho: Spearman's rank correlation over the facts of the first seed at the chosen learning rate, between "
        "popularity, the drop of the answer's probability and the loss of the answer. Disagreeing facts: the answer is "
        "lost though half or more of its probability is left, or the other way round."
    )
    return [
        Heading("Forgetting by popularity"),
        Charts(tuple(charts), drop_caption),
        cell_table(columns, lines, caption, ("disagreeing facts",)),
    ]


def traces(cells: Sequence[Extras]) -> list[Block]:
    """Membership inference and posterior-difference audit; forget quality, model utility, fluency."""
    return [Heading("Traces of unlearning, quality and utility"), _traces(cells), _quality(cells)]


def _traces(cells: Sequence[Extras]) -> Table:
    lines = list[CellLine]()
    for cell in cells:
        key = cell.group.key
        aucs = cell.membership.unlearned
        strongest = max(aucs, key=lambda name: abs(aucs[name].value - 0.5), default="")
        texts = (
            cell.held_out,
            *(
                shown(model_aucs[name]) if model_aucs else "-"
                for name in (FIXED, "min_k_plus_plus_20")
                for model_aucs in cell.membership
            ),
            f"{strongest} {shown(aucs[strongest])}" if aucs else "-",
            "over-unlearned" if over_unlearned(aucs, cell.membership.retrained) else "",
            shown(cell.audit),
        )
        lines.append(CellLine(key, key.method, texts, sources((cell.before[0], cell.runs[0]))))
    columns = (
        "held-out facts",
        *(f"AUC by {attack}{model}" for attack in (FIXED, "min-k++") for model in ("", ", before", ", retrained")),
        "strongest attack", "note", "posterior-difference audit",
    )  # fmt: skip
    tried = len(MEMBERSHIP_ATTACKS) + 1  # with REFERENCE_RATIO
    caption = (
        "Membership inference: AUC of an attack that tells forget facts from held-out facts, on which neither the "
        "stage nor unlearning was trained. 0.5 means that both look equally likely to the model, which may know the "
        "held-out facts. Before: the model before unlearning. Retrained: the model whose stage learned the same "
        "without the forget facts, where the grid has it. All are measured on the same facts, of the first seed. "
        f"Over-unlearned: the interval of {FIXED} lies below the AUC of the retrained model. Strongest attack: of "
        f"{tried}, the one whose AUC is farthest from 0.5; its interval does not account for this choice. "
        f"{REFERENCE_RATIO} scores the change since before unlearning, so its AUC is below 0.5 wherever unlearning "
        f"works. Pairs: a forget and a held-out fact within {CALIPER_SD} standard deviations of log(1 + popularity); "
        "facts without a partner are left out. Unmatched sides can also be told apart by popularity. "
        "Posterior-difference audit: AUC of a classifier on the change of the model's predictions; 0.5 if unlearning "
        "left no trace beyond a drift that both sides share. A dash: every other set was trained on, or the model gave "
        "no numbers."
    )
    return cell_table(columns, lines, caption, ("held-out facts",))


def _quality(cells: Sequence[Extras]) -> Table:
    lines = list[CellLine]()
    for cell in cells:
        key, quality, runs = cell.group.key, cell.quality, {run.id: run for run in (*cell.before, *cell.runs)}
        texts = (
            f"{quality.p_value:.3g} (D {quality.distance:.3f})" if quality else "-",
            *map(shown, (cell.utility_before, cell.model_utility, *cell.fluency)),
        )
        lines.append(CellLine(key, key.method, texts, sources([*runs.values()])))
    columns = ("forget quality p", "model utility before", "model utility", "n-gram entropy", "looping")
    caption = (
        "Forget quality p: the p-value, with the statistic D in parentheses, of the Kolmogorov-Smirnov test of truth "
        "ratios against the model whose stage learned the same without the forget facts; a dash if no stage taught "
        "them or the grid lacks that model. Model utility: harmonic mean of probability, ROUGE-L recall and truth "
        "ratio over the sets to keep, over all seeds; the probability is the answer's own on retain_eval, and on the "
        "others its share among wrong answers. The other columns are of the first seed. Both follow TOFU but are "
        "not comparable with its numbers, since wrong answers are here those of other facts of the relation. "
        "N-gram entropy: of word bigrams and trigrams over all generations, in bits. Looping: share of the "
        "generations with eight or more words in which one word makes up more than half."
    )
    return cell_table(columns, lines, caption, ("forget quality p",))
