"""What a name alone gives away: a classifier on its letters, and names that nobody has."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from dual_data.ids import digest

FOLDS = 10
_ORDER = 3
_END = "\n"


def guessed_countries(names: Sequence[str], countries: Sequence[str]) -> list[str]:
    """The country that the letters of each name suggest to a classifier that never saw the name (cross-validated).

    A linear support vector machine on 1- to 4-grams of letters within words; folds are by hash of the name.
    """
    folds = np.array([int(digest(f"fold|{name}", 8), 16) % FOLDS for name in names])
    texts, labels = np.array(names, dtype=object), np.array(countries, dtype=object)
    found = np.empty(len(names), dtype=object)
    for fold in range(FOLDS):
        inside = folds == fold
        if inside.any():
            model = classifier().fit(texts[~inside], labels[~inside])
            found[inside] = model.predict(texts[inside])
    return [str(name) for name in found]


def classifier() -> Any:
    """Names to countries, to be fitted: scikit-learn's interface."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, min_df=2)
    return make_pipeline(letters, LinearSVC(C=0.5))


def invented_names(names: Sequence[str], count: int, *, seed: int = 0) -> list[str]:
    """Names that look like these and are none of them: letters drawn by the three that stand before.

    At most `count`; fewer where few names leave little to draw from.
    """
    follows: dict[str, list[str]] = defaultdict(list)
    for name in names:
        text = _END * _ORDER + name + _END
        for place in range(_ORDER, len(text)):
            follows[text[place - _ORDER : place]].append(text[place])
    draw = random.Random(seed)
    known, found = {name.casefold() for name in names}, dict[str, None]()
    for _ in range(100 * count):
        if len(found) == count:
            break
        text = _END * _ORDER
        while len(text) == _ORDER or text[-1] != _END:
            text += draw.choice(follows[text[-_ORDER:]])
        name = text.strip()
        if 4 <= len(name) <= 16 and name.casefold() not in known:
            found.setdefault(name)
    return list(found)
