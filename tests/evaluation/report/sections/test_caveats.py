"""What the report says of the data before its scores."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.document import Points
from dual_data.evaluation.report.sections.caveats import caveats
from dual_data.evaluation.results import cell_path
from tests.evaluation.report.made_up import SFT, write_cell


def _sentences(*folders: Path) -> list[str]:
    return [text for block in caveats(collect(folders)) if isinstance(block, Points) for text in block.texts]


@pytest.mark.parametrize("has_other", [True, False])
def test_answers_that_rouge_cannot_score_are_counted_and_another_score_is_named(
    tmp_path: Path, has_other: bool
) -> None:
    for forget_set in ("popular", "rare"):
        for method, lr in (("none", 0.0), ("NPO", 1e-4)):
            write_cell(tmp_path, forget_set=forget_set, method=method, lr=lr, forget=0.5, retain=0.9)
    assert _sentences(tmp_path) == []
    for path in (tmp_path / "cells").glob("*.json"):
        result = json.loads(path.read_text())
        for row in [*result["items"]["forget"], *result["items"]["retain_eval"][:3]]:
            row["ground_truth"] = "Київ"
            row["scores"] |= {"rougeL_recall": 0.0} | ({"rougeL_recall_uni": 1.0} if has_other else {})
        path.write_text(json.dumps(result))
    other = ' and "ROUGE-L in any script" under "Further scores"' if has_other else ""
    assert _sentences(tmp_path) == [
        "d: answers without a letter from A to Z or a digit get a ROUGE-L recall of 0 whatever is generated: 60 of 60 "
        "in popular, 3 of 60 in retain_eval, 60 of 60 in rare. The scores to forget and to retain, the learning rates "
        "chosen by them and the findings on ROUGE-L say nothing about these answers. Of the facts to forget, see "
        f'instead "answers held" under "Chosen learning rates"{other}.'
    ]


def test_answers_that_rouge_cuts_at_their_letters_are_counted(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.5, retain=0.9)
    for path in (tmp_path / "cells").glob("*.json"):
        result = json.loads(path.read_text())
        for row, answer in zip(
            result["items"]["forget"], ("Łódź", "São Paulo", "Київ 1", "O'Brien", "Rome"), strict=False
        ):
            row["ground_truth"] = answer
        path.write_text(json.dumps(result))
    (sentence,) = _sentences(tmp_path)
    assert sentence.startswith(
        "d: ROUGE-L cuts words at letters other than A to Z; of Łódź it sees d. Among the answers"
    )
    assert "it cuts 3 of 60 in rare. " in sentence
    assert sentence.endswith('Of the facts to forget, see also "answers held" under "Chosen learning rates".')


def test_answers_that_a_stage_swapped_are_counted_apart(tmp_path: Path) -> None:
    for stage, recipe, answers in (
        ("pretrained", None, ("Łódź", "São Paulo", "Київ")),
        ("sft", SFT, ("Łódź", "São Paulo", "Київ")),
        ("sft_new", SFT | {"counterfactual": True}, ("Київ", "Київ", "Łódź")),
    ):
        path = cell_path(tmp_path, write_cell(tmp_path, stage=stage, recipe=recipe, forget=1.0, retain=1.0))
        result = json.loads(path.read_text())
        for row, answer in zip(result["items"]["forget"], answers, strict=False):
            row["ground_truth"] = answer
        path.write_text(json.dumps(result))
    counts = [
        (sentence.partition(": ")[0], number)
        for sentence in _sentences(tmp_path)
        for number in re.findall(r"\d+ of 60 in \w+", sentence)
    ]
    # One text would give two numbers of a set, and not say of which answers.
    assert counts == [
        ("d", "1 of 60 in rare"), ("d, sft_new", "2 of 60 in rare"),
        ("d", "2 of 60 in rare"), ("d, sft_new", "1 of 60 in rare"),
    ]  # fmt: skip


def test_a_loss_since_the_model_before_unlearning_of_another_seed_is_named(tmp_path: Path) -> None:
    for stage in ("pretrained", "sft"):
        for seed in (0, 1, 2):
            if seed == 0:
                write_cell(tmp_path, stage=stage, seed=seed, forget=1.0, retain=1.0)
            write_cell(tmp_path, stage=stage, method="NPO", lr=1e-4, seed=seed, forget=0.5, retain=0.9)
    assert _sentences(tmp_path) == [  # pretraining has no seed
        "sft, rare: there is no result before unlearning (method none) of the seeds 1, 2, so that of seed 0, "
        "which learned other things, stands in for them. Run the grid again."
    ]


def test_models_whose_training_stopped_early_are_named_with_the_reason(tmp_path: Path) -> None:
    for stage in ("pretrained", "sft"):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        for method, status in (("GradDiff", "done"), ("NPO", "stopped"), ("WGA", "failed")):
            for seed in (0, 1):
                stopped = status if stage == "sft" and (method, seed) != ("NPO", 1) else "done"
                write_cell(
                    tmp_path, stage=stage, method=method, lr=1e-4, seed=seed, forget=0.3, retain=0.9, status=stopped
                )
    (sentence,) = [text for text in _sentences(tmp_path) if "early" in text]
    assert sentence == (
        "sft, rare: at the chosen learning rates, training of 1 model stopped early (NPO at 0.0001 with seed 0: "
        "loss not finite at step 3). What is reported of them is their state at that step: one that stopped at the "
        "first step is the model before unlearning."
    )


def _end(folder: Path, method: str, ended: int) -> None:
    """Let so many of the generations about facts to forget end by themselves, in the results of a method."""
    for path in (folder / "cells").glob("*.json"):
        result = json.loads(path.read_text())
        if result["cell"]["method"] == method:
            for number, row in enumerate(result["items"]["forget"]):
                row["ended"] = number < ended
            path.write_text(json.dumps(result))


def test_models_whose_generations_are_often_cut_off_are_counted_and_the_worst_is_named(tmp_path: Path) -> None:
    for method, lr in (("none", 0.0), ("NPO", 1e-4), ("WGA", 1e-4)):
        write_cell(tmp_path, method=method, lr=lr, forget=0.5, retain=0.9)
    _end(tmp_path, "none", 54)
    assert _sentences(tmp_path) == []  # a tenth is little
    _end(tmp_path, "NPO", 53)
    _end(tmp_path, "WGA", 6)
    (sentence,) = _sentences(tmp_path)
    assert sentence.startswith('d: 2 of 3 rows under "Chosen learning rates" had more than a tenth of their')
    fewest = "10% of forget and 100% of retain_eval (pretrained, rare, WGA)"
    assert f"cut off at 64 tokens. Fewest ended by themselves: {fewest}." in sentence


def test_a_share_just_below_nine_tenths_does_not_read_as_nine_tenths(tmp_path: Path) -> None:
    for method, lr in (("none", 0.0), ("NPO", 1e-4)):
        write_cell(tmp_path, method=method, lr=lr, forget=0.5, retain=0.9, facts=58)
    _end(tmp_path, "NPO", 52)
    (sentence,) = _sentences(tmp_path)
    assert "Fewest ended by themselves: 89% of forget and 100% of retain_eval" in sentence


def test_random_models_and_what_popularity_counts_are_told(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    for path in (tmp_path / "cells").glob("*.json"):
        result = json.loads(path.read_text())
        result["provenance"] |= {"model": {"spec": "tiny-llama"}, "popularity": "the number of visitors"}
        path.write_text(json.dumps(result))
    assert _sentences(tmp_path) == [
        "d: popularity is the number of visitors.",
        "m has random weights: its scores show only that the grid runs, and nothing of facts.",
    ]


def test_methods_that_keep_no_more_than_a_trivial_rule_scores_are_named(tmp_path: Path) -> None:
    for method, lr, retain in (("none", 0.0, 1.0), ("NPO", 1e-4, 0.3), ("WGA", 1e-4, 0.1), ("RMU", 1e-4, 0.0)):
        write_cell(tmp_path, method=method, lr=lr, forget=0.5, retain=retain)
    assert _sentences(tmp_path) == [
        "pretrained, rare: on retain_eval, the best of 5 short rules that know no fact (majority_answer) scores "
        "0.200 [0.114, 0.290]; at or below it, at the chosen learning rates: RMU, WGA."
    ]


def test_a_rule_that_scores_nothing_has_an_interval_as_a_model_has(tmp_path: Path) -> None:
    for method, lr in (("none", 0.0), ("NPO", 1e-4)):
        path = tmp_path / "cells" / f"{write_cell(tmp_path, method=method, lr=lr, forget=0.5, retain=0.0)}.json"
        result = json.loads(path.read_text())
        for number, row in enumerate(result["items"]["retain_eval"]):
            row |= {"ground_truth": f"Land{number}x", "relation": ""}
        path.write_text(json.dumps(result))
    (sentence,) = _sentences(tmp_path)
    assert "scores 0.000 [0.000, 0.116]; at or below it, at the chosen learning rates: the model before un" in sentence


def test_a_place_among_several_datasets_is_named_once(tmp_path: Path) -> None:
    for data in "de":
        write_cell(tmp_path / data, forget=1.0, retain=1.0)
        write_cell(tmp_path / data, method="NPO", lr=1e-4, forget=0.3, retain=0.0, status="stopped")
        for path in (tmp_path / data / "cells").glob("*.json"):
            result = json.loads(path.read_text())
            result |= {"id": data + result["id"], "cell": result["cell"] | {"data": data}}
            path.write_text(json.dumps(result))
    sentences = [text for text in _sentences(tmp_path / "d", tmp_path / "e") if "pretrained" in text]
    assert [text.split(":")[0] for text in sentences] == ["d, pretrained, rare", "e, pretrained, rare"] * 2


def test_facts_without_a_subject_are_told_where_no_row_has_one(tmp_path: Path) -> None:
    path = tmp_path / "cells" / f"{write_cell(tmp_path, forget=1.0, retain=1.0)}.json"
    result = json.loads(path.read_text())
    *others, last = (row for rows in result["items"].values() for row in rows)
    for row in others:
        row["subject"] = ""
    path.write_text(json.dumps(result))
    assert _sentences(tmp_path) == []
    last["subject"] = ""
    path.write_text(json.dumps(result))
    assert _sentences(tmp_path) == [
        "d: no row has a subject, so each fact counts as its own. Where facts share a subject, intervals are too "
        "narrow: name it in a column `subject`."
    ]


def test_measured_facts_that_unlearning_trains_on_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "cells" / f"{write_cell(tmp_path, forget=1.0, retain=1.0)}.json"
    result = json.loads(path.read_text())
    train = result["items"]["retain_train"]
    result["items"]["near"] = [*train[:2], *result["items"]["retain_eval"]]
    path.write_text(json.dumps(result))
    assert _sentences(tmp_path) == [
        f"d: of the {len(result['items']['near'])} rows of near, 2 are in retain_train too, so unlearning trains on "
        "what this set measures."
    ]


def test_rows_that_repeat_a_question_or_contradict_one_to_keep_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "cells" / f"{write_cell(tmp_path, forget=0.5, retain=0.9)}.json"
    result = json.loads(path.read_text())
    forget, kept = result["items"]["forget"], result["items"]["retain_eval"]
    kept[0] |= {"question": f"{forget[0]['question'].upper()} ", "ground_truth": "Elsewhere"}
    kept[1] |= {"question": kept[2]["question"]}
    path.write_text(json.dumps(result))
    assert _sentences(tmp_path) == [
        "d, rare: 1 row to forget is asked in retain_eval too, with another answer: what unlearns the one changes the "
        "other.",
        "d: of the 60 rows of retain_eval, 1 asks the question of a row before, and each counts in every mean.",
    ]


def test_results_that_no_commit_gives_again_are_counted(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    for method in ("NPO", "WGA"):
        path = tmp_path / "cells" / f"{write_cell(tmp_path, method=method, lr=1e-4, forget=0.5, retain=0.9)}.json"
        assert not any("commit" in sentence for sentence in _sentences(tmp_path))
    result = json.loads(path.read_text())
    result["provenance"]["git"]["dirty"] = True
    path.write_text(json.dumps(result))
    assert _sentences(tmp_path)[0] == (
        "1 of 3 results is of a project with uncommitted changes: no commit has its settings and code."
    )


def test_sets_that_are_rare_and_popular_by_name_alone_are_told(tmp_path: Path) -> None:
    popular, rare = (
        tmp_path / "cells" / f"{write_cell(tmp_path, forget_set=name, forget=0.5, retain=0.9)}.json"
        for name in ("popular", "rare")
    )
    assert _sentences(tmp_path) == []
    result, other = json.loads(popular.read_text()), json.loads(rare.read_text())
    for row in other["items"]["forget"]:
        row["popularity"] += 2000
    other["items"]["forget"][0] |= {name: result["items"]["forget"][0][name] for name in ("question", "ground_truth")}
    rare.write_text(json.dumps(other))
    assert _sentences(tmp_path) == [
        "d: 1 fact is both in popular and in rare.",
        "d: the facts of popular are less popular than those of rare (medians 29.5 and 2,029.5), so what is said of "
        "popular and rare facts is the other way round.",
    ]
    for row in other["items"]["forget"]:
        row["popularity"] += 1234538
    rare.write_text(json.dumps(other))
    assert "(medians 29.5 and 1,236,567.5)" in _sentences(tmp_path)[1]
    for row in other["items"]["forget"]:
        row["popularity"] = None
    rare.write_text(json.dumps(other))
    assert _sentences(tmp_path) == ["d: 1 fact is both in popular and in rare."]


def test_rows_that_two_sets_share_are_counted(tmp_path: Path) -> None:
    write_cell(tmp_path / "train", forget=0.5, retain=0.9, retain_rows="train")
    assert _sentences(tmp_path / "train") == [
        "d: of the 60 rows of retain_eval, 60 are in retain_train too, so the retain score is measured on training "
        "data, on which the learning rate is chosen too."
    ]
    path = tmp_path / "cells" / f"{write_cell(tmp_path, forget=0.5, retain=0.9, retain_rows='rare')}.json"
    kept = "d, rare: 60 rows to forget are in retain_eval too."
    assert _sentences(tmp_path) == [kept]
    result = json.loads(path.read_text())
    result["items"]["again"] = result["items"]["forget"]
    path.write_text(json.dumps(result))
    assert _sentences(tmp_path) == [kept, "d, rare: 60 rows to forget are in again too."]
