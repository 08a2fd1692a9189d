"""Markdown shows texts literally."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dual_data.evaluation.report.document import Table, to_markdown
from dual_data.text.display import visible

_READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def _cell(text: str) -> str:
    """The HTML of a table cell that Markdown makes from a text."""
    page = _READER.render(to_markdown("t", [Table(("name",), ((text,),), "caption", ("name",))], Path()))
    match = re.search(r"<td>(.*?)</td>", page, re.DOTALL)
    assert match is not None, page
    return match[1]


@given(st.text("ab_*`~<>&;[]()!\\|:/. 1#-$", max_size=30))
@example("<think>Rome</think><unk> is")
@example("*a* 2_3_4 _x_ __b__ ~~c~~ `d` $e$")
@example("[here](http://x.example) ![a](b) [c][d] [e]: f")
@example("[[1]](http://x.example) [a [b] c](d) ![a [b] c](d)")
@example("&amp; &lt; | \\| \\")
def test_what_a_model_wrote_is_no_markup(text: str) -> None:
    shown = _cell(text)
    assert not re.search(r"<(?!/?td)", shown), shown  # no element
    plain = shown
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        plain = plain.replace(entity, sign)
    assert plain.split() == visible(text).split()


@pytest.mark.parametrize("text", ["0.312 [0.167, 0.454]", "retain_eval", "-0.1 [-0.3, 0.1]", "< 0.001"])
def test_numbers_and_names_stay_readable_in_the_source(text: str) -> None:
    assert text.replace("<", "&lt;") in to_markdown("t", [Table(("name",), ((text,),), "caption", ("name",))], Path())


def test_an_address_is_no_link() -> None:
    text = to_markdown(
        "t", [Table(("name",), (("see http://x.example, www.x.example, a@x.example",),), "c", ("name",))], Path()
    )
    assert not re.search(r"://|www\.|@", text)
