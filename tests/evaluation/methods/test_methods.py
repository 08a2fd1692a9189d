"""Every method's loss and gradient against its formula in float64, and what must hold before the first step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dual_data.errors import UsageError
from dual_data.evaluation.methods import METHODS, code_hash, method_named
from dual_data.evaluation.methods.adapop import DualAscent, exponents, ranks, share_clipped
from dual_data.evaluation.methods.base import Batch, Facts, LabelOutputs, Method, Outputs, positive_beta
from dual_data.evaluation.methods.ceu import counted, share_short
from dual_data.evaluation.methods.jensun import jensen_shannon, point_divergence, refusal_tokens
from dual_data.evaluation.methods.pdu import DualVariable
from dual_data.evaluation.methods.rmu import direction
from dual_data.evaluation.models.decoder import decoder_layers
from dual_data.evaluation.rows.packing import Rows
from dual_data.evaluation.settings import load_settings
from dual_data.evaluation.training.forward import packs
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.schedule import plan
from tests.evaluation.methods.formulas import FORMULAS, GRADIENTS, LN2, Step, nll, row_figures, undial
from tests.evaluation.training.oracle import LAYER, OPTIONS, Oracle, Problem, peft_twin, problem, twin_gradient

ARCHITECTURES = ("llama", "gemma", "qwen")
FORMULA_OPTIONS: dict[str, dict[str, Any]] = {**OPTIONS, "NoiseDistil": {"share": 0.0}}
"""The formulas have no noise."""


def steps_of(setup: Problem, optimisation: Optimisation) -> list[tuple[list[int], list[int]]]:
    """Forget and retain rows of every step, from the order that training uses."""
    labels = {"forget": [1] * len(setup.forget), "retain": [1] * len(setup.retain)}
    steps = []
    for step in plan(labels, optimisation, seed=0)[0]:
        rows = [[index for micro_batch in step for index in micro_batch.rows[kind]] for kind in ("forget", "retain")]
        steps.append((rows[0], rows[1]))
    return steps


@pytest.fixture(scope="module", params=ARCHITECTURES)
def bench(request: pytest.FixtureRequest) -> tuple[Problem, Oracle, dict[tuple[int, ...], Step]]:
    setup = problem(request.param)
    return setup, Oracle(setup, peft_twin(setup, request.param)), {}


def expected(
    bench: tuple[Problem, Oracle, dict[tuple[int, ...], Step]], name: str, rows: tuple[list[int], list[int]]
) -> float:
    _, oracle, known = bench
    key = (*rows[0], -1, *rows[1])
    with torch.no_grad():
        if key not in known:
            known[key] = oracle.step(*rows)
        return FORMULAS[name](known[key]).item()


@pytest.mark.parametrize("plain", [None, True], ids=["packed", "padded"])
@pytest.mark.parametrize("name", METHODS)
def test_losses_equal_the_formula_for_every_batch_size_and_accumulation(
    bench: tuple[Problem, Oracle, dict[tuple[int, ...], Step]], name: str, plain: bool | None
) -> None:
    setup = bench[0]
    model: Any = setup.loaded.model
    # Every size with one architecture; batches are made in the same way for the others.
    for batch in range(1, 8) if model.config.model_type == "llama" else (3, 7):
        for micro_batch in {batch, -(-batch // 4)}:
            optimisation = Optimisation(epochs=1, batch=batch, micro_batch=micro_batch)
            trace = setup.train(name, optimisation, plain=plain, **FORMULA_OPTIONS.get(name, {}))[0]
            losses = [expected(bench, name, rows) for rows in steps_of(setup, optimisation)]
            assert trace.losses == pytest.approx(losses, rel=1e-5, abs=1e-5), (batch, micro_batch)


def gradient_of(oracle: Oracle, name: str, rows: tuple[list[int], list[int]]) -> torch.Tensor:
    """[P] of a step: of the formula, or of those that the method combines."""

    def of(loss: Callable[[Step], torch.Tensor]) -> torch.Tensor:
        oracle.twin.zero_grad()
        loss(oracle.step(*rows)).backward()  # type: ignore[no-untyped-call]
        return twin_gradient(oracle.setup, oracle.twin)

    if name not in GRADIENTS:
        return of(FORMULAS[name])
    losses, combine = GRADIENTS[name]
    return combine(*map(of, losses))


@pytest.mark.parametrize("plain", [None, True], ids=["packed", "padded"])
@pytest.mark.parametrize("name", METHODS)
def test_gradients_equal_autograd_through_the_formula_and_peft(
    bench: tuple[Problem, Oracle, dict[tuple[int, ...], Step]], name: str, plain: bool | None
) -> None:
    setup, oracle, _ = bench
    optimisation = Optimisation(epochs=1, batch=4, micro_batch=3)
    trace = setup.train(name, optimisation, plain=plain, **FORMULA_OPTIONS.get(name, {}))[0]
    steps = steps_of(setup, optimisation)
    for norm, gradient, rows in zip(trace.norms, setup.adapters.gradients, steps, strict=True):
        expected_gradient = gradient_of(oracle, name, rows)
        assert (gradient[0] - expected_gradient).norm() <= 1e-4 * expected_gradient.norm()
        assert norm == pytest.approx(expected_gradient.norm().item(), rel=1e-4)


def test_undial_pushes_the_label_down_by_its_pressure_and_nothing_else(
    bench: tuple[Problem, Oracle, dict[tuple[int, ...], Step]],
) -> None:
    """At the usual beta the label has no weight left, so the test would pass whatever its logit."""
    setup, oracle, _ = bench
    optimisation = Optimisation(epochs=1, batch=7)
    (rows,) = steps_of(setup, optimisation)
    with torch.no_grad():
        expected_loss = undial(oracle.step(*rows), beta=0.1).item()
    assert setup.train("UNDIAL", optimisation, beta=0.1)[0].losses == pytest.approx([expected_loss], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("GradDiff", {"gamma": 0.7, "alpha": 1.3}),
        ("GradDiffKL", {"gamma": 0.7, "alpha": 1.3}),
        ("NPO", {"beta": 0.5, "gamma": 0.7, "alpha": 1.3}),
        ("SimNPO", {"beta": 2.5, "delta": 6.0, "gamma": 0.7, "alpha": 1.3}),
        ("DPO", {"beta": 0.5, "gamma": 0.7, "alpha": 1.3}),
        ("IdkDPO", {"beta": 0.5, "gamma": 0.7, "alpha": 1.3}),
        ("IdkNLL", {"gamma": 0.7, "alpha": 1.3}),
        ("RMU", {"steering": 3.0, "alpha": 1.3, "direction_seed": 5}),
        ("UNDIAL", {"beta": 0.1, "gamma": 0.7}),
        ("WGA", {"beta": 0.2, "gamma": 0.7, "alpha": 1.3}),
        ("AdaPop", {"gamma": 0.7, "start_alpha": 1.3}),
        ("JensUn", {"gamma": 0.7, "alpha": 1.3}),
        ("SatImp", {"beta1": 0.3, "beta2": 1.7, "gamma": 0.7, "alpha": 1.3}),
        ("CEU", {"gamma": 0.7, "skip": 2}),
        ("PDU", {"gamma": 0.7, "start_alpha": 1.3}),
        ("NoiseDistil", {"beta": 0.5, "gamma": 0.7, "alpha": 1.3}),
    ],
)
def test_every_option_stands_where_the_formula_has_it(
    bench: tuple[Problem, Oracle, dict[tuple[int, ...], Step]], name: str, options: dict[str, float]
) -> None:
    setup, oracle, _ = bench
    parameters = inspect.signature(METHODS[name].loss).parameters.values()
    option_names = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    assert option_names - {"layer"} <= set(options)
    optimisation = Optimisation(epochs=1, batch=7)
    (rows,) = steps_of(setup, optimisation)
    with torch.no_grad():
        step = oracle.step(*rows)
        expected_loss = FORMULAS[name](step, **options).item()
    trace = setup.train(name, optimisation, **{**FORMULA_OPTIONS.get(name, {}), **options})[0]
    assert trace.losses == pytest.approx([expected_loss], rel=1e-5)
    # What is logged decides when a run stops, and what AdaPop's controller does.
    parts = {part: values[0] for part, values in trace.parts.items()}
    logged = {"forget_nll": step.forget, "retain_nll": step.retain, "retain_before": step.retain_ref}
    assert name == "RMU" or {"forget_nll", *({"retain_nll"} if "retain" in METHODS[name].kinds else ())} <= parts.keys()
    for part in logged.keys() & parts.keys():
        assert parts[part] == pytest.approx(nll(logged[part]).item(), rel=1e-5), part
    forget = parts.get("forget", -parts.get("forget_nll", 0.0))
    retain = next((parts[part] for part in ("retain", "retain_kl", "retain_nll") if part in parts), 0.0)
    alpha = options.get("alpha", options.get("start_alpha", 0.0))
    assert parts.get("alpha", alpha) == pytest.approx(alpha)
    assert options.get("gamma", 1.0) * forget + alpha * retain == pytest.approx(expected_loss, rel=1e-5)


@pytest.mark.parametrize(
    ("normalise", "micro_batch"), [("micro_batch", 3), ("sequence", 3), ("sequence", 0), ("batch", 2)]
)
def test_normalisation_is_what_its_name_says(normalise: str, micro_batch: int) -> None:
    setup = problem()
    oracle = Oracle(setup, peft_twin(setup, "llama"))
    optimisation = Optimisation(epochs=1, batch=7, micro_batch=micro_batch, normalise=normalise)
    loss = setup.train("GradAscent", optimisation)[0].losses[0]
    rows = steps_of(setup, optimisation)[0][0]
    with torch.no_grad():
        nll = [-figures.log_p for figures in oracle.rows([setup.forget[index] for index in rows])]
    if normalise == "micro_batch":
        expected_loss = torch.stack(
            [torch.cat(nll[i : i + micro_batch]).mean() for i in range(0, 7, micro_batch)]
        ).mean()
    elif normalise == "sequence":
        expected_loss = torch.stack([row.mean() for row in nll]).mean()
    else:
        expected_loss = torch.cat(nll).mean()
    assert loss == pytest.approx(-expected_loss.item(), rel=1e-5)


def test_the_kl_term_of_the_early_code_covers_every_position_but_padding() -> None:
    setup = problem()
    twin = peft_twin(setup, "llama")
    optimisation = Optimisation(epochs=1, batch=7, forget_kl=0.5)
    trace = setup.train("GradAscent", optimisation)[0]
    divergences = []
    with torch.no_grad():
        for row in setup.forget:
            ids = torch.tensor([[*row.prompt_ids, *row.answer_ids, *row.end_ids]])
            policy = twin(input_ids=ids).logits[0, :-1].log_softmax(-1)
            with twin.disable_adapter():
                reference = twin(input_ids=ids).logits[0, :-1].log_softmax(-1)
            divergences.append((reference.exp() * (reference - policy)).sum(-1))
    kl = torch.cat(divergences).mean().item()
    assert trace.parts["forget_kl"][0] == pytest.approx(kl, rel=1e-4)
    assert trace.losses[0] == pytest.approx(0.5 * kl - trace.parts["forget_nll"][0], rel=1e-5)


@pytest.fixture(scope="module")
def first_step() -> dict[str, tuple[float, dict[str, float], float]]:
    """Loss, parts and gradient norm of one step of all rows from a fresh adapter, by method."""
    by_method = {}
    for name in METHODS:
        setup = problem(fresh=True)
        trace = setup.train(name, Optimisation(epochs=1, batch=7), **OPTIONS.get(name, {}))[0]
        by_method[name] = (trace.losses[0], {key: values[0] for key, values in trace.parts.items()}, trace.norms[0])
    return by_method


def test_before_the_first_step_policy_and_reference_are_the_same(
    first_step: dict[str, tuple[float, dict[str, float], float]],
) -> None:
    nll = first_step["GradAscent"][1]["forget_nll"]
    retain = first_step["GradDiff"][1]["retain_nll"]
    setup = problem(fresh=True)
    base = [row_figures(setup.loaded.model, row, LAYER).log_p for row in setup.forget]
    assert nll == pytest.approx(-torch.cat(base).mean().item(), rel=1e-5)
    assert first_step["GradAscent"][0] == -nll
    assert first_step["GradDiff"][0] == pytest.approx(retain - nll, rel=1e-6)
    for name in ("NPO", "DPO", "IdkDPO"):
        assert first_step[name][1]["forget"] == pytest.approx(2 / 0.1 * LN2, rel=1e-5)
    assert first_step["GradDiffKL"][1]["retain_kl"] == pytest.approx(0.0, abs=1e-6)
    assert first_step["JensUn"][1]["retain"] == pytest.approx(0.0, abs=1e-6)
    assert first_step["RMU"][1]["retain"] == pytest.approx(0.0, abs=1e-6)
    for name in ("AdaPop", "PDU"):
        assert first_step[name][1]["retain_nll"] == pytest.approx(first_step[name][1]["retain_before"], rel=1e-5)


def test_at_the_reference_npo_pulls_as_the_mean_of_sequence_sums_does() -> None:
    setup = problem(fresh=True)
    twin = peft_twin(setup, "llama")
    setup.train("NPO", Optimisation(epochs=1, batch=7), alpha=0.0)
    rows = Oracle(setup, twin).rows(setup.forget)
    (torch.stack([row.log_p.sum() for row in rows]).mean()).backward()  # type: ignore[no-untyped-call]
    expected_gradient = twin_gradient(setup, twin)
    assert (setup.adapters.gradients[0][0] - expected_gradient).norm() <= 1e-4 * expected_gradient.norm()


def test_simnpo_rewards_forgetting() -> None:
    setup = problem(fresh=True)
    trace = setup.train("SimNPO", Optimisation(epochs=12, batch=7), 5e-3, alpha=0.0, beta=0.5)[0]
    assert trace.parts["forget_nll"][-1] > trace.parts["forget_nll"][0]
    assert trace.losses[-1] < trace.losses[0]


def test_rmu_never_runs_the_layers_behind_its_own_and_leaves_them_alone() -> None:
    setup = problem(fresh=True)
    assert packs(setup.loaded, 10)  # this trial runs the whole model once
    ran: list[int] = []
    for number, layer in enumerate(decoder_layers(setup.loaded.model)):
        layer.register_forward_hook(lambda *_, number=number: ran.append(number))
    before = setup.adapters.master.clone()
    setup.train("RMU", Optimisation(epochs=2, batch=7), 1e-2, layer=0)
    assert set(ran) == {0}
    changed = {
        slot.name
        for slot in setup.adapters.slots
        if not torch.equal(
            *(m[0, slot.start : slot.start + slot.a_size + slot.b_size] for m in (before, setup.adapters.master))
        )
    }
    assert changed == {slot.name for slot in setup.adapters.slots if ".layers.0." in slot.name}


def test_rmu_directions_of_two_seeds_are_unrelated() -> None:
    assert abs(float(direction(4096, 0) @ direction(4096, 1))) < 0.1
    assert float(direction(4096, 0).norm()) == pytest.approx(1.0, rel=1e-5)


def test_options_are_checked_by_name_and_type() -> None:
    beta = METHODS["NPO"].options({"beta": 1})["beta"]
    assert (beta, type(beta)) == (1, float), "as a float it gives the cell the same name"
    with pytest.raises(UsageError, match=r"NPO.betta: unknown key; known here: alpha, beta, gamma"):
        METHODS["NPO"].options({"betta": 0.5})
    for name, option, wrong, kind in (
        ("NPO", "beta", "high", "float"),
        ("NPO", "beta", True, "float"),
        ("RMU", "layer", True, "int"),
    ):
        with pytest.raises(UsageError, match=rf"{name}.{option}: {wrong!r} is not a valid {kind}"):
            METHODS[name].options({option: wrong})
    for value in (float("nan"), float("-inf"), 10**400):
        with pytest.raises(UsageError, match=rf"NPO.beta: {value} is not a finite number"):
            METHODS["NPO"].options({"beta": value})
    with pytest.raises(UsageError, match=r"GA: unknown method; known here: .*GradAscent"):
        method_named("GA")


def test_a_beta_that_would_teach_the_forget_rows_is_refused() -> None:
    for name in ("NPO", "SimNPO", "DPO", "IdkDPO"):
        for beta in (0.0, -0.5):
            with pytest.raises(UsageError, match=rf"{name}.beta: {beta:g} is not greater than 0"):
                METHODS[name].options({"beta": beta})


def test_a_refusal_without_tokens_is_refused() -> None:
    empty = facts([1.0])._replace(encode=lambda _: [])
    with pytest.raises(UsageError, match=r"JensUn.refusal: '' has no tokens"):
        refusal_tokens(empty, refusal="")


def test_every_method_says_where_it_comes_from_and_has_a_formula() -> None:
    assert set(METHODS) == set(FORMULAS)
    for method in METHODS.values():
        assert method.source
        assert "L" in (method.loss.__doc__ or "")


def facts(popularity: list[float | None]) -> Facts:
    return Facts([[1, 2]] * len(popularity), [1] * len(popularity), popularity, lambda text: [len(text)])


def test_adapop_exponents_fall_with_popularity_whatever_its_unit() -> None:
    values = [row[0] for row in exponents(facts([5.0, 1.0, 3.0]))["exponent"]]
    assert values == pytest.approx([0.05, 2.0, (2.0 * 0.05) ** 0.5])
    assert exponents(facts([5e6, 1e6, 3e6])) == exponents(facts([5.0, 1.0, 3.0]))
    assert ranks([4.0, 4.0]) == [0.5, 0.5]
    with pytest.raises(UsageError, match="popularity of every forget row"):
        exponents(facts([1.0, None]))


def test_adapop_of_one_fact_and_of_an_unknown_rule() -> None:
    assert ranks([4.0]) == [0.5]
    assert exponents(facts([7.0]))["exponent"][0] == pytest.approx([(2.0 * 0.05) ** 0.5] * 2)
    assert exponents(facts([0.0]), by="published")["exponent"] == [[2.0] * 2]
    assert exponents(facts([9.0, 1.0]), lowest=0.0)["exponent"] == [[0.0] * 2, [2.0] * 2]
    with pytest.raises(UsageError, match=r"AdaPop.by: 'rank' is neither quantile nor published"):
        METHODS["AdaPop"].options({"by": "rank"})


@pytest.mark.parametrize("decay", [-0.1, 1.0, 3.0])
def test_adapop_refuses_a_decay_that_averages_no_losses(decay: float) -> None:
    with pytest.raises(UsageError, match=f"^AdaPop.decay: {decay:g} is not 0 <= decay < 1$"):
        METHODS["AdaPop"].options({"decay": decay})


@pytest.mark.parametrize(("lowest", "highest"), [(-0.1, 2.0), (2.0, 1.0), (0.0, 0.0)])
def test_adapop_refuses_bounds_that_no_exponent_can_have(lowest: float, highest: float) -> None:
    with pytest.raises(UsageError, match=r"AdaPop.lowest: .*, with highest .*, is not 0 <= lowest <= highest > 0"):
        METHODS["AdaPop"].options({"lowest": lowest, "highest": highest})


def test_adapop_published_exponents_are_clipped_and_the_share_is_recorded() -> None:
    values = [row[0] for row in exponents(facts([10.0, 167.0, 9000.0]), by="published")["exponent"]]
    assert values == pytest.approx([2.0, 1.0, 0.05], rel=0.01)
    method = METHODS["AdaPop"]
    for by, share in (("published", 2 / 3), ("quantile", 0.0)):
        notes = method.bind(share_clipped, method.options({"by": by}))(facts([10.0, 167.0, 9000.0]))
        assert notes["share_of_exponents_clipped"] == pytest.approx(share)
        # The notes come first; what refuses rows without popularity comes after.
        assert method.bind(share_clipped, method.options({"by": by}))(facts([None]))


def test_adapop_controller_raises_the_retain_weight_as_far_as_its_limit_and_lowers_it_again() -> None:
    controller = DualAscent()
    assert controller.start() == {"alpha": 0.5}
    drifted = {"retain_before": [1.0] * 50, "retain_nll": [9.0] * 50}
    values = [controller.after_epoch(drifted)["alpha"] for _ in range(3)]
    assert values == sorted(values)
    assert values[-1] == 5.5
    calm = {"retain_before": [1.0] * 200, "retain_nll": [1.0] * 200}
    assert controller.after_epoch(calm)["alpha"] < 5.5


def test_adapop_controller_by_hand() -> None:
    def epoch(*losses: float) -> dict[str, list[float]]:
        return {"retain_before": [1.0] * len(losses), "retain_nll": list(losses)}

    controller = DualAscent()
    # Without drift the multiplier stays at nothing: it saves up no slack for later.
    assert [controller.after_epoch(epoch(1.0, 0.5))["alpha"] for _ in range(3)] == [0.5] * 3
    controller = DualAscent()
    # The average starts at the reference's loss: 0.9 + 0.1 * 3 = 1.2, a tenth more than is tolerated.
    assert controller.after_epoch(epoch(3.0))["alpha"] == pytest.approx(0.6)
    # It goes on over epochs: 0.9 * 1.2 + 0.1 = 1.18, and the multiplier to 0.1 + 0.08.
    assert controller.after_epoch(epoch(1.0))["alpha"] == pytest.approx(0.68)
    # Relative to the reference's loss: twice of everything is the same.
    doubled = DualAscent()
    assert doubled.after_epoch({"retain_before": [2.0], "retain_nll": [6.0]})["alpha"] == pytest.approx(0.6)
    options = {"start_alpha": 0.2, "rate": 2.0, "tolerance": 0.05, "decay": 0.5, "lambda_most": 1.0, "most_alpha": 0.9}
    tuned = DualAscent(**options)
    assert tuned.start() == {"alpha": 0.2}
    assert tuned.after_epoch(epoch(1.4))["alpha"] == pytest.approx(0.2 + 2 * (0.2 - 0.05))
    assert tuned.after_epoch(epoch(9.0))["alpha"] == 0.9
    assert DualAscent(start_alpha=7.0).start() == {"alpha": 5.5}
    limited = DualAscent(lambda_most=1.0)
    assert limited.after_epoch(epoch(*[9.0] * 50))["alpha"] == 1.5


def test_adapop_of_the_follow_up_tells_sets_apart_and_keeps_its_controller_at_the_limit() -> None:
    shipped = load_settings(Path(__file__).parents[3] / "pipeline" / "evaluation.toml")
    method = METHODS["AdaPop"]
    options = method.options(shipped.presets["later"].methods["AdaPop"])
    weigh = method.bind(exponents, options)
    assert np.mean(weigh(facts([10.0, 80.0, 120.0]))["exponent"]) > 1.0
    assert np.mean(weigh(facts([2000.0, 9000.0, 40000.0]))["exponent"]) < 0.2
    controller = method.bind(DualAscent, options)()
    assert controller.after_epoch({"retain_before": [1.0], "retain_nll": [3.0]})["alpha"] == pytest.approx(0.51)
    assert controller.after_epoch({"retain_before": [1.0] * 50, "retain_nll": [9.0] * 50})["alpha"] == 1.0


def test_ceu_leaves_out_the_first_tokens_but_never_all_of_an_answer() -> None:
    answers = Facts([[1, 9], [1, 2, 9], [1, 2, 3]], [1, 2, 3], [None] * 3, lambda text: [len(text)])
    assert counted(answers) == {"counted": [[1.0, 1.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]}
    assert counted(answers, skip=2)["counted"] == [[1.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]
    assert counted(answers, skip=0)["counted"] == [[1.0, 1.0], [1.0] * 3, [1.0] * 3]
    shares = [share_short(answers, skip=skip)["share_of_answers_too_short_to_skip"] for skip in (0, 1, 2, 3)]
    assert shares == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0])


@pytest.mark.parametrize("certain", [30.0, 300.0])
def test_ceu_forgets_what_the_model_is_certain_of(certain: float) -> None:
    """There gradient ascent has no gradient, since 1 - p_y is 0, and CE-U has one of 1 in the label's logit."""
    logits = torch.tensor([[[certain, 2.0, 1.0]]], requires_grad=True)
    outputs = LabelOutputs(torch.tensor([[0]]), logits=lambda: logits)
    one = torch.ones(1, 1)
    zero = torch.zeros(1, 1, dtype=torch.long)
    rows = Rows(zero, zero, one, zero, zero, one, one, {"counted": one})
    loss = METHODS["CEU"].loss(Batch(rows, rows, rows, {}), Outputs(outputs, outputs, outputs), None)
    loss.value.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    shares = torch.tensor([2.0, 1.0]).softmax(0).tolist()
    assert logits.grad[0, 0].tolist() == pytest.approx([1.0, -shares[0], -shares[1]], rel=1e-5)


