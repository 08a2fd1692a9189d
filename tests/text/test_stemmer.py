"""The stemmer: equal to nltk's, which rouge_score uses."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer

from dual_data.text.stemmer import stem
from dual_data.text.words import words
from tests.reference import REFERENCE, needs_reference

REFERENCE_STEMMER = PorterStemmer()
# fmt: off
ENDINGS = [
    "ational", "tional", "enci", "anci", "izer", "bli", "abli", "alli", "entli", "eli", "ousli", "ization",
    "ation", "ator", "alism", "iveness", "fulness", "ousness", "aliti", "iviti", "biliti", "fulli", "logi",
    "icate", "ative", "alize", "iciti", "ical", "ful", "ness", "al", "ance", "ence", "er", "ic", "able",
    "ible", "ant", "ement", "ment", "ent", "ion", "sion", "tion", "ou", "ism", "ate", "iti", "ous", "ive",
    "ize", "s", "ss", "sses", "ies", "ied", "eed", "ed", "ing", "y", "ey", "e", "ll", "at", "bl", "iz",
]
# fmt: on
LETTERS = st.text("aeiouybdlstwxz1", max_size=6)
ENDED = st.builds("".join, st.tuples(LETTERS, *[st.sampled_from(["", *ENDINGS])] * 2))


@given(ENDED)
@settings(max_examples=3000)
@example("skies")
@example("dying")
@example("innings")
@example("yyyy")
@example("died")
@example("nationalli")
@example("geologi")
@example("controll")
def test_words_of_every_ending_have_the_stem_of_nltk(word: str) -> None:
    assert stem(word) == REFERENCE_STEMMER.stem(word)


@needs_reference
def test_every_word_of_the_published_tables_has_the_stem_of_nltk() -> None:
    ascii_words: set[str] = set()
    for path in sorted((REFERENCE / "wikidata_triplets").glob("*.csv")):
        ascii_words.update(word for word in words(path.read_text("utf-8")) if word.isascii())
    assert len(ascii_words) > 40_000
    assert not [word for word in ascii_words if stem(word) != REFERENCE_STEMMER.stem(word)]
