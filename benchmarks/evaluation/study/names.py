"""What a name alone gives away: a classifier of its letters, and invented names."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from dual_data.ids import digest

FOLDS = 10
_ORDER = 3
_END = "\n"


def guessed_countries(names: Sequence[str], countries: Sequence[str]) -> list[str]:
    """The country that the letters of each name suggest to a classifier that never saw the name (cross-validated).

    A linear support vector machine on 1- to 4-grams of letters within words; folds are by hash of the name.
    """
    from sklearn.model_selection import PredefinedSplit, cross_val_predict

    folds = PredefinedSplit([int(digest(f"fold|{name}", 8), 16) % FOLDS for name in names])
    return [str(country) for country in cross_val_predict(classifier(), names, countries, cv=folds)]


def classifier() -> Any:
    """An unfitted scikit-learn classifier from names to countries."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, min_df=2)
    return make_pipeline(letters, LinearSVC(C=0.5))


def invented_names(names: Sequence[str], count: int) -> list[str]:
    """Names that look like `names` and are none of them: each letter is drawn given the three before it.

    At most `count`; fewer where there are few names to draw from.
    """
    follows: dict[str, list[str]] = defaultdict(list)
    for name in names:
        text = _END * _ORDER + name + _END
        for place in range(_ORDER, len(text)):
            follows[text[place - _ORDER : place]].append(text[place])
    rng = random.Random(0)
    known, invented = {name.casefold() for name in names}, dict[str, None]()
    for _ in range(100 * count):
        if len(invented) == count:
            break
        text = _END * _ORDER
        while len(text) == _ORDER or text[-1] != _END:
            text += rng.choice(follows[text[-_ORDER:]])
        name = text.strip()
        if 4 <= len(name) <= 16 and name.casefold() not in known:
            invented.setdefault(name)
    return list(invented)
