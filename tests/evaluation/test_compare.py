"""Two results item by item."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dual_data.bootstrap import SHARE, Scale, bootstrap_difference
from dual_data.errors import InputError
from dual_data.evaluation.compare import COMPARED, OWN_WORDS, compare_results
from dual_data.evaluation.results import cell_path, read_result, read_results, write_result
from dual_data.statistics import Floats
from tests.evaluation.report.made_up import write_cell

HELD = set(COMPARED) - {"minilm_cosine", OWN_WORDS}
"""Scores of made-up cells: the cosine is measured only on request."""


def test_paired_differences(tmp_path: Path) -> None:
    base = cell_path(tmp_path, write_cell(tmp_path, forget=1.0, retain=0.9))
    cell = cell_path(tmp_path, write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9))
    rows = {(row.set, row.score): row for row in compare_results(cell, base).rows}
    assert set(rows) == {(name, score) for name in ("forget", "retain_train", "retain_eval") for score in HELD}
    forget, retain = rows["forget", "rougeL_recall"], rows["retain_eval", "rougeL_recall"]
    recalls = [row["scores"]["rougeL_recall"] for row in read_result(cell)["items"]["forget"]]
    assert forget.difference.value == pytest.approx(np.mean(recalls) - 1)
    assert forget.difference.high < 0
    assert forget.corrected < 0.05
    assert (retain.difference.value, retain.corrected) == (0, 1)  # the same facts are still answered
    opposite = {(row.set, row.score): row for row in compare_results(base, cell).rows}
    assert opposite["forget", "rougeL_recall"].difference.value == -forget.difference.value


def test_order_does_not_matter_but_items_do(tmp_path: Path) -> None:
    first = cell_path(tmp_path, write_cell(tmp_path, forget=0.6, retain=0.9))
    result = read_result(first)
    shuffled = {name: rows[::-1] for name, rows in result["items"].items()}
    second = write_result(tmp_path, "shuffled", {**result, "items": shuffled})
    assert all(row.difference.value == 0 for row in compare_results(first, second).rows)
    other = write_result(tmp_path, "other", {**result, "items": {"forget": result["items"]["retain_eval"]}})
    with pytest.raises(InputError, match="different items of forget: rows or the grid's limit changed in between"):
        compare_results(first, other)
    # Ids may begin anew in every file.
    asked = [row | {"question": f"{row['question']} Really?"} for row in result["items"]["forget"]]
    same_ids = write_result(tmp_path, "same_ids", {**result, "items": {**result["items"], "forget": asked}})
    with pytest.raises(InputError, match="different items of forget"):
        compare_results(first, same_ids)
    cell = {**result["cell"], "data": "e"}
    elsewhere = write_result(tmp_path, "elsewhere", {**read_result(other), "cell": cell})
    with pytest.raises(InputError, match="A is of the data d, B of e: compare results of one dataset"):
        compare_results(first, elsewhere)
    nothing = write_result(tmp_path, "nothing", {**result, "items": {}})
    with pytest.raises(InputError, match="no set in common"):
        compare_results(first, nothing)


def _two_methods(folder: Path) -> tuple[Path, Path]:
    """Three seeds of either; the results of the first."""
    npo, diff = (
        [write_cell(folder, method=method, lr=1e-4, seed=seed, forget=forget, retain=0.9) for seed in (0, 1, 2)]
        for method, forget in (("NPO", 0.2), ("GradDiff", 0.6))
    )
    return cell_path(folder, npo[0]), cell_path(folder, diff[0])


def _side(folder: Path, method: str) -> Path:
    """All seeds of a method."""
    return Path(f"{folder}:method={method}")


def test_seeds_are_paired(tmp_path: Path) -> None:
    npo, diff = _two_methods(tmp_path)
    single = {(row.set, row.score): row for row in compare_results(npo, diff).rows}["forget", "rougeL_recall"]
    all_seeds = compare_results(_side(tmp_path, "NPO"), _side(tmp_path, "GradDiff"))
    several = {(row.set, row.score): row for row in all_seeds.rows}["forget", "rougeL_recall"]
    assert (single.seeds, several.seeds) == (1, 3)
    means = [
        [np.mean([row["scores"]["rougeL_recall"] for row in result["items"]["forget"]]) for result in side]
        for side in (
            [result for _, result in read_results(tmp_path) if result["cell"]["method"] == method]
            for method in ("NPO", "GradDiff")
        )
    ]
    assert several.difference.value == pytest.approx(np.mean(means[0]) - np.mean(means[1]))
    assert several.difference.value != single.difference.value


def test_a_folder_is_a_side_where_its_results_differ_in_seed_alone(tmp_path: Path) -> None:
    _two_methods(tmp_path / "both")
    for path, result in read_results(tmp_path / "both"):
        write_result(tmp_path / result["cell"]["method"], path.stem, result)
    rows = compare_results(tmp_path / "NPO" / "cells", tmp_path / "GradDiff" / "cells").rows
    assert {row.seeds for row in rows} == {3}
    with pytest.raises(InputError, match="differ in more than their seed"):
        compare_results(tmp_path / "both" / "cells", tmp_path / "NPO" / "cells")
    with pytest.raises(InputError, match="holds no measured result"):
        compare_results(tmp_path, tmp_path / "NPO" / "cells")


def test_the_model_before_is_paired_with_every_seed_and_others_by_their_own(tmp_path: Path) -> None:
    _two_methods(tmp_path)
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="RMU", lr=1e-4, seed=2, forget=0.5, retain=0.9)
    for seed in (7, 8):
        write_cell(tmp_path, method="WGA", lr=1e-4, seed=seed, forget=0.5, retain=0.9)
    npo, base, rmu, wga = (_side(tmp_path, method) for method in ("NPO", "none", "RMU", "WGA"))
    assert {row.seeds for row in compare_results(npo, base).rows} == {3}
    assert {row.seeds for row in compare_results(npo, rmu).rows} == {1}
    with pytest.raises(InputError, match=r"has the seeds 0, 1, 2 and .* has 7, 8: they have none in common to pair"):
        compare_results(npo, wga)


def test_scores_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    first = cell_path(tmp_path, write_cell(tmp_path, forget=0.6, retain=0.9))
    result = read_result(first)
    result["items"]["forget"][0]["scores"]["probability"] = None
    broken = write_result(tmp_path, "broken", result)
    scores = {row.score for row in compare_results(first, broken).rows if row.set == "forget"}
    assert scores == HELD - {"probability"}


def test_the_worst_of_one_wording_is_left_out(tmp_path: Path) -> None:
    first = cell_path(tmp_path, write_cell(tmp_path, forget=0.6, retain=0.9))
    result = read_result(first)
    for row in result["items"]["retain_eval"]:
        row["paraphrases"] = []
    write_result(tmp_path, first.stem, result)
    rows = {(row.set, row.score) for row in compare_results(first, first).rows}
    assert {score for name, score in rows if name == "retain_eval"} == HELD - {"worst"}
    assert ("forget", "worst") in rows


def test_cells_of_two_sets_are_told_so(tmp_path: Path) -> None:
    popular, rare = (
        cell_path(tmp_path, write_cell(tmp_path, forget_set=name, method="NPO", lr=1e-4, forget=0.3, retain=0.9))
        for name in ("popular", "rare")
    )
    with pytest.raises(InputError, match=r"A forgets popular, B rare: compare cells of one set$"):
        compare_results(popular, rare)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.jsonl", '{"answer": "a", "generation": "b"}\n{"answer": "c", "generation": "d"}\n'),
        ("log.json", '{"forget": {"agg_value": 1.0}}'),
    ],
)
def test_generations_are_no_side_and_nobody_is_told_to_remove_them(tmp_path: Path, name: str, content: str) -> None:
    result = cell_path(tmp_path, write_cell(tmp_path, forget=0.6, retain=0.9))
    generations = tmp_path / "logs" / name
    generations.parent.mkdir()
    generations.write_text(content)
    for side in (generations, generations.parent if name.endswith(".json") else generations):
        with pytest.raises(InputError) as refused:
            compare_results(result, side)
        message = str(refused.value)
        assert message.startswith(
            f"{generations}: not a complete result of this version of `dual-data eval run`: a side"
        )
        assert message.endswith("by `dual-data eval score`")
        assert "remove" not in message
    result.write_text(result.read_text()[:1000])  # a cell's own file can be made again
    with pytest.raises(InputError, match=r"; run the grid again$"):
        compare_results(result, result)


def test_coordinates_choose_all_seeds_of_a_setting(tmp_path: Path) -> None:
    grid = tmp_path / "g"
    _two_methods(grid)
    write_cell(grid, method="NPO", lr=1e-3, seed=4, forget=0.2, retain=0.9)
    write_cell(grid, method="GradDiff", lr=1e-4, seed=7, forget=0.2, retain=0.9, status="failed")
    write_cell(grid, forget=1.0, retain=1.0)
    by_name = compare_results(Path(f"{grid}:method=NPO,lr=1e-4"), Path(f"{grid}/cells: method = GradDiff"))
    assert (by_name.first.cell["method"], by_name.first.cell["lr"], by_name.first.seeds) == ("NPO", 1e-4, (0, 1, 2))
    assert (by_name.second.cell["method"], by_name.second.seeds) == ("GradDiff", (0, 1, 2))
    one_seed = compare_results(Path(f"{grid}:method=NPO,lr=1e-4,seed=2"), Path(f"{grid}:method=none"))
    assert (one_seed.first.seeds, one_seed.second.cell["method"]) == ((2,), "none")


def test_a_path_with_a_colon_is_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "a:b=c"
    npo, _ = _two_methods(folder)
    assert compare_results(npo, _side(folder, "GradDiff")).first.seeds == (0,)
    assert compare_results(_side(folder, "NPO"), _side(folder, "GradDiff")).second.seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (
            "",
            r"g: its results differ in more than their seed \(method: GradDiff, NPO, none; lr: 0\.0001, 0\.001\); "
            r"name one setting, as in \S+g:method=GradDiff,lr=0\.0001$",
        ),
        ("/cells", r"as in \S+g/cells:method=GradDiff,lr=0\.0001$"),
        (":method=NPO", r"g:method=NPO: .* \(lr: 0\.0001, 0\.001\); .* as in \S+g:method=NPO,lr=0\.0001$"),
        (":seed=0", r"\(method: GradDiff, NPO, none\)"),
        (":methods=NPO", "unknown coordinate 'methods'; known: model, data, stage, set, method, preset, profile, lr, "),
        (":NPO", "unknown coordinate 'NPO'; known: model"),
        (":method=npo", "no result has method=npo; known: GradDiff, NPO, none"),
        (":method=GradDiff,lr=0.001", r"no result has lr=0\.001; known: 0\.0001"),
        (":method=GradDiff,lr=low", "no result has lr=low"),
        (":seed=9", "no result has seed=9; known: 0, 1, 2, 4"),
        ("2", "g2: no such file$"),
        (":model=a:b,method=NPO", "no result has model=a:b; known: "),
        ("2:method=NPO", "g2: no such folder of results"),
        ("2:model=a/b:c", "g2: no such folder of results"),
    ],
)
def test_names_of_no_setting_are_refused_with_what_is_known(tmp_path: Path, side: str, message: str) -> None:
    grid = tmp_path / "g"
    npo, _ = _two_methods(grid)
    write_cell(grid, method="NPO", lr=1e-3, seed=4, forget=0.2, retain=0.9)
    write_cell(grid, forget=1.0, retain=1.0)
    with pytest.raises(InputError, match=message):
        compare_results(Path(f"{grid}{side}"), npo)


def test_answers_in_own_words_are_compared_where_they_were_given_with_the_subjects_of_these(tmp_path: Path) -> None:
    sides = []
    for method, likeliest in (("NPO", 0.0), ("WGA", 1.0)):
        cell = write_cell(tmp_path, method=method, lr=1e-4, forget=0.5, retain=0.9)
        result = read_result(cell_path(tmp_path, cell))
        for row in result["items"]["forget"][::2]:  # one of two facts of each of 30 subjects
            row["scores"][OWN_WORDS] = likeliest
        sides.append(write_result(tmp_path, cell, result))
    (compared,) = (row for row in compare_results(*sides).rows if row.score == OWN_WORDS)
    assert (compared.set, compared.items, compared.first, compared.second) == ("forget", 30, 0.0, 1.0)
    assert compared.difference.p_value == 2**-29


def test_p_values_are_corrected_over_the_rows_of_sets_and_panel_together(tmp_path: Path) -> None:
    before = write_cell(tmp_path, forget=1.0, retain=0.9, panel=0.9)
    after = write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9, panel=0.2)
    rows = compare_results(*(cell_path(tmp_path, cell) for cell in (after, before))).rows
    p_values = [row.difference.p_value or 0.0 for row in rows]
    assert {row.set for row in rows} >= {"forget", "utility panel"}
    ascending = sorted(range(len(rows)), key=p_values.__getitem__)
    largest = 0.0
    for rank, index in enumerate(ascending):  # Holm 1979
        largest = max(largest, min(1.0, (len(rows) - rank) * p_values[index]))
        assert rows[index].corrected == pytest.approx(largest)
    accuracy = next(row for row in rows if (row.set, row.score) == ("utility panel", "accuracy"))
    assert (accuracy.difference.p_value or 1.0) < 1e-4  # over 40 questions, of which each is a cluster
    assert accuracy.corrected > 2 * (accuracy.difference.p_value or 0.0)


def _scores(folder: Path, cells: list[str], name: str, score: str) -> Floats:
    items = [read_result(cell_path(folder, cell))["items"][name] for cell in cells]
    return np.array([[row["scores"][score] for row in rows] for rows in items])


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_a_row_is_resampled_over_subjects_on_the_scale_of_its_score(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    cells = {
        method: [write_cell(tmp_path, method=method, lr=1e-4, seed=seed, forget=share, retain=0.9) for seed in seeds]
        for method, share in (("NPO", 0.3), ("WGA", 0.5))
    }
    compared = compare_results(*(Path(f"{tmp_path}:method={method}") for method in cells))
    rows = {(row.set, row.score): row for row in compared.rows}
    subjects = [f"rare-subject-{index // 2}" for index in range(60)]  # two facts each
    for score, scale in (("rougeL_recall", SHARE), ("mean_log_probability", Scale(high=0.0))):
        first, second = (_scores(tmp_path, side, "forget", score) for side in cells.values())
        expected = bootstrap_difference(first, second, subjects, scale)
        assert rows["forget", score].difference == pytest.approx(expected, rel=1e-9)


def test_the_difference_of_shares_of_a_few_seeds_ends_at_one(tmp_path: Path) -> None:
    for method in ("NPO", "WGA"):
        for seed in (0, 1):
            cell = write_cell(tmp_path, method=method, lr=1e-4, seed=seed, forget=0.5, retain=0.9)
            result = read_result(cell_path(tmp_path, cell))
            for row in result["items"]["forget"]:
                row["scores"]["rougeL_recall"] = float(method == "NPO" and seed == 0)
            write_result(tmp_path, cell, result)
    rows = compare_results(Path(f"{tmp_path}:method=NPO"), Path(f"{tmp_path}:method=WGA")).rows
    recall = next(row for row in rows if (row.set, row.score) == ("forget", "rougeL_recall"))
    assert (recall.difference.low, recall.difference.high) == (-1, 1)
