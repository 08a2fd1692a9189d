"""Text from outside stays data: in the card, the YAML, file names and messages."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dual_data.errors import DualDataError
from dual_data.release.secrets import find_secret, redacted
from dual_data.release.tree import write_release
from dual_data.release.verify import verify
from dual_data.released import Place
from dual_data.text.markdown import code, text
from tests.release.made import SIZES, invented_build, world

SPICE = (
    " | ---\n--- configs: [] ![x](https://evil.invalid/x.png) <script>alert(1)</script> [y](javascript:z) "
    "`$repository` {{ 1 + 1 }} ${HOME} ../../etc \u202egnp.exe @everyone"
)
TOPICS = ("places_town", "places_village")


def test_hostile_labels_have_no_effect(tmp_path: Path) -> None:
    frames = world(subjects=40, topics=TOPICS, spice=SPICE)
    project = tmp_path / "project"
    build = invented_build(project, frames, sizes={**SIZES, "recipes": ["paper"]})
    release = write_release(build, tmp_path / "out", name="made")
    folder = tmp_path / "out"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "project"]
    assert verify(Place(folder=folder))[1] == []
    for path in folder.rglob("*"):
        assert all(component.replace(".", "_").isidentifier() for component in path.relative_to(folder).parts)
    card = (folder / "README.md").read_text()
    _, head, body = card.split("---\n", 2)
    assert [config["config_name"] for config in yaml.safe_load(head)["configs"]] == list(release.configs)
    samples = body.split("## Splits")[0]
    for active in ("![x]", "<script", "](javascript", "\u202e", "\n--- configs", "@everyone", "https://evil"):
        assert active not in samples, active
    assert "alert" in samples, "what was said is still there to read"
    split = next(name for name in release.configs["paper"] if "forget_rare" in name)
    frame = pl.read_parquet(folder / "paper" / f"{split}.parquet")
    assert frame["subjectLabel"].str.contains(SPICE, literal=True).all(), "the rows are untouched"


@pytest.mark.parametrize("topic", ["../../escape", "x*?[y]: {z}", "Ort_Köln"])
def test_a_split_that_files_cannot_be_named_after_is_refused(tmp_path: Path, topic: str) -> None:
    frames = world(subjects=40, topics=(topic,))
    build = invented_build(tmp_path / "project", frames, sizes={**SIZES, "recipes": ["paper"]})
    with pytest.raises(DualDataError, match=r"cannot be the name of a configuration or a split"):
        write_release(build, tmp_path / "out", name="made")
    assert [path.name for path in tmp_path.iterdir()] == ["project"]


@given(st.text())
def test_text_cannot_leave_its_cell(value: str) -> None:
    cell = text(value)
    assert "\n" not in cell
    assert "\r" not in cell
    bare = cell.replace("\\\\", "").replace("\\|", "").replace("\\[", "").replace("\\`", "")
    assert not set(bare) & set("|<>[`")
    assert "`" not in code(value)[1:-1]
    assert "|" not in code(value)


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "x" * 34,
        "sk-proj-" + "a" * 30,
        "https://user:password@host.invalid/sparql",
        "http://:password@host.invalid/sparql",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_secrets_are_found_and_removed(secret: str) -> None:
    assert find_secret(f"a {secret} b", environ={})
    assert secret not in redacted(f"a {secret} b")


@pytest.mark.parametrize("name", ["HF_TOKEN", "PROBE_KEY", "apikey", "CLIENT_SECRET", "Db_Password"])
def test_values_of_variables_named_like_secrets_count(name: str) -> None:
    assert find_secret("x plain-looking", {name: "plain-looking"}) == f"the value of {name}"
    assert find_secret("x twelve-chars", {name: "twelve-chars"}) == f"the value of {name}"
    assert find_secret(json.dumps(['say "twelve"']), {name: 'say "twelve"'}) == f"the value of {name}"
    assert find_secret("x a-short-one", {name: "short-one"}) is None
    assert find_secret("x another", {name: "plain-looking"}) is None


def test_values_of_other_variables_do_not_count() -> None:
    environ = {"PATH": "/usr/bin:/usr/local/bin", "TOKENIZER": "owner/tokenizer", "API_KEY_FILE": "/etc/keys/probe"}
    assert find_secret(" ".join(environ.values()), environ) is None


def test_a_token_of_any_form_is_removed() -> None:
    assert redacted("refused: letmein", "letmein") == "refused: ***"


def test_signed_addresses_lose_their_signature() -> None:
    assert redacted("at https://s3.invalid/a?X-Sig=abc now") == "at https://s3.invalid/a?*** now"
    assert redacted("'https://s3.invalid/a?X-Sig=abc' (500)") == "'https://s3.invalid/a?***' (500)"
