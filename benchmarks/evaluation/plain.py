"""The plain loop: one cell with transformers and peft, in the steps of the established framework.

    load -> train -> merge and save -> load -> generate in batches of 32 -> one forward pass per metric

It gets every advantage that leaves it the same kind of loop: rows tokenised beforehand, one forward pass per step in
place of micro-batches with recomputation (see `PlainOptions`), the fast ROUGE, no start of a process, and a first batch
of questions that is not timed. So a speed-up over it is a lower bound.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from benchmarks.evaluation.clock import Clock, is_gpu
from benchmarks.evaluation.subject import Work
from dual_data.evaluation.device.memory import release
from dual_data.evaluation.measuring.workload import MeasureOptions, Workload, build_workload
from dual_data.evaluation.metrics.text import text_scores
from dual_data.evaluation.models.loading import dtype_named
from dual_data.evaluation.rows.encoding import Encoded, encode
from dual_data.evaluation.rows.packing import MicroBatch
from dual_data.evaluation.rows.request import Answer
from dual_data.evaluation.training.optimisation import ATTENTION, Optimisation
from dual_data.evaluation.training.schedule import plan

EVALUATION_ROWS = 32
_REST = "train, all steps but the first"
_NO_LABEL = -100


class PlainOptions(NamedTuple):
    """How a step is split, which does not change the loss."""

    micro_batch: int = 0
    """Rows per forward pass; 0 for the whole step. The framework's default is 4."""
    checkpointing: bool = False
    """Whether activations are computed again in the backward pass; the framework always does."""


FAIREST = PlainOptions()
AS_SHIPPED = PlainOptions(micro_batch=4, checkpointing=True)
SMALL = PlainOptions(micro_batch=8)
"""Where memory is short: already two copies of an 8B model in float32 take 60 GiB."""


class PlainCell(NamedTuple):
    """Time and results of a cell."""

    clock: Clock
    scale: dict[str, float]
    """For each part that was run only in part: the factor by which its seconds were multiplied."""
    losses: list[float]
    generations: list[tuple[int, ...]]
    """Tokens per request of the workload, without the first stop token and what follows."""
    log_p: list[list[float]]
    """Per request, log-probabilities of the gold answer's tokens."""
    scores: dict[str, float]
    """Means of the metrics."""


def run_cell(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    work: Work,
    *,
    device: str,
    dtype: str,
    scratch: Path,
    stops: Sequence[int],
    adapter: Path | None = None,
    options: PlainOptions = FAIREST,
    most_steps: int = 0,
    most_requests: int = 0,
) -> PlainCell:
    """Run a cell from the checkpoint in `folder`. Training starts from `adapter`, or from a fresh one for None.

    With `most_steps` (two or more) and `most_requests` only so many are run, and seconds are scaled up by the factors
    in `scale` of the result. What happens once in training, and its first step, which is slower, are not scaled.
    """
    clock = Clock(device)
    with clock.part("load"):
        model = _load(folder, dtype, device)
        reference = _load(folder, dtype, device) if work.method == "NPO" else None
    with clock.part("train"):
        policy = _with_adapter(model, adapter, work.seed)
        steps = _steps(policy, reference, tokenizer, work, options=options)
        losses = [next(steps)]
    with clock.part(_REST):
        losses += itertools.islice(steps, most_steps - 1 if most_steps else None)
    del reference, steps  # which, where only some steps were run, still hold the models
    target = scratch / "merged"
    with clock.part("merge and save"):
        policy.eval()
        if options.checkpointing:
            policy.gradient_checkpointing_disable()
        merged: Any = policy.merge_and_unload()
        merged.save_pretrained(target)
        tokenizer.save_pretrained(target)
    del model, policy, merged
    release()
    with clock.part("load again"):
        model = _load(target, dtype, device)
    workload = workload_of(tokenizer, work)
    requests = len(workload.requests) if not most_requests else min(most_requests, len(workload.requests))
    first = min(EVALUATION_ROWS, requests)
    _generate(model, workload, first, 2, stops)
    _metrics(model, workload, first)
    with clock.part("generate"):
        generations = _generate(model, workload, requests, work.new_tokens, stops)
    with clock.part("metrics"):
        scores, log_p = _metrics(model, workload, requests)
        scores["rougeL_recall"] = _recall(tokenizer, workload, generations)
    scale = {}
    all_steps = math.ceil(len(work.forget) / work.batch) * work.epochs
    if len(losses) < all_steps:
        scale[_REST] = (all_steps - 1) / (len(losses) - 1)
    if requests < len(workload.requests):
        scale |= dict.fromkeys(("generate", "metrics"), len(workload.requests) / requests)
    for part, factor in scale.items():
        clock.seconds[part] *= factor
        clock.cpu_seconds[part] *= factor
    clock.merge(_REST, "train")
    return PlainCell(clock, scale, losses, generations, log_p, scores)


