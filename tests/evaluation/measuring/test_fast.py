"""The fast engine equals unbatched references, whatever the batch, the padding and the other adapters."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from dual_data.evaluation.measuring.decoding import Slots, _alive
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.measuring.score import Reference
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.tiny import ARCHITECTURES, tiny
from dual_data.evaluation.rows.encoding import encode, text_ids
from dual_data.evaluation.rows.request import Answer, Outcome, Request, request_of
from dual_data.evaluation.training.lora import Adapters
from tests.evaluation.questions import cities
from tests.evaluation.training.oracle import SPEC, disturb

FIGURES = ("log_p", "mean", "deviation")


def _requests(loaded: Loaded) -> list[Request]:
    requests = [request_of(row) for row in encode(loaded.tokenizer, cities(), "chat")]
    # One request has three answers, one none, and one no generation.
    requests[2] = requests[2]._replace(answers=requests[2].answers + requests[0].answers + requests[5].answers)
    requests[3] = requests[3]._replace(answers=())
    requests[4] = requests[4]._replace(generate=False)
    return requests


def _several_stops(loaded: Loaded) -> Loaded:
    """The same model with many end tokens, so that rows end at different steps."""
    vocabulary = loaded.model.config.vocab_size
    return loaded._replace(info=loaded.info._replace(stop_ids=tuple(range(0, vocabulary, 7))))


def _close(outcomes: list[Outcome], expected: list[Outcome], tolerance: float = 1e-5) -> None:
    for outcome, expected_outcome in zip(outcomes, expected, strict=True):
        assert outcome.generation == expected_outcome.generation
        assert outcome.ended == expected_outcome.ended
        for scores, expected_scores in zip(outcome.scores, expected_outcome.scores, strict=True):
            assert (scores.rank, scores.greedy) == (expected_scores.rank, expected_scores.greedy)
            for name in (*FIGURES, "kl"):
                assert getattr(scores, name) == pytest.approx(getattr(expected_scores, name), abs=tolerance)
            assert (scores.cosine is None) == (expected_scores.cosine is None)
            if scores.cosine is not None:
                assert scores.cosine == pytest.approx(expected_scores.cosine, abs=tolerance)


def _random_adapters(loaded: Loaded, count: int) -> Adapters:
    adapters = Adapters(loaded.model, SPEC, seeds=range(count))
    disturb(adapters)
    return adapters


@pytest.mark.parametrize("architecture", ARCHITECTURES[:2] + ARCHITECTURES[3:])
@pytest.mark.parametrize("rows", [1, 3, 7])
def test_likelihoods_equal_an_unpadded_float64_forward(architecture: str, rows: int) -> None:
    loaded = tiny(architecture)
    requests = _requests(loaded)
    outcomes = FastEngine(loaded, rows=rows, max_new_tokens=2).run(requests)[0]
    exact = copy.deepcopy(loaded.model).double()
    for request, outcome in zip(requests, outcomes, strict=True):
        assert len(outcome.scores) == len(request.answers)
        for answer, scores in zip(request.answers, outcome.scores, strict=True):
            logits = exact(torch.tensor([request.prompt + answer.ids])).logits[0]
            first = len(request.prompt) - 1
            for t, token in enumerate(answer.ids):
                row = logits[first + t].tolist()
                total = math.log(math.fsum(math.exp(z) for z in row))
                assert scores.log_p[t] == pytest.approx(row[token] - total, abs=1e-5)
                assert scores.rank[t] == 1 + sum(z > row[token] for z in row)
                mean = math.fsum(math.exp(z - total) * (z - total) for z in row)
                assert scores.mean[t] == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES[:2] + ARCHITECTURES[3:])
@pytest.mark.parametrize("several_stops", [False, True])
def test_greedy_text_equals_hf_generate(architecture: str, several_stops: bool) -> None:
    loaded = tiny(architecture)
    loaded = _several_stops(loaded) if several_stops else loaded
    requests = _requests(loaded)
    fast = FastEngine(loaded, rows=3, max_new_tokens=21).run(requests)[0]
    for request, outcome in zip(requests, fast, strict=True):
        prompt = torch.tensor([request.prompt])
        generate: Any = loaded.model.generate
        whole = generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=21,
            eos_token_id=list(loaded.info.stop_ids),
            pad_token_id=0,
        )[0, len(request.prompt) :].tolist()
        ended = whole[-1] in loaded.info.stop_ids
        expected = whole[:-1] if ended else whole
        assert list(outcome.generation) == (expected if request.generate else [])
        assert outcome.ended == (ended and request.generate)
    lengths = {len(outcome.generation) for outcome in fast}
    assert len(lengths) > 2 or not several_stops  # rows did leave at different steps


@pytest.mark.parametrize("engine", [FastEngine, PlainEngine])
@pytest.mark.parametrize("sign", ["\n", "."])
def test_a_line_break_or_a_full_stop_does_not_end_an_answer(engine: type[FastEngine | PlainEngine], sign: str) -> None:
    loaded = tiny("llama")
    token = text_ids(loaded.tokenizer, [sign])[0][-1]
    favoured = torch.zeros(len(loaded.tokenizer)).index_fill_(0, torch.tensor(token), 1e4)
    output: Any = loaded.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    output.register_forward_hook(lambda _, __, logits: logits + favoured)
    (outcomes,) = engine(loaded, rows=8, max_new_tokens=5).run(_requests(loaded))
    generated = [outcome for outcome in outcomes if outcome.generation]
    assert generated
    assert all(outcome.generation == (token,) * 5 for outcome in generated)
    assert not any(outcome.ended for outcome in generated)


@pytest.mark.parametrize("rows", range(1, 8))
def test_batch_size_changes_nothing(rows: int) -> None:
    loaded = _several_stops(tiny("llama"))
    requests = _requests(loaded)
    base = Reference()
    FastEngine(loaded, rows=7, max_new_tokens=12).run(requests[:3] + requests[4:], keep=base)
    whole = FastEngine(loaded, rows=7, max_new_tokens=12).run(requests)[0]
    _close(FastEngine(loaded, rows=rows, max_new_tokens=12).run(requests)[0], whole)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_plain_engine_agrees(architecture: str) -> None:
    loaded = _several_stops(tiny(architecture))
    requests = [request for request in _requests(loaded) if request.answers]
    fast_reference, plain_reference = Reference(), Reference()
    fast, plain = FastEngine(loaded, rows=3, max_new_tokens=9), PlainEngine(loaded, rows=2, max_new_tokens=9)
    _close(fast.run(requests, keep=fast_reference)[0], plain.run(requests, keep=plain_reference)[0])
    assert (
        fast_reference.logits.keys()
        == plain_reference.logits.keys()
        == fast_reference.hidden.keys()
        == plain_reference.hidden.keys()
        != set()
    )
    for index, logits in fast_reference.logits.items():
        torch.testing.assert_close(logits, plain_reference.logits[index], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(fast_reference.hidden[index], plain_reference.hidden[index], atol=1e-5, rtol=1e-5)
    adapters = _random_adapters(loaded, 2)
    fast, plain = (
        FastEngine(loaded, adapters, rows=3, max_new_tokens=9),
        PlainEngine(loaded, adapters, rows=2, max_new_tokens=9),
    )
    for fast_outcomes, plain_outcomes in zip(
        fast.run(requests, reference=fast_reference), plain.run(requests, reference=plain_reference), strict=True
    ):
        _close(fast_outcomes, plain_outcomes)


def test_prompts_longer_than_the_window_go_the_plain_way() -> None:
    loaded = tiny("gemma2")  # a window of 64 tokens
    engine = FastEngine(loaded, rows=3, max_new_tokens=9)
    engine.run(_requests(loaded))
    assert "window of 64" in " ".join(engine.notes)
    short = FastEngine(loaded, rows=3, max_new_tokens=9)
    short.run([Request((5, 6, 7), (Answer((8, 9), 1),))])
    assert short.notes == []


def test_three_adapters_in_one_batch_equal_each_alone() -> None:
    loaded = _several_stops(tiny("qwen"))
    requests = [request for request in _requests(loaded) if request.answers]
    base = Reference()
    FastEngine(loaded, rows=3, max_new_tokens=12).run(requests, keep=base)
    adapters = _random_adapters(loaded, 3)
    together = FastEngine(loaded, adapters, rows=4, max_new_tokens=12).run(requests, reference=base)
    assert len(together) == 3
    assert together[0] != together[1]
    for k in range(3):
        with adapters.only(k):
            _close(
                FastEngine(loaded, adapters, rows=2, max_new_tokens=12).run(requests, reference=base)[0], together[k]
            )


def test_adapters_off_equal_the_base_to_the_bit() -> None:
    loaded = tiny("gemma")
    requests = [request for request in _requests(loaded) if request.answers]
    base = Reference()
    before = FastEngine(loaded, rows=3, max_new_tokens=6).run(requests, keep=base)
    adapters = _random_adapters(loaded, 2)
    with adapters.disabled():
        assert FastEngine(loaded, adapters, rows=3, max_new_tokens=6).run(requests) == before
        compared = FastEngine(loaded, adapters, rows=3, max_new_tokens=6).run(requests, reference=base)[0]
    for outcome in compared:
        assert outcome.scores[0].kl == tuple([0.0] * len(outcome.scores[0].log_p))
        assert outcome.scores[0].cosine == pytest.approx(1, abs=1e-6)
    # A fresh adapter (B = 0) is the base as well.
    adapters.reset()
    fresh = FastEngine(loaded, adapters, rows=3, max_new_tokens=6).run(requests, reference=base)
    for outcome, expected in zip(fresh[1], before[0], strict=True):
        assert outcome.generation == expected.generation
        assert outcome.scores[0].log_p == pytest.approx(expected.scores[0].log_p, abs=1e-6)


@pytest.mark.parametrize(
    ("architecture", "changed", "kept"),
    [("llama", {}, torch.bfloat16), ("llama", {"logit_scale": 0.3}, torch.float32), ("gemma2", {}, torch.float32)],
)
def test_a_model_in_a_narrow_type_does_not_diverge_from_itself(
    architecture: str, changed: dict[str, float], kept: torch.dtype
) -> None:
    loaded = tiny(architecture, dtype=torch.bfloat16)
    loaded.model.config.update(changed)
    requests, base = [request for request in _requests(loaded) if request.answers], Reference()
    engine = FastEngine(loaded, rows=3, max_new_tokens=2)
    engine.run(requests, keep=base)
    assert {logits.dtype for logits in base.logits.values()} == {kept}
    compared = engine.run(requests, reference=base)[0]
    assert {kl for outcome in compared for kl in outcome.scores[0].kl} == {0.0}


def test_without_graphs_a_row_is_not_decoded_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = _several_stops(tiny("llama"))
    engine = FastEngine(loaded, rows=64, max_new_tokens=16)
    decoded: list[int] = []
    step = Slots.step

    def counted(slots: Slots, model: PreTrainedModel) -> None:
        decoded.append(len(slots.ids))
        step(slots, model)

    monkeypatch.setattr(Slots, "step", counted)
    outcomes = engine.run([request for request in _requests(loaded) if request.generate])[0]
    # The first token comes with the prompt; every other token, an end token too, takes a row one step.
    assert sum(decoded) == sum(min(len(outcome.generation) + 1, 16) - 1 for outcome in outcomes)
    assert len(set(decoded)) > 1


def test_groups_do_not_share_a_prefix() -> None:
    loaded = tiny("llama")
    requests = _requests(loaded)
    whole = FastEngine(loaded, rows=4, max_new_tokens=5).run(requests)[0]
    grouped = [request._replace(group=str(index % 2)) for index, request in enumerate(requests)]
    _close(FastEngine(loaded, rows=4, max_new_tokens=5).run(grouped)[0], whole)
    single = [Request((7,), (Answer((8,), 1),)), Request((9, 4), (Answer((8, 3), 2),))]
    alone = [FastEngine(loaded, rows=4, max_new_tokens=5).run([request])[0][0] for request in single]
    _close(FastEngine(loaded, rows=4, max_new_tokens=5).run(single)[0], alone)


def test_rows_that_go_on_come_first_and_every_cell_keeps_as_many() -> None:
    ended = torch.tensor([[True, False, True, False], [True, True, True, False]])
    alive = _alive(ended, False)
    assert alive is not None
    assert alive.tolist() == [[1, 3], [0, 3]]
    halved = _alive(torch.tensor([[True, False, True, True]]), True)
    assert halved is not None
    assert halved.tolist() == [[1]]
    assert _alive(torch.ones(2, 3, dtype=torch.bool), False) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_graphs_equal_eager_decoding() -> None:
    loaded = _several_stops(tiny("llama"))
    on_gpu: Any = loaded.model
    on_gpu.to("cuda")
    requests = _requests(loaded)
    eager = FastEngine(loaded, rows=4, max_new_tokens=20, graphs=False).run(requests)[0]
    graphed = FastEngine(loaded, rows=4, max_new_tokens=20, graphs=True)
    for _ in range(2):  # captured, then replayed
        _close(graphed.run(requests)[0], eager, 1e-4)
