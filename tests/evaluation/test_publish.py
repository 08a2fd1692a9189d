"""Adapters on the Hub: which files are sent, that they load as measured, and what is refused."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import snapshot_download
from markdown_it import MarkdownIt

from dual_data.errors import InputError, Refused, ServiceError, UsageError
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.provenance import blank
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.grid.stages import Prepared, applied
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.publish import STAGE, adapter_files, card
from dual_data.evaluation.results import BASE, cell_path, read_result, stages_folder, write_result
from dual_data.evaluation.training.lora import Adapters
from dual_data.release.model_hub import push_model
from tests.cli.command import dual_data
from tests.evaluation.grid.small_grid import FILE, one_stage, opened
from tests.release.conftest import online
from tests.services.hub import TOKEN, Answer, Hub

__all__ = ["online"]

# Warnings of the Hub's client, and of peft, which reads an attribute that transformers has renamed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]


@pytest.fixture
def results(project: Path) -> dict[str, Path]:
    """Paths of results by training stage, with saved adapters; under `base` the one before unlearning."""
    short = FILE.replace("lrs = [1e-3, 1e-2]", "lrs = [1e-2]").replace("GradAscent = {}\n", "")
    grid, cells = opened(project, file=short.replace("seeds = [0, 1]", "seeds = [0]"))
    run(grid, cells, RunOptions(save_adapters=True))
    paths = {cell.stage: cell_path(grid.folder, cell.id) for cell in cells if cell.method != BASE}
    return paths | {"base": next(cell_path(grid.folder, cell.id) for cell in cells if cell.method == BASE)}


def test_a_pushed_adapter_is_the_one_that_was_measured(
    online: Hub, results: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: TOKEN)
    dry_run = dual_data("eval", "push", results["sft"], "someone/unlearned", "--dry-run")
    assert (dry_run.code, dry_run.err) == (0, "")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    without_token = dual_data("eval", "push", results["sft"], "someone/unlearned", "--dry-run")
    assert "a push will be refused: no Hub token: log in with `hf auth login`" in without_token.err
    assert "would write 6 files" in dry_run.out
    assert online.repositories == {}
    files = adapter_files(results["sft"])
    commit = push_model("someone/unlearned", files, message="Add", private=True, endpoint=online.url, token=TOKEN)
    repository = online.repositories["someone/unlearned"]
    assert repository.private
    assert commit in repository.commits
    folder = Path(snapshot_download("someone/unlearned", endpoint=online.url, token=TOKEN, local_dir=tmp_path / "got"))

    adapter = results["sft"].parent.parent / "adapters" / results["sft"].stem
    assert (folder / "adapter_model.safetensors").read_bytes() == (adapter / "adapter_model.safetensors").read_bytes()
    expect_to_load_as_measured(folder, "merge")

    entry = json.loads((folder / "result.json").read_text())
    whole = read_result(results["sft"])
    assert entry == {key: value for key, value in whole.items() if key != "items"}
    assert {"gpu_hours", "tokens"} <= set(entry["run"])
    text = (folder / "README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert head == {"library_name": "peft", "tags": ["unlearning", "dual-data"]}
    recall = whole["summary"]["forget"]["rougeL_recall"]
    assert f"| forget | {recall:.3f} |" in text


def expect_to_load_as_measured(folder: Path, apply: str) -> None:
    """The code of the card gives the model that is measured: the base with its stage, and then the adapter."""
    code = (folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    namespace: dict[str, Any] = {"REPO": str(folder)}
    exec(code, namespace)
    loaded, ids = tiny("llama"), torch.tensor([[5, 6, 7, 8]])
    with applied(loaded, Prepared(folder / STAGE, apply, 0.0, 0.0, ())):
        adapters = Adapters.read(loaded.model, folder)
        with torch.no_grad():
            assert torch.allclose(
                namespace["model"](input_ids=ids).logits, loaded.model(input_ids=ids).logits, atol=1e-5
            )
        adapters.remove()


def test_the_stage_goes_along_only_where_there_is_one(results: dict[str, Path]) -> None:
    files = adapter_files(results["pretrained"])
    assert set(files) == {"README.md", "result.json", "adapter_config.json", "adapter_model.safetensors"}
    assert STAGE not in card(read_result(results["pretrained"]))
    result = read_result(results["pretrained"])
    assert 'model = load("tiny-llama", "float32").model' in card(result)
    result["provenance"]["model"] |= {"spec": "owner/model", "revision": "c0ffee", "dtype": "bfloat16"}
    assert '("owner/model", revision="c0ffee", dtype=torch.bfloat16)' in card(result)
    assert yaml.safe_load(card(result).split("---\n")[1])["base_model"] == "owner/model"
    # A local folder: not on the Hub.
    result["provenance"]["model"] |= {"spec": "models/one", "revision": ""}
    assert 'model = load("models/one", "bfloat16").model' in card(result)
    assert "base_model" not in card(result)
    result["cell"] |= {"set": "a|b <i> [c](d) \x1b &lt;", "data": "x_y _z_ *z* \\", "preset": "`p` <b>"}
    result["summary"] = {result["cell"]["set"]: result["summary"]["forget"]}
    page = MarkdownIt("commonmark").enable("table").render(card(result).split("---\n", 2)[2])
    shown = html.unescape(re.sub("<.*?>", " ", page))
    assert " on a|b <i> [c](d) &lt; facts of x_y _z_ *z* \\" in shown
    assert "preset  ?p? <b> ," in shown
    assert len(re.findall("<td>", page)) == 4
    result["provenance"]["model"] |= {"spec": 'models/"x" 😀'}
    assert r'model = load("models/\"x\" 😀", "bfloat16").model' in card(result)


def test_the_items_of_a_result_and_of_its_panel_are_not_sent(results: dict[str, Path]) -> None:
    path = results["pretrained"]
    result = read_result(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "panel_items": {"facts": []}}))
    sent = adapter_files(path)["result.json"]
    assert isinstance(sent, bytes)
    assert json.loads(sent) == {key: value for key, value in result.items() if key != "items"}


def test_a_card_says_how_a_cell_ended_that_was_stopped(results: dict[str, Path]) -> None:
    result = read_result(results["pretrained"])
    assert "stopped" not in card(result)
    result |= {"status": "stopped", "reason": "diverged at step 3"}
    assert "\nThe cell stopped: diverged at step 3.\n" in card(result)


def test_a_card_says_what_was_unlearned_from_what(results: dict[str, Path]) -> None:
    result = read_result(results["sft"])
    result["cell"] |= {"method": "NPO", "set": "rare", "data": "dual", "lr": 3e-4, "seed": 7}
    result["cell"] |= {"preset": "p", "profile": "chat"}
    result["provenance"]["model"] |= {"spec": "owner/model", "weights": "w0"}
    start = "A LoRA adapter that unlearns: NPO at learning rate 0.0003, seed 7, preset `p`, prompt profile `chat`, on"
    assert f"\n# NPO on rare facts of dual\n\n{start} `owner/model` after the training stage `sft`.\n" in card(result)
    assert "\n# weights w0\n" in card(result)
    result["provenance"]["stage"] = ""
    assert f"{start} `owner/model` as it was published.\n" in card(result)


def test_a_card_shows_the_scores_under_their_names(results: dict[str, Path]) -> None:
    result = read_result(results["pretrained"])
    result["summary"] = {
        "forget": {"probability": 0.3, "contains_answer": 0.2, "rougeL_recall": 0.1},
        "retain_eval": {"rougeL_recall": 0.4},
    }
    result["run"]["gpu_hours"] = 0.25
    result["panel"] = {"name": "facts", "accuracy": 0.75, "questions": 1200, "guessing": 0.25}
    assert (
        "| set | ROUGE-L recall | answers held | probability |\n|---|---|---|---|\n"
        "| forget | 0.100 | 0.200 | 0.300 |\n| retain_eval | 0.400 | - | - |\n\n"
        "Utility panel `facts`: 75.0% of 1,200 right, guessing gives 25.0%.\n\n0.2500 GPU hours.\n"
    ) in card(result)
    result["panel"]["accuracy"] = None
    result["run"]["gpu_hours"] = 0.0  # of a CPU
    assert "Utility" not in card(result)
    assert "GPU hours" not in card(result)


def test_the_card_of_a_stacked_stage_leaves_both_adapters_on_the_base(project: Path, tmp_path: Path) -> None:
    short = FILE.replace("lrs = [1e-3, 1e-2]", "lrs = [1e-2]").replace("GradAscent = {}\n", "")
    short = short.replace("[stages.sft]", '[stages.sft]\napply = "stack"').replace("seeds = [0, 1]", "seeds = [0]")
    grid, cells = opened(project, file=short)
    staged = [cell for cell in cells if cell.stage == "sft"]
    run(grid, staged, RunOptions(save_adapters=True))
    result = cell_path(grid.folder, staged[-1].id)
    folder = tmp_path / "got"
    for name, data in adapter_files(result).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.read_bytes())
    assert "merge" not in (folder / "README.md").read_text().partition("```python")[2]
    expect_to_load_as_measured(folder, "stack")


def test_a_result_without_an_adapter_is_refused(results: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="a cell before unlearning"):
        adapter_files(results["base"])
    command = dual_data("eval", "push", results["pretrained"], "not a name")
    assert (command.code, "owner/name" in command.err) == (2, True)


def test_a_result_that_would_reveal_a_secret_is_refused(results: dict[str, Path]) -> None:
    result = json.loads(results["sft"].read_text())
    result["provenance"]["model"]["spec"] = "https://user:password@host.invalid/model"
    results["sft"].write_text(json.dumps(result))
    command = dual_data("eval", "push", results["sft"], "someone/unlearned", "--dry-run")
    assert command.code == 1
    assert "result.json: would publish what looks like a secret (a password in a URL). Take it out of" in command.err
    assert "password@" not in command.err + command.out


def test_a_configuration_that_would_reveal_a_secret_is_refused(results: dict[str, Path]) -> None:
    path = results["sft"].parent.parent / "adapters" / results["sft"].stem / "adapter_config.json"
    config = json.loads(path.read_text()) | {"base_model_name_or_path": "https://user:password@host.invalid/model"}
    path.write_text(json.dumps(config))
    command = dual_data("eval", "push", results["sft"], "someone/unlearned", "--dry-run")
    assert command.code == 1
    assert "adapter_config.json: would publish what looks like a secret (a password in a URL)" in command.err


def test_a_cell_that_trained_all_weights_has_no_adapter_to_push(project: Path) -> None:
    grid, cells = opened(project, file=one_stage(FILE.replace("batch = 2", "batch = 2\nfull = true")))
    path = cell_path(grid.folder, cells[1].id)
    result = blank(grid, cells[1], status="done", reason="", loaded=None, stage=None)
    write_result(grid.folder, cells[1].id, result)
    with pytest.raises(InputError, match="trained all weights, so it has no adapter to publish"):
        adapter_files(path)


def test_an_adapter_whose_stage_is_gone_is_refused_with_what_makes_both_anew(
    project: Path, results: dict[str, Path]
) -> None:
    stage = read_result(results["sft"])["provenance"]["stage"]
    before, weights = adapter_files(results["sft"]), project / "out" / "stages" / stage / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    adapter = project / "out" / "one" / "adapters" / results["sft"].stem
    with pytest.raises(InputError, match=f"is gone; remove {adapter} and run the grid again with --save-adapters"):
        adapter_files(results["sft"])
    shutil.rmtree(adapter)
    file = (project / "evaluation.toml").read_text()
    grid, cells = opened(project, file=file)
    assert run(grid, cells, RunOptions(save_adapters=True)) == (1, 0, 0, 0)
    assert weights.read_bytes() == content
    assert set(adapter_files(results["sft"])) == set(before)


def test_the_stage_of_a_cell_is_found_through_a_link(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "large" / "one").mkdir(parents=True)
    (project / "out").mkdir()
    (project / "out" / "one").symlink_to(project / "large" / "one")
    file = FILE.replace('stages = ["pretrained", "sft"]', 'stages = ["sft"]').replace(
        "lrs = [1e-3, 1e-2]", "lrs = [1e-3]"
    )
    grid, cells = opened(project, file=file.replace("seeds = [0, 1]", "seeds = [0]"))
    run(grid, cells, RunOptions(save_adapters=True))
    assert f"{STAGE}/adapter_model.safetensors" in adapter_files(cell_path(grid.folder, cells[-1].id))
    monkeypatch.chdir(grid.folder)
    assert stages_folder(Path()) == project / "large" / "stages"


def test_a_second_push_keeps_what_the_first_one_wrote(online: Hub) -> None:
    first: dict[str, bytes | Path] = {"README.md": b"---\nlicense: mit\n---\n", "result.json": b"{}"}
    second: dict[str, bytes | Path] = {"result.json": b"[]"}
    for message, files in (("Add", first), ("Correct", second)):
        push_model("someone/unlearned", files, message=message, endpoint=online.url, token=TOKEN)
    repository = online.repositories["someone/unlearned"]
    assert repository.titles == ["initial commit", "Add", "Correct"]
    assert {path: repository.head[path] for path in first} == {**first, **second}
    before = online.state()
    with pytest.raises(UsageError, match="exists and is public"):
        push_model("someone/unlearned", first, message="Hide", private=True, endpoint=online.url, token=TOKEN)
    assert online.state() == before


def test_a_push_that_fails_leaves_no_repository(online: Hub) -> None:
    files: dict[str, bytes | Path] = {"README.md": b"---\nlicense: mit\n---\n"}
    with pytest.raises(ServiceError, match="could not be read from the Hub, so nothing was sent"):
        push_model("someone/unlearned", files, message="Add", endpoint="http://127.0.0.1:9", token=TOKEN)
    with pytest.raises(Refused, match="401"):
        push_model("someone/unlearned", files, message="Add", endpoint=online.url, token="hf_wrong")
    online.before = lambda method, path: Answer(403, {"error": "no"}) if "/commit/" in path else None
    with pytest.raises(Refused, match=r"the upload failed: .*403"):
        push_model("someone/unlearned", files, message="Add", endpoint=online.url, token=TOKEN)
    assert online.repositories == {}
    with pytest.raises(UsageError, match="no Hub token"):
        push_model("someone/unlearned", files, message="Add", endpoint=online.url)