def warm_up(folder: Path, tokenizer: PreTrainedTokenizerBase, work: Work, *, device: str, dtype: str) -> None:
    """One step of training that is not timed: a process loads its kernels once."""
    policy = _with_adapter(_load(folder, dtype, device), None, work.seed)
    next(_steps(policy, None, tokenizer, work._replace(method="GradAscent"), options=FAIREST))


def workload_of(tokenizer: PreTrainedTokenizerBase, work: Work) -> Workload:
    """All requests of a cell, the same for both sides."""
    options = MeasureOptions(distractors=work.distractors, paraphrases=False)
    return build_workload(tokenizer, {"forget": work.forget, "retain": work.retain}, "chat", options)


def _load(folder: Path, dtype: str, device: str) -> Any:
    """The model on the device, by the faster of two ways, which the established framework takes only to evaluate."""
    placed = {"device_map": {"": torch.device(device)}} if is_gpu(device) else {}
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype_named(dtype), **placed)
    return model.eval()


def _with_adapter(model: Any, adapter: Path | None, seed: int) -> Any:
    if adapter is not None:
        return PeftModel.from_pretrained(model, str(adapter), is_trainable=True)
    torch.manual_seed(seed)
    return get_peft_model(
        model, LoraConfig(r=32, lora_alpha=64, target_modules=list(ATTENTION), lora_dropout=0.0, task_type="CAUSAL_LM")
    )


def _steps(
    policy: Any, reference: Any, tokenizer: PreTrainedTokenizerBase, work: Work, *, options: PlainOptions
) -> Iterator[float]:
    """Train; yields the loss of each step once it is done."""
    forget = encode(tokenizer, work.forget, "chat")
    retain = encode(tokenizer, work.retain, "chat")
    sets = {"forget": forget} if work.method == "GradAscent" else {"forget": forget, "retain": retain}
    labels = {name: [len(row.answer_ids) + len(row.end_ids) for row in rows] for name, rows in sets.items()}
    optimisation = Optimisation(epochs=work.epochs, batch=work.batch, micro_batch=options.micro_batch)
    steps = [step for epoch in plan(labels, optimisation, work.seed) for step in epoch]
    weights = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=work.lr, weight_decay=0.0)
    if options.checkpointing:
        policy.gradient_checkpointing_enable()
        policy.enable_input_require_grads()
    policy.train()
    for step in steps:
        total = 0.0
        for micro_batch in step:
            loss = _loss(policy, reference, sets, micro_batch, work.method)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        yield total


def _loss(policy: Any, reference: Any, sets: dict[str, list[Encoded]], micro_batch: MicroBatch, method: str) -> Tensor:
    """Loss of one micro-batch, with the weights in `micro_batch`, so that the sum over a step is the step's mean."""
    batches = {
        name: _right_padded([sets[name][i] for i in indices], policy) for name, indices in micro_batch.rows.items()
    }
    nll = {name: _nll(policy, *batch) for name, batch in batches.items()}

    def token_mean(name: str) -> Tensor:
        weights = torch.tensor(micro_batch.weights[name], device=policy.device)
        return (nll[name].sum(1) * weights).sum()

    if method == "GradAscent":
        return -token_mean("forget")
    if method == "GradDiff":
        return token_mean("retain") - token_mean("forget")
    if method == "NPO":
        with torch.no_grad():
            before = _nll(reference, *batches["forget"]).sum(1)
        beta = 0.1
        ratio = nll["forget"].sum(1) - before
        forget = -(2 / beta) * micro_batch.share * torch.nn.functional.logsigmoid(beta * ratio).sum()
        return forget + token_mean("retain")
    raise ValueError(f"the plain loop knows GradAscent, GradDiff and NPO, not {method}")


def _right_padded(rows: Sequence[Encoded], model: Any) -> tuple[Tensor, Tensor, Tensor]:
    sequences = [row.prompt_ids + row.answer_ids + row.end_ids for row in rows]
    width = max(map(len, sequences))
    ids, mask, labels = [], [], []
    for row, tokens in zip(rows, sequences, strict=True):
        padding = width - len(tokens)
        ids.append([*tokens, *[0] * padding])
        mask.append([1] * len(tokens) + [0] * padding)
        prompt_length = len(row.prompt_ids)
        labels.append([_NO_LABEL] * prompt_length + list(tokens[prompt_length:]) + [_NO_LABEL] * padding)
    return (
        torch.tensor(ids).to(model.device),
        torch.tensor(mask).to(model.device),
        torch.tensor(labels).to(model.device),
    )


def _nll(model: Any, ids: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """-log p of every label [rows, tokens - 1], 0 where there is none; as in a trainer, all positions have logits."""
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    losses: Tensor = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=_NO_LABEL, reduction="none"
    )
    return losses.view(len(ids), -1)


