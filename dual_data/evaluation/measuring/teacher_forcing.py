"""Answers scored under teacher forcing: all answers of a prompt in one pass over its keys and values.

    [shared prefix | padding | own part of the prompt] | answer 1 | answer 2 | ...

The answers of a row stand behind each other; a token sees the prompt and the answer that it is in. Rows with about as
many answer tokens go together, so that little is padding: twice the tokens at most.
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
from dual_data.evaluation.metrics.likelihood import TokenScores
from dual_data.evaluation.models.loading import last_hidden
from dual_data.evaluation.rows.request import Answer


class Prompts(NamedTuple):
    """Prompts that have been through the model; rows are grouped by cell."""

    cache: StaticCache
    """Their keys and values."""
    indices: list[int]
    """Number of each row's request."""
    prefix: int
    pads: Tensor
    """[rows of all cells]"""
    length: int
    end_positions: Tensor
    """Position of the first token after each prompt, [rows of all cells]."""
    end_hidden: Tensor
    """Final hidden state at the last prompt token, [cells, rows, width]."""
    end_layers: Tensor
    """The same, mean over the last layers, [cells, rows, width]; empty where not wanted."""


class Scored(NamedTuple):
    """One answer of one row of a part."""

    row: int
    """Within the part."""
    place: int
    """Which of the row's answers."""
    answer: Answer
    columns: list[int]
    """Where its tokens are predicted: 0 is the prompt's last token, 1 and up the tokens fed."""


def forced_scores(
    model: PreTrainedModel,
    prompts: Prompts,
    answers: Sequence[Sequence[Answer]],
    compared: Comparison,
) -> list[list[list[TokenScores]]]:
    """Scores [cells][rows][answers]. The first answer of each row is compared and kept."""
    found: list[list[list[TokenScores]]] = [[[] for _ in answers] for _ in prompts.end_hidden]
    for rows in _parts(answers):
        hidden, layers, scored = _run(model, prompts, rows, [answers[row] for row in rows])
        gold = [one for one in scored if one.place == 0]
        others = [one for one in scored if one.place > 0]
        indices = [prompts.indices[rows[one.row]] for one in gold]
        for chosen, held in ((gold, compared), (others, Comparison())):
            if not chosen:
                continue
            columns = _scores(model, hidden, layers, chosen, indices, held)
            for of_cell, column in zip(found, columns, strict=True):
                for one, scores in zip(chosen, column, strict=True):
                    of_cell[rows[one.row]].append(scores)
    return found


def _run(
    model: PreTrainedModel, prompts: Prompts, rows: list[int], answers: Sequence[Sequence[Answer]]
) -> tuple[Tensor, Tensor, list[Scored]]:
    """Hidden states [cells, rows, 1 + fed, width] of a part, the same of the last layers, and what stands where."""
    cells, device = len(prompts.end_hidden), prompts.pads.device
    fed = max(map(_fed, answers))
    tables: list[list[list[int]]] = [[], [], []]
    scored = []
    for row, several in enumerate(answers):
        lines: list[list[int]] = [[], [], []]
        for place, answer in enumerate(several):
            size, start = len(answer.ids) - 1, len(lines[0])
            for line, values in zip(lines, (answer.ids[:-1], range(size), [place] * size), strict=True):
                line.extend(values)
            scored.append(Scored(row, place, answer, [0, *range(start + 1, start + size + 1)]))
        for table, line, filling in zip(tables, lines, (0, 0, -1), strict=True):
            table.append(line + [filling] * (fed - len(line)))
    pick = torch.tensor(rows, device=device)
    hidden = prompts.end_hidden[:, pick, None]
    wanted = prompts.end_layers.numel() > 0
    layers = prompts.end_layers[:, pick, None] if wanted else prompts.end_layers
    if fed:
        every = (pick + torch.arange(cells, device=device)[:, None] * len(prompts.indices)).flatten()
        start = prompts.prefix + prompts.length
        columns = torch.arange(start, start + fed, device=device)
        ids, offsets, segments = (torch.tensor(table, device=device).repeat(cells, 1) for table in tables)
        seen = prompt_seen(prompts.prefix, prompts.pads[every], prompts.length)
        with last_layers(model, wanted=wanted) as states:
            rest = last_hidden(
                model,
                ids,
                answers_mask(seen, segments),
                prompts.end_positions[every, None] + offsets,
                prompts.cache.branch(every, start, fed).at(columns, start + fed),
            )
        hidden = torch.cat([hidden, rest.view(cells, len(rows), fed, -1)], dim=2)
        if wanted:
            layers = torch.cat([layers, mean_of_layers(states).view(cells, len(rows), fed, -1)], dim=2)
    return hidden, layers, scored


def _scores(
    model: PreTrainedModel,
    hidden: Tensor,
    layers: Tensor,
    scored: Sequence[Scored],
    indices: Sequence[int],
    compared: Comparison,
) -> list[list[TokenScores]]:
    """Scores [cells][answers]."""
    width = hidden.shape[2]
    pick = torch.tensor([one.row * width + column for one in scored for column in one.columns], device=hidden.device)
    answers = [one.answer for one in scored]
    means = None
    if layers.numel() and compared.wants_hidden:
        # Gold answers stand first in their rows, so their states begin at column 0.
        means = mean_of_answers(layers[:, [one.row for one in scored]], answers)
    return score_answers(model, hidden.flatten(1, 2)[:, pick], means, answers, indices, compared)


def _fed(answers: Sequence[Answer]) -> int:
    """Tokens that go through the model: the last of each answer is only predicted."""
    return sum(len(answer.ids) - 1 for answer in answers)


def _parts(answers: Sequence[Sequence[Answer]]) -> Iterator[list[int]]:
    """Rows with an answer, in parts whose longest row has less than twice the tokens of the shortest."""
    by_size: dict[int, list[int]] = {}
    for row, several in enumerate(answers):
        if several:
            by_size.setdefault(_fed(several).bit_length(), []).append(row)
    for size in sorted(by_size):
        yield by_size[size]
