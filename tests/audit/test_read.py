"""Every kind of input of the audit, from real files and a real loopback server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from dual_data.audit.read import NotAuditable, Selection, read, read_all, select
from dual_data.errors import InputError
from tests.faults.proxy import RESET, Fault, proxy, unavailable
from tests.services.hub import Hub, Repository, hub

ROWS = pl.DataFrame({"question": ["What is the country of A?", "When was B born?"], "answer": ["Nu", "1900"]})
LINKS = pl.DataFrame({"qid": ["Q1"], "inbound_links": [3]})

CARD = """---
license: cc0-1.0
configs:
- config_name: matched
  data_files:
  - split: city_forget_rare_5
    path: matched/city_forget_rare_5-*.parquet
  - split: country_forget_rare_5
    path: [matched/country_forget_rare_5.parquet]
- config_name: paper
  data_files:
  - split: city_forget_rare_5
    path: paper/city_forget_rare_5.parquet
- config_name: links
  data_files: links.parquet
---
# A dataset
"""


def release(folder: Path) -> Path:
    for name in ("matched", "paper"):
        (folder / name).mkdir(parents=True)
    ROWS.head(1).write_parquet(folder / "matched" / "city_forget_rare_5-00000-of-00002.parquet")
    ROWS.tail(1).write_parquet(folder / "matched" / "city_forget_rare_5-00001-of-00002.parquet")
    ROWS.write_parquet(folder / "matched" / "country_forget_rare_5.parquet")
    ROWS.write_parquet(folder / "paper" / "city_forget_rare_5.parquet")
    LINKS.write_parquet(folder / "links.parquet")
    (folder / "README.md").write_text(CARD)
    return folder


FORMATS = ("parquet", "jsonl", "ndjson", "json", "csv")


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    file, other = (
        tmp_path / name / f"some_split.{suffix}" for name in ("a[1]", "a1")
    )  # no pattern, though it looks it
    writers: dict[str, Callable[[Path], object]] = {
        "parquet": ROWS.write_parquet,
        "jsonl": ROWS.write_ndjson,
        "ndjson": ROWS.write_ndjson,
        "json": ROWS.write_json,
        "csv": ROWS.write_csv,
    }
    for path, write in ((file, writers[suffix]), (other, Path.touch)):
        path.parent.mkdir()
        write(path)
    (split,) = read(str(file))
    assert split.name == "some_split"
    assert split.rows.equals(ROWS)


@pytest.mark.parametrize("suffix", FORMATS[1:])
def test_text_that_was_saved_on_windows_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"saved.{suffix}"
    text = ROWS.write_csv() if suffix == "csv" else ROWS.write_json() if suffix == "json" else ROWS.write_ndjson()
    file.write_text(text, encoding="utf-8-sig", newline="\r\n")
    assert read(str(file))[0].rows.equals(ROWS)


def test_blank_lines_of_a_csv_file_are_no_rows(tmp_path: Path) -> None:
    file = tmp_path / "gaps.csv"
    file.write_text(ROWS.write_csv().replace("\n", "\n\n"))
    assert read(str(file))[0].rows.equals(ROWS)


def test_json_lines_may_be_named_json(tmp_path: Path) -> None:
    ROWS.write_ndjson(tmp_path / "forget01.json")
    (split,) = read(str(tmp_path / "forget01.json"))
    assert split.rows.equals(ROWS)


@pytest.mark.parametrize(
    ("data_files", "splits"),
    [
        ("a.csv", {"train": 2}),
        ("[a.csv]", {"train": 2}),
        ("[a.csv, b.csv]", {"train": 4}),
        ("{train: a.csv}", {"train": 2}),
        ("{train: a.csv, test: [a.csv, b.csv]}", {"train": 2, "test": 4}),
        ("[{split: test, path: '*.csv'}]", {"test": 4}),
        ("'**'", {"train": 4}),
    ],
)
@pytest.mark.parametrize("name", ["config_name: mine\n  ", ""])
def test_every_form_of_data_files_is_read(tmp_path: Path, data_files: str, splits: dict[str, int], name: str) -> None:
    for file in ("a.csv", "b.csv"):
        ROWS.write_csv(tmp_path / file)
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- {name}data_files: {data_files}\n---\n")
    tables = read(str(tmp_path))
    assert {split.name: split.rows.height for split in tables} == splits
    assert {split.config for split in tables} == {"mine" if name else "default"}


def test_a_release_folder_is_read_by_its_card(tmp_path: Path) -> None:
    splits = read(str(release(tmp_path / "release")))
    assert [(split.name, split.config, split.rows.height) for split in splits] == [
        ("matched/city_forget_rare_5", "matched", 2),
        ("matched/country_forget_rare_5", "matched", 2),
        ("paper/city_forget_rare_5", "paper", 2),
    ]


def test_a_configuration_that_repeats_tables_of_another_is_read_where_it_is_named(tmp_path: Path) -> None:
    folder = release(tmp_path / "release")
    card = folder / "README.md"
    repeated = (
        "- config_name: matched_all\n  data_files:\n  - split: country_forget_rare_5\n"
        "    path: matched/country_forget_rare_5.parquet\n"
    )
    card.write_text(card.read_text().replace("configs:\n", f"configs:\n{repeated}"))
    assert "matched_all" in card.read_text()
    assert {split.config for split in read(str(folder))} == {"matched", "paper"}
    named = read(str(folder), selection=Selection(["matched_all"]))
    assert [split.name for split in named if split.config == "matched_all"] == ["matched_all/country_forget_rare_5"]


def test_a_folder_without_a_card_is_read_file_by_file_and_shards_together(tmp_path: Path) -> None:
    release(tmp_path / "data")
    (tmp_path / "data" / "README.md").unlink()
    (tmp_path / "data" / ".cache").mkdir()
    ROWS.write_parquet(tmp_path / "data" / ".cache" / "hidden.parquet")
    splits = read(str(tmp_path / "data"))
    assert {split.name: split.rows.height for split in splits} == {
        "matched/city_forget_rare_5": 2,
        "matched/country_forget_rare_5": 2,
        "paper/city_forget_rare_5": 2,
    }
    assert {split.config for split in splits} == {""}


STRAY: dict[str, tuple[bytes, str]] = {
    "list.json": (b"[1, 2]", "not readable as json"),
    "ragged.csv": (b"a,b\n1,2,3,4\n", "line 2: 4 values for 2 columns"),
    "short.csv": (b"a,b\n1\n", "line 2: 1 value for 2 columns"),
    "half.jsonl": (b'{"question":', "not readable as jsonl"),
    "half.PARQUET": (b"no parquet", "not readable as parquet"),
}


@pytest.mark.parametrize("name", STRAY)
def test_a_stray_file_of_a_folder_is_passed_over_and_told(tmp_path: Path, name: str) -> None:
    ROWS.write_parquet(tmp_path / "forget.parquet")
    content, fault = STRAY[name]
    (tmp_path / name).write_bytes(content)
    messages: list[str] = []
    assert [split.name for split in read(str(tmp_path), messages.append)] == ["forget"]
    (line,) = messages
    assert line.startswith(f"skipped: {tmp_path / name}: {fault}")
    with pytest.raises(InputError, match=fault):
        read(str(tmp_path / name))


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", ""), ("a.ndjson", "\n"), ("a.json", "[]"), ("a.csv", "")])
def test_a_file_without_rows_and_so_without_columns_is_said_to_have_none(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(NotAuditable, match=f"{name}: has no rows"):
        read(str(tmp_path / name))
    ROWS.write_parquet(tmp_path / "forget.parquet")
    messages: list[str] = []
    assert [split.name for split in read(str(tmp_path), messages.append)] == ["forget"]
    assert messages == [f"skipped: {tmp_path / name}: has no rows, and so no columns to audit"]


def test_tables_of_one_name_are_not_shards_of_one(tmp_path: Path) -> None:
    ROWS.write_parquet(tmp_path / "forget.parquet")
    ROWS.write_csv(tmp_path / "forget.csv")
    for name in ("train", "train-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002", "retain"):
        ROWS.write_parquet(tmp_path / f"{name}.parquet")
    assert {split.name: split.rows.height for split in read(str(tmp_path))} == {
        "forget.csv": 2,
        "forget.parquet": 2,
        "retain": 2,
        "train.parquet": 2,
        "train-of-00001.parquet": 2,
        "train-of-00002.parquet": 4,
    }


def test_shards_whose_names_end_in_a_hash_are_read_together(tmp_path: Path) -> None:
    for shard, end in enumerate(("6f3344faa23e9b0a", "b42a775f407cee45")):
        ROWS.write_parquet(tmp_path / f"train-0000{shard}-of-00002-{end}.parquet")
    assert {split.name: split.rows.height for split in read(str(tmp_path))} == {"train": 4}


@pytest.mark.parametrize("name", ["forget.parquet", "forget.csv"])
def test_a_folder_that_is_named_like_a_table_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    ROWS.write_parquet(tmp_path / name / "part-0.parquet")
    messages: list[str] = []
    assert [split.name for split in read(str(tmp_path), messages.append)] == [f"{name}/part-0"]
    assert messages == []


def test_a_stray_file_that_a_card_names_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_bytes(STRAY["list.json"][0])
    (tmp_path / "README.md").write_text("---\nconfigs:\n- data_files: list.json\n---\n")
    with pytest.raises(InputError, match="not readable as json"):
        read(str(tmp_path))


def test_shards_that_do_not_go_together_are_one_clear_error(tmp_path: Path) -> None:
    ROWS.with_columns(answer=pl.lit([1])).write_parquet(tmp_path / "a.parquet")
    ROWS.with_columns(answer=pl.lit(1).cast(pl.Date)).write_parquet(tmp_path / "b.parquet")
    (tmp_path / "README.md").write_text("---\nconfigs:\n- data_files: '*.parquet'\n---\n")
    with pytest.raises(InputError, match=r"a\.parquet: its columns and those of b\.parquet do not match"):
        read(str(tmp_path))


@pytest.mark.parametrize("suffix", ["PARQUET", "Csv"])
def test_a_suffix_in_capitals_is_found(tmp_path: Path, suffix: str) -> None:
    (ROWS.write_parquet if suffix == "PARQUET" else ROWS.write_csv)(tmp_path / f"forget.{suffix}")
    assert [split.name for split in read(str(tmp_path))] == ["forget"]
    assert read(str(tmp_path / f"forget.{suffix}"))[0].rows.equals(ROWS)


@pytest.mark.parametrize("line", ["data_dir: part", "data_dir: ./part/", ""])
def test_a_configuration_without_data_files_has_the_tables_of_its_folder(tmp_path: Path, line: str) -> None:
    (tmp_path / "part").mkdir()
    ROWS.write_csv(tmp_path / "part" / "train-00000-of-00001.csv")
    ROWS.write_csv(tmp_path / "other.csv")
    (tmp_path / "README.md").write_text(
        f"---\nconfigs:\n- config_name: one\n  data_files: other.csv\n- config_name: two\n  {line}\n---\n"
    )
    names = ["one/train", "two/train"] if line else ["one/train", "two/other", "two/part/train"]
    assert [split.name for split in read(str(tmp_path))] == names


def test_a_column_split_divides_a_table(tmp_path: Path) -> None:
    file = tmp_path / "matched.parquet"
    ROWS.with_columns(split=pl.Series(["forget_rare_5", "retain_eval"])).write_parquet(file)
    assert [(split.name, split.config) for split in read(str(file))] == [
        ("matched/forget_rare_5", "matched"),
        ("matched/retain_eval", "matched"),
    ]


def test_a_column_split_of_lists_divides_nothing(tmp_path: Path) -> None:
    ROWS.with_columns(split=pl.Series([["forget"], ["retain", "full"]])).write_parquet(tmp_path / "rows.parquet")
    assert [split.name for split in read(str(tmp_path / "rows.parquet"))] == ["rows"]


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        ROWS.write_parquet(tmp_path / name / "forget.parquet")
    files = [str(tmp_path / name / "forget.parquet") for name in ("ours", "theirs", "theirs")]
    assert [split.name for split in read_all(files)] == ["forget", "theirs/forget", "theirs/forget (2)"]


def test_configurations_and_splits_are_selected(tmp_path: Path) -> None:
    splits = read(str(release(tmp_path / "release")))
    assert len(select(splits, Selection())) == 3
    assert [split.name for split in select(splits, Selection(["paper"]))] == ["paper/city_forget_rare_5"]
    assert [split.config for split in select(splits, Selection(names=["city_forget_rare_5"]))] == ["matched", "paper"]
    with pytest.raises(InputError, match=r"x: no such split\. There are: matched/city_forget_rare_5, matched/country"):
        select(splits, Selection(["matched"], ["x"]))
    with pytest.raises(InputError, match=r"^matchd: no such configuration; did you mean 'matched'\? There are: "):
        select(splits, Selection(["matchd"]))
    with pytest.raises(InputError, match=r"did you mean 'country_forget_rare_5'\? There are: matched/city"):
        select(splits, Selection(names=["contry_forget_rare_5"]))


@pytest.mark.parametrize(
    ("selection", "lines"),
    [
        (Selection(), 1),
        (Selection(["matched"]), 0),
        (Selection(names=["city_forget_rare_5"]), 0),
        (Selection(["links"]), 1),
    ],
)
def test_only_of_what_is_asked_for_is_told_that_it_is_passed_over(
    tmp_path: Path, selection: Selection, lines: int
) -> None:
    messages: list[str] = []
    splits = read_all([str(release(tmp_path / "release"))], messages.append, selection)
    assert len(messages) == lines
    assert len(splits) == 3, "names do not depend on what is asked for"


def test_an_unreadable_table_is_told_whatever_is_asked_for_since_it_may_hold_any_split(tmp_path: Path) -> None:
    ROWS.with_columns(split=pl.Series(["forget", "retain"])).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    messages: list[str] = []
    read(str(tmp_path), messages.append, Selection(names=["forget"]))
    (line,) = messages
    assert line.startswith(f"skipped: {tmp_path / 'b.parquet'}: not readable as parquet")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.parquet", b"no parquet", "not readable as parquet"),
        ("broken.json", b"{", "not readable as json: neither an array of rows nor JSON lines"),
        ("cut.json", b'{"question": "a", "answer": "b"}\n{"question":', "neither an array of rows nor JSON lines"),
        ("list.json", b"[1, 2]", r"neither an array of rows nor JSON lines \(row 1: not an object\)"),
        (
            "mixed.json",
            b'[{"question": "a", "answers": ["b"]}, {"question": "c", "answers": null}, {"answers": "d"}]',
            r"\(row 3: answers is a plain value, and in rows before a list\)",
        ),
        ("broken.jsonl", b"{]\n", "not readable as jsonl"),
        ("nan.jsonl", b'{"a": 1}\n{"a": NaN}\n', "line 2: NaN is no value in JSON; write null"),
        (
            "nan.json",
            b'[{"a": "-Infinity \\" "},\n{"a": -Infinity}]\n',
            "line 2: -Infinity is no value in JSON; write null",
        ),
        (
            "cut.jsonl",
            b'{"question": "a", "answer": "b"}\n\n{"question": "a"\n',
            r"line 3: Expecting ',' .* \(column 17\)",
        ),
        ("text.jsonl", b'{"question": "a", "answer": "b"}\n7\n', "line 2: not an object"),
        (
            "emoji.jsonl",
            rb'{"question": "\ud83d\ude00 \\\\ud83d", "answer": "\ud83d\ude00"}' b"\n" rb'{"answer": "\\\\\uD83D ..."}',
            r"line 2: \\uD83D is half of a character",
        ),
        ("emoji.json", rb'[{"question": "a", "answer": "\ud83d"}]', r"line 1: \\ud83d is half of a character"),
        ("array.json", b'[{"question": "a"},\n{"question" "a"}]', r"JSON lines \(line 2: Expecting ':' delimiter"),
        (
            "texts_and_lists.jsonl",
            b'{"question": "a", "answer": "b"}\n\n{"question": "c", "answer": ["d", "e"]}\n',
            r'row 2: answer is \["d", "e"\], not a text; write one text per row',
        ),
        ("list.jsonl", b'{"question": "a", "answer": ["b"]}\n', r"list\.jsonl: the column answer .* one text per row$"),
        ("wide.csv", "question,answer\na,b\n".encode("utf-16"), r"wide\.csv: not UTF-8; it looks like UTF-16"),
        ("wide.jsonl", '{"question": "a", "answer": "b"}'.encode("utf-16-be"), "it looks like UTF-16"),
        ("semi.csv", b"question;answer\na;b\n", "there are: question;answer; semicolons seem to separate its columns"),
        ("tabs.csv", b"question\tanswer\na\tb\n", "tabs seem to separate its columns"),
        ("latin.csv", "question,answer\nWo?,M\xfcnchen\n".encode("latin-1"), r"latin\.csv: line 2: not UTF-8"),
        ("table.xlsx", b"", r"name of a table ends in \.parquet, .* not in \.xlsx"),
        ("table", b"", r"\.csv, and this one has no such end"),
    ],
)
def test_an_unreadable_file_is_one_clear_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(str(tmp_path / name))


def test_characters_that_json_writes_in_two_halves_are_read(tmp_path: Path) -> None:
    text = "\U0001f600 \\ud83d \\\U0001f600"
    for name, row in (("a.jsonl", "%s\n"), ("b.json", "[%s]")):
        (tmp_path / name).write_text(row % json.dumps({"question": "a", "answer": text}))
        (split,) = read(str(tmp_path / name))
        assert split.rows["answer"].to_list() == [text]


def test_texts_that_look_like_lists_are_texts_where_they_are_written_as_such(tmp_path: Path) -> None:
    for name, text in (("a.jsonl", '{"question": "a", "answer": "[b]"}\n'), ("a.csv", "question,answer\na,[b]\n")):
        (tmp_path / name).write_text(text)
        (split,) = read(str(tmp_path / name))
        assert split.rows["answer"].to_list() == ["[b]"]


def test_a_shard_with_texts_and_lists_is_named(tmp_path: Path) -> None:
    (tmp_path / "a-00000-of-00002.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    (tmp_path / "a-00001-of-00002.jsonl").write_text(
        '{"question": "a", "answer": "b"}\n{"question": "c", "answer": []}'
    )
    messages: list[str] = []
    with pytest.raises(InputError, match="no table with question and answer"):
        read(str(tmp_path), messages.append)
    assert "00001-of-00002.jsonl: row 2: answer is []" in messages[0]


def test_an_empty_text_is_not_the_folder_where_one_is() -> None:
    with pytest.raises(InputError, match="an empty text names no file"):
        read("")


def test_what_is_neither_there_nor_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read(str(tmp_path / "absent.parquet"))
    for target in ("./absent.parquet", "../absent.parquet", "owner/name/absent.parquet"):
        with pytest.raises(InputError, match="no such file or folder, and not the name of a Hub dataset"):
            read(target)
    # It has the form of a name, but the Hub's client rejects it.
    with pytest.raises(InputError, match="no such file or folder, and this is not the name of a Hub dataset"):
        read("splits/-absent.parquet")


def test_a_folder_of_files_that_are_not_read_is_refused_with_the_kinds_that_are(tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("question\tanswer\nWhere?\tHere\n")
    with pytest.raises(InputError, match=r"ends in \.parquet, \.jsonl, \.ndjson, \.json, \.csv; save other kinds"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("---\nconfigs: [\n---\n", "not valid YAML"),
        (
            "---\nconfigs:\n- config_name: c\n  data_files:\n  - {split: s, path: no-*.parquet}\n---\n",
            "no file matches",
        ),
        ("---\nconfigs: 3\n---\n", r"README.md: configs: "),
        ("---\nconfigs: [c]\n---\n", r"README.md: configs\.0: "),
        ("---\nconfigs:\n- data_files: 3\n---\n", r"configs\.0\.data_files: 3 is neither a path nor a list of paths"),
        ("---\nconfigs:\n- data_files: [{split: s}]\n---\n", r"data_files: each entry needs split and path"),
        ("---\nconfigs:\n- data_files: {s: [3]}\n---\n", r"data_files: \[3\] is neither a path nor a list of paths"),
        ("---\nconfigs:\n- data_files: /etc/a.csv\n---\n", r"data_files: '/etc/a.csv' is not a path below the folder"),
        ("---\nconfigs:\n- data_files: [../a.csv]\n---\n", r"data_files: '../a.csv' is not a path below the folder"),
        ("---\nconfigs:\n- data_files: '**a.csv'\n---\n", r"README.md: configs: .*(?:Invalid pattern|no file matches)"),
        ("---\nconfigs:\n- data_dir: ../x\n---\n", r"configs\.0\.data_dir: '../x' is not a path below the folder"),
        ("---\nconfigs:\n- data_dir: x\n---\n", "configs: default: no table below x"),
        ("---\n- a\n---\n", r"README.md: "),
    ],
)
def test_a_broken_card_is_one_clear_error(tmp_path: Path, card: str, message: str) -> None:
    (tmp_path / "README.md").write_text(card)
    with pytest.raises(InputError, match=message):
        read(str(tmp_path))


@pytest.fixture
def online(tmp_path: Path) -> Iterator[Hub]:
    """A Hub on loopback with the dataset owner/name at v1."""
    folder = release(tmp_path / "served")
    files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    with hub() as served:
        repository = served.repositories["owner/name"] = Repository(private=False)
        repository.tags["v1"] = repository.commit("main", files, "all")
        yield served


def audited(target: str, endpoint: str, cache: Path, *, offline: bool = False) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, since the Hub's client reads its settings when it is imported."""
    settings = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
        "HF_HUB_CACHE": str(cache / "hub"),
        "HF_HUB_OFFLINE": str(int(offline)),
        "HF_TOKEN": "hf_x",
    }
    return subprocess.run(
        [sys.executable, "-m", "dual_data", "audit", target, "--json"],
        env=os.environ | settings | {"HF_HUB_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_dataset_of_the_hub_is_read_at_its_revision(online: Hub, tmp_path: Path) -> None:
    result = audited("owner/name@v1", online.url, tmp_path / "cache")
    assert result.returncode == 0, result.stderr
    assert {name: split["rows"] for name, split in json.loads(result.stdout)["splits"].items()} == {
        "matched/city_forget_rare_5": 2,
        "matched/country_forget_rare_5": 2,
        "paper/city_forget_rare_5": 2,
    }


@pytest.mark.parametrize("target", ["owner/name@v2", "owner/absent@v1"])
def test_a_dataset_or_revision_that_is_not_there_is_one_clear_error(online: Hub, tmp_path: Path, target: str) -> None:
    result = audited(target, online.url, tmp_path / "cache")
    assert result.returncode == 2
    assert f"error: {target}: no such file or folder, and the Hub refused it (404)" in result.stderr
    assert "hf_x" not in result.stderr


def test_a_hub_that_is_not_asked_is_a_service_error(online: Hub, tmp_path: Path) -> None:
    result = audited("owner/name@v1", online.url, tmp_path / "cache", offline=True)
    assert result.returncode == 1
    assert "error: owner/name@v1: no such file or folder, and the Hub could not be reached" in result.stderr


@pytest.mark.parametrize(
    ("fault", "words"), [(RESET, "could not be reached"), (unavailable(520), "failed (520); try again later")]
)
def test_a_hub_that_fails_midway_is_a_service_error(online: Hub, tmp_path: Path, fault: Fault, words: str) -> None:
    with proxy(online.url) as between:
        between.when = lambda request: fault if "/resolve/" in request.path else None
        result = audited("owner/name@v1", between.url, tmp_path / "cache")
    assert result.returncode == 1
    assert f"error: owner/name@v1: no such file or folder, and the Hub {words}" in result.stderr
