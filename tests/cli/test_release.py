"""release, verify, diff, push and export on the command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from datasets import load_dataset

from tests.cli.command import copy_project, dual_data, forget_pipeline
from tests.release.made import NAMES, artifacts, world
from tests.services.hub import TOKEN, Answer, Hub, hub

NAME = "made-up/dual"
PROFILE = """\
[project]
name = "made"

[splits]
percents = [5, 10]
smallest = 2
matched = { retain_train = 30, retain_eval = 20 }
"""
STAGES = """\
from dual_data.config import Strict
from dual_data.engine.stage import Stage
from dual_data.schema import Facts, Knowledge, Links, Questions, Salience
from pipeline.splits import SPLITS

MADE = {"facts": Facts, "links": Links, "questions": Questions, "knowledge": Knowledge, "salience": Salience}
PIPELINE = (*(Stage(name, 1, print, schema, Strict) for name, schema in MADE.items()), SPLITS)
"""
"""The project's pipeline, with the stages of the invented frames."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The repository's project with an invented, clean build of a profile `made`, released."""
    root = tmp_path_factory.mktemp("project")
    copy_project(root)
    (root / "pipeline" / "made.toml").write_text(PROFILE)
    (root / "pipeline" / "__init__.py").write_text(STAGES)
    (root / ".gitignore").write_text("artifacts/\n__pycache__/\n")
    artifacts(root, world(subjects=40))
    forget_pipeline()
    outcome = dual_data("release", "--project", root, "--profile", "made")
    assert outcome.code == 0, outcome.err
    assert "all hashes agree" in outcome.err
    yield root
    forget_pipeline()


def test_release_lies_in_the_artifacts_and_verifies(project: Path) -> None:
    folder = project / "artifacts" / "made" / "release"
    outcome = dual_data("verify", folder)
    assert outcome.code == 0
    assert "are as they were released" in outcome.out
    assert json.loads((folder / "manifest.json").read_text())["content"] in outcome.out
    assert list(json.loads((folder / "manifest.json").read_text())["stages"]) == list(NAMES)


def test_verify_names_what_was_changed(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "artifacts" / "made" / "release", tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("other")
    outcome = dual_data("verify", tmp_path / "copy")
    assert outcome.code == 1
    assert "README.md: was changed" in outcome.err
    pushed = dual_data("push", NAME, "--tag", "v1", "--folder", tmp_path / "copy")
    assert pushed.code == 2
    assert "README.md: was changed" in pushed.err


def test_diff_shows_what_changed(project: Path, tmp_path: Path) -> None:
    folder = artifacts(tmp_path, world(subjects=38))
    outcome = dual_data("diff", project / "artifacts" / "made" / "release", folder)
    assert outcome.code == 0
    assert "removed" in outcome.out
    assert "town_full" in outcome.out
    assert "more;" not in outcome.out
    difference = json.loads(dual_data("diff", project / "artifacts" / "made", folder, "--json").out)
    assert len(difference["removed"]) == 2 * 2 * 3
    assert difference["added"] == []


def test_diff_shows_both_texts_of_what_is_asked_otherwise(project: Path, tmp_path: Path) -> None:
    made = world(subjects=40)
    last = str(made["questions"]["fact_id"].max())
    longer = pl.when(pl.col("fact_id") == last).then(pl.lit("Which " * 40)).otherwise("question")
    changed = artifacts(tmp_path, {**made, "questions": made["questions"].with_columns(question=longer)})
    outcome = dual_data("diff", project / "artifacts" / "made", changed)
    fact = made["questions"].row(by_predicate=pl.col("fact_id") == last, named=True)
    assert outcome.code == 0
    assert "changed        1\n" in outcome.out
    shown = (
        f"{last}  {fact['subject']}\\s+P\\d+\\s+question  {re.escape(fact['question'])}  {'Which ' * 9}Whi[.]{{3}}\n"
    )
    assert re.search(shown, outcome.out)


def test_diff_counts_the_splits_that_are_the_same(project: Path) -> None:
    folder = project / "artifacts" / "made"
    splits = json.loads(dual_data("diff", folder, folder, "--json").out)["splits"]
    outcome = dual_data("diff", folder, folder / "release")
    assert outcome.out.endswith(f"\n\n{len(splits)} splits with the same members\n")
    assert "forget" not in outcome.out
    assert outcome.err == ""


def test_diff_says_that_minted_ids_match_no_others(project: Path, tmp_path: Path) -> None:
    minted = artifacts(tmp_path, world(subjects=40, resolved=False))
    for sides in ((project / "artifacts" / "made", minted), (minted, project / "artifacts" / "made")):
        outcome = dual_data("diff", *sides)
        assert "minted from labels" in outcome.err
        assert " kept " in outcome.out
    assert dual_data("diff", minted, minted).err == ""


def test_diff_says_how_much_it_does_not_show(project: Path, tmp_path: Path) -> None:
    folder = artifacts(tmp_path, world(subjects=30))
    outcome = dual_data("diff", project / "artifacts" / "made" / "release", folder)
    removed = 2 * 10 * 3
    assert f"\nand {removed - 20} more; --json prints everything\n" in outcome.out


def test_a_build_that_is_out_of_date_is_not_released(project: Path) -> None:
    folder = project / "artifacts" / "made"
    options = ("--project", project, "--profile", "made")
    relation = project / "pipeline" / "relations" / "P36.toml"
    before, released = relation.read_text(), (folder / "release" / "manifest.json").read_bytes()
    assert "out of date" not in dual_data("show", *options).out
    try:
        relation.write_text(before + "# changed\n")
        outcome = dual_data("release", *options)
        summary = dual_data("show", *options)
    finally:
        relation.write_text(before)
    command = f"dual-data build --project {project} --profile made"
    why = f"splits must rerun (pipeline/relations/P36.toml changed); run: {command}\n"
    assert (outcome.code, outcome.err) == (1, f"error: {folder}: is out of date: {why}")
    assert summary.out.startswith(f"Built in {folder}\nOut of date: {why}\n")
    assert (folder / "release" / "manifest.json").read_bytes() == released


@pytest.mark.parametrize("kind", ["lm-eval", "open-unlearning", "tofu-json"])
def test_an_export_to_a_file_is_refused_before_the_release_is_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "labels.csv").write_text("mine")
    for target in (tmp_path / "labels.csv", tmp_path / "labels.csv" / "out"):
        outcome = dual_data("export", kind, target, "--release", tmp_path / "nowhere")
        assert (outcome.code, outcome.err) == (
            2, f"error: {tmp_path / 'labels.csv'}: is a file; name a folder to write to\n",
        )  # fmt: skip


def test_an_empty_text_names_no_release(project: Path, tmp_path: Path) -> None:
    message = "error: an empty text names no release folder and no Hub dataset\n"
    options = ("--project", project, "--profile", "made", "--release", "")
    assert dual_data("export", "tofu-json", tmp_path / "out", *options) == (2, "", message)
    assert dual_data("verify", "") == (2, "", message)


@pytest.mark.parametrize("kind", ["lm-eval", "open-unlearning", "tofu-json"])
def test_exports_of_the_release_of_the_project(project: Path, tmp_path: Path, kind: str) -> None:
    outcome = dual_data("export", kind, tmp_path / "out", "--project", project, "--profile", "made")
    assert outcome.code == 0, outcome.err
    listing = json.loads((tmp_path / "out" / f"dual-data-{kind}.json").read_text())
    assert outcome.out == f"{tmp_path / 'out'}: {len(listing['files'])} files\n"
    assert all((tmp_path / "out" / path).is_file() for path in listing["files"])


@pytest.mark.parametrize("kind", ["lm-eval", "open-unlearning", "tofu-json"])
@pytest.mark.parametrize(
    ("path", "fault"), [("paper/full_", "is not what was released"), ("facts/train", "is missing")]
)
def test_a_changed_release_is_not_exported(project: Path, tmp_path: Path, kind: str, path: str, fault: str) -> None:
    source = shutil.copytree(project / "artifacts" / "made" / "release", tmp_path / "release")
    table = source / f"{path}.parquet"
    rows = pl.read_parquet(table)
    table.unlink()
    if fault != "is missing":
        rows.with_columns(answer=pl.lit("Atlantis")).write_parquet(table)
    outcome = dual_data("export", kind, tmp_path / "out", "--release", source)
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith(f"error: {source}: {path}.parquet {fault}")
    assert not (tmp_path / "out").exists()


def test_the_json_lines_load_as_the_export_says(project: Path, tmp_path: Path) -> None:
    source = project / "artifacts" / "made" / "release"
    outcome = dual_data("export", "tofu-json", tmp_path / "out", "--release", source)
    (arguments,) = re.findall(
        r'load them by file: load_dataset\("json", data_files="(.*)", split="train"\)', outcome.err
    )
    rows = load_dataset("json", data_files=arguments, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == len(Path(arguments).read_text().splitlines())


def test_without_a_build_or_release_the_next_command_is_named(tmp_path: Path, project: Path) -> None:
    shutil.copytree(project / "pipeline", tmp_path / "pipeline")
    for command, words in (
        (["release"], f"run: dual-data build --project {tmp_path} --profile made\n"),
        (["push", NAME, "--tag", "v1"], "dual-data release"),
        (["export", "lm-eval", tmp_path / "tasks"], f"dual-data release --project {tmp_path} --profile made\n"),
    ):
        outcome = dual_data(*command, "--project", tmp_path, "--profile", "made")
        assert outcome.code in (1, 2)
        assert words in outcome.err
    forget_pipeline()


@pytest.mark.parametrize(
    "name",
    ["no name", "a/b/c", "made/a--b", "made/a..b", "made/a.git", "made/ü", "a/" * 47 + "abc", "made/" + "a" * 92],
)
def test_push_wants_the_name_of_a_dataset(project: Path, name: str) -> None:
    outcome = dual_data("push", name, "--tag", "v1", "--project", project, "--profile", "made")
    assert outcome == (2, "", f"error: {name}: is not the name of a Hub dataset (owner/name)\n")


@pytest.fixture
def online() -> Iterator[Hub]:
    """A Hub on loopback, for commands in separate processes."""
    with hub() as served:
        yield served


def command(served: Hub, project: Path, tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    """`dual-data push` in a separate process."""
    words = ("push", NAME, "--tag", "v1.0.0", "--project", str(project), "--profile", "made", *options)
    return started(served, tmp_path, *words)


def started(served: Hub, tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    """`dual-data WORDS` in a separate process, with a token in its environment."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": served.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": TOKEN,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "dual_data", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_push_from_the_command_line(online: Hub, project: Path, tmp_path: Path) -> None:
    planned = command(online, project, tmp_path, "--dry-run")
    out, err = planned.communicate(timeout=120)
    assert planned.returncode == 0, err
    assert re.fullmatch(rf"would write \d+ files, \d+\.\d MB, to {NAME}, and tag v1\.0\.0\n", out)
    out, err = command(online, project, tmp_path, "--dry-run", "--create-pr").communicate(timeout=120)
    assert out.endswith(f" MB, to {NAME}, as a pull request, without a tag\n"), err
    assert online.state() == {}
    process = command(online, project, tmp_path, "--private")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    repository = online.repositories[NAME]
    assert repository.private
    assert out == f"{NAME}@v1.0.0\ncommit {repository.tags['v1.0.0']}\n"
    assert TOKEN not in out + err
    assert TOKEN.encode() not in b"".join(repository.head.values())


