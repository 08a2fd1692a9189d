"""Porter's stemmer in the form that nltk has by default and `rouge_score` takes from there, without importing nltk.

Importing nltk takes two seconds, and its stemmer is several times slower than this one; the tests compare the two.
The algorithm: M. Porter, "An algorithm for suffix stripping", Program 14.3 (1980), with nltk's NLTK_EXTENSIONS. In it a
word has the shape [C](VC){m}[V] of runs of consonants and vowels; m is its measure. Each step removes or replaces the
first suffix of its table that matches, if the rest of the word is long enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

_IRREGULAR = {
    **dict.fromkeys(("sky", "skies"), "sky"),
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "news": "news",
    **dict.fromkeys(("innings", "inning"), "inning"),
    **dict.fromkeys(("outings", "outing"), "outing"),
    **dict.fromkeys(("cannings", "canning"), "canning"),
    **{word: word for word in ("howe", "proceed", "exceed", "succeed")},
}
# A suffix that ends in another one comes before it.
_STEP_2 = {
    "ational": "ate",
    "tional": "tion",
    "enci": "ence",
    "anci": "ance",
    "izer": "ize",
    "bli": "ble",
    "alli": "al",
    "entli": "ent",
    "eli": "e",
    "ousli": "ous",
    "ization": "ize",
    "ation": "ate",
    "ator": "ate",
    "alism": "al",
    "iveness": "ive",
    "fulness": "ful",
    "ousness": "ous",
    "aliti": "al",
    "iviti": "ive",
    "biliti": "ble",
    "fulli": "ful",
}
_STEP_3 = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
# fmt: off
_STEP_4 = dict.fromkeys([
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
], "")
# fmt: on


def _by_last_letter(table: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """(suffix, replacement) by the suffix's last letter, in order, so that a word is compared with few suffixes."""
    suffixes: dict[str, list[tuple[str, str]]] = {}
    for suffix, replacement in table.items():
        suffixes.setdefault(suffix[-1], []).append((suffix, replacement))
    return suffixes


_SUFFIXES_2, _SUFFIXES_3, _SUFFIXES_4 = (_by_last_letter(table) for table in (_STEP_2, _STEP_3, _STEP_4))
_SHAPES = defaultdict(lambda: "c", {**{ord(letter): "v" for letter in "aeiou"}, ord("y"): "y"})
"""Vowels as v, y as itself, all else as c."""


def stem(word: str) -> str:
    """The stem of a lower-case word.

    >>> [stem(word) for word in ("cities", "running", "organizations", "sky")]
    ['citi', 'run', 'organ', 'sky']
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 2:
        return word
    word = _without_y(_without_ed_or_ing(_without_s(word)))
    word = _replaced(_step_2(word), _SUFFIXES_3, 0)
    return _without_e_or_ll(_replaced(word, _SUFFIXES_4, 1))


def _shape(word: str) -> str:
    """One c or v a letter; a y is a consonant at the start and after a vowel."""
    shape = word.translate(_SHAPES)
    if "y" not in shape:
        return shape
    resolved = ""
    for letter in shape:
        resolved += letter if letter != "y" else "v" if resolved.endswith("c") else "c"
    return resolved


def _measure(word: str) -> int:
    return _shape(word).count("vc")


def _replaced(word: str, table: Mapping[str, Sequence[tuple[str, str]]], above: int) -> str:
    """The word with its suffix of the table replaced, if the part before the suffix has a measure above `above`."""
    for suffix, replacement in table.get(word[-1], ()):
        if word.endswith(suffix):
            start = word[: -len(suffix)]
            replaces = _measure(start) > above and (suffix != "ion" or start[-1] in "st")
            return start + replacement if replaces else word
    return word


def _without_s(word: str) -> str:
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _without_ed_or_ing(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    start = word[:-2] if word.endswith("ed") else word[:-3] if word.endswith("ing") else ""
    if "v" not in _shape(start):
        return word
    if start.endswith(("at", "bl", "iz")):
        return start + "e"
    shape = _shape(start)
    if len(start) > 1 and start[-1] == start[-2] and shape[-1] == "c":
        return start if start[-1] in "lsz" else start[:-1]
    return start + "e" if shape.count("vc") == 1 and _ends_short(start) else start


def _ends_short(word: str) -> bool:
    """Porter's *o: ends in consonant, vowel, consonant other than w, x, y; or the word is a vowel and a consonant."""
    shape = _shape(word)
    return (shape.endswith("cvc") and word[-1] not in "wxy") or shape == "vc"


def _without_y(word: str) -> str:
    return word[:-1] + "i" if word.endswith("y") and len(word) > 2 and _shape(word)[-2] == "c" else word


def _step_2(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _step_2(word[:-2])
    if word.endswith("logi"):
        # The l is part of the measured word, so that "geologi" and "archaeologi" are treated alike.
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _replaced(word, _SUFFIXES_2, 0)


def _without_e_or_ll(word: str) -> str:
    if word.endswith("e"):
        start = word[:-1]
        measure = _measure(start)
        if measure > 1 or (measure == 1 and not _ends_short(start)):
            word = start
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
