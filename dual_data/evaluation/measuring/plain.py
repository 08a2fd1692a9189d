"""The plain, slow engine on the model's own forward pass and `generate`: the fast engine's oracle and fallback.

It serves architectures that need more than keys, values, a mask and positions: recurrent layers, or sliding windows
shorter than the prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from dual_data.evaluation.device.memory import if_it_fits
from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.hidden import last_layers, mean_of_answers, mean_of_layers
from dual_data.evaluation.measuring.score import Comparison, score_answers
from dual_data.evaluation.models.decoder import last_hidden
from dual_data.evaluation.rows.request import Answer, Outcome, Request, TokenScores


class PlainEngine(Engine):
    """Runs one adapter after the other."""

    def _run(
        self, requests: Sequence[Request], comparison: Comparison, advance: Callable[[int], None]
    ) -> list[list[Outcome]]:
        outcomes = []
        for cell in range(self.cells):
            adapters = self.adapted
            cell_comparison = comparison if cell == 0 else comparison._replace(keep=None)
            with adapters.only(adapters.first + cell) if adapters is not None else nullcontext():
                cell_outcomes: list[Outcome] = []
                while len(cell_outcomes) < len(requests):
                    start = len(cell_outcomes)
                    batch = requests[start : start + self.rows]
                    batch_outcomes = if_it_fits(self._batch, batch, start, cell_comparison)
                    if batch_outcomes is None:
                        self.halve()
                        continue
                    cell_outcomes += batch_outcomes
                    if cell == 0:
                        advance(len(batch))
                outcomes.append(cell_outcomes)
        return outcomes

    def _batch(self, batch: Sequence[Request], start: int, comparison: Comparison) -> list[Outcome]:
        scores: list[list[TokenScores]] = [[] for _ in batch]
        for number in range(max(len(request.answers) for request in batch)):
            rows = [row for row, request in enumerate(batch) if len(request.answers) > number]
            answers = [batch[row].answers[number] for row in rows]
            prompts = [batch[row].prompt for row in rows]
            indices = [start + row for row in rows]
            answer_scores = self._score(prompts, answers, indices, comparison if number == 0 else Comparison())
            for row, token_scores in zip(rows, answer_scores, strict=True):
                scores[row].append(token_scores)
        wanted = [row for row, request in enumerate(batch) if request.generate]
        texts = dict(zip(wanted, self.generate([batch[row].prompt for row in wanted]), strict=True)) if wanted else {}
        # One outcome per request, whether it is scored, generated or both.
        return [Outcome(tuple(row_scores), *texts.get(row, ((), False))) for row, row_scores in enumerate(scores)]

    def _score(
        self,
        prompts: Sequence[tuple[int, ...]],
        answers: Sequence[Answer],
        indices: Sequence[int],
        comparison: Comparison,
    ) -> list[TokenScores]:
        sequences = [prompt + answer.ids[:-1] for prompt, answer in zip(prompts, answers, strict=True)]
        width = max(map(len, sequences))
        ids = torch.tensor([list(row) + [0] * (width - len(row)) for row in sequences], device=self.loaded.device)
        with last_layers(self.loaded.model, wanted=comparison.wants_hidden) as layers:
            hidden = last_hidden(self.loaded.model, ids)
        spans = [(len(prompt) - 1, len(answer.ids)) for prompt, answer in zip(prompts, answers, strict=True)]
        answer_states = torch.cat([hidden[row, first : first + size] for row, (first, size) in enumerate(spans)])
        means = None
        if layers:
            longest = max(size for _, size in spans)
            mean = torch.nn.functional.pad(mean_of_layers(layers), (0, 0, 0, longest))
            aligned = torch.stack([mean[row, first : first + longest] for row, (first, _) in enumerate(spans)])
            means = mean_of_answers(aligned[None], answers)
        return score_answers(self.loaded.model, answer_states[None], means, answers, indices, comparison)[0]

    @torch.no_grad()
    def generate(
        self, prompts: list[tuple[int, ...]], processors: Sequence[LogitsProcessor] = ()
    ) -> list[tuple[tuple[int, ...], bool]]:
        """Greedy tokens of each prompt, and whether a stop token ended them; `processors` change the logits."""
        width = max(map(len, prompts))
        stops = self.loaded.info.stop_ids
        ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in prompts], device=self.loaded.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=self.loaded.device)
        generate: Any = self.loaded.model.generate
        output: Tensor = generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            num_beams=1,
            max_new_tokens=self.max_new_tokens,
            eos_token_id=list(stops),
            pad_token_id=stops[0],
            logits_processor=list(processors),
        )
        generations = []
        for row in output[:, width:].tolist():
            end = next((index for index, token in enumerate(row) if token in stops), None)
            generations.append((tuple(row if end is None else row[:end]), end is not None))
        return generations
