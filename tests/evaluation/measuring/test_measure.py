"""A cell measured: items, means, changes from the base."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Sequence

import pytest
import torch

from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.measure import Measurement, likelihood_scores, measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.score import Comparison
from dual_data.evaluation.measuring.workload import MeasureOptions, Workload, build_workload
from dual_data.evaluation.metrics.chance import trivial_baselines
from dual_data.evaluation.metrics.likelihood import sequence_rank
from dual_data.evaluation.metrics.summary import summarise
from dual_data.evaluation.metrics.text import text_scores
from dual_data.evaluation.metrics.truth_ratio import normalised_probability, truth_ratio
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.attack_prompts import ATTACK_PROMPTS, REVERSE
from dual_data.evaluation.rows.request import Answer, Outcome, Request, TokenScores
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec
from tests.evaluation.questions import cities


def _workload(loaded: Loaded, options: MeasureOptions) -> Workload:
    items = cities()
    sets = {"forget": items[:3], "retain_eval": items[3:]}
    return build_workload(loaded.tokenizer, sets, "chat", options, demonstrations=items[3:])


@pytest.fixture(scope="module")
def measured() -> tuple[Measurement, list[Measurement]]:
    """The base, and two adapters measured together, of which the first is fresh."""
    loaded = tiny("llama")
    workload = _workload(loaded, MeasureOptions(attacks=ATTACK_PROMPTS))
    base = measure(open_engine(loaded, max_new_tokens=6), workload, keep_reference=True)[0]
    adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0), seeds=(0, 1))
    weights = {name: (a, torch.full_like(b, 0.05)) for name, (a, b) in adapters.weights(1).items()}
    adapters.load_weights(1, weights)
    cells = measure(open_engine(loaded, adapters, rows=5, max_new_tokens=6), workload, base=base)
    return base, cells


def test_items_and_summary(measured: tuple[Measurement, list[Measurement]]) -> None:
    base, cells = measured
    assert len(cells) == 2
    same, changed = cells
    # The first adapter is fresh: it is the base. The second is not.
    for item in same.items["forget"]:
        assert item["scores"]["change_log_probability"] == pytest.approx(0, abs=1e-5)
        assert item["scores"]["kl"] == pytest.approx(0, abs=1e-6)
        assert item["scores"]["hidden_cosine"] == pytest.approx(1, abs=1e-5)
    assert changed.items["forget"][0]["scores"]["kl"] > 1e-4
    for item, before in zip(changed.items["retain_eval"], base.items["retain_eval"], strict=True):
        scores, first = item["scores"], before["scores"]
        assert scores["change_log_probability"] == pytest.approx(
            scores["sum_log_probability"] - first["sum_log_probability"], abs=1e-4
        )
        assert scores["change_entropy"] == pytest.approx(scores["entropy"] - first["entropy"], abs=1e-4)
        assert scores["change_log_rank"] == pytest.approx(
            math.log(scores["first_rank"] / first["first_rank"]), abs=1e-5
        )
        assert first["kl"] is None
        assert first["change_log_probability"] is None
    for name, rows in changed.items.items():
        for row in rows:
            expected = text_scores(row["generation"], row["ground_truth"], row["answers"])
            assert {key: row["scores"][key] for key in expected} == expected
            size = len(zlib.compress(row["ground_truth"].encode()))
            gold, wrong = row["scores"]["mean_log_probability"], row["distractors"]
            for score, recomputed in (
                ("truth_ratio", truth_ratio(gold, wrong)),
                ("normalised_probability", normalised_probability(gold, wrong)),
                ("sequence_rank", sequence_rank(gold, wrong)),
            ):
                assert row["scores"][score] == pytest.approx(recomputed, rel=1e-4)
            assert row["scores"]["member_zlib"] == pytest.approx(row["scores"]["mean_log_probability"] / size, rel=1e-5)
        mean = sum(row["scores"]["probability"] for row in rows) / len(rows)
        assert changed.summary[name]["probability"] == pytest.approx(mean)
        ranks = sorted(row["scores"]["first_rank"] for row in rows)
        middle = len(ranks) // 2
        median = ranks[middle] if len(ranks) % 2 else (ranks[middle - 1] + ranks[middle]) / 2
        assert changed.summary[name]["first_rank_median"] == median
        assert changed.summary[name]["items"] == len(rows)
        assert "truth_ratio" not in changed.summary[name]  # one large ratio would be most of its mean
    json.dumps([changed.items, changed.summary], allow_nan=False)
    assert base.reference is not None
    assert base.reference.logits.keys() == base.reference.hidden.keys() != set()


def test_worst_case_is_any_fair_hit(measured: tuple[Measurement, list[Measurement]]) -> None:
    rows = json.loads(json.dumps(measured[1][0].items["forget"]))
    for row in rows:
        for wording in (row, *row["paraphrases"], *row["attacks"]):
            wording["scores"]["contains_answer"] = 0.0
    nothing = summarise(rows, 0.0)
    assert (nothing["any_paraphrase"], nothing["any_in_context"], nothing["worst_case"]) == (0, 0, 0)
    rows[0]["paraphrases"][0]["scores"]["contains_answer"] = 1.0
    next(wording for wording in rows[1]["attacks"] if wording["attack"] == "in_context")["scores"][
        "contains_answer"
    ] = 1.0
    next(wording for wording in rows[2]["attacks"] if wording["attack"] == "multiple_choice")["scores"][
        "contains_answer"
    ] = 1.0
    summary = summarise(rows, 0.0)
    assert summary["any_paraphrase"] == pytest.approx(1 / 3)
    assert summary["paraphrase_contains_answer"] == pytest.approx(1 / sum(len(row["paraphrases"]) for row in rows))
    assert summary["any_in_context"] == pytest.approx(1 / 3)
    assert summary["worst_case"] == pytest.approx(2 / 3)  # the multiple choice shows the answer: it may be a guess
    assert summary["attack_multiple_choice"] == pytest.approx(1 / 3)
    for row in rows:
        row.update(paraphrases=[], attacks=[])
    assert summarise(rows, 0.0)["any_paraphrase"] is None


def test_corrected_score_is_null_at_a_perfect_baseline(measured: tuple[Measurement, list[Measurement]]) -> None:
    assert summarise(measured[1][0].items["forget"], 1.0)["rougeL_recall_corrected"] is None


def test_scores_of_an_answer_by_hand() -> None:
    before = TokenScores(2, (-0.5, -1.5, -0.1), (4, 1, 1), (False, True, True), (-1.0, -2.0, -9.0), (1.0, 1.0, 1.0))
    after = TokenScores(
        2,
        (-1.0, -3.0, -0.5),
        (1, 5, 9),
        (True, False, False),
        (-2.0, -4.0, -9.0),
        (0.5, 1.0, 1.0),
        (0.5, 2.5, 9.0),
        0.25,
    )
    assert likelihood_scores(after, "Paris", before) == pytest.approx(
        {
            "probability": math.exp(-2.0),
            "probability_with_end": math.exp(-1.5),
            "sum_log_probability": -4.0,
            "mean_log_probability": -2.0,
            "first_rank": 1.0,
            "worst_rank": 5.0,
            "exact_memorisation": 0.5,
            "extraction_strength": 0.0,
            "entropy": 3.0,
            "kl": 1.5,
            "hidden_cosine": 0.25,
            "change_log_probability": -2.0,
            "change_mean_log_probability": -1.0,
            "change_entropy": 1.5,
            "change_log_rank": -math.log(4.0),
            "member_loss": -2.0,
            "member_zlib": -2.0 / len(zlib.compress(b"Paris")),
            "member_min_k_20": -3.0,
            "member_min_k_40": -3.0,
            "member_min_k_plus_plus_20": 1.0,
            "member_min_k_plus_plus_40": 1.0,
        }
    )


class _Scripted(Engine):
    """Repeats the gold answer of every request; tokens of gold and wrong answers have given log-probabilities."""

    def __init__(self, loaded: Loaded, gold: float, wrong: float) -> None:
        super().__init__(loaded, rows=1)
        self._gold, self._wrong = gold, wrong

    def _run(
        self, requests: Sequence[Request], comparison: Comparison, advance: Callable[[int], None]
    ) -> list[list[Outcome]]:
        return [[self._outcome(*request.answers) for request in requests]]

    def _outcome(self, gold: Answer, *wrong: Answer) -> Outcome:
        scores = (_scores(gold, self._gold), *(_scores(answer, self._wrong) for answer in wrong))
        return Outcome(scores, (*gold.ids, self.loaded.info.end_id), True)


def _scores(answer: Answer, log_p: float) -> TokenScores:
    tokens = len(answer.ids)
    return TokenScores(
        answer.answer_tokens, (log_p,) * tokens, (2,) * tokens, (False,) * tokens, (-1.0,) * tokens, (1.0,) * tokens
    )


def test_an_item_of_a_model_whose_answers_are_known() -> None:
    loaded = tiny("llama")
    items = [
        item._replace(kind="quantity", answer=str(number), answers=(str(number),))
        for number, item in enumerate(cities())
    ]
    # So that one trivial rule, copying the subject, is right once.
    items[0] = items[0]._replace(subject="City 0", question=items[0].question.replace(items[0].subject, "City 0"))
    workload = build_workload(
        loaded.tokenizer, {"forget": items}, "chat", MeasureOptions(attacks=ATTACK_PROMPTS), demonstrations=items
    )
    (base,) = measure(_Scripted(loaded, -1.0, -2.0), workload)
    (cell,) = measure(_Scripted(loaded, -3.0, -2.0), workload, base=base)
    e = math.exp(1.0)
    for measured, ratio, normalised, rank in ((base, 1 / e, 1 / (1 + 4 / e), 1), (cell, e, 1 / (1 + 4 * e), 5)):
        for item, row in zip(items, measured.items["forget"], strict=True):
            assert row["generation"] == item.answer
            assert row["scores"]["truth_ratio"] == pytest.approx(ratio)
            assert row["scores"]["normalised_probability"] == pytest.approx(normalised)
            assert row["scores"]["sequence_rank"] == rank
            reversed_question = next(wording for wording in row["attacks"] if wording["attack"] == REVERSE)
            assert reversed_question["generation"] == item.subject
            assert all(wording["scores"]["contains_answer"] for wording in (row, *row["paraphrases"], *row["attacks"]))
    for row in cell.items["forget"]:
        for wording in (row, *row["paraphrases"], *row["attacks"]):
            assert wording["scores"]["change_mean_log_probability"] == -2.0
    summaries = base.summary["forget"], cell.summary["forget"]
    assert [summary["truth_ratio_forget"] for summary in summaries] == pytest.approx([1 / e, 1 / e])
    assert [summary["truth_ratio_retain"] for summary in summaries] == pytest.approx([1 - 1 / e, 0.0])
    assert [summary["truth_share"] for summary in summaries] == pytest.approx([1 / (1 + 1 / e), 1 / (1 + e)])
    baselines = trivial_baselines(items).values()
    assert min(baselines) < max(baselines) == workload.baselines["forget"] == summaries[0]["baseline"]


def test_an_answer_without_a_likelihood_has_no_score() -> None:
    good = TokenScores(1, (-1.0,), (3,), (False,), (-2.0,), (1.0,), (0.1,), 0.5)
    scores = likelihood_scores(good._replace(log_p=(math.nan,), rank=(1,)), "Paris", good)
    assert scores.keys() == likelihood_scores(good, "Paris", good).keys()
    assert all(value is not None and math.isnan(value) for value in scores.values())
    assert likelihood_scores(good._replace(log_p=(math.nan,)), "Paris")["change_log_rank"] is None


@pytest.mark.parametrize(
    ("score", "mean"),
    [("truth_ratio", "truth_share"), ("sequence_rank", "sequence_rank_median"), ("first_rank", "first_rank")],
)
def test_no_mean_is_over_the_items_that_a_model_that_diverged_left(
    measured: tuple[Measurement, list[Measurement]], score: str, mean: str
) -> None:
    rows = json.loads(json.dumps(measured[1][1].items["retain_eval"]))
    rows[0]["scores"][score] = None
    assert summarise(rows, 0.0)[mean] == summarise(rows[1:], 0.0)[mean] is not None  # nothing was asked
    rows[0]["scores"][score] = math.nan
    summary = summarise(rows, 0.0)
    assert summary[mean] is None
    assert summary["rougeL_recall"] is not None
    rows[1]["paraphrases"][0]["scores"]["probability"] = math.nan
    assert summarise(rows, 0.0)["paraphrase_probability"] is None


def test_the_answer_that_a_reversed_question_names_does_not_answer_it() -> None:
    loaded, item = tiny("llama"), cities()[0]

    class Echoing(_Scripted):
        """Generates the item's answer whatever is asked."""

        def _outcome(self, gold: Answer, *wrong: Answer) -> Outcome:
            ids = loaded.tokenizer(item.answer, add_special_tokens=False)["input_ids"]
            return super()._outcome(gold, *wrong)._replace(generation=tuple(ids))

    options = MeasureOptions(attacks=(REVERSE,))
    (measured,) = measure(
        Echoing(loaded, -1.0, -2.0), build_workload(loaded.tokenizer, {"forget": [item]}, "chat", options)
    )
    (row,) = measured.items["forget"]
    (reversed_question,) = row["attacks"]
    assert row["generation"] == reversed_question["generation"] == item.answer
    assert row["scores"]["contains_answer"] == 1.0
    assert reversed_question["scores"]["contains_answer"] == 0.0


