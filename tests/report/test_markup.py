"""Text from outside stays text."""

from __future__ import annotations

import html
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from dual_data.report.tables import Percent, shown, table
from dual_data.text.display import visible
from dual_data.text.markup import Html, element, escaped, joined, label


class Tags(HTMLParser):
    """Collects what a browser would see as tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text())
def test_any_text_is_one_text_in_an_element_and_one_value_in_an_attribute(text: str) -> None:
    parsed = Tags(element("p", text, title=text))
    assert parsed.tags == ["p"]
    assert parsed.text == visible(text)
    assert parsed.attributes == [("title", visible(text))]


@given(st.text())
def test_visible_text_has_no_control_or_direction_characters(text: str) -> None:
    assert not set(visible(text)) & set("\0\x07\x1b\n\r\u200e\u200f\u202a\u202e\u2066\u2069\u2028\ufeff")
    assert len(visible(text)) == len(text)


def test_white_space_becomes_spaces_and_other_control_characters_are_marked() -> None:
    """In a text of ASCII, and in one that is not."""
    assert visible("a\tb\r\nc\x1b[31m") == "a b  c\N{REPLACEMENT CHARACTER}[31m"
    assert visible("é\tb\r\nc\x1b[31m") == "é b  c\N{REPLACEMENT CHARACTER}[31m"


def test_words_of_any_script_stay() -> None:
    names = "Zürich 東京 القاهرة हिन्दी می\u200cخواهم 👩\u200d🚀"
    assert visible(names) == names


def test_markup_is_kept_and_everything_else_escaped() -> None:
    assert joined(Html("<b>"), "<b>", None, 7) == "<b>&lt;b&gt;7"
    assert escaped("'\"") == html.escape("'\"", quote=True)
    assert label("<i>") == "<bdi>&lt;i&gt;</bdi>"


def test_attributes_that_are_off_are_left_out() -> None:
    assert (
        element("input", disabled=True, hidden=False, id=None, aria_label="a b") == '<input disabled aria-label="a b">'
    )


def test_a_table_names_its_rows_columns_and_region() -> None:
    html = table("Counts <1>", ("name", "rows", "share"), [("a<b", 1234, Percent(0.5)), ("c", None, None)])
    assert "<caption>Counts &lt;1&gt;</caption>" in html
    assert html.count('scope="col"') == 3
    assert html.count('scope="row"') == 2
    assert 'role="region" aria-label="Table: Counts &lt;1&gt;" tabindex="0"' in html
    assert '<td class="number">1,234</td><td class="number">50.0\N{NO-BREAK SPACE}%</td>' in html
    assert '<td class="number">–</td>' in html


def test_a_column_without_values_is_no_column_of_numbers() -> None:
    assert "number" not in table("Nothing", ("name", "why"), [("a", None)])


def test_cells() -> None:
    assert [shown(value) for value in (True, 0, -1234, 0.12345, 12345.6)] == ["yes", "0", "-1,234", "0.123", "12,346"]
