"""Faults of established runners that no other test here would detect."""

from __future__ import annotations

import gc
from copy import deepcopy

import pytest
from transformers import PreTrainedModel

from dual_data.errors import UsageError
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.measuring.measure import measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.measuring.workload import MeasureOptions, build_workload
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.methods.adapop import DualAscent
from dual_data.evaluation.metrics.summary import summarise
from dual_data.evaluation.metrics.text import text_scores
from dual_data.evaluation.models.decoder import decoder_layers
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.encoding import encode
from dual_data.evaluation.rows.request import request_of
from dual_data.evaluation.training.forward import packs
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.train import train
from tests.evaluation.questions import cities
from tests.evaluation.training.oracle import OPTIONS, problem

BEFORE_TRAINING = {
    "AdaPop": 1, "NPO": 1, "DPO": 2, "IdkDPO": 2, "UNDIAL": 1, "GradDiffKL": 1, "JensUn": 1, "RMU": 1, "PDU": 1,
    "NoiseDistil": 2,
}  # fmt: skip
"""Number of kinds of rows for which the reference is computed, once, before training."""


@pytest.mark.parametrize("name", METHODS)
def test_a_step_is_one_pass_and_a_reference_is_computed_once(name: str) -> None:
    """Elsewhere GradDiff runs the policy once more without need, and NPO its reference in every step."""
    setup = problem()
    assert packs(setup.loaded, 40)  # this trial runs the model too
    passes: list[int] = []
    decoder_layers(setup.loaded.model)[0].register_forward_hook(lambda *_: passes.append(1))
    trace = setup.train(name, Optimisation(epochs=3, batch=3), **OPTIONS.get(name, {}))[0]
    assert len(passes) == trace.steps + BEFORE_TRAINING.get(name, 0)


@pytest.mark.parametrize("name", METHODS)
def test_no_method_copies_the_model(name: str) -> None:
    """Elsewhere WGA and SatImp keep a reference model that nothing uses."""
    setup = problem()

    def models() -> int:
        return sum(issubclass(type(thing), PreTrainedModel) for thing in gc.get_objects())

    gc.collect()  # models of earlier tests are in reference cycles through their hooks
    before = models()
    setup.train(name, Optimisation(epochs=1, batch=7), **OPTIONS.get(name, {}))
    gc.collect()
    assert models() == before


def test_a_pad_that_ends_turns_masks_no_end_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere recomputing the mask from the padding token hides every turn's end in the prompt."""
    setup = problem()
    loaded, tokenizer = setup.loaded, deepcopy(setup.loaded.tokenizer)
    end = loaded.info.end_id
    assert all(end in row.prompt_ids for row in setup.forget)
    requests = [request_of(row) for row in setup.forget]

    def results(loaded: Loaded) -> list[object]:
        outcomes = [
            outcome
            for engine in (FastEngine, PlainEngine)
            for outcome in engine(loaded, rows=3, max_new_tokens=4).run(requests)[0]
        ]
        traces = [
            train(
                loaded, setup.adapters, METHODS["NPO"], setup.data, [0.0], Optimisation(epochs=1, batch=3), plain=plain
            )
            for plain in (False, True)
        ]
        return [
            *((outcome.generation, outcome.scores[0].log_p) for outcome in outcomes),
            *(trace.losses for (trace,) in traces),
        ]

    before = results(loaded)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(end)
    monkeypatch.setattr(loaded.model.config, "pad_token_id", end)
    assert results(loaded._replace(tokenizer=tokenizer)) == before


def test_a_controller_steers_the_loss_and_its_errors_are_errors() -> None:
    """Elsewhere AdaPop's controller is in a try that ignores every error, with limits that keep its initial value."""
    setup = problem(fresh=True)
    trace = setup.train("AdaPop", Optimisation(epochs=3, batch=7), 3e-2, tolerance=0.0, rate=50.0)[0]
    alpha = trace.parts["alpha"]
    assert alpha[0] == 0.5
    assert alpha[-1] > 0.6
    for step, loss in enumerate(trace.losses):
        expected = trace.parts["forget"][step] + alpha[step] * trace.parts["retain_nll"][step]
        assert loss == pytest.approx(expected, rel=1e-5)

    class Broken(DualAscent):
        def after_epoch(self, parts: object) -> dict[str, float]:
            raise ZeroDivisionError

    broken = METHODS["AdaPop"]._replace(controller=Broken)
    with pytest.raises(UsageError, match=r"the controller of AdaPop fails: ZeroDivisionError"):
        train(setup.loaded, setup.adapters, broken, setup.data, [0.0], Optimisation(epochs=2, batch=7))


def test_an_answer_that_the_question_repeats_keeps_its_tokens() -> None:
    """Elsewhere cutting the prompt out of the whole text empties or mangles such answers."""
    loaded = tiny("llama")
    item = Item("a", "Is Paris Paris, or is Paris Rome?", "Paris", ("Paris",), "Paris", "P36")
    (row,) = encode(loaded.tokenizer, [item], "chat")
    assert str(loaded.tokenizer.decode(list(row.answer_ids))).strip() == "Paris"
    workload = build_workload(loaded.tokenizer, {"forget": [item]}, "chat", MeasureOptions(distractors=0))
    (measured,) = measure(open_engine(loaded, max_new_tokens=4), workload)[0].items["forget"]
    assert measured["ground_truth"] == "Paris"
    assert measured["tokens"]["answer_tokens"] == len(row.answer_ids)


def test_an_answer_that_says_nothing_is_a_miss_and_not_left_out() -> None:
    """Elsewhere answers that cannot be judged are left out of the denominator, which raises the share of hits."""
    loaded = tiny("llama")
    workload = build_workload(loaded.tokenizer, {"forget": cities(4)}, "chat", MeasureOptions(distractors=0))
    rows = measure(open_engine(loaded, max_new_tokens=2), workload)[0].items["forget"]
    for row, text in zip(rows, ("", "", "  ", rows[3]["ground_truth"]), strict=True):
        row["scores"].update(text_scores(text, row["ground_truth"], row["answers"]))
        for wording in row["paraphrases"]:
            wording["scores"]["contains_answer"] = 0.0
    summary = summarise(rows, 0.0)
    assert (summary["items"], summary["contains_answer"], summary["rougeL_recall"], summary["worst_case"]) == (
        4,
        0.25,
        0.25,
        0.25,
    )


def test_without_candidates_there_is_no_rank() -> None:
    """Elsewhere it is 1 for every row, before and after unlearning."""
    loaded = tiny("llama")
    for distractors in (0, 2):
        workload = build_workload(
            loaded.tokenizer, {"forget": cities()}, "chat", MeasureOptions(distractors=distractors)
        )
        rows = measure(open_engine(loaded, max_new_tokens=2), workload)[0].items["forget"]
        assert all((row["scores"]["sequence_rank"] is None) == (distractors == 0) for row in rows)
