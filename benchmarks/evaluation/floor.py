"""The floor of a cell: the operations and bytes that no code can do without."""

from __future__ import annotations

from typing import NamedTuple

from transformers import LlamaConfig, PreTrainedTokenizerBase

from benchmarks.evaluation.ceilings import Ceilings
from benchmarks.evaluation.plain import workload_of
from benchmarks.evaluation.subject import Work
from dual_data.evaluation.rows.encoding import encode
from dual_data.evaluation.rows.packing import shared_prefix


class Part(NamedTuple):
    """One part of a cell."""

    name: str
    flops: float
    bytes: float
    sent: float = 0.0
    """Bytes that come from the host."""

    def seconds(self, ceilings: Ceilings) -> float:
        """Time at the ceilings: the largest of those of arithmetic, memory and, where its rate is known, the link."""
        sending = self.sent / ceilings.link if ceilings.link else 0.0
        return max(self.flops / ceilings.flops, self.bytes / ceilings.bytes, sending)


def floor(config: LlamaConfig, tokenizer: PreTrainedTokenizerBase, work: Work, *, width: int = 2) -> list[Part]:
    """The parts of one cell, with `width` bytes per weight.

    The count assumes that common prefixes of prompts are shared, nothing is padded, logits are made only where a label
    is, keys and values are read once per generated token, and only products cost arithmetic. The logits at the end of a
    prompt serve the first tokens of its scored answers and of its generation. A multiplication and an addition are two
    operations. A frozen weight takes 2 operations per token forward and 2 backward. A grid loads the weights once for
    all cells.
    """
    body, head = _body(config), config.vocab_size * config.hidden_size
    cache = 2 * config.num_hidden_layers * _shared(config) * width
    forget, retain = (encode(tokenizer, rows, "chat") for rows in (work.forget, work.retain))
    requests = workload_of(tokenizer, work).requests
    common = len(shared_prefix([list(request.prompt) for request in requests]))
    sets = [forget] if work.method == "GradAscent" else [forget, retain[: len(forget)]]
    steps = -(-len(forget) // work.batch) * work.epochs
    trained = shared_prefix([list(row.prompt_ids) for rows in sets for row in rows])
    own = work.epochs * sum(len(row.prompt_ids) - len(trained) + len(row.answer_ids) for rows in sets for row in rows)
    tokens = own + steps * len(trained)
    labels = work.epochs * sum(len(row.answer_ids) + len(row.end_ids) for rows in sets for row in rows)
    training = Part("train", 4.0 * (body * tokens + head * labels), 2.0 * steps * width * (body + head))
    prompts = sum(len(request.prompt) - common for request in requests)
    fed = sum(len(answer.ids) - 1 for request in requests for answer in request.answers)
    # The input embedding is read by row afterwards; where it is the head too, there is only one.
    weights = width * (body + (1 if config.tie_word_embeddings else 2) * head)
    parts = [Part("load", 0.0, weights, weights), training]
    if work.method == "NPO":
        once = sum(len(row.prompt_ids) - len(trained) + len(row.answer_ids) for row in forget)
        predicted = sum(len(row.answer_ids) + len(row.end_ids) for row in forget)
        parts.append(Part("reference", 2.0 * (body * once + head * predicted), width * (body + head)))
    parts.append(Part("prompts", 2.0 * (body * prompts + head * len(requests)), width * (body + head)))
    parts.append(Part("scored answers", 2.0 * (body + head) * fed, width * (body + head)))
    passes = work.new_tokens - 1
    read = passes * sum(len(request.prompt) - common + (passes - 1) / 2 for request in requests)
    reread = passes * width * (body + head)
    parts.append(Part("generation", 2.0 * (body + head) * len(requests) * passes, reread + cache * read))
    return parts


def _body(config: LlamaConfig) -> int:
    """Number of weights of the layers, with which every token is multiplied."""
    attention = 2 * config.hidden_size**2 + 2 * config.hidden_size * _shared(config)
    return int(config.num_hidden_layers * (attention + 3 * config.hidden_size * config.intermediate_size))


def _shared(config: LlamaConfig) -> int:
    """Width of the keys of a layer, which is that of its values too."""
    heads = config.num_key_value_heads or config.num_attention_heads
    return int(heads * (config.hidden_size // config.num_attention_heads))
