"""Words of a text in any script: the folding and splitting that matching and the Unicode ROUGE share."""

import re
import unicodedata
from functools import lru_cache

PLAIN = re.compile(r"[a-z0-9]+")
_DIACRITICS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
# Letters with a stroke and ligatures have no decomposition in Unicode, yet readers write plain letters for them.
_STROKES = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"}
)
# Scripts written without spaces: each character counts as a word, else a sentence would be one word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")


def clean(text: str) -> str:
    """NFC, without white space at the ends, runs of it collapsed."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def fold(text: str) -> str:
    """Casefold, decompose (NFKD), drop the diacritics of Latin, Greek and Cyrillic letters, compose again.

    Casefolded twice, because some characters (U+1F110) have no lower case and decompose into capitals. Vowel signs of
    Indic, Arabic or Hebrew letters are not diacritics here: they distinguish words.
    """
    if text.isascii():
        return text.lower()
    decomposed = _DIACRITICS.sub("", unicodedata.normalize("NFKD", text.casefold()).casefold())
    return unicodedata.normalize("NFC", decomposed).translate(_STROKES)


def reading(text: str) -> str:
    """A text as a reader takes it: whatever the case, accents, spaces and the mark at the end."""
    return " ".join(fold(text).split()).rstrip(" .?!")


@lru_cache(maxsize=1 << 17)
def words(text: str) -> tuple[str, ...]:
    """Split folded text into words of letters, digits and their marks; in unspaced scripts each character is a word.

    >>> words("Brasília é a capital")
    ('brasilia', 'e', 'a', 'capital')
    """
    folded = fold(text)
    if folded.isascii():
        return tuple(PLAIN.findall(folded))
    tokens: list[str] = []
    open_word = False
    # By category: a regular expression does not count a mark as a letter and would cut the word in two.
    for letter in folded:
        mark = unicodedata.category(letter)[0] == "M"
        if not (letter.isalnum() or mark):
            open_word = False
            continue
        alone = _UNSPACED.match(letter) is not None
        if open_word and (mark or not alone):
            tokens[-1] += letter
        else:
            tokens.append(letter)
        open_word = not alone
    return tuple(tokens)
