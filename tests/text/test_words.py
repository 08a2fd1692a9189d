"""Words of any script."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.text.words import fold, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Brasília", ("brasilia",)),
        ("Łódź", ("lodz",)),
        ("Ærøskøbing", ("aeroskobing",)),
        ("Straße", ("strasse",)),
        ("Йошкар-Ола", ("иошкар", "ола")),
        ("東京です", ("東", "京", "で", "す")),
        ("서울 특별시", ("서울", "특별시")),
        ("हिन्दी भाषा", ("हिन्दी", "भाषा")),
        ("ภาษา", ("ภ", "า", "ษ", "า")),
        ("snake_case 12", ("snake", "case", "12")),
        ("", ()),
        ("!?", ()),
    ],
)
def test_words(text: str, expected: tuple[str, ...]) -> None:
    assert words(text) == expected


@given(st.text(max_size=40))
def test_composed_and_decomposed_spellings_have_the_same_words(text: str) -> None:
    assert words(unicodedata.normalize("NFC", text)) == words(unicodedata.normalize("NFD", text))


@given(st.text(max_size=40))
def test_words_cover_every_letter_and_digit(text: str) -> None:
    joined = "".join(words(text))
    assert [c for c in joined if c.isalnum()] == [c for c in fold(text) if c.isalnum()]
