"""What models know before unlearning, by popularity."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from dual_data.bootstrap import SHARE, Interval, bootstrap_mean
from dual_data.report.figures import SERIES, Figure, shortened
from dual_data.report.read import Built, empty_answers
from dual_data.report.signals import Popularity, popularity
from dual_data.report.tables import Percent, Section, paragraph, share, table
from dual_data.statistics import average_ranks
from dual_data.text.markup import Html

TITLE = "Known facts by popularity"
_TOGETHER = "equal counts stay together, and deciles without facts are left out"
_MARKERS = "osD^vPX*"
_DASHES = ("-", "--", ":")


class Known(NamedTuple):
    """How many of some facts one model knows."""

    facts: int
    subjects: int
    known: int
    share: Interval

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Known:
        """Of probed facts, with an interval over subjects: those of one subject tend to be known together."""
        known, subjects = rows["known"], rows["subject_qid"]
        interval = bootstrap_mean(known.cast(pl.Float64), subjects.to_list(), SHARE)
        return cls(rows.height, subjects.n_unique(), int(known.sum()), interval)

    @property
    def columns(self) -> tuple[object, ...]:
        """Of a table: the numbers, the share and the ends of its interval."""
        return self.facts, self.subjects, self.known, *map(Percent, self.share[:3])


class Decile(NamedTuple):
    """The facts of one tenth that one model knows."""

    number: int
    """1 for the rarest."""
    smallest: float
    largest: float
    known: Known


def section(built: Built) -> Section:
    """Shares of known facts by decile of the subject's popularity, model and rule."""
    probed = built.table("knowledge")
    if probed is None or probed.is_empty():
        why = built.why_missing("knowledge") if probed is None else "No model is set in [[knowledge.models]]."
        return Section.without("knowledge", TITLE, f"{why} So it is not known what any model knows.")
    counted = popularity(built)
    if counted is None or (rows := probed.join(counted.counts.drop_nulls("subject"), on="fact_id")).is_empty():
        return Section.without("knowledge", TITLE, "No probed fact has a popularity.")
    by_model = {
        f"{model}, {rule}": _by_decile(group)
        for (model, rule), group in sorted(rows.partition_by("model", "rule", as_dict=True).items())
    }
    introduction = (
        "Each model answered closed-book. Rule matched: a fact is known if most of the model's answers to paraphrases "
        "of its question give an accepted answer, and those to the same questions about other subjects mostly do not. "
        f"Rule paper: it is known if the best of 15 samples is similar enough to the answer. {counted.meaning} "
        "Intervals are over subjects, drawn with all their facts: those of one tend to be known together."
    )
    parts = (paragraph(introduction), _summary(probed, counted), _lines(by_model, counted), _numbers(by_model, counted))
    return Section("knowledge", TITLE, parts)


def _summary(probed: pl.DataFrame, counted: Popularity) -> Html:
    clustered = probed.join(counted.counts.select("fact_id", "subject_qid"), on="fact_id", how="left")
    # A fact that the build no longer has is a cluster of its own.
    clustered = clustered.with_columns(pl.col("subject_qid").fill_null(pl.col("fact_id")))
    rows = []
    for (model, rule), group in sorted(clustered.partition_by("model", "rule", as_dict=True).items()):
        controls = group["control_known"].drop_nulls()
        control, empty = share(int(controls.sum()), controls.len()), share(*empty_answers(group))
        rows.append((model, rule, *Known.of(group).columns, control, empty))
    header = ("model", "rule", "probed", "subjects", "known", "share", "95 % from", "to", "control", "empty answers")
    caption = (
        "Known facts by model; control: the share whose answer the model also gives for most other subjects asked; "
        "empty answers, as of a model that declines or is cut off while it reasons, count as not known"
    )
    return table(caption, header, rows)


def _by_decile(rows: pl.DataFrame) -> list[Decile]:
    # By the middle of a value's ranks, so that equal counts stay together.
    tenths = np.floor(10 * (average_ranks(rows["subject"].to_numpy()) - 0.5) / rows.height).astype(int)
    numbered = rows.with_columns(decile=pl.Series(tenths)).partition_by("decile", as_dict=True)
    result = []
    for (number,), group in sorted(numbered.items()):
        counts = group["subject"].to_numpy()
        result.append(Decile(number + 1, counts.min(), counts.max(), Known.of(group)))
    return result


def _numbers(by_model: dict[str, list[Decile]], counted: Popularity) -> Html:
    rows = []
    for name, tenths in by_model.items():
        for tenth in tenths:
            rows.append((name, tenth.number, int(tenth.smallest), int(tenth.largest), *tenth.known.columns))
    header = ("model and rule", "decile", "fewest", "most", "facts", "subjects", "known", "share", "95 % from", "to")
    caption = f"Known facts by decile of the subject's {counted.name}; {_TOGETHER}"
    return table(caption, header, rows)


def _lines(by_model: dict[str, list[Decile]], counted: Popularity) -> Figure:
    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        for number, (name, tenths) in enumerate(by_model.items()):
            shares = [tenth.known.share for tenth in tenths]
            nudge = 0.08 * (number - (len(by_model) - 1) / 2)
            axes.errorbar(
                [tenth.number + nudge for tenth in tenths],
                [known.value for known in shares],
                # Percentiles of draws need not hold the share itself; an error bar must not be negative.
                yerr=[
                    [max(0.0, known.value - known.low) for known in shares],
                    [max(0.0, known.high - known.value) for known in shares],
                ],
                color=SERIES[number % len(SERIES)], marker=_MARKERS[number % len(_MARKERS)], markersize=5,
                linestyle=_DASHES[number // len(SERIES) % len(_DASHES)], linewidth=1.4, elinewidth=0.8,
                label=shortened(name, 42),
            )  # fmt: skip
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlim(0.5, 10.5)
        axes.set_xticks(range(1, 11))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.set_xlabel(f"decile of the subject's {counted.name}, 1 for the rarest")
        axes.set_ylabel("known facts")
        canvas.legend(loc="outside upper left", ncols=2)

    description = "; ".join(
        f"{name}: {tenths[0].known.share.value:.0%} in decile {tenths[0].number}, "
        f"{tenths[-1].known.share.value:.0%} in decile {tenths[-1].number}"
        for name, tenths in by_model.items()
    )
    caption = (
        f"Share of known facts by decile of popularity, model and rule; {_TOGETHER}. Bars are 95 % intervals over "
        "subjects."
    )
    size = (7.2, 3.5 + 0.2 * ((len(by_model) + 1) // 2))
    return Figure("knowledge", caption, f"Line chart. {description}.", size, draw)
