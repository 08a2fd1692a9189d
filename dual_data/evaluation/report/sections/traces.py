"""The section on what unlearning left in the chosen cells: traces that attacks find, and quality and utility."""

from __future__ import annotations

from collections.abc import Sequence

from dual_data.evaluation.metrics.membership import MEMBERSHIP_ATTACKS
from dual_data.evaluation.report.analysis.examined import ExaminedCell
from dual_data.evaluation.report.analysis.held_out import CALIPER_SD
from dual_data.evaluation.report.analysis.membership import FIXED, REFERENCE_RATIO, over_unlearned
from dual_data.evaluation.report.document import Block, Heading, Table
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.report.places import CellLine, cell_table, sources

_SHOWN_ATTACKS = {FIXED: FIXED, "min_k_plus_plus_20": "min-k++"}
"""Attacks with columns of their own, and their names there."""


def traces(cells: Sequence[ExaminedCell]) -> list[Block]:
    """Membership inference and posterior-difference audit; forget quality, model utility, fluency."""
    return [Heading("Traces of unlearning, quality and utility"), _traces(cells), _quality(cells)]


def _traces(cells: Sequence[ExaminedCell]) -> Table:
    lines = list[CellLine]()
    for cell in cells:
        key = cell.group.key
        aucs = cell.membership.unlearned
        strongest = max(aucs, key=lambda name: abs(aucs[name].value - 0.5), default="")
        texts = (
            cell.held_out,
            *(
                shown(model_aucs[name]) if model_aucs else "-"
                for name in _SHOWN_ATTACKS
                for model_aucs in cell.membership
            ),
            f"{strongest} {shown(aucs[strongest])}" if aucs else "-",
            "over-unlearned" if over_unlearned(aucs, cell.membership.retrained) else "",
            shown(cell.audit),
        )
        lines.append(CellLine(key, key.method, texts, sources((cell.before[0], cell.runs[0]))))
    columns = (
        "held-out facts",
        *(f"AUC by {attack}{model}" for attack in _SHOWN_ATTACKS.values() for model in ("", ", before", ", retrained")),
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
        "Posterior-difference audit: AUC, on the facts of half of the subjects, of a classifier of the change of the "
        "model's predictions that was fitted on the other half; 0.5 if unlearning "
        "left no trace beyond a drift that both sides share. A dash: every other set was trained on, or the model gave "
        "no numbers."
    )
    return cell_table(columns, lines, caption, ("held-out facts",))


def _quality(cells: Sequence[ExaminedCell]) -> Table:
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
        "N-gram entropy: 1/3 of that of word bigrams and 2/3 of that of trigrams, over all generations, in bits. "
        "Looping: share of the generations that have eight words or more, of which one word makes up more than half."
    )
    return cell_table(columns, lines, caption, ("forget quality p",))