@torch.no_grad()
def _generate(
    model: Any, workload: Workload, requests: int, new_tokens: int, stops: Sequence[int]
) -> list[tuple[int, ...]]:
    generations: list[tuple[int, ...]] = []
    for start in range(0, requests, EVALUATION_ROWS):
        prompts = [request.prompt for request in workload.requests[start : min(start + EVALUATION_ROWS, requests)]]
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            do_sample=False,
            max_new_tokens=new_tokens,
            eos_token_id=list(stops),
            pad_token_id=0,
        )
        for row in output[:, width:].tolist():
            end = next((place for place, token in enumerate(row) if token in stops), len(row))
            generations.append(tuple(row[:end]))
    return generations


_Metric = Callable[[Tensor, Tensor, int], float]
"""Of logits [tokens, vocabulary] and ids [tokens] of an answer with its end, and the length of the answer alone."""


def _probability(logits: Tensor, gold: Tensor, tokens: int) -> float:
    return math.exp(_log_p(logits, gold)[:tokens].mean().item())


def _memorisation(logits: Tensor, gold: Tensor, tokens: int) -> float:
    return (logits.argmax(-1) == gold)[:tokens].float().mean().item()


def _extraction(logits: Tensor, gold: Tensor, tokens: int) -> float:
    right = (logits.argmax(-1) == gold)[:tokens].tolist()
    suffix = next((back for back, hit in enumerate(reversed(right)) if not hit), tokens)
    return suffix / tokens


def _min_k(logits: Tensor, gold: Tensor, tokens: int) -> float:
    lowest = _log_p(logits, gold)[:tokens].sort().values
    return lowest[: max(1, int(tokens * 0.4))].mean().item()


METRICS: dict[str, _Metric] = {
    "probability": _probability,
    "exact_memorisation": _memorisation,
    "extraction_strength": _extraction,
    "member_min_k_40": _min_k,
}
"""Each takes its own pass over all rows, as in the framework; the truth ratio takes one more per distractor."""


def _log_p(logits: Tensor, gold: Tensor) -> Tensor:
    return logits.float().log_softmax(-1).gather(1, gold[:, None])[:, 0]


@torch.no_grad()
def _metrics(model: Any, workload: Workload, requests: int) -> tuple[dict[str, float], list[list[float]]]:
    chosen = workload.requests[:requests]
    gold = [(request.prompt, request.answers[0]) for request in chosen]
    scores = {name: _mean(_pass(model, gold, metric)) for name, metric in METRICS.items()}
    log_p = _pass(model, gold, lambda logits, ids, tokens: _log_p(logits, ids)[:tokens].tolist())
    means = [sum(values) / len(values) for values in log_p]
    distractor_means: list[list[float]] = [[] for _ in chosen]
    for place in range(1, max(len(request.answers) for request in chosen)):
        rows = [row for row, request in enumerate(chosen) if len(request.answers) > place]
        pairs = [(chosen[row].prompt, chosen[row].answers[place]) for row in rows]
        values = _pass(model, pairs, lambda logits, ids, tokens: _log_p(logits, ids)[:tokens].mean().item())
        for row, value in zip(rows, values, strict=True):
            distractor_means[row].append(value)
    ratios = [
        math.exp(sum(distractors) / len(distractors) - mean)
        for distractors, mean in zip(distractor_means, means, strict=True)
        if distractors
    ]
    scores["truth_ratio_forget"] = _mean([min(ratio, 1 / ratio) if ratio else 0.0 for ratio in ratios])
    return scores, log_p


def _pass(
    model: Any, rows: Sequence[tuple[tuple[int, ...], Answer]], metric: Callable[[Tensor, Tensor, int], Any]
) -> list[Any]:
    """One metric for all rows, from logits of all positions."""
    values = []
    for start in range(0, len(rows), EVALUATION_ROWS):
        batch = rows[start : start + EVALUATION_ROWS]
        encoded = [
            Encoded(prompt, answer.ids[: answer.answer_tokens], answer.ids[answer.answer_tokens :])
            for prompt, answer in batch
        ]
        ids, mask, _ = _right_padded(encoded, model)
        logits = model(input_ids=ids, attention_mask=mask).logits
        for row, (prompt, answer) in enumerate(batch):
            first = len(prompt)
            gold = ids[row, first : first + len(answer.ids)]
            values.append(metric(logits[row, first - 1 : first - 1 + len(answer.ids)], gold, answer.answer_tokens))
    return values


def _recall(tokenizer: PreTrainedTokenizerBase, workload: Workload, generations: Sequence[tuple[int, ...]]) -> float:
    recalls = []
    for places in workload.sets.values():
        for place in places:
            if place.canonical < len(generations):
                text = str(tokenizer.decode(list(generations[place.canonical]), skip_special_tokens=True))
                recalls.append(text_scores(text, place.item.answer, place.item.answers)["rougeL_recall"])
    return _mean(recalls)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
