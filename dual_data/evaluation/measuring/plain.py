"""The slow way, through the model's own forward pass and `generate`: the oracle of the fast one, and its stand-in.

An architecture whose attention wants more than keys, values, a mask and positions (recurrent layers, sliding windows
shorter than the prompts) is served here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from dual_data.evaluation.device.memory import is_out_of_memory
from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.hidden import last_layers, mean_of_answers, mean_of_layers
from dual_data.evaluation.measuring.score import Comparison, score_answers
from dual_data.evaluation.metrics.likelihood import TokenScores
from dual_data.evaluation.models.loading import last_hidden
from dual_data.evaluation.rows.request import Answer, Outcome, Request


class PlainEngine(Engine):
    """One adapter after the other."""

    def _run(
        self, requests: Sequence[Request], compared: Comparison, advance: Callable[[int], None]
    ) -> list[list[Outcome]]:
        outcomes = []
        for cell in range(self.cells):
            one = self.adapters
            held = compared if cell == 0 else compared._replace(keep=None)
            with one.only(one.first + cell) if one is not None and one.enabled else nullcontext():
                found: list[Outcome] = []
                while len(found) < len(requests):
                    start = len(found)
                    batch = requests[start : start + self.rows]
                    try:
                        found += self._batch(batch, start, held)
                    except (RuntimeError, MemoryError) as error:
                        if not is_out_of_memory(error):
                            raise
                    if len(found) == start:  # outside the handler, which holds the tensors of the batch
                        self.halve()
                    elif cell == 0:
                        advance(len(batch))
                outcomes.append(found)
        return outcomes

    def _batch(self, batch: Sequence[Request], start: int, compared: Comparison) -> list[Outcome]:
        scores: list[list[TokenScores]] = [[] for _ in batch]
        for place in range(max(len(request.answers) for request in batch)):
            rows = [row for row, request in enumerate(batch) if len(request.answers) > place]
            answers = [batch[row].answers[place] for row in rows]
            prompts = [batch[row].prompt for row in rows]
            held = compared if place == 0 else Comparison()
            for row, one in zip(rows, self._score(prompts, answers, [start + row for row in rows], held), strict=True):
                scores[row].append(one)
        wanted = [row for row, request in enumerate(batch) if request.generate]
        texts = dict(zip(wanted, self._generate([batch[row].prompt for row in wanted]), strict=True)) if wanted else {}
        return [
            Outcome(tuple(found), *texts.get(row, ((), False)))  # one outcome a request, scored or generated or both
            for row, found in enumerate(scores)
        ]

    def _score(
        self,
        prompts: Sequence[tuple[int, ...]],
        answers: Sequence[Answer],
        indices: Sequence[int],
        compared: Comparison,
    ) -> list[TokenScores]:
        whole = [prompt + answer.ids[:-1] for prompt, answer in zip(prompts, answers, strict=True)]
        width = max(map(len, whole))
        ids = torch.tensor([list(row) + [0] * (width - len(row)) for row in whole], device=self.loaded.device)
        with last_layers(self.loaded.model, wanted=compared.wants_hidden) as layers:
            hidden = last_hidden(self.loaded.model, ids)
        spans = [(len(prompt) - 1, len(answer.ids)) for prompt, answer in zip(prompts, answers, strict=True)]
        chosen = torch.cat([hidden[row, first : first + size] for row, (first, size) in enumerate(spans)])
        means = None
        if layers:
            longest = max(size for _, size in spans)
            mean = torch.nn.functional.pad(mean_of_layers(layers), (0, 0, 0, longest))
            aligned = torch.stack([mean[row, first : first + longest] for row, (first, _) in enumerate(spans)])
            means = mean_of_answers(aligned[None], answers)
        return score_answers(self.loaded.model, chosen[None], means, answers, indices, compared)[0]

    def _generate(self, prompts: list[tuple[int, ...]]) -> list[tuple[tuple[int, ...], bool]]:
        width = max(map(len, prompts))
        pad, stops = self.loaded.info.pad_id, set(self.loaded.info.stop_ids)
        ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in prompts], device=self.loaded.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=self.loaded.device)
        generate: Any = self.loaded.model.generate
        output: Tensor = generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            num_beams=1,
            max_new_tokens=self.max_new_tokens,
            eos_token_id=list(stops),
            pad_token_id=pad,
        )
        found = []
        for row in output[:, width:].tolist():
            end = next((place for place, token in enumerate(row) if token in stops), None)
            found.append((tuple(row if end is None else row[:end]), end is not None))
        return found
