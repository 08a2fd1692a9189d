"""Values of a profile, and their defaults."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import AfterValidator, Field

from dual_data.config import (
    About,
    Pace,
    Relation,
    Services,
    Strict,
    Topic,
    Wording,
    each_once,
    load_profile,
    parse,
)
from dual_data.config.files import parse_toml
from dual_data.config.services import PACES
from dual_data.config.urls import url_fault
from dual_data.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]


def profile(folder: Path, paces: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(f"[project]\n[services.pace]\n{paces}", encoding="utf-8")
    return path


def test_the_pace_of_one_source_leaves_the_others_theirs(tmp_path: Path) -> None:
    paces = load_profile(profile(tmp_path, "wikidata = { per_minute = 5 }\n")).services.pace
    assert paces["wikidata"] == Pace(per_minute=5)
    assert paces["wikipedia"].per_minute == 190
    assert {name: pace for name, pace in paces.items() if name != "wikidata"} == {
        name: pace for name, pace in PACES.items() if name != "wikidata"
    }
    assert Services().pace == PACES


def test_models_and_own_sources_may_have_a_pace(tmp_path: Path) -> None:
    paces = load_profile(
        profile(tmp_path, '"local:smollm2" = { concurrency = 2 }\n"own:planets" = { per_minute = 7 }\n')
    ).services.pace
    assert (paces["local:smollm2"].concurrency, paces["own:planets"].per_minute) == (2, 7)


def test_a_profile_says_what_its_dataset_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[project]\nname = "mine"\ntitle = "Towns"\nlanguage = "pt-BR"\n', encoding="utf-8")
    assert load_profile(path).about == About(title="Towns", language="pt-BR")
    for line, fault in (
        ('language = "Portuguese"', "language: 'Portuguese' is not a code such as en or pt-BR"),
        ('licence = "CC BY 4.0"', "licence: 'CC BY 4.0' is not an id of the Hub such as cc-by-4.0"),
        ('url = "x"', "url: 'x' is not an address that begins with http:// or https://"),
        ("title = 3", "title: must be a text, not 3"),
        (
            'titel = "x"',
            "titel: unknown key; known here: citation, creator, description, language, licence, name, title, url",
        ),
        ("name = 3", "name: must be a plain folder name"),
        (f'name = "{61 * "x"}"', "name: has 61 characters, and the name of a folder may have 60"),
    ):
        path.write_text(f"[project]\n{line}\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=rf"mine\.toml: project\.{fault}"):
            load_profile(path)
    path.write_text("project = 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.toml: project: belongs in a table: \[project\]"):
        load_profile(path)
    path.write_text(f'[project]\nname = "{60 * "𝒳"}"\n', encoding="utf-8")
    (tmp_path / load_profile(path).name).mkdir()


class Leaf(Strict):
    """A table within tables."""

    size: int = 1
    unit: str = Field(default="", min_length=1)


class Root(Strict):
    """A table with others in it, in every way that parameters have them."""

    plain: Leaf = Leaf()
    either: Leaf | None = None
    listed: tuple[Leaf, ...] = ()
    named: Mapping[str, Annotated[Leaf, AfterValidator(lambda leaf: leaf)]] = {}


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"plain": {"sise": 1}}, r"plain\.sise"),
        ({"either": {"sise": 1}}, r"either\.sise"),
        ({"listed": [{}, {"sise": 1}]}, r"listed\.1\.sise"),
        ({"named": {"plain": {"sise": 1}}}, r"named\.plain\.sise"),
    ],
)
def test_an_unknown_key_is_told_with_those_of_its_table(data: dict[str, object], key: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"mine\.toml: {key}: unknown key; known here: size, unit; did you mean 'size'\?(\n|$)"
    ):
        parse(Root, data, Path("mine.toml"))


def test_an_empty_text_is_to_be_filled_in() -> None:
    with pytest.raises(ConfigError, match=r"mine\.toml: plain\.unit: fill in `unit`$"):
        parse(Root, {"plain": {"unit": ""}}, Path("mine.toml"))


class Kinds(Strict):
    number: int = 0
    share: float = 0.0
    yes: bool = False
    text: str = ""
    table: Mapping[str, int] = {}
    some: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("number", "x", "must be a whole number, not 'x'"),
        ("number", 1.5, "must be a whole number, not 1.5"),
        ("number", [1], "must be a whole number"),
        ("share", "x" * 50, "must be a number"),
        ("yes", "maybe", "must be true or false, not 'maybe'"),
        ("text", 3, "must be a text, not 3"),
        ("table", 3, "must be a table of keys and values, not 3"),
        ("some", 3, "must be a list: [...], not 3"),
    ],
)
def test_a_value_of_another_kind_is_told_in_plain_words(key: str, value: object, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Kinds, {key: value}, Path("mine.toml"))
    assert str(caught.value) == f"mine.toml: {key}: {fault}"


@pytest.mark.parametrize(
    ("data", "faults"),
    [
        ({"classes": []}, "mine.toml: classes: name at least one"),
        (
            {"classes": ["city", "Q515"]},
            "mine.toml: classes.0: 'city' is not a Wikidata item id such as Q515",
        ),
        ({"classes": "Q515"}, "mine.toml: classes: must be a list: [...], not 'Q515'"),
    ],
)
def test_the_fault_of_a_list_is_told_alone(data: dict[str, object], faults: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Topic, data, Path("mine.toml"))
    assert str(caught.value) == faults


def test_no_value_is_listed_twice() -> None:
    assert each_once((0, 1)) == (0, 1)
    with pytest.raises(ValueError, match=r"^0 is listed 2 times; list it once$"):
        each_once((1, 0, 0))


def test_wordings_of_other_scripts_and_with_other_spaces_are_told_apart() -> None:
    wording = {
        "canonical": "{subject}の首都はどこですか。",
        "validation": ["{subject}の首都はなんですか。"],
        "training": ["Quelle est la capitale de {subject}\u00a0?"],
        "test": ["ما هي عاصمة {subject}؟"],
    }
    assert len(Wording.model_validate(wording).questions()) == 4


def test_labels_of_a_relation_are_read_as_the_cells_of_tables_are() -> None:
    wording = {"canonical": "Where is {subject}?", "validation": ["Find {subject}."], "test": ["Locate {subject}."]}
    wording["training"] = ["Say where {subject} is."]
    fields = {"property": "P36", "name": "capital", "topics": ["a"], "object": "entity", "questions": wording}
    relation = Relation.model_validate({**fields, "labels": ["capital  city ", "cafe\u0301"]})
    assert relation.labels == ("capital city", "caf\u00e9")


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes('[project]\r\ntitle = "Städte"\r\n'.encode("utf-8-sig"))
    assert load_profile(path).about.title == "Städte"


def test_every_key_of_a_project_is_explained_in_the_shipped_profile() -> None:
    head = (ROOT / "pipeline" / "dual.toml").read_text(encoding="utf-8").partition("\nname = ")[0]
    for key in ("name", *About.model_fields):
        assert re.search(rf"\b{key}\b", head.partition("[project]")[2]), key


@pytest.mark.parametrize("name", ["wikpedia", "sparql", '"judge:a"', '"locl:smollm2"'])
def test_a_pace_of_no_source_is_refused(tmp_path: Path, name: str) -> None:
    path = profile(tmp_path, f"{name} = {{ per_minute = 5 }}\n")
    with pytest.raises(ConfigError, match=r"services\.pace: .* is not a source; the sources are: wikidata,") as caught:
        load_profile(path)
    assert caught.value.file == path


@pytest.mark.parametrize("seconds", ["0", "-1.0", "nan", "inf", "1e300", "86401"])
def test_a_wait_that_no_clock_can_keep_is_refused(tmp_path: Path, seconds: str) -> None:
    path = profile(tmp_path, f"judge = {{ longest_wait = {seconds} }}\n")
    with pytest.raises(ConfigError, match=r"services\.pace\.judge\.longest_wait: must be"):
        load_profile(path)


NO_URLS = {
    "": "begins with neither",
    "embeded": "begins with neither",
    "query.wikidata.org/sparql": "begins with neither",
    "ftp://x/": "begins with neither",
    "https://": "names no host",
    "http:///w/": "names no host",
    "http://..com/": "names no host",
    "http://.com/": "names no host",
    "http://a../": "names no host",
    "http://*.com/": "names no host",
    "http://a%zz/": "names no host",
    f"http://{'a' * 64}.com/": "names no host",
    "http://[bad": "Invalid IPv6 URL",
    "http://[bad]/": "'bad'",
    "http://127.0.0.1:abc/": "Port could not be cast",
    "http://127.0.0.1:99999/": "Port out of range",
    "http://127.0.0.1:+9/": "Port could not be cast",
    "http://\u2028/": "has white space or letters beyond ASCII",
    "http://a b/": "has white space",
    "http://127.0.0.1/w\n/": "has white space",
    " http://127.0.0.1/": "has white space",
    "http://127.0.0.1/\u00e4": "letters beyond ASCII",
    "http://b\u00fccher.example/": "xn--",
}


@pytest.mark.parametrize("key", ["sparql", "wikipedia"])
@pytest.mark.parametrize("url", NO_URLS, ids=ascii)
def test_an_address_that_no_client_can_ask_is_said_with_its_key(tmp_path: Path, key: str, url: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"[services]\n{key} = {json.dumps(url)}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"services\.{key}: .* is not a URL such as .*{NO_URLS[url]}") as caught:
        load_profile(path)
    assert caught.value.file == path


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="must hold no user or password") as caught:
        Services.model_validate_json('{"wikipedia": "https://me:secret@wiki.example/w/"}')
    assert "secret" not in caught.value.errors()[0]["msg"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "query", ["apikey=secret", "graph=a&api_key=secret", "ACCESS_TOKEN=secret", "X-Signature=secret"]
)
def test_a_key_in_a_query_is_refused_and_not_repeated(query: str) -> None:
    with pytest.raises(ValueError, match="must hold no key in its query") as caught:
        Services(sparql=f"https://wiki.example/sparql?{query}")
    assert "secret" not in caught.value.errors()[0]["msg"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "url",
    [
        "https://query.wikidata.org/sparql", "http://127.0.0.1:9/", "http://localhost", "HTTPS://WIKI.example./w/",
        "http://[::1]:8080/api/", "http://my_server:80/sparql?graph=%C3%A4", "http://xn--bcher-kva.example/w/",
        f"http://{'a' * 63}.{'b' * 63}/",
    ],
)  # fmt: skip
def test_addresses_that_clients_can_ask(url: str) -> None:
    assert url_fault(url) == ""
    assert Services(sparql=url, wikipedia=url).sparql == url
    assert Services(sparql="embedded").sparql == "embedded"


@pytest.mark.parametrize(
    ("key", "written", "message"),
    [
        ("smallest", '"5"', "must be a whole number, not '5'"),
        ("smallest", "5.0", "must be a whole number, not 5.0"),
        ("smallest", "true", "must be a whole number, not True"),
        ("share", '"0.5"', "must be a number, not '0.5'"),
        ("pooled", "1", "must be true or false, not 1"),
        ("pooled", '"yes"', "must be true or false, not 'yes'"),
        ("sizes", '["1"]', "must be a whole number, not '1'"),
    ],
)
def test_numbers_and_truth_values_are_written_as_such(tmp_path: Path, key: str, written: str, message: str) -> None:
    class Params(Strict):
        smallest: int = 1
        share: float = 1.0
        pooled: bool = False
        sizes: tuple[int, ...] = ()

    assert parse(Params, {"share": 1, "sizes": [1, 2]}, tmp_path) == Params(share=1.0, sizes=(1, 2))
    with pytest.raises(ConfigError, match=rf"{key}.*: {re.escape(message)}"):
        parse(Params, parse_toml(f"{key} = {written}", tmp_path), tmp_path)
