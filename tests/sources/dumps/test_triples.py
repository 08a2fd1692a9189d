"""N-Triples: what was written comes back, in whatever form the standard allows."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dual_data.sources.dumps import triples

WD, WDT = "http://www.wikidata.org/entity/", "http://www.wikidata.org/prop/direct/"
LABEL, ALIAS, DESCRIPTION = triples.FIELDS
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.lists(
    st.sampled_from(["\\", '"', "\n", "\r", "\t", '"@en .', " .", "\\u0041", "é", "\U0001f600", "#", "<", ">"]),
    max_size=5,
).map("".join)
FORMS = [
    "{} {} {} .",
    "{}\t{} \t{}\t.",
    "{} {} {}\t.",
    "{} {} {}  .",
    " {} {} {}  . ",
    "{}{}{}.",
    "{} {} {} . # said by hand",
]
LANGUAGES = st.sampled_from(["en", "mul", "en-gb", "de", ""])


def written(text: str, style: int) -> str:
    """A string literal's inside: escapes as short as can be, as letters, or all by number."""
    if style == 2:
        return "".join(f"\\u{ord(c):04X}" if ord(c) < 0x10000 else f"\\U{ord(c):08X}" for c in text)
    short = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}
    if style == 1:
        short |= {"\t": "\\t", "\b": "\\b", "\f": "\\f", "'": "\\'"}
    return "".join(short.get(c, c) for c in text)


STATEMENTS = st.lists(
    st.tuples(
        st.integers(1, 10**9),
        st.sampled_from([LABEL, ALIAS, DESCRIPTION, WDT + "P31", WDT + "P1448", "http://schema.org/name"]),
        st.one_of(
            st.tuples(st.just("literal"), TEXTS, LANGUAGES),
            st.tuples(st.just("item"), st.integers(1, 10**9).map(str), st.just("")),
            st.tuples(st.just("blank"), st.just("genid1"), st.just("")),
        ),
        st.integers(0, 2),
        st.sampled_from(FORMS),
    ),
    max_size=8,
)


@given(STATEMENTS, st.booleans())
@example([(1, LABEL, ("literal", '"@en .', "en"), 0, "{} {} {} .")], False)
def test_every_form_gives_the_same_tables(
    statements: list[tuple[int, str, tuple[str, str, str], int, str]], windows: bool
) -> None:
    lines, claims, values, terms = ["# a comment .", ""], [], [], []
    for item, predicate, (kind, text, language), style, form in statements:
        if kind == "item":
            target = f"<{WD}Q{text}>"
        elif kind == "blank":
            target = f"_:{text}"
        else:
            target = f'"{written(text, style)}"' + (f"@{language}" if language else "")
        lines.append(form.format(f"<{WD}Q{item}>", f"<{predicate}>", target))
        if predicate.startswith(WDT):
            number = int(predicate.rpartition("P")[2])
            if kind == "item":
                claims.append((item, number, int(text)))
            else:
                values.append((item, number, kind, text, language))
        elif kind == "literal" and predicate in triples.FIELDS and language in ("en", "mul"):
            field = triples.FIELDS[predicate]
            if (field, language) != ("description", "mul"):
                terms.append((item, field, language, text))
    end = "\r\n" if windows else "\n"
    piece = triples.read((end.join(lines) + end).encode(), 7)
    assert sorted(piece.tables["claims"].rows()) == sorted(claims)
    assert sorted(piece.tables["values"].rows()) == sorted(values)
    assert sorted(piece.tables["terms"].rows()) == sorted(terms)
    assert piece.counts["malformed"] == piece.counts["invalid_utf8"] == 0
    assert piece.end == 7


def test_escapes() -> None:
    def text_of(written: str) -> str:
        (row,) = triples.read(f'<{WD}Q1> <{LABEL}> "{written}"@en .\n'.encode()).tables["terms"].rows()
        return str(row[3])

    assert text_of(r"\u00e9\U0001F600\t\b\n\r\f\"\'\\") == "é😀\t\b\n\r\f\"'\\"
    for meaningless in (r"\ud800", r"\U00110000", r"\UFFFFFFFF", r"\x41", r"\u12"):
        assert text_of(meaningless) == meaningless


def test_the_type_of_a_string_is_left_out() -> None:
    string, other = "http://www.w3.org/2001/XMLSchema#string", "http://x/type"
    lines = f'<{WD}Q1> <{WDT}P1> "1"^^<{string}> .\n<{WD}Q1> <{WDT}P1> "1"^^<{other}> .\n'
    assert triples.read(lines.encode()).tables["values"]["tag"].to_list() == ["", other]


@pytest.mark.parametrize(
    "text",
    [
        f'<{WD}Q1> <{LABEL}> "a" b"@en .',
        f'<{WD}Q1> "b"@en .',
        f"<{WDT}P31> .",
        "hello",
        f'"a" <{WDT}P31> <{WD}Q1> .',
        f"<{WD}Q1> _:b <{WDT}P31> .",
        f"<{WD}Q1> <{WDT}P31> <{WD}Q1>",
        f'<{WD}Q1> <{WDT}P1> "c .',
        f"<{WD} Q1> <{WDT}P31> <{WD}Q1> .",
    ],
)
def test_lines_that_are_wanted_and_wrong_are_counted(text: str) -> None:
    good = f'<{WD}Q1> <{LABEL}> "one"@en .'
    piece = triples.read(f"{good}\n{text}\n".encode())
    assert piece.counts["malformed"] == 1
    assert piece.tables["terms"].rows() == [(1, "label", "en", "one")]


def test_bytes_that_are_no_utf8_are_counted() -> None:
    piece = triples.read(f'<{WD}Q1> <{LABEL}> "caf'.encode() + b'\xe9"@en .\n')
    assert piece.counts["invalid_utf8"] == 1
    assert piece.tables["terms"]["text"].to_list() == ["caf\\xe9"]


def test_full_dumps_have_sitelinks_and_articles() -> None:
    integer = "<http://www.w3.org/2001/XMLSchema#integer>"
    text = f"""\
<{WD}Q5> <{triples.SITELINKS}> "12"^^{integer} .
<https://www.wikidata.org/wiki/Special:EntityData/Q6> <{triples.SITELINKS}> "3"^^{integer} .
<https://en.wikipedia.org/wiki/A%27_%C3%A9> <{triples.ABOUT}> <{WD}Q5> .
<https://de.wikipedia.org/wiki/A> <{triples.ABOUT}> <{WD}Q5> .
<https://www.wikidata.org/wiki/Special:EntityData/Q6> <{triples.ABOUT}> <{WD}Q6> .
<{WD}P31> <{LABEL}> "instance of"@en .
<{WD}Q5> <http://www.wikidata.org/prop/direct-normalized/P1> <http://x/> .
"""
    tables = triples.read(text.encode()).tables
    assert tables["sitelinks"].rows() == [(5, 12), (6, 3)]
    assert tables["articles"].rows() == [(5, "A' é")]
    assert tables["terms"].height == tables["claims"].height == tables["values"].height == 0
    for name, frame in tables.items():
        assert dict(frame.schema) == triples.SCHEMAS[name]
        assert frame.schema == triples.empty()[name].schema
