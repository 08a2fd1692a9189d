"""Scores on a scale of one-token labels, read from what a model says or would say.

The expected value over the labels, sum p(l) * value(l) / sum p(l), uses more of the judge than the one label it prints
(Liu et al. 2023, G-Eval). The label mass, sum p(l), says whether the judge answered on the scale at all.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

HIGHEST_MASS = 1.02
"""Probabilities that add up to more are no probabilities."""

_PREFACE = re.compile(
    r"""\s*(?:the\s+)?(?:score|rating|answer|label|digit)?(?:\s+is)?\s*[:=]?\s*["'*_`({]*\s*""", re.IGNORECASE
)
"""What a judge may write before the label: "Score: **"."""
SPACE_MARKS = str.maketrans(dict.fromkeys("\u2581\u0120", " ") | {"\u010a": "\n"})
"""How SentencePiece and byte-level tokenizers write a space or a line feed, where a server does not decode it."""
_DECORATION = "\"'*_`({[]})."
_CLOSED = re.compile(r"""[^\S\n]*(?:\Z|[\n<]|[.:)\]*"](?!\w))""")
"""What may follow a letter: the end or closing punctuation, lest "A widely known fact" and "I cannot" be ratings. "<"
begins the end-of-turn tokens that some servers list: <|im_end|>."""


class Distribution(NamedTuple):
    """The judge's distribution over the scale, renormalised to the labels."""

    score: float
    """Expected value."""
    spread: float
    """Standard deviation."""
    entropy: float
    """In nats."""
    argmax: int
    """The most probable value; the lowest of several."""
    mass: float
    """Probability of all labels together before renormalising."""


def distribution(log_probabilities: Sequence[float | None], values: Sequence[int]) -> Distribution | None:
    """The distribution of labels with these log-probabilities (nats); None and NaN count as impossible.

    Returns None where no label is possible, or the numbers are no probabilities.
    """
    weights = [math.exp(min(p, 1.0)) if p is not None and not math.isnan(p) else 0.0 for p in log_probabilities]
    mass = math.fsum(weights)
    if not 0.0 < mass <= HIGHEST_MASS:
        return None
    shares = [weight / mass for weight in weights]
    score = math.fsum(share * value for share, value in zip(shares, values, strict=True))
    variance = math.fsum(share * (value - score) ** 2 for share, value in zip(shares, values, strict=True))
    entropy = -math.fsum(share * math.log(share) for share in shares if share > 0.0)
    argmax = values[shares.index(max(shares))]
    return Distribution(score, math.sqrt(variance), max(0.0, entropy), argmax, min(1.0, mass))


def of_samples(samples: Sequence[int], values: Sequence[int]) -> Distribution | None:
    """The distribution of sampled values; None for no sample. Its mass is 1 and means nothing."""
    if not samples:
        return None
    return distribution(
        [math.log(n / len(samples)) if (n := samples.count(value)) else None for value in values], values
    )


def label_log_probabilities(tokens: Sequence[Sequence[Any]] | None, labels: Sequence[str]) -> list[float | None] | None:
    """The log-probability of each label at the position of the answer, from a reply's [token, p, top tokens] list.

    The position is the first label that the judge wrote with nothing but a preface before it, else the first token
    that is more than space and quotes: there the mass shows that it did not answer. None where the server gave no
    log-probabilities there, or the label continues, as another number ("10", "7.5") or a sentence ("I cannot").
    """
    if not tokens or not all(isinstance(token, str) for token, _, _ in tokens):
        return None
    texts = [token.translate(SPACE_MARKS) for token, _, _ in tokens]
    before, start = "", None
    for index, text in enumerate(texts):
        clean = _clean(text)
        if start is None and clean.strip(_DECORATION + " \n"):
            start = index
        if clean in labels and _PREFACE.fullmatch(before):
            after = "".join(texts[index + 1 : index + 3])
            return None if _goes_on(clean, after) else _merge(tokens[index], labels)
        before += text
    return None if start is None else _merge(tokens[start], labels)


def _goes_on(label: str, after: str) -> bool:
    """Whether the text after it makes it no label. An explanation may follow a digit, not a letter."""
    return bool(re.match(r"\w|[.,]\d", after)) if label.isdigit() else not _CLOSED.match(after)


def _merge(token: Sequence[Any], labels: Sequence[str]) -> list[float | None] | None:
    """Labels' log-probabilities among the top tokens: " 7" and "7" are one label, the same token twice counts once."""
    top = {str(text): p for text, p in [*token[2], token[:2]] if p is not None}
    if not token[2] or not top or sum(math.exp(min(p, 1.0)) for p in top.values()) > HIGHEST_MASS:
        return None
    totals = (math.fsum(math.exp(p) for text, p in top.items() if _clean(text) == label) for label in labels)
    return [math.log(total) if total > 0.0 else None for total in totals]


def _clean(token: str) -> str:
    return unicodedata.normalize("NFKC", token.translate(SPACE_MARKS)).strip()


def label_of_text(text: str, labels: Sequence[str]) -> str | None:
    """The label that a written answer gives, or None where it gives none or could mean another.

    >>> [label_of_text(text, "123456789") for text in ("7", "Score: 7/9.", '{"label": "3"}', "7 or 8", "10", "7.5")]
    ['7', '7', '3', None, None, None]
    """
    text = text.strip()
    if text.startswith("{"):
        try:
            data = json.loads(text)
        except ValueError:
            return None
        label = str(data.get("label")) if isinstance(data, dict) and len(data) == 1 else ""
        return label if label in labels else None
    match = re.match(r"(\w+)(.*)", _PREFACE.sub("", text, count=1), re.DOTALL)
    if match is None or (label := _clean(match.group(1))) not in labels or _goes_on(label, match.group(2)):
        return None
    # What may follow: the scale's end ("/9", " out of 9"), punctuation, an explanation without another number.
    after = re.sub(r"^\s*(?:/|out of)\s*\w+", "", match.group(2))
    if re.search(r"\d", after) or any(_clean(word) in labels for word in re.findall(r"\w+", after)):
        return None
    return label


def label_schema(labels: Sequence[str]) -> dict[str, Any]:
    """JSON schema of {"label": one of the labels}; an enumeration, because servers differ in what else they take."""
    return {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": list(labels)}},
        "required": ["label"],
        "additionalProperties": False,
    }