def test_other_wordings_change_since_their_own_scores_before() -> None:
    loaded = tiny("llama")
    workload = build_workload(loaded.tokenizer, {"forget": cities(3)}, "chat", MeasureOptions())
    (base,) = measure(open_engine(loaded, max_new_tokens=4), workload, keep_reference=True)
    adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0))
    adapters.load_weights(0, {name: (a, torch.full_like(b, 0.05)) for name, (a, b) in adapters.weights().items()})
    (cell,) = measure(open_engine(loaded, adapters, max_new_tokens=4), workload, base=base)
    for row, row_before in zip(cell.items["forget"], base.items["forget"], strict=True):
        assert row["paraphrases"]
        for wording, before in zip(row["paraphrases"], row_before["paraphrases"], strict=True):
            after, then = (entry["scores"]["mean_log_probability"] for entry in (wording, before))
            assert after is not None
            assert then is not None
            assert wording["scores"]["change_mean_log_probability"] == pytest.approx(after - then, abs=1e-4)


def test_every_accepted_answer_counts_under_other_wordings_too() -> None:
    loaded, items = tiny("llama"), [item._replace(answers=(item.answer, "x")) for item in cities(3)]
    alias = tuple(loaded.tokenizer("x", add_special_tokens=False)["input_ids"])

    class Alias(_Scripted):
        def _outcome(self, gold: Answer, *wrong: Answer) -> Outcome:
            return super()._outcome(gold, *wrong)._replace(generation=alias)

    workload = build_workload(loaded.tokenizer, {"forget": items}, "chat", MeasureOptions())
    (told,) = measure(Alias(loaded, -1.0, -2.0), workload)
    for row in told.items["forget"]:
        assert [entry["scores"]["contains_answer"] for entry in (row, *row["paraphrases"])] == [1.0] * (
            1 + len(row["paraphrases"])
        )
