"""From logits at the answer positions to per-token figures; the base's are kept for KL and cosine.

Only positions that predict an answer token go through the head, since a vocabulary can have 128k tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import PreTrainedModel

from dual_data.evaluation.models.decoder import head
from dual_data.evaluation.rows.request import Answer, TokenScores

_CHUNK = 1 << 27
"""Most logits at once in float32, 512 MiB; computing the figures needs a few times as much for a moment."""


class Figures(NamedTuple):
    """Columns [tokens] of the figures of `TokenScores`; float32, integer or boolean."""

    log_p: Tensor
    rank: Tensor
    greedy: Tensor
    mean: Tensor
    deviation: Tensor
    kl: Tensor | None


class Reference:
    """A reference model's outputs at the answer positions, by request: logits, mean hidden states.

    Logits are in the model's own dtype where it holds them exactly, and in float32 where they were scaled or capped.
    """

    def __init__(self) -> None:
        self.logits: dict[int, Tensor] = {}
        self.hidden: dict[int, Tensor] = {}


class Comparison(NamedTuple):
    """What the first answer of a request is compared with; for its other answers both fields are None."""

    against: Reference | None = None
    keep: Reference | None = None
    """Filled with the outputs of the first cell."""

    @property
    def wants_hidden(self) -> bool:
        """Whether hidden states are needed besides logits."""
        return self.against is not None or self.keep is not None


def score_answers(
    model: PreTrainedModel,
    hidden: Tensor,
    means: Tensor | None,
    answers: Sequence[Answer],
    indices: Sequence[int],
    comparison: Comparison,
) -> list[list[TokenScores]]:
    """Scores [cells][answers] from final hidden states [cells, tokens, width] that predict the answers' tokens.

    `means` [cells, answers, width] are mean hidden states of the answers. Both are compared with the reference's for
    the requests `indices`.
    """
    against, keep = comparison
    cells, lengths = len(hidden), [len(answer.ids) for answer in answers]
    gold = torch.tensor([token for answer in answers for token in answer.ids], device=hidden.device)
    base = torch.cat([against.logits[index] for index in indices]) if against is not None else None
    vocabulary = int(model.config.get_text_config().vocab_size)
    columns, logits = figures_of_hidden(
        lambda states: head(model, states), hidden, gold, base, vocabulary, keep=keep is not None
    )
    cosines: list[float | None] = [None] * (cells * len(answers))
    if against is not None and means is not None:
        reference_means = torch.stack([against.hidden[index] for index in indices])
        cosines = list(
            cosine_similarity(means, reference_means[None].expand_as(means), dim=2).clamp(-1, 1).flatten().tolist()
        )
    if keep is not None and logits is not None:
        keep.logits.update(zip(indices, [piece.clone() for piece in torch.split(logits, lengths)], strict=True))
        if means is not None:
            keep.hidden.update(zip(indices, means[0].unbind(0), strict=True))
    scores = split_scores(columns, lengths * cells, [answer.answer_tokens for answer in answers] * cells, cosines)
    return [scores[cell * len(answers) : (cell + 1) * len(answers)] for cell in range(cells)]


@torch.no_grad()
def figures(logits: Tensor, gold: Tensor, reference: Tensor | None = None) -> Figures:
    """Figures of rows [tokens, vocabulary] for the gold tokens [tokens]; everything is computed in float32."""
    logits = logits.float()
    picked = logits.gather(1, gold[:, None])
    log_p = torch.log_softmax(logits, dim=1)
    # A logit of -inf has probability 0 and must contribute 0, not 0 * inf.
    finite = log_p.clamp_min(-1e4)
    p = log_p.exp()
    mean = (p * finite).sum(1)
    deviation = (p * (finite - mean[:, None]).square()).sum(1).sqrt()
    kl = None
    if reference is not None:
        log_q = torch.log_softmax(reference.float(), dim=1)
        kl = (log_q.exp() * (log_q.clamp_min(-1e4) - finite)).sum(1).clamp_min(0.0)
    return Figures(
        log_p.gather(1, gold[:, None])[:, 0],
        1 + (logits > picked).sum(1),
        logits.argmax(1) == gold,
        mean,
        deviation,
        kl,
    )


@torch.no_grad()
def figures_of_hidden(
    head: Callable[[Tensor], Tensor],
    hidden: Tensor,
    gold: Tensor,
    reference: Tensor | None,
    vocabulary: int,
    *,
    keep: bool,
    chunk: int = _CHUNK,
) -> tuple[Figures, Tensor | None]:
    """Figures of hidden states [cells, tokens, width]; the gold tokens [tokens] are the same for every cell.

    At most about `chunk` logits exist at once. The head runs on all cells of some tokens, since adapters on it expect
    rows grouped by cell. Returns figures [cells * tokens] and, with `keep`, the logits [tokens, vocabulary] of the
    first cell, in the dtype of `hidden` where it holds them exactly.
    """
    cells, tokens, _ = hidden.shape
    step = max(1, chunk // (vocabulary * cells))
    parts: list[Figures] = []
    kept_logits = []
    for start in range(0, tokens, step):
        piece = hidden[:, start : start + step]
        logits = head(piece.reshape(-1, piece.shape[-1]))
        rows = None if reference is None else reference[start : start + step].repeat(cells, 1)
        parts.append(figures(logits, gold[start : start + step].repeat(cells), rows))
        if keep:
            exact = logits[: piece.shape[1]]
            narrow = exact.to(hidden.dtype)
            kept_logits.append(narrow if torch.equal(narrow.float(), exact) else exact)
    return _join(parts, cells), torch.cat(kept_logits) if keep else None


def _join(parts: Sequence[Figures], cells: int) -> Figures:
    if len(parts) == 1:
        return parts[0]

    def joined(column: Sequence[Tensor | None]) -> Tensor | None:
        pieces = [piece.view(cells, -1) for piece in column if piece is not None]
        return torch.cat(pieces, dim=1).flatten() if pieces else None

    return Figures(*map(joined, zip(*parts, strict=True)))  # type: ignore[arg-type]


def split_scores(
    values: Figures, lengths: Sequence[int], answer_tokens: Sequence[int], cosines: Sequence[float | None]
) -> list[TokenScores]:
    """Split columns of figures into one `TokenScores` per row; `lengths` count tokens with the turn's end."""
    columns = torch.stack([values.log_p, values.mean, values.deviation]).double().cpu().tolist()
    ranks, greedy = values.rank.cpu().tolist(), values.greedy.cpu().tolist()
    kl = values.kl.double().cpu().tolist() if values.kl is not None else []
    scores = []
    start = 0
    for length, tokens, cosine in zip(lengths, answer_tokens, cosines, strict=True):
        piece = slice(start, start + length)
        log_p, mean, deviation = (tuple(column[piece]) for column in columns)
        scores.append(
            TokenScores(
                tokens, log_p, tuple(ranks[piece]), tuple(greedy[piece]), mean, deviation, tuple(kl[piece]), cosine
            )
        )
        start += length
    return scores
