"""Scores answers under teacher forcing: all answers of a prompt in one pass over its keys and values.

    [shared prefix | padding | own part of the prompt] | answer 1 | answer 2 | ...

The answers of a row are concatenated; a token attends to the prompt and its own answer. Rows with similar numbers of
answer tokens are run together, so that padding at most doubles the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dual_data.evaluation.measuring.hidden import last_layers, mean_of_answers, mean_of_layers
from dual_data.evaluation.measuring.score import Comparison, score_answers
from dual_data.evaluation.measuring.static_cache import StaticCache, answers_mask, prompt_seen
from dual_data.evaluation.models.decoder import last_hidden
from dual_data.evaluation.rows.request import Answer, TokenScores


class Prompts(NamedTuple):
    """Prompts after their pass through the model; rows are grouped by cell."""

    cache: StaticCache
    """Their keys and values."""
    indices: list[int]
    """Index of each row's request."""
    prefix: int
    """Tokens that all prompts share; each column after them is padding or a prompt's own token."""
    pads: Tensor
    """Padding after the prefix, [rows of all cells]."""
    length: int
    """Columns after the prefix: the own tokens of the longest prompt."""
    end_positions: Tensor
    """Position of the first token after each prompt, [rows of all cells]."""
    end_hidden: Tensor
    """Final hidden state at the last prompt token, [cells, rows, width]."""
    end_layers: Tensor | None
    """The same as a mean over the last layers, [cells, rows, width]; None where not wanted."""


class Scored(NamedTuple):
    """One answer of one row of a part."""

    row: int
    """Within the part."""
    number: int
    """Index among the row's answers."""
    answer: Answer
    columns: list[int]
    """Columns that predict its tokens: 0 is the prompt's last token, the tokens fed follow from 1."""


def forced_scores(
    model: PreTrainedModel,
    prompts: Prompts,
    answers: Sequence[Sequence[Answer]],
    comparison: Comparison,
) -> list[list[list[TokenScores]]]:
    """Scores [cells][rows][answers]; only the first answer of each row is compared with the reference and kept."""
    results: list[list[list[TokenScores]]] = [[[] for _ in answers] for _ in prompts.end_hidden]
    for rows in _parts(answers):
        hidden, layers, scored = _run(model, prompts, rows, [answers[row] for row in rows])
        first = [entry for entry in scored if entry.number == 0]
        rest = [entry for entry in scored if entry.number > 0]
        for chosen, entry_comparison in ((first, comparison), (rest, Comparison())):
            if not chosen:
                continue
            indices = [prompts.indices[rows[entry.row]] for entry in chosen]
            columns = _scores(model, hidden, layers, chosen, indices, entry_comparison)
            for of_cell, column in zip(results, columns, strict=True):
                for entry, scores in zip(chosen, column, strict=True):
                    of_cell[rows[entry.row]].append(scores)
    return results


def _run(
    model: PreTrainedModel, prompts: Prompts, rows: list[int], answers: Sequence[Sequence[Answer]]
) -> tuple[Tensor, Tensor | None, list[Scored]]:
    """Hidden states [cells, rows, 1 + fed, width] of a part, the same of the last layers, and the answers' columns."""
    cells, device = len(prompts.end_hidden), prompts.pads.device
    fed = max(map(_fed, answers))
    table = []
    scored = []
    for row, row_answers in enumerate(answers):
        tokens: list[tuple[int, int, int]] = []  # (id, index in its answer, which answer)
        for number, answer in enumerate(row_answers):
            start = len(tokens)
            tokens += [(token, index, number) for index, token in enumerate(answer.ids[:-1])]
            scored.append(Scored(row, number, answer, [0, *range(start + 1, len(tokens) + 1)]))
        table.append(tokens + [(0, 0, -1)] * (fed - len(tokens)))
    row_indices = torch.tensor(rows, device=device)
    hidden = prompts.end_hidden[:, row_indices, None]
    layers = prompts.end_layers[:, row_indices, None] if prompts.end_layers is not None else None
    if fed:
        cache_rows = (row_indices + torch.arange(cells, device=device)[:, None] * len(prompts.indices)).flatten()
        start = prompts.prefix + prompts.length
        columns = torch.arange(start, start + fed, device=device)
        ids, offsets, segments = torch.tensor(table, device=device).repeat(cells, 1, 1).unbind(2)
        seen = prompt_seen(prompts.prefix, prompts.pads[cache_rows], prompts.length)
        with last_layers(model, wanted=layers is not None) as states:
            fed_hidden = last_hidden(
                model,
                ids,
                answers_mask(seen, segments),
                prompts.end_positions[cache_rows, None] + offsets,
                prompts.cache.branch(cache_rows, start, fed).at(columns, start + fed),
            )
        hidden = torch.cat([hidden, fed_hidden.view(cells, len(rows), fed, -1)], dim=2)
        if layers is not None:
            layers = torch.cat([layers, mean_of_layers(states).view(cells, len(rows), fed, -1)], dim=2)
    return hidden, layers, scored


def _scores(
    model: PreTrainedModel,
    hidden: Tensor,
    layers: Tensor | None,
    scored: Sequence[Scored],
    indices: Sequence[int],
    comparison: Comparison,
) -> list[list[TokenScores]]:
    """Scores [cells][answers]."""
    width = hidden.shape[2]
    positions = torch.tensor(
        [entry.row * width + column for entry in scored for column in entry.columns], device=hidden.device
    )
    answers = [entry.answer for entry in scored]
    means = None
    if layers is not None and comparison.wants_hidden:
        # Gold answers come first in their rows, so their states begin at column 0.
        means = mean_of_answers(layers[:, [entry.row for entry in scored]], answers)
    return score_answers(model, hidden.flatten(1, 2)[:, positions], means, answers, indices, comparison)


def _fed(answers: Sequence[Answer]) -> int:
    """Number of answer tokens that are fed: the last token of each answer is only predicted."""
    return sum(len(answer.ids) - 1 for answer in answers)


def _parts(answers: Sequence[Sequence[Answer]]) -> Iterator[list[int]]:
    """Row numbers with an answer, in parts whose longest row has less than twice the tokens of the shortest."""
    by_size: dict[int, list[int]] = {}
    for row, row_answers in enumerate(answers):
        if row_answers:
            by_size.setdefault(_fed(row_answers).bit_length(), []).append(row)
    for size in sorted(by_size):
        yield by_size[size]