def test_pdu_price_by_hand() -> None:
    def epoch(*losses: float) -> dict[str, list[float]]:
        return {"retain_before": [1.0] * len(losses), "retain_nll": list(losses)}

    dual = DualVariable()
    assert dual.start() == {"alpha": 100.0}
    assert dual.after_epoch(epoch(2.0, 1.5))["alpha"] == pytest.approx(100 + 5 * (0.7 + 0.2))
    cold = DualVariable(start_alpha=2.0, rate=1.0, slack=0.5, warm_up=1)
    assert cold.after_epoch(epoch(9.0)) == {"alpha": 2.0}, "the first epoch is for warming up"
    # Each step counts from 0 up: what a step saves beyond that is lost, as where each is taken at once.
    assert cold.after_epoch(epoch(1.0, 1.0, 1.0, 1.0, 1.0, 3.0))["alpha"] == pytest.approx(1.5)
    assert cold.after_epoch(epoch(0.5))["alpha"] == pytest.approx(0.5)


def test_pdu_raises_its_price_while_the_rows_to_keep_are_lost() -> None:
    setup = problem(fresh=True)
    options: dict[str, Any] = {"start_alpha": 0.0, "rate": 1.0, "slack": 0.0}
    trace = setup.train("PDU", Optimisation(epochs=6, batch=7), 3e-2, **options)[0]
    losses, alphas = trace.parts["retain_nll"], trace.parts["alpha"]
    expected_alphas = [0.0]
    for now, before in zip(losses, trace.parts["retain_before"], strict=True):
        expected_alphas.append(max(0.0, expected_alphas[-1] + now - before))
    assert alphas == pytest.approx(expected_alphas[:-1], rel=1e-4, abs=1e-6)
    assert alphas[-1] > 0.0
    assert trace.parts["forget"][-1] < trace.parts["forget"][0]


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [("SatImp", "beta1", -1.0), ("SatImp", "beta2", -0.5), ("CEU", "skip", -1), ("PDU", "start_alpha", -1.0),
     ("PDU", "rate", -1.0), ("PDU", "warm_up", -1),
     *((name, option, -0.5) for name, method in METHODS.items() for option in ("alpha", "beta", "gamma")
       if option in method.defaults and (option, method.check) != ("beta", positive_beta))],
)  # fmt: skip
def test_what_must_not_be_negative_is_refused(method: str, option: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"^{method}.{option}: {value:g} is negative$"):
        METHODS[method].options({option: value})
    METHODS[method].options({option: type(value)(0)})


