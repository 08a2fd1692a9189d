"""The counts of the parts of our cell and of the plain loop, for a model of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from benchmarks.evaluation.count import Cost, counted, counting
from benchmarks.evaluation.plain import FAIREST, PlainOptions, workload_of
from benchmarks.evaluation.subject import Work, config_of
from dual_data.evaluation.device.devices import rows_per_bin
from dual_data.evaluation.device.repeatable import repeatable
from dual_data.evaluation.measuring import score
from dual_data.evaluation.measuring.decoding import Slots
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.methods import method_named
from dual_data.evaluation.models.loading import Loaded, ModelInfo
from dual_data.evaluation.models.norms import fuse, norms_of
from dual_data.evaluation.rows.encoding import Encoded, TrainingRows, encode
from dual_data.evaluation.training import training_run
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec, Optimisation


def step(shape: str, tokenizer: PreTrainedTokenizerBase, work: Work, *, cells: int = 1) -> tuple[Cost, int]:
    """One of our training steps with `cells` cells at once, and the bytes of the weights."""
    forget, retain = (encode(tokenizer, rows, "chat") for rows in (work.forget, work.retain))
    packed = mock.patch.object(training_run, "rows_per_bin", lambda _, parameters: rows_per_bin("cuda", parameters))
    with counting() as meter, repeatable(torch.device("cuda")), packed:
        loaded, weights = _loaded(shape, tokenizer)
        adapters = Adapters(loaded.model, LoraSpec(), seeds=range(cells))
        run = training_run.TrainingRun(
            loaded,
            adapters,
            method_named(work.method),
            TrainingRows(forget, retain, work.seed),
            [work.lr] * cells,
            optimisation=Optimisation(epochs=2, batch=work.batch),
            options={},
            plain=False,
        )
        run.step()
        return counted(meter, run.step), weights


def batch(shape: str, tokenizer: PreTrainedTokenizerBase, work: Work, *, rows: int) -> dict[str, Cost]:
    """The parts of measuring one batch: prompts with all scored answers, and one decoding step."""
    requests = workload_of(tokenizer, work).requests[:rows]
    with counting() as meter:
        loaded, _ = _loaded(shape, tokenizer)
        adapters = Adapters(loaded.model, LoraSpec())
        engine = FastEngine(loaded, adapters, rows=rows, max_new_tokens=work.new_tokens)
        steps: list[Cost] = []

        def decode(_: object, slots: Slots, __: object) -> list[list[int]]:
            steps.append(meter.read())
            steps.append(counted(meter, lambda: slots.step(engine.decoder.model)))
            return [[]] * len(slots.ids)

        def split(_: object, lengths: Sequence[int], *__: object) -> list[Any]:
            return [None] * len(lengths)

        with mock.patch.object(engine, "_decode", decode), mock.patch.object(score, "split_scores", split):
            meter.reset()
            engine.run(requests)
        return {"prompts and answers": steps[0], "decoding step": steps[1]}


def plain_step(
    shape: str, tokenizer: PreTrainedTokenizerBase, work: Work, *, options: PlainOptions = FAIREST
) -> tuple[Cost, int]:
    """One forward and backward pass of the plain loop, without a reference model, and the bytes of the weights."""
    rows = encode(tokenizer, work.forget[: options.micro_batch or work.batch], "chat")
    with counting() as meter:
        loaded, weights = _loaded(shape, tokenizer, fused=False)
        model: Any = loaded.model
        adapters = Adapters(loaded.model, LoraSpec())
        if options.checkpointing:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        model.train()

        def once() -> None:
            ids, mask, labels = _padded(rows)
            logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
            loss.backward()  # type: ignore[no-untyped-call]

        once()
        cost = counted(meter, once)
        adapters.remove()
        return cost, weights


def _padded(rows: Sequence[Encoded]) -> tuple[Tensor, Tensor, Tensor]:
    width = max(len(row.prompt_ids + row.answer_ids + row.end_ids) for row in rows)
    shape = (len(rows), width)
    return torch.zeros(shape, dtype=torch.long), torch.ones(shape, dtype=torch.long), torch.zeros(shape).long()


def _loaded(shape: str, tokenizer: PreTrainedTokenizerBase, *, fused: bool = True) -> tuple[Loaded, int]:
    model: Any = AutoModelForCausalLM.from_config(config_of(shape), dtype=torch.bfloat16)  # type: ignore[no-untyped-call]
    for norm in norms_of(model) if fused else ():  # as `load` does on a GPU, and transformers does not
        fuse(norm)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    layers = model.config.num_hidden_layers
    info = ModelInfo(shape, "", shape, "bfloat16", "LlamaForCausalLM", parameters, layers, "", 2, (2,), ())
    return Loaded(model.eval(), tokenizer, info), weights
