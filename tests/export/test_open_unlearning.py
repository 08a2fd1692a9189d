"""Configuration for open-unlearning: its form, and its own loaders on it if a checkout is available."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dual_data.errors import InputError
from dual_data.export.folder import write_export
from dual_data.export.open_unlearning import open_unlearning_files
from dual_data.export.splits import families
from dual_data.prompts import SYSTEM_PROMPT
from dual_data.released import Place, Release
from tests.reference import OPEN_UNLEARNING, needs_open_unlearning

PYTHON = os.environ.get("DUAL_DATA_OPEN_UNLEARNING_PYTHON") or sys.executable
"""A Python with the dependencies of open-unlearning."""
Exported = tuple[Release, Place]
LOADER = Path(__file__).with_name("open_unlearning_loader.py")


def parsed(files: dict[str, str], path: str) -> dict[str, Any]:
    content = yaml.safe_load(files[path])
    assert isinstance(content, dict)
    return content


def test_every_forget_split_has_experiments_with_splits_that_exist(exported: Exported) -> None:
    release, place = exported
    files = open_unlearning_files(release, place)
    experiments = [path for path in files if path.startswith("experiment/unlearn/")]
    assert len(experiments) == sum(len(family.forget) for family in families(release) if family.retain) > 0
    for path in experiments:
        settings = parsed(files, path)
        splits = settings["eval"]["dual"]
        for role in ("forget", "retain", "retain_eval"):
            assert splits[f"{role}_split"] in release.configs[splits["config"]]
            arguments = parsed(files, f"data/datasets/DUAL_QA_{role}.yaml")[f"DUAL_QA_{role}"]["args"]["hf_args"]
            assert (arguments["name"], arguments["split"]) == ("${eval.dual.config}", f"${{eval.dual.{role}_split}}")
        if splits["config"] != "paper":  # there one split is retained and measured
            topic = splits["forget_split"].partition("_forget_")[0]
            assert path == f"experiment/unlearn/dual/{splits['config']}/{splits['forget_split']}.yaml"
            assert splits["retain_split"] == f"{topic}_retain_train"
            assert splits["retain_eval_split"] == f"{topic}_retain_eval"
        assert settings["model"]["template_args"]["system_prompt"] == SYSTEM_PROMPT
        assert files[path].startswith("# @package _global_\n")


def test_files_of_another_dataset_have_names_of_their_own_and_refer_to_each_other(exported: Exported) -> None:
    release, place = exported
    files = open_unlearning_files(release.model_copy(update={"name": "My-set"}), place)
    of_dual = open_unlearning_files(release, place)
    assert files.keys().isdisjoint(of_dual)
    # But for the names, the files are those of dual: whatever refers to a file by its name finds it.
    names = [("DUAL_MY_SET", "DUAL"), ("dual_my_set", "dual")]

    def as_dual(text: str) -> str:
        for own, dual in names:
            text = text.replace(own, dual)
        return text

    assert {as_dual(path): as_dual(text) for path, text in files.items()} == of_dual
    experiment = parsed(files, "experiment/unlearn/dual_my_set/matched/river_forget_rare_5.yaml")
    assert {"override /eval": "dual_my_set"} in experiment["defaults"]
    assert {"override /data/datasets@data.forget": "DUAL_MY_SET_QA_forget"} in experiment["defaults"]
    assert parsed(files, "eval/dual_my_set.yaml")["defaults"][0].keys() == {"dual_my_set_metrics"}
    metric = parsed(files, "eval/dual_my_set_metrics/forget_Q_A_ROUGE.yaml")
    assert metric["defaults"][0] == {"../../data/datasets@datasets": "DUAL_MY_SET_QA_forget"}
    assert metric["datasets"].keys() == {"DUAL_MY_SET_QA_forget"}


def test_forget_splits_without_anything_to_retain_are_named(exported: Exported) -> None:
    release, place = exported
    splits = {name: file for name, file in release.configs["matched"].items() if name != "river_retain_train"}
    lines: list[str] = []
    files = open_unlearning_files(
        release.model_copy(update={"configs": {**release.configs, "matched": splits}}), place, lines.append
    )
    (line,) = (line for line in lines if " of matched: " in line)
    forget = ", ".join(split for split in splits if split.startswith("river_forget"))
    assert line == f"no experiments on {forget} of matched: no split of river to retain beside them"
    assert not any("matched/river" in path for path in files)
    whole: list[str] = []
    open_unlearning_files(release, place, whole.append)
    assert not any(" of matched: " in line for line in whole)


def test_a_folder_that_datasets_cannot_load_is_refused(exported: Exported) -> None:
    with pytest.raises(InputError, match=r"dual\[1\]: datasets takes .* for a pattern; move the release elsewhere"):
        open_unlearning_files(exported[0], Place(folder=Path("dual[1]")))
    with pytest.raises(InputError, match=r"a\$\{b\}: datasets takes \$ .* for a variable; move the release elsewhere"):
        open_unlearning_files(exported[0], Place(folder=Path("a${b}")))


def test_fine_tuning_teaches_the_largest_forget_splits_and_what_is_retained(exported: Exported) -> None:
    files = open_unlearning_files(*exported)
    settings = parsed(files, "experiment/finetune/dual/matched/river.yaml")
    split = settings["data"]["train"]["DUAL_QA_full"]["args"]["hf_args"]["split"]
    assert split == "river_forget_rare_10+river_forget_popular_10+river_retain_train+river_retain_eval"


def test_answers_end_after_the_tokens_of_the_protocol_and_refusals_stand_beside_them(exported: Exported) -> None:
    files = open_unlearning_files(*exported)
    for role in ("forget", "retain", "retain_eval"):
        metric = parsed(files, f"eval/dual_metrics/{role}_Q_A_ROUGE.yaml")
        assert metric["generation_args"] == {"max_new_tokens": 64}
    refused, answered = (
        parsed(files, f"data/datasets/{name}.yaml")[name] for name in ("DUAL_QA_forget_idk", "DUAL_QA_forget")
    )
    assert refused["handler"] == "QAwithIdkDataset"
    assert refused["args"] == {**answered["args"], "idk_path": "./data/idk.jsonl"}


def test_datasets_name_the_folder_or_the_revision(exported: Exported) -> None:
    release, place = exported

    def arguments(where: Place) -> dict[str, Any]:
        files = open_unlearning_files(release, where)
        content = parsed(files, "data/datasets/DUAL_QA_forget.yaml")["DUAL_QA_forget"]["args"]["hf_args"]
        assert isinstance(content, dict)
        return content

    assert arguments(place)["path"] == str(place.folder)
    assert "revision" not in arguments(place)
    hub = arguments(Place(repository="owner/dual", revision="v1.0.0"))
    assert (hub["path"], hub["revision"]) == ("owner/dual", "v1.0.0")


@pytest.mark.parametrize("smallest", ["500", "small"])
def test_published_retain_splits_serve_both_ways(exported: Exported, smallest: str) -> None:
    release, _ = exported
    retain = f"city_fast_retain_{smallest}"
    rows = {
        **{f"city_forget_{side}_{percent}": percent * 20 for side in ("rare", "popular") for percent in (5, 10, 1)},
        "city_fast_retain_1500": 1500,
        retain: 500,
    }
    file = release.configs["facts"]["train"]
    splits = {name: file.model_copy(update={"rows": number}) for name, number in rows.items()}
    (family,) = families(release.model_copy(update={"configs": {"paper": splits}}))
    assert (family.retain, family.retain_eval) == (retain, retain)
    assert family.full == ("city_forget_rare_10", "city_forget_popular_10", retain)


@pytest.mark.slow
@needs_open_unlearning
def test_its_own_loaders_accept_it_offline(exported: Exported, tmp_path: Path) -> None:
    release, _ = exported
    write_export("open-unlearning", open_unlearning_files(*exported), tmp_path / "configs", *exported)
    refusals = Path(__file__).parents[2] / "prompts" / "refusals.txt"
    arguments = [tmp_path / "configs", "matched/river_forget_rare_5", "matched/river", refusals]
    command = [PYTHON, str(LOADER), OPEN_UNLEARNING, *map(str, arguments)]
    home = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, env={**os.environ, **home}, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    result = json.loads(process.stdout.splitlines()[-1])
    rows = {split: file.rows for split, file in release.configs["matched"].items()}
    assert result["unlearn"] == {"rows": rows["river_forget_rare_5"], "kind": "ForgetRetainDataset",
                                "item": ["forget", "retain"]}  # fmt: skip
    family = next(
        candidate for candidate in families(release) if (candidate.config, candidate.name) == ("matched", "river")
    )
    assert result["finetune"]["rows"] == sum(rows[split] for split in family.full)
    assert result["eval:retain_eval_Q_A_ROUGE"] == [rows["river_retain_eval"], True]
    assert result["eval:forget_Q_A_Prob"] == [rows["river_forget_rare_5"], False]
    assert len(result["eval:metrics"]) == 6
    for kind in ("unlearn", "finetune", "eval"):
        assert result[f"{kind}:system_prompt"] == SYSTEM_PROMPT
        assert result[f"{kind}:max_new_tokens"] == [64, 64, 64]
    assert result["dpo"] == {"handler": "DPO", "rows": rows["river_forget_rare_5"], "item": ["alternate", "original"]}