def test_what_is_negative_by_default_may_be_negative() -> None:
    def loss(batch: Any, policy: Any, reference: Any, *, alpha: float = -1.0, beta: str = "mean") -> Any: ...

    method = Method("Own", loss, "the test")
    assert method.options({"alpha": -2.0}) == {"alpha": -2.0, "beta": "mean"}


def test_closed_form_of_the_divergence_to_a_point() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1], [1 - 2e-9, 1e-9, 1e-9], [1e-9, 0.5, 0.5 - 1e-9]], dtype=torch.float64)
    point = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    middle = (p + point) / 2
    expected_jsd = (torch.special.xlogy(p, p / middle) + torch.special.xlogy(point, point / middle)).sum(-1) / 2
    assert point_divergence(p[:, 0].log()).tolist() == pytest.approx(expected_jsd.tolist(), abs=1e-12)
    assert jensen_shannon(p[:1].log(), p[:1].log()).item() == pytest.approx(0.0, abs=1e-15)


MODULE = '''
"""A method."""
RATE = 2.0
"""What it is multiplied by."""


def loss(x):
    """The formula."""
    return RATE * x
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"""A method."""', "# A comment.", True),
        ('"""What it is multiplied by."""', "", True),
        ('"""The formula."""', '"""Another formula."""', True),
        ("RATE * x", "(RATE\n        * x)  # long", True),
        ("RATE * x", "x * RATE", False),
        ("RATE = 2.0", "RATE = 3.0", False),
    ],
)
def test_the_hash_of_a_methods_code_is_of_what_it_does(old: str, new: str, same: bool) -> None:
    assert old in MODULE
    assert (code_hash(MODULE.replace(old, new)) == code_hash(MODULE)) is same


def test_the_hash_of_a_methods_code_is_the_same_with_every_release_of_python() -> None:
    source = """
def loss(x, *, mode: str = "a", width: int = 3):
    if mode not in ("a", "b"):
        raise ValueError(f'mode: {mode!r:>{width}} is not one of {", ".join(("a", "b"))}')
    return x
"""
    assert code_hash(source) == "c66b0dfec76bfc29"


def test_methods_of_one_file_have_its_code() -> None:
    codes = {name: method.code for name, method in METHODS.items()}
    assert codes["DPO"] == codes["IdkDPO"]
    assert all(codes.values())
    assert len(set(codes.values())) == len(METHODS) - 1
