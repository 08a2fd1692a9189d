"""Steps recorded as CUDA graphs and replayed give bitwise the results of eager steps.

Without a GPU, graphs are emulated: what a GPU cannot record is refused, and what the host does is not replayed.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dual_data.evaluation.device.devices import settle
from dual_data.evaluation.measuring import fast as stream
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.norms import fuse_norms
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.encoding import encode
from dual_data.evaluation.rows.request import Request, request_of
from dual_data.evaluation.training.full import FullWeights
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.train import train
from dual_data.evaluation.training.training_run import Trace
from tests.evaluation.emulated_graphs import Graph, Recording, emulate, refuse
from tests.evaluation.questions import cities
from tests.evaluation.training.oracle import SPEC, problem


@pytest.mark.parametrize(
    ("method", "forget_kl"), [*((method, 0.0) for method in METHODS), ("GradAscent", 0.1), ("NPO", 0.1)]
)
def test_replayed_training_is_eager_training(method: str, forget_kl: float, monkeypatch: pytest.MonkeyPatch) -> None:
    emulate(monkeypatch)

    def trained(*, graphs: bool) -> tuple[list[Trace], torch.Tensor]:
        setup = problem(seeds=(0, 1))
        traces = train(
            setup.loaded,
            setup.adapters,
            METHODS[method],
            setup.data,
            [1e-3, 1e-4],
            Optimisation(epochs=4, batch=5, micro_batch=3, forget_kl=forget_kl),
            options={"layer": 0} if METHODS[method].at_layer else {},
            graphs=graphs,
        )
        return traces, setup.adapters.master

    eager, weights = trained(graphs=False)
    assert Graph.recorded == 0
    replayed, again = trained(graphs=True)
    assert replayed == eager
    assert torch.equal(again, weights)
    assert (Graph.recorded, Graph.replayed) == (2, 7 + 5)  # micro-batches and updates of 5 steps, after 3 that warm up


def test_a_method_that_cannot_be_recorded_leaves_graphs_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    emulate(monkeypatch)
    setup = problem()

    def loss(batch: Batch, policy: Outputs, reference: Outputs) -> Loss:
        return Loss(-batch.forget.token_mean(policy.forget.nll) * policy.forget.nll.isfinite().all().item(), {})

    waiting = Method("Waiting", loss, "made up", kinds=("forget",))
    optimisation = Optimisation(epochs=4, batch=5)
    ways = []
    for method in (waiting, METHODS["GradAscent"], waiting):
        before = Graph.recorded
        (trace,) = train(setup.loaded, setup.adapters, method, setup.data, [1e-4], optimisation, graphs=True)
        ways.append((Graph.recorded - before, trace.fallbacks))
    fallbacks = (
        "training was not recorded: RuntimeError: not permitted when stream is capturing: _local_scalar_dense",
    )
    assert ways == [(1, fallbacks), (2, ()), (0, fallbacks)]  # a second try of a method would leak as much memory


def _trained(
    method: str, dtype: torch.dtype, device: str, *, full: bool, graphs: bool
) -> tuple[list[Trace], list[torch.Tensor]]:
    """Two adapters, or all weights, trained on a device; the weights that are trained, and those that layers read."""
    rows, loaded = problem(), tiny("llama", dtype=dtype)
    model: Any = loaded.model
    model.to(device)
    if device == "cuda":
        assert fuse_norms(model) > 0  # as `load` does for a model from files
    keep_head = bool(METHODS[method].reference)
    trainable = FullWeights(model, keep_head=keep_head) if full else Adapters(model, SPEC, seeds=(0, 1))
    traces = train(
        loaded,
        trainable,
        METHODS[method],
        rows.data,
        [1e-3, 1e-4][: trainable.count],
        Optimisation(epochs=4, batch=5, micro_batch=3),
        options={"layer": 0} if METHODS[method].at_layer else {},
        graphs=graphs,
    )
    read = [trainable.live] if isinstance(trainable, Adapters) else [weight.detach() for weight in model.parameters()]
    return traces, [*(buffer.master for buffer in trainable.buffers), *read]


def _equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


@pytest.mark.parametrize("method", ["NPO", "GRU", "TaskVector", "NoiseDistil"])
@pytest.mark.parametrize("full", [False, True])
def test_replayed_training_in_a_narrow_type_is_eager_training(
    full: bool, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There, gradients are summed apart and layers read a rounded copy of the weights.
    emulate(monkeypatch)
    eager, weights = _trained(method, torch.bfloat16, "cpu", full=full, graphs=False)
    replayed, again = _trained(method, torch.bfloat16, "cpu", full=full, graphs=True)
    assert replayed == eager
    assert _equal(again, weights)
    assert (Graph.recorded, Graph.replayed) == (2, 7 + 5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_training_replayed_by_a_gpu_is_its_eager_training(method: str, dtype: torch.dtype, full: bool) -> None:
    settle("cuda")
    eager, weights = _trained(method, dtype, "cuda", full=full, graphs=False)
    replayed, again = _trained(method, dtype, "cuda", full=full, graphs=True)
    assert replayed[0].fallbacks == ()
    assert replayed == eager
    assert _equal(again, weights)


def _answers_while_training(device: str, *, graphs: bool) -> list[list[list[tuple[int, ...]]]]:
    """What two adapters generate after every epoch of two trainings, one after the other, as in relearning."""
    rows, loaded = problem(), tiny("llama")
    model: Any = loaded.model
    model.to(device)
    adapters = Adapters(model, SPEC, seeds=(0, 1))
    engine = FastEngine(loaded, adapters, rows=64, max_new_tokens=12, graphs=graphs)
    answers = []

    def ask(_: int) -> None:
        answers.append([[row.generation for row in cell] for cell in engine.run(_requests(loaded))])

    for _ in range(2):
        how = Optimisation(epochs=5)
        train(loaded, adapters, METHODS["GradDiff"], rows.data, [1e-2, 3e-2], how, graphs=graphs, on_epoch=ask)
    ask(0)
    return answers


def test_replayed_decoding_follows_the_training_of_its_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    emulate(monkeypatch)
    eager = _answers_while_training("cpu", graphs=False)
    assert _answers_while_training("cpu", graphs=True) == eager
    assert len({str(answers) for answers in eager}) > 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_a_gpu_replays_decoding_after_the_graphs_of_a_training_are_gone() -> None:
    settle("cuda")
    assert _answers_while_training("cuda", graphs=True) == _answers_while_training("cuda", graphs=False)


def _requests(loaded: Loaded) -> list[Request]:
    requests = [request_of(row) for row in encode(loaded.tokenizer, cities(), "chat")]
    requests[4] = requests[4]._replace(generate=False)
    return requests


@pytest.mark.parametrize("rows", [3, 64])
def test_replayed_decoding_is_eager_decoding(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    emulate(monkeypatch)
    setup = problem(seeds=(0, 1))
    # Many tokens end an answer, so that rows end at different steps.
    stops = tuple(range(0, setup.loaded.model.config.vocab_size, 29))
    loaded = setup.loaded._replace(info=setup.loaded.info._replace(stop_ids=stops))
    requests = _requests(loaded)
    with_graphs = FastEngine(loaded, setup.adapters, rows=rows, max_new_tokens=40, graphs=True)
    for _ in range(2):  # all graphs exist the second time
        replayed = with_graphs.run(requests)
    eager = FastEngine(loaded, setup.adapters, rows=rows, max_new_tokens=40, graphs=False).run(requests)
    assert [[row.generation for row in cell] for cell in replayed] == [
        [row.generation for row in cell] for cell in eager
    ]
    assert len({len(row.generation) for cell in eager for row in cell}) > 3
    assert Graph.recorded >= (3 if rows > 3 else 1)  # one per row count
    assert Graph.replayed > 40


def test_rows_that_are_left_stay_in_the_memory_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    emulate(monkeypatch)
    setup = problem(seeds=(0, 1))
    stops = tuple(range(0, setup.loaded.model.config.vocab_size, 29))
    loaded = setup.loaded._replace(info=setup.loaded.info._replace(stop_ids=stops))
    engine = FastEngine(loaded, setup.adapters, rows=64, max_new_tokens=40, graphs=True)
    engine.run(_requests(loaded))
    caches = [slots.cache for slots in engine.decoder._slots.values()]
    assert len(caches) > 1
    assert len({cache.stores[0, "keys"].data_ptr() for cache in caches}) == 1


@pytest.mark.parametrize("in_parts", [False, True])
def test_what_a_cell_without_numbers_leaves_where_another_comes_to_lie_is_not_seen(
    in_parts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulate(monkeypatch)
    setup = problem(seeds=(0, 1))
    broken = {name: (a, torch.full_like(b, torch.nan)) for name, (a, b) in setup.adapters.weights(1).items()}
    setup.adapters.load_weights(1, broken)
    if in_parts:  # rows of a short part do not write the columns before it, but attention reads all columns
        monkeypatch.setattr(stream, "_LEAST_TOKENS", 64)
    requests = [request_of(row) for row in encode(setup.loaded.tokenizer, cities(), "chat")]
    with_graphs = FastEngine(setup.loaded, setup.adapters, rows=8, max_new_tokens=12, graphs=True)
    # Only the two longest continue, so those of the second cell move to the first cell's third and fourth row.
    with_graphs.run([request._replace(generate=len(request.prompt) > 67) for request in requests])
    actual = with_graphs.run(requests)[0]
    expected = FastEngine(setup.loaded, setup.adapters, rows=8, max_new_tokens=12, graphs=False).run(requests)[0]
    for outcome, expected_outcome in zip(actual, expected, strict=True):
        assert outcome.scores[0].log_p == pytest.approx(expected_outcome.scores[0].log_p, abs=1e-5)
        assert outcome.generation == expected_outcome.generation


def test_padded_rows_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    emulate(monkeypatch)
    setup = problem()
    (trace,) = train(
        setup.loaded,
        setup.adapters,
        METHODS["GradAscent"],
        setup.data,
        [1e-3],
        Optimisation(epochs=4, batch=5),
        graphs=True,
        plain=True,
    )
    assert Graph.recorded == 0
    assert "training was not recorded" in trace.fallbacks


def test_graphs_of_another_width_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    emulate(monkeypatch)
    loaded = tiny("llama")
    engine = FastEngine(loaded, rows=4, max_new_tokens=8, graphs=True)
    ids = list(range(3, 120))
    engine.run([Request(tuple(ids), ()), Request(tuple(ids[5:90]), ())])
    wide = {width for _, width in engine.decoder._slots}
    engine.run([Request(tuple(ids[:9]), ()), Request(tuple(ids[5:20]), ())])
    narrow = {width for _, width in engine.decoder._slots}
    assert len(wide) == len(narrow) == 1
    assert wide != narrow


def test_where_a_step_cannot_be_recorded_decoding_goes_on_without_and_tries_only_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulate(monkeypatch)
    loaded = tiny("llama")
    requests = _requests(loaded)
    eager = FastEngine(loaded, rows=64, max_new_tokens=9, graphs=False).run(requests)

    def wait(_: object, __: object, output: Any) -> None:
        output.isfinite().all().item()

    decoder: Any = loaded.model.base_model
    decoder.layers[0].register_forward_hook(wait)
    for recorded in (1, 0):
        before = Graph.recorded
        engine = FastEngine(loaded, rows=64, max_new_tokens=9, graphs=True)
        again = engine.run(requests)
        assert [row.generation for row in again[0]] == [row.generation for row in eager[0]]
        assert "without CUDA graphs: RuntimeError: not permitted when stream is capturing" in engine.notes[0]
        assert len(engine.notes) == 1
        assert Graph.recorded - before == recorded


@pytest.mark.parametrize("operation", ["read", "write", "choose"])
def test_what_cannot_be_recorded_is_noticed(operation: str) -> None:
    values = torch.arange(4.0)

    def spoil() -> None:
        with Recording() as recording:
            if operation == "read":
                values.sum().item()
            elif operation == "write":
                torch.tensor([1.0, 2.0])
            else:
                values[values > 1]
        refuse(recording)

    with pytest.raises(RuntimeError, match="capturing"):
        spoil()


def test_recording_does_nothing_and_a_replay_does_it_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    emulate(monkeypatch)
    count, seen = torch.zeros(3), torch.zeros(2, 3)
    graph = Graph()
    with torch.cuda.graph(graph):  # type: ignore[arg-type]
        seen[1] = (count + 1).exp()
        count.add_(1)
    assert count.tolist() == [0, 0, 0]
    assert seen.tolist() == [[0] * 3] * 2
    for _ in range(2):
        graph.replay()
    assert count.tolist() == [2, 2, 2]
    assert torch.equal(seen[1], torch.full((3,), 2.0).exp())