def test_exports_that_read_what_the_hub_will_hold_say_so(online: Hub, project: Path, tmp_path: Path) -> None:
    command(online, project, tmp_path).communicate(timeout=120)
    told = f"to read this version alone, name it: --release {NAME}@v1.0.0\n"
    for kind, source, is_told in (
        ("lm-eval", NAME, True),
        ("lm-eval", f"{NAME}@v1.0.0", False),
        ("tofu-json", NAME, False),
    ):
        process = started(online, tmp_path, "export", kind, str(tmp_path / "out"), "--release", source)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert err.endswith(told) is is_told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_while_uploading_leaves_the_hub_as_it_was(
    online: Hub, project: Path, tmp_path: Path, number: signal.Signals
) -> None:
    uploading, interrupted = threading.Event(), threading.Event()

    def hold(method: str, path: str) -> Answer | None:
        if method == "PUT":
            uploading.set()
            interrupted.wait(timeout=120)
        return None

    online.before = hold
    process = command(online, project, tmp_path)
    assert uploading.wait(timeout=120)
    process.send_signal(number)
    interrupted.set()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert TOKEN not in out + err
    assert online.state() == {}
    online.before = lambda method, path: None
    again = command(online, project, tmp_path)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert list(online.repositories[NAME].tags) == ["v1.0.0"]


