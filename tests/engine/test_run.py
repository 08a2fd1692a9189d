"""The engine on a toy pipeline: which stages run and why, what is stored, and the state after a failure."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from dual_data.config import Profile, Services
from dual_data.engine.manifest import Manifest, read_manifest
from dual_data.engine.plan import outdated_steps, plan, why_stale
from dual_data.engine.run import build, read_rows
from dual_data.engine.stage import Forecast, Lack, Result, Stage, Tools
from dual_data.errors import ConfigError, DualDataError, InputError, Offline, ProjectBusy, Refused, UsageError
from dual_data.ids import digest
from dual_data.system.files import file_hash, locked
from tests.engine import toy


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return toy.project(tmp_path)


def run(
    root: Path, *stages: Stage, limit: int | None = None, rerun: bool = False, **params: dict[str, object]
) -> dict[str, Manifest]:
    """Build with fresh tools; the manifests by stage."""
    tools = toy.tools(root, limit)
    with tools.calls:
        steps = build(stages or toy.PIPELINE, tools, toy.profile(**params), rerun=rerun)
    return {step.stage.name: step.manifest for step in steps if step.manifest}


def reasons(root: Path, *stages: Stage, limit: int | None = None, **params: dict[str, object]) -> dict[str, str]:
    return {s.stage.name: s.reason for s in plan(stages or toy.PIPELINE, root, toy.profile(**params), limit)}


class LargerNumbers(toy.Numbers):
    """Numbers with another rule for the same columns."""

    square = dy.Int64(max=51)


def test_rows_and_rejects_are_kept_apart(root: Path) -> None:
    manifests = run(root)
    manifest = manifests["numbers"]
    assert read_rows(root, toy.profile(), "numbers")["n"].to_list() == [0, 1, 2, 3, 5, 6, 7]
    rejected = read_rows(root, toy.profile(), "numbers", "rejected")
    assert dict(rejected.select("n", "reason").iter_rows()) == {
        4: "unlucky",
        8: "schema:square|max",
        9: "schema:square|max",
    }
    assert list(manifest.rejected.items()) == [("schema:square|max", 2), ("unlucky", 1)]
    assert manifest.calls == {"squares": (10, 0, 0)}
    assert manifests["totals"].calls == {}
    assert read_rows(root, toy.profile(), "totals", "extra/list").height == 7


def test_a_stage_counts_its_own_calls_of_a_source_that_others_call_too(root: Path) -> None:
    manifests = run(root, toy.NUMBERS, replace(toy.NUMBERS, name="again"))
    assert manifests["numbers"].calls == {"squares": (10, 0, 0)}
    assert manifests["again"].calls == {"squares": (0, 10, 0)}


def test_stages_that_are_up_to_date_run_again_if_asked_and_are_then_of_the_commit(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"commit": "0" * 40, "dirty": True}
    monkeypatch.setattr("dual_data.engine.manifest.git_state", lambda _: dict(state))
    before = run(root)
    state |= {"commit": "1" * 40, "dirty": False}
    assert run(root) == before
    after = run(root, rerun=True)
    assert [manifest.build["git"] for manifest in after.values()] == [state, state]
    assert all(after[name].is_as(before[name]) for name in before)
    assert after["numbers"].calls == {"squares": (0, 10, 0)}
    steps = plan(toy.PIPELINE, root, toy.profile(), None, rerun=True)
    assert steps[0].reason == "up to date, but asked for with --rerun"
    assert [bool(step.reason) for step in steps] == [True, True]


@pytest.mark.parametrize(
    "dtype",
    [pl.Binary, pl.List(pl.Binary), pl.Struct({"a": pl.Binary}), pl.Object, pl.Enum(["a"]), pl.List(pl.Categorical)],
)
def test_a_column_that_cannot_be_kept_is_named(root: Path, dtype: pl.DataType) -> None:
    odd = Result(pl.DataFrame({"n": [1], "square": [1]}), {"more": pl.DataFrame(schema={"a": pl.Int64, "b": dtype})})
    with pytest.raises(DualDataError, match=r"numbers: column b of its table more is .*, which cannot be kept"):
        run(root, replace(toy.NUMBERS, run=lambda params, tools: odd))
    assert not (root / "artifacts" / "toy" / "numbers").exists()


def test_a_second_build_does_nothing(root: Path) -> None:
    manifests = run(root)
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet")}
    assert reasons(root) == {"numbers": "", "totals": ""}
    assert run(root) == manifests
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet")} == stamps


def test_a_parameter_that_does_not_decide_the_output_is_kept_apart_and_not_released(root: Path) -> None:
    manifest = run(root, numbers={"count": 3, "folder": "/home/me/secret"})["numbers"]
    assert manifest.params() == {"count": 3, "drop": 4, "folder": "/home/me/secret"}
    assert manifest.basis.params == {"count": 3, "drop": 4}
    assert reasons(root, numbers={"count": 3, "folder": "/elsewhere"}) == {"numbers": "", "totals": ""}
    released = manifest.released()
    assert "secret" not in released.model_dump_json()
    assert (released.fingerprint, released.sealed().seal) == (manifest.fingerprint, released.seal)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"params": {"numbers": {"count": 8}}}, "parameter count is 8, was 10"),
        ({"limit": 5}, "limit 5, was none: its complete rows are replaced"),
        ({"stages": (replace(toy.NUMBERS, version=2), toy.TOTALS)}, "the stage's code is version 2, was 1"),
        ({"stages": (replace(toy.NUMBERS, schema=LargerNumbers), toy.TOTALS)}, "the schema of its table changed"),
    ],
)
def test_the_plan_says_why(root: Path, change: Mapping[str, Any], reason: str) -> None:
    run(root)
    result = reasons(root, *change.get("stages", ()), limit=change.get("limit"), **change.get("params", {}))
    assert result == {"numbers": reason, "totals": "may rerun: numbers will be built anew"}


def test_only_services_that_a_stage_names_make_it_stale(root: Path) -> None:
    stages = (replace(toy.NUMBERS, services=("sparql",)), toy.TOTALS)
    run(root, *stages)
    for service, reason in (
        ({"wikipedia": "https://wiki.example/w/"}, ""),
        ({"sparql": "embedded"}, "service sparql is embedded, was https://query.wikidata.org/sparql"),
    ):
        moved = toy.profile().model_copy(update={"services": Services.model_validate(service)})
        assert plan(stages, root, moved, None)[0].reason == reason


@pytest.mark.parametrize(
    ("was", "now", "reason"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, "parameter a.c is 3, was 2"),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1, "d": None}}}, "parameter a.b.d changed"),
        ({"a": None}, {"a": {"b": 1}}, "parameter a is {'b': 1}, was none"),
        ({"a": [*range(99)]}, {"a": [*range(98)]}, "parameter a changed"),
        ({"a": {"b": 1, "c": 1}}, {"a": {"c": 2}}, "parameter a.c is 2, was 1; parameter a.b is none, was 1"),
    ],
)
def test_a_parameter_in_a_table_is_named_alone(
    root: Path, was: dict[str, Any], now: dict[str, Any], reason: str
) -> None:
    manifest = run(root)["totals"]
    before, after = (manifest.basis.model_copy(update={"params": params}) for params in (was, now))
    sealed = manifest.model_copy(update={"basis": before, "fingerprint": before.fingerprint()}).sealed()
    assert why_stale(after, sealed, root / "artifacts" / "toy" / "totals") == reason


def test_what_is_outdated_stands_on_disk_and_can_be_looked_at(root: Path) -> None:
    stages = (toy.NUMBERS, toy.TOTALS)
    assert outdated_steps(stages, root, toy.profile()) == []
    run(root, limit=5)
    assert outdated_steps(stages, root, toy.profile()) == [], "the limit is that of the build"
    newer = (toy.NUMBERS, replace(toy.TOTALS, version=2))
    (root / "pipeline" / "words" / "a.txt").write_text("b")
    assert [(step.stage.name, step.basis is None) for step in outdated_steps(newer, root, toy.profile())] == [
        ("numbers", False),
        ("totals", True),
    ]
    (root / "pipeline" / "words" / "a.txt").unlink()
    assert [step.reason for step in outdated_steps(newer, root, toy.profile())] == [
        "the stage's code is version 2, was 1"
    ]
    moved = replace(toy.TOTALS, sources=lambda *_: {"tables": file_hash(root / "moved.csv")})
    assert outdated_steps((toy.NUMBERS, moved), root, toy.profile()) == []
    shutil.rmtree(root / "artifacts" / "toy" / "totals")
    assert outdated_steps(newer, root, toy.profile()) == []


def test_a_stage_that_a_later_one_on_disk_lacks_is_outdated(root: Path) -> None:
    stages = (toy.NUMBERS, toy.TOTALS)
    run(root)
    folder = root / "artifacts" / "toy" / "numbers"
    for break_it, reason in (
        (lambda: (folder / "manifest.json").write_text("{"), "its manifest cannot be read"),
        (lambda: shutil.rmtree(folder), "never built"),
    ):
        break_it()
        found = [(step.stage.name, step.reason) for step in outdated_steps(stages, root, toy.profile())]
        assert found == [("numbers", reason), ("totals", "may rerun: numbers will be built anew")]


def test_a_stage_whose_manifest_cannot_be_read_is_outdated(root: Path) -> None:
    run(root)
    (root / "artifacts" / "toy" / "totals" / "manifest.json").write_text("{")
    for totals in (toy.TOTALS, replace(toy.TOTALS, sources=lambda *_: {"tables": file_hash(root / "moved.csv")})):
        found = [(step.stage.name, step.reason) for step in outdated_steps((toy.NUMBERS, totals), root, toy.profile())]
        assert found == [("totals", "its manifest cannot be read")]


def test_files_are_watched(root: Path) -> None:
    words = root / "pipeline" / "words"
    run(root)
    (words / "a.txt").write_text("b")
    assert reasons(root)["numbers"] == "pipeline/words/a.txt changed"
    (words / "a.txt").write_text("a")
    assert reasons(root)["numbers"] == ""
    (words / "b.txt").write_text("b")
    assert reasons(root)["numbers"] == "pipeline/words/b.txt is new"
    (words / "b.txt").rename(words / "c.txt")
    run(root)
    (words / "c.txt").unlink()
    assert reasons(root)["numbers"] == "pipeline/words/c.txt is gone"
    (words / "a.txt").unlink()
    with pytest.raises(InputError, match="no such file; the stage numbers needs it"):
        reasons(root)


def test_a_source_that_the_run_tells_stands_until_it_can_be_seen_to_have_changed(root: Path) -> None:
    hashes: dict[str, str | None] = {"weights": None}

    def opening(params: toy.NumbersParams, tools: Tools) -> Result:
        return Result(toy.numbers(params, tools), {}, {"weights": "first"})

    stage = replace(toy.NUMBERS, run=opening, sources=lambda *_: hashes)
    manifest = run(root, stage)["numbers"]
    assert manifest.basis.sources == {"weights": "first"}
    assert manifest.basis.fingerprint() == manifest.fingerprint
    assert reasons(root, stage)["numbers"] == ""
    hashes["weights"] = "first"
    assert reasons(root, stage)["numbers"] == ""
    hashes["weights"] = "second"
    assert reasons(root, stage)["numbers"] == "weights changed"
    assert run(root, stage)["numbers"].basis.sources == {"weights": "first"}  # the hash of the run, not of the plan
    del hashes["weights"]
    assert reasons(root, stage)["numbers"] == "weights is gone"


def test_equal_output_stops_what_follows(root: Path) -> None:
    before = run(root)
    (root / "pipeline" / "words" / "a.txt").write_text("other")
    after = run(root)
    assert after["numbers"].fingerprint != before["numbers"].fingerprint
    assert after["numbers"].content() == before["numbers"].content()
    assert after["totals"] == before["totals"]
    assert after["numbers"].calls["squares"] == (0, 10, 0)


def test_damage_is_noticed(root: Path) -> None:
    run(root)
    folder = root / "artifacts" / "toy"
    (folder / "totals" / "extra" / "list.parquet").unlink()
    assert reasons(root) == {"numbers": "", "totals": "extra/list.parquet is missing"}
    run(root)
    (folder / "numbers" / "data.parquet").write_bytes(b"cut")
    assert reasons(root)["numbers"] == "data.parquet is not what was written"
    run(root)
    manifest = folder / "numbers" / "manifest.json"
    manifest.write_text("{")
    assert reasons(root)["numbers"] == "its manifest cannot be read"
    manifest.unlink()
    assert reasons(root)["numbers"] == "never built"
    run(root)
    assert reasons(root) == {"numbers": "", "totals": ""}


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a parameter": lambda data: data["basis"]["params"].update(count=11),
    "the fingerprint": lambda data: data.update(fingerprint=digest("x", 64)),
    "the number of rows": lambda data: data["outcome"]["data"].update(rows=1_000_000),
    "the hash of the rows": lambda data: data["outcome"]["data"].update(content=digest("x", 64)),
    "the rejects": lambda data: data["rejected"].update(unlucky=2),
    "the day": lambda data: data["build"].update(built_at="2020-01-01T00:00:00+00:00"),
    "the seal": lambda data: data.update(seal=""),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_manifest_edited_by_hand_is_noticed_and_its_stage_built_again(root: Path, name: str) -> None:
    before = run(root)
    path = root / "artifacts" / "toy" / "numbers" / "manifest.json"
    edited = json.loads(path.read_text())
    EDITS[name](edited)
    path.write_text(json.dumps(edited))
    count = edited["basis"]["params"]["count"]
    assert reasons(root, numbers={"count": count})["numbers"] == "its manifest was edited"
    after = run(root)
    assert after["numbers"].outcome == before["numbers"].outcome
    assert after["numbers"].calls == {"squares": (0, 10, 0)}


def test_tables_of_an_earlier_run_do_not_stay(root: Path) -> None:
    run(root)
    begun = root / "artifacts" / "toy" / "totals" / "extra" / ".list.parquet-0123456789abcdef.tmp"
    begun.write_bytes(b"PAR1")  # by a run that was killed
    without = replace(
        toy.TOTALS, version=2, run=lambda params, tools, numbers: toy.totals(params, tools, numbers=numbers).rows
    )
    run(root, toy.NUMBERS, without)
    assert not list(begun.parent.iterdir())


def test_only_builds_what_is_needed(root: Path) -> None:
    tools = toy.tools(root)
    steps = build(toy.PIPELINE, tools, toy.profile(), only=["numbers"])
    tools.calls.close()
    assert [step.stage.name for step in steps] == ["numbers"]
    assert not (root / "artifacts" / "toy" / "totals").exists()


def test_a_failing_stage_leaves_the_old_output(root: Path) -> None:
    before = run(root)

    def fail(params: toy.NumbersParams, tools: Tools) -> pl.DataFrame:
        tools.calls.fetch("squares", {"n": 77}, lambda: 5929)
        raise DualDataError("the service is down")

    with pytest.raises(DualDataError, match="down"):
        run(root, replace(toy.NUMBERS, run=fail, version=2), toy.TOTALS)
    assert read_manifest(root / "artifacts" / "toy" / "numbers") == before["numbers"]
    assert reasons(root) == {"numbers": "", "totals": ""}
    assert toy.tools(root).calls.missing("squares", [{"n": 77}]) == []
    assert not list(root.rglob("*.tmp"))


def test_a_read_only_folder_is_said(root: Path) -> None:
    blocked = root / "artifacts" / "toy" / "numbers"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where a folder should be")
    with pytest.raises(DualDataError, match="cannot be written"):
        run(root)
    assert toy.tools(root).calls.missing("squares", [{"n": n} for n in range(10)]) == []


def test_a_missing_column_is_a_defect_of_the_stage(root: Path) -> None:
    broken = replace(toy.NUMBERS, run=lambda params, tools: pl.DataFrame({"n": [1]}))
    with pytest.raises(DualDataError, match="numbers: the stage returned no column square"):
        run(root, broken)


def test_offline_replays_and_names_what_is_missing(root: Path) -> None:
    run(root, numbers={"count": 3})
    tools = toy.tools(root, offline=True)
    build(toy.PIPELINE, tools, toy.profile(numbers={"count": 3, "drop": 1}))
    with pytest.raises(Offline, match=r"7 call\(s\)"):
        build(toy.PIPELINE, tools, toy.profile())
    tools.calls.close()


def adding(params: toy.TotalsParams, tools: Tools, *, numbers: pl.DataFrame) -> Result:
    """The totals, which a service is asked for."""
    tools.calls.fetch("adder", {"numbers": numbers["n"].to_list()}, lambda: "key")
    return toy.totals(params, tools, numbers=numbers)


def adder(params: toy.TotalsParams, tools: Tools, *, numbers: pl.DataFrame) -> list[Forecast]:
    return [Forecast("adder", 1, 1 - len(tools.calls.missing("adder", [{"numbers": numbers["n"].to_list()}])))]


def no_key(params: toy.TotalsParams, tools: Tools) -> list[Lack]:
    return [Lack("no key", params, calls_expected=not tools.calls.answered("adder"))]


WITH_KEY = replace(toy.TOTALS, run=adding, forecast=adder)
WITHOUT = replace(WITH_KEY, lacks=no_key)


def test_what_a_late_stage_lacks_for_its_calls_is_told_before_the_first_call(root: Path) -> None:
    def expect_refusal(count: int) -> None:
        made = len(toy.tools(root).calls.answered("squares"))
        with pytest.raises(UsageError, match=r"^totals: no key$"):
            run(root, toy.NUMBERS, WITHOUT, numbers={"count": count})
        assert len(toy.tools(root).calls.answered("squares")) == made

    expect_refusal(3)
    run(root, toy.NUMBERS, numbers={"count": 3})
    expect_refusal(3)  # its inputs are known, and so is its call
    run(root, toy.NUMBERS, WITH_KEY, numbers={"count": 3})
    run(root, toy.NUMBERS, WITHOUT, numbers={"count": 3})
    expect_refusal(4)  # a new number is to be added


def test_a_service_that_refuses_a_late_stage_is_told_before_the_first_call(root: Path) -> None:
    greeted: list[int] = []

    def greet(params: toy.TotalsParams, tools: Tools) -> None:
        greeted.append(len(tools.calls.answered("squares")))
        if len(greeted) == 1:
            raise Refused("adder: no such model")

    late = replace(WITH_KEY, greet=greet)
    with pytest.raises(Refused, match="no such model"):
        run(root, toy.NUMBERS, late)
    assert toy.tools(root).calls.answered("squares") == []
    run(root, toy.NUMBERS, late)
    assert greeted == [0, 0]
    run(root, toy.NUMBERS, replace(late, version=2))  # it is the first to run, and asks at once
    shutil.rmtree(root / "artifacts" / "toy" / "numbers")
    build((toy.NUMBERS, replace(late, version=3)), toy.tools(root, offline=True), toy.profile())
    assert greeted == [0, 0]


def test_what_a_stage_is_greeted_with_counts_among_its_calls(root: Path) -> None:
    def greet(_: toy.TotalsParams, tools: Tools) -> None:
        tools.calls.fetch("adder", {"what": "are you there?"}, lambda: 1)

    late = replace(WITH_KEY, greet=greet)
    alone = run(root, toy.NUMBERS, WITH_KEY)["totals"].calls["adder"]
    shutil.rmtree(root / "artifacts")
    made = run(root, toy.NUMBERS, late)
    assert made["totals"].calls["adder"] == alone._replace(made=alone.made + 1)
    assert set(made["numbers"].calls) == {"squares"}


def test_a_stage_whose_calls_are_all_in_the_log_lacks_nothing(root: Path) -> None:
    run(root, toy.NUMBERS, WITH_KEY)
    folder = root / "artifacts" / "toy"
    for stage in ("totals", "numbers"):
        shutil.rmtree(folder / stage)
        run(root, toy.NUMBERS, WITHOUT)
    (folder / "calls.sqlite").unlink()
    with pytest.raises(UsageError, match="no key"):
        run(root, toy.NUMBERS, replace(WITHOUT, version=2))
    with pytest.raises(Offline):
        build((toy.NUMBERS, replace(WITHOUT, version=2)), toy.tools(root, offline=True), toy.profile())


def test_what_a_stage_needs_even_without_calls_is_told_where_the_log_has_them_all(root: Path) -> None:
    run(root, toy.NUMBERS, WITH_KEY)
    shutil.rmtree(root / "artifacts" / "toy" / "totals")
    stage = replace(WITH_KEY, lacks=lambda params, _: [Lack("no package", params, always=True)] * 2)
    with pytest.raises(UsageError, match=r"^totals: no package$"):
        run(root, toy.NUMBERS, stage)
    run(root, toy.NUMBERS, WITH_KEY)
    run(root, toy.NUMBERS, stage)  # it is up to date and does not run


def test_the_same_log_gives_the_same_hashes_elsewhere(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = toy.project(tmp_path_factory.mktemp("elsewhere"))
    manifests = run(root)
    log = root / "artifacts" / "toy" / "calls.sqlite"
    (elsewhere / "artifacts" / "toy").mkdir(parents=True)
    (elsewhere / "artifacts" / "toy" / "calls.sqlite").write_bytes(log.read_bytes())
    copied = run(elsewhere)
    for name, manifest in manifests.items():
        assert copied[name].fingerprint == manifest.fingerprint
        assert {t: x.content for t, x in copied[name].outcome.items()} == {
            t: x.content for t, x in manifest.outcome.items()
        }
    assert copied["numbers"].calls["squares"] == (0, 10, 0)


def test_unknown_parameters_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"pipeline/toy.toml: numbers.cuont: unknown key; known here: count, drop"):
        run(root, numbers={"cuont": 3})


def test_the_fault_of_a_late_stage_is_told_before_the_first_call(root: Path) -> None:
    def check(params: toy.NumbersParams, project: Path, profile: Profile) -> None:
        assert profile.services == toy.profile().services
        if params.drop == 7:
            raise ConfigError(f"7 is not dropped in {project.name}", key="late.drop")

    late = Stage(
        "late", 1, lambda params, tools, numbers: numbers, toy.Numbers, toy.NumbersParams, ("numbers",), check=check
    )
    faults = {"cuont": "unknown key", "drop": f"7 is not dropped in {root.name}"}
    for key, fault in faults.items():
        with pytest.raises(ConfigError, match=rf"^pipeline/toy\.toml: late\.{key}: {fault}"):
            run(root, toy.NUMBERS, late, late={key: 7})
        assert not (root / "artifacts" / "toy" / "numbers").exists()
    tools = toy.tools(root, offline=True)
    with tools.calls, pytest.raises(Offline):  # what answered once need not be here any more
        build((toy.NUMBERS, late), tools, toy.profile(late={"drop": 7}))
    tools = toy.tools(root, offline=True)
    with tools.calls, pytest.raises(ConfigError, match=r"late\.cuont: unknown key"):
        build((toy.NUMBERS, late), tools, toy.profile(late={"cuont": 7}))
    run(root, toy.NUMBERS, late)
    run(root, toy.NUMBERS, replace(late, check=lambda params, project, services: pytest.fail("it is current")))


def test_two_builds_at_once(root: Path) -> None:
    folder = root / "artifacts" / "toy"
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(folder / ".lock", "another build"):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)
    try:
        with pytest.raises(ProjectBusy, match="another build is running"):
            run(root)
    finally:
        leave.set()
        thread.join()
    run(root)
