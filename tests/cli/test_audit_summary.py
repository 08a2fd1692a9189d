"""The audit of many splits, as a user sees it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tests.cli.command import dual_data


def written(folder: Path, others: int) -> str:
    """A folder of rare and popular facts to forget, of the same rows twice, and of `others` that differ in relation."""
    splits = {"x_forget_rare": ("capital", "Nu"), "x_forget_popular": ("capital", "Mu"), "again": ("capital", "Nu")}
    splits |= {f"other_{number:02}": (f"leader {number}", "Xi") for number in range(others)}
    for name, (relation, answer) in splits.items():
        questions = [f"What is the {relation} of {'rare' if answer == 'Nu' else name} {n}?" for n in "ABCD"]
        rows = {"question": questions, "answer": [answer] * 4, "relation": [relation] * 4}
        pl.DataFrame(rows).write_csv(folder / f"{name}.csv")
    return str(folder)


def test_many_splits_have_a_line_each_and_what_a_trivial_rule_scores(tmp_path: Path) -> None:
    lines = dual_data("audit", written(tmp_path, 4)).out.splitlines()
    header = lines[0].split("  ")
    assert header[0] == "split"
    (line,) = (line.split() for line in lines if line.startswith("x_forget_rare  ") and "  Nu  " in line)
    assert line == ["x_forget_rare", "4", "0.000", "0.000", "-", "Nu", "1.000", "majority", "1.000"]
    assert lines[-1] == (
        "Not shown: most measurements. --full or --json shows everything, --split some splits; --explain says what is "
        "measured."
    )


def test_pairs_of_rare_and_popular_facts_come_first_then_those_that_share_questions(tmp_path: Path) -> None:
    lines = dual_data("audit", written(tmp_path, 9)).out.splitlines()
    (start,) = (number for number, line in enumerate(lines) if "compared with" in line)
    first, second, third = (line.split() for line in lines[start + 2 : start + 5])
    assert first == ["x_forget_popular", "x_forget_rare", "0", "0", "answer", "1.000"]
    assert second[:4] == ["again", "x_forget_rare", "4", "4"]
    assert third[2:] == ["0", "0", "relation", "1.000"]
    assert len(lines[start + 2 :]) == 40 + 2
    assert lines[-1].startswith("Not shown: 26 pairs with lower AUCs and without a common question, and most meas")


def test_a_bar_in_a_name_breaks_nothing(tmp_path: Path) -> None:
    target = written(tmp_path, 4)
    (tmp_path / "again.csv").rename(tmp_path / "a|b.csv")
    outcome = dual_data("audit", target)
    assert (outcome.code, outcome.err) == (0, "")
    assert "\na|b " in outcome.out


def test_everything_is_shown_of_few_splits_and_on_demand(tmp_path: Path) -> None:
    target = written(tmp_path, 4)
    assert "auc_subject_length" in dual_data("audit", target, "--full").out
    assert "auc_subject_length" not in dual_data("audit", target).out
    for name in ("again", "other_00"):
        (tmp_path / f"{name}.csv").unlink()
    assert "auc_subject_length" in dual_data("audit", target).out