def test_refused_token_is_one_message_without_it(online: Hub, project: Path, tmp_path: Path) -> None:
    online.before = lambda method, path: Answer(401, {"error": f"bad {TOKEN}"}) if method == "POST" else None
    process = command(online, project, tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.startswith("error: ") or "\nerror: " in err
    assert "Traceback" not in err
    assert TOKEN not in out + err


def test_a_release_is_still_that_of_a_build_that_was_repaired_to_the_same_rows(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(project, root, symlinks=True)
    made = root / "artifacts" / "made" / "splits"
    before = (made / "manifest.json").read_bytes()
    (made / "data.parquet").unlink()
    options = ("--project", root, "--profile", "made")
    forget_pipeline()
    assert dual_data("build", *options).code == 0
    assert (made / "manifest.json").read_bytes() != before
    assert dual_data("export", "lm-eval", tmp_path / "tasks", *options).code == 0


def test_a_release_of_an_earlier_build_is_neither_pushed_nor_exported(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(project, root, symlinks=True)
    for name in NAMES:
        shutil.rmtree(root / "artifacts" / "made" / name)
    artifacts(root, world(subjects=38), git="none")
    options = ("--project", root, "--profile", "made")
    folder, command = root / "artifacts" / "made", f"dual-data release --project {root} --profile made"
    message = (
        f"error: {folder / 'release'}: was made from another build than the one in {folder} (stages that differ: "
        f"{', '.join(name for name in NAMES if name != 'salience')}); run: {command}\n"
    )  # neither has rows of salience
    assert dual_data("push", NAME, "--tag", "v1.0.0", *options, "--dry-run") == (2, "", message)
    assert dual_data("export", "tofu-json", tmp_path / "out", *options) == (2, "", message)
    assert not (tmp_path / "out").exists()
    named = dual_data("export", "tofu-json", tmp_path / "out", *options, "--release", folder / "release")
    assert named.code == 0, named.err
    forget_pipeline()


def test_a_release_that_is_ended_leaves_nothing(project: Path, tmp_path: Path) -> None:
    words = ["release", "--project", project, "--profile", "made", "--folder", tmp_path / "out" / "release"]
    process = subprocess.Popen([sys.executable, "-m", "dual_data", *map(str, words)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "are written" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert list((tmp_path / "out").iterdir()) == []
