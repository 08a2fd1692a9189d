"""Loading: what a model lacks is supplied or refused with advice, and nothing is left half-written."""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.gemma2.modeling_gemma2 import Gemma2PreTrainedModel

from dual_data.errors import InputError, UsageError
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.models import cache
from dual_data.evaluation.models.cache import cache_folder, files_hash, weights_seen
from dual_data.evaluation.models.decoder import decoder_layers, head, last_hidden
from dual_data.evaluation.models.loading import finish, identify, load, tensor_hash
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.encoding import encode
from dual_data.evaluation.rows.request import request_of
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec
from dual_data.system.files import file_hash
from tests.evaluation.questions import cities
from tests.faults.disk import no_room


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    loaded = tiny("qwen")
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUAL_DATA_CACHE", str(tmp_path / "cache"))


def test_a_folder_is_loaded_as_it_was_saved(saved: Path) -> None:
    loaded = load(saved)
    ids = torch.arange(3, 20)[None]
    assert torch.equal(loaded.model(input_ids=ids).logits, tiny("qwen").model(input_ids=ids).logits)
    assert loaded.info.weights == files_hash(saved) == identify(str(saved)).weights
    assert weights_seen(str(saved)) == loaded.info.weights
    assert identify(str(saved)).parameters == loaded.info.parameters
    assert loaded.info.template == tiny("qwen").info.template
    assert dict(loaded.info.packages)["torch"] == version("torch")
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert not loaded.model.training


@pytest.mark.parametrize("architecture", ["llama", "qwen"])  # a head that is the embedding, and one that is not
def test_the_sizes_of_a_model_are_known_without_its_weights(tmp_path: Path, architecture: str) -> None:
    loaded = tiny(architecture)
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    known = identify(str(tmp_path))
    table = loaded.model.get_input_embeddings().get_parameter("weight").numel()
    tables = 1 if architecture == "llama" else 2
    assert (known.head, known.body) == (table, known.parameters - tables * table)
    adapters = Adapters(loaded.model, LoraSpec(rank=3, targets=("v_proj", "lm_head")))
    assert adapters.master.numel() == 3 * (known.linear["v_proj"] + known.linear["lm_head"])


def test_weights_are_identified_by_content_and_the_note_follows_the_file(saved: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in saved.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert files_hash(copy) == files_hash(saved)
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    assert files_hash(copy) != files_hash(saved)
    assert weights_seen(str(copy)) == files_hash(copy)
    assert tensor_hash(tiny(seed=0).model) == tensor_hash(tiny(seed=0).model) != tensor_hash(tiny(seed=1).model)


def _copied(saved: Path, to: Path) -> Path:
    shutil.copytree(saved, to)
    return to


def test_a_model_is_all_that_it_is_loaded_from_and_nothing_beside(saved: Path, tmp_path: Path) -> None:
    known = identify(str(saved)).weights
    hashes = {known}
    for name, old, new in (
        ("config.json", '"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'),
        ("generation_config.json", "{", '{"repetition_penalty": 1.1,'),
        ("tokenizer.json", "{", "{ "),
        ("tokenizer_config.json", "{", "{ "),
        ("modeling_own.py", "", "x = 1\n"),
    ):
        copy = _copied(saved, tmp_path / name)
        text = (copy / name).read_text() if old else ""
        assert old in text
        (copy / name).write_text(text.replace(old, new, 1))
        hashes.add(files_hash(copy))
    assert len(hashes) == 6
    copy = _copied(saved, tmp_path / "same")
    for name in ("training_args.bin", "optimizer.safetensors", "README.md"):
        (copy / name).write_bytes(b"of a training")
    config = json.loads((copy / "config.json").read_text())
    config |= {"_name_or_path": "elsewhere", "transformers_version": "0", "torch_dtype": "float16"}
    (copy / "config.json").write_text(json.dumps(config, indent=4))
    assert identify(str(copy)).weights == known


def test_of_an_index_only_the_named_files_are_the_weights(tmp_path: Path) -> None:
    model = tiny("qwen")
    model.model.save_pretrained(tmp_path / "m", max_shard_size="20KB")
    model.tokenizer.save_pretrained(tmp_path / "m")
    known = files_hash(tmp_path / "m")
    shards = sorted((tmp_path / "m").glob("model-*.safetensors"))
    assert len(shards) > 1
    (tmp_path / "m" / "model-old.safetensors").write_bytes(b"left over")
    (tmp_path / "m" / "pytorch_model.bin").write_bytes(b"another form")
    assert files_hash(tmp_path / "m") == known
    shards[0].write_bytes(shards[0].read_bytes() + b"x")
    assert files_hash(tmp_path / "m") != known


@pytest.mark.parametrize("shards_left", [True, False])
def test_a_whole_file_of_weights_goes_before_the_index_of_those_that_it_replaced(
    tmp_path: Path, shards_left: bool
) -> None:
    # transformers, which saves a model where one of several files was, leaves their index there.
    for name, of_one in (("llama", "10GB"), ("gemma", "20KB")):
        loaded = tiny(name)
        loaded.model.save_pretrained(tmp_path / of_one, max_shard_size=of_one)
        loaded.tokenizer.save_pretrained(tmp_path / of_one)
    sharded, folder = tmp_path / "20KB", tmp_path / "10GB"
    known = files_hash(folder)
    for path in sharded.glob("model*" if shards_left else "*.index.json"):
        shutil.copy(path, folder)
    assert files_hash(folder) == known
    weights = folder / "model.safetensors"
    tensors = {name: tensor + 1 for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, {"format": "pt"})
    assert load(folder).info.weights == files_hash(folder) != known


def test_of_weights_that_an_index_names_the_absent_are_named(tmp_path: Path) -> None:
    loaded = tiny("llama")
    loaded.model.save_pretrained(tmp_path, max_shard_size="20KB")
    loaded.tokenizer.save_pretrained(tmp_path)
    gone = min(tmp_path.glob("model-*.safetensors"))
    gone.unlink()
    for read in (load, identify):
        with pytest.raises(UsageError, match=rf"index\.json: names files that are not there: {gone.name}\."):
            read(str(tmp_path))
    assert weights_seen(str(tmp_path)) is None


@pytest.mark.parametrize("name", ["tekken.json", "vocab.tiktoken"])
def test_every_form_of_a_tokenizer_belongs_to_a_model(saved: Path, tmp_path: Path, name: str) -> None:
    folder = _copied(saved, tmp_path / "m")
    (folder / name).write_text("one")
    known = files_hash(folder)
    (folder / name).write_text("other")
    assert files_hash(folder) != known


def test_what_was_converted_is_known_by_its_weights(saved: Path) -> None:
    folder = _copied(saved, cache_folder() / "some-gguf")
    known = files_hash(folder)
    (folder / "tokenizer_config.json").write_text("{}")  # as another version of transformers writes it
    assert files_hash(folder) == known != files_hash(saved)


def test_weights_that_only_loading_tells_are_not_seen(tmp_path: Path) -> None:
    for spec in ("tiny-llama", "smollm2", "nobody/nothing", "./nowhere", str(tmp_path / "nowhere.gguf"), str(tmp_path)):
        assert weights_seen(spec) is None
    gguf = tmp_path / "one.gguf"
    gguf.write_bytes(b"not converted yet")
    assert weights_seen(str(gguf)) == weights_seen(str(tmp_path)) == file_hash(gguf)
    (tmp_path / "two.gguf").touch()
    assert weights_seen(str(tmp_path)) is None


@pytest.mark.parametrize("content", [b"", b"a web page", b"GGUF\x03\0\0\0"], ids=["empty", "no GGUF", "cut off"])
def test_a_damaged_gguf_file_is_refused_and_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    gguf = tmp_path / "damaged.gguf"
    gguf.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged\.gguf: cannot be converted: .*download it again"):
        load(gguf)
    assert [path for path in cache_folder().glob("*damaged*") if path.is_dir()] == []


@pytest.mark.parametrize("kept", [0, 50, 5000])
def test_of_damaged_weights_the_file_is_named(saved: Path, tmp_path: Path, kept: int) -> None:
    folder = _copied(saved, tmp_path / "m")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(UsageError, match=rf"^{weights}: not readable: .*header.*\. Copy or download it again"):
        load(folder)


@pytest.mark.parametrize("content", ['{"metadata": {}}', "[]", '{"weight_map": {"model.norm'])
def test_of_a_damaged_index_of_weights_the_file_is_named(tmp_path: Path, content: str) -> None:
    loaded = tiny("llama")
    loaded.model.save_pretrained(tmp_path, max_shard_size="20KB")
    loaded.tokenizer.save_pretrained(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    assert load(tmp_path).info.weights == weights_seen(str(tmp_path))
    index.write_text(content)
    for read in (load, identify):
        with pytest.raises(UsageError, match=rf"^{index}: not readable: .*\. Copy or download it again"):
            read(str(tmp_path))
    assert weights_seen(str(tmp_path)) is None


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", 0.1, 0.5, 0.9])
def test_of_a_damaged_pickle_of_weights_the_file_is_named(saved: Path, tmp_path: Path, content: bytes | float) -> None:
    folder = _copied(saved, tmp_path / "m")
    weights = folder / "pytorch_model.bin"
    torch.save(load(folder).model.state_dict(), weights)
    (folder / "model.safetensors").unlink()
    assert load(folder).info.parameters > 0
    whole = weights.read_bytes()
    weights.write_bytes(content if isinstance(content, bytes) else whole[: int(content * len(whole))])
    with pytest.raises(UsageError, match=rf"^{weights}: not readable: no weights.*\. Copy or download it again"):
        load(folder)


@pytest.mark.parametrize("letter", [b"\xff", b"Q"], ids=["no UTF-8", "another name"])
def test_damage_within_a_pickle_of_weights_is_named_too(saved: Path, tmp_path: Path, letter: bytes) -> None:
    folder = _copied(saved, tmp_path / "m")
    weights = folder / "pytorch_model.bin"
    torch.save(load(folder).model.state_dict(), weights)
    (folder / "model.safetensors").unlink()
    # In the call that builds a tensor, whose name is there once.
    weights.write_bytes(weights.read_bytes().replace(b"_rebuild_tensor_v2", letter + b"rebuild_tensor_v2"))
    with pytest.raises(UsageError, match=rf"^{weights}: not readable: no weights.*\. Copy or download it again"):
        load(folder)


def test_weights_that_would_be_random_are_refused_and_named(saved: Path, tmp_path: Path) -> None:
    folder = _copied(saved, tmp_path / "m")
    # Copies, since the file is mapped and is written next.
    weights = {name: weight.clone() for name, weight in load_file(folder / "model.safetensors").items()}
    save_file({name: weights[name] for name in weights if name != "lm_head.weight"}, folder / "model.safetensors")
    with pytest.raises(UsageError, match=rf"^{folder}: its files lack 1 weight of .* place: lm_head\.weight\. Save "):
        load(folder)
    save_file(weights, folder / "model.safetensors")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"intermediate_size": 48}))
    with pytest.raises(UsageError, match=rf"^{folder}: its files lack 6 weights .* another shape.*mlp\.gate_proj"):
        load(folder)


def test_a_gguf_file_without_some_weights_is_not_converted(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_a_weight(*_: object, **__: object) -> tuple[object, dict[str, object]]:
        print("Converting: 100%", file=sys.stderr)
        return tiny("qwen").model, {"missing_keys": {"lm_head.weight"}, "mismatched_keys": set()}

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", without_a_weight)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: tiny("qwen").tokenizer)
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match=r"m\.gguf: cannot be converted: .*lack 1 weight of .*: lm_head\.weight"):
        load(tmp_path / "m.gguf")
    assert capsys.readouterr().err == "", "transformers shows a progress bar of its own"


def test_of_a_full_device_the_weights_are_not_to_blame(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", full)
    with pytest.raises(torch.OutOfMemoryError):
        load(saved)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_folder_of_the_cache_is_to_be_deleted(saved: Path, name: str) -> None:
    folder = _copied(saved, cache_folder() / "some-gguf")
    (folder / name).write_text("{")
    with pytest.raises(UsageError, match=rf"^{folder}: not readable: .*Delete this folder: the GGUF file is converted"):
        load(folder)


def test_damaged_settings_beside_good_weights_are_told_without_loading(saved: Path, tmp_path: Path) -> None:
    folder = _copied(saved, tmp_path / "m")
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(UsageError, match=rf"^{folder}: cannot be loaded: "):
        identify(str(folder))


@pytest.mark.parametrize("part", ["model", "tokenizer"])
def test_a_full_disk_is_not_the_fault_of_the_gguf_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    gguf = tmp_path / "good.gguf"
    gguf.write_bytes(b"GGUF")
    monkeypatch.setattr(cache, "_read_gguf", lambda _: [getattr(tiny(), part)])
    with no_room(10_000), pytest.raises(OSError, match=rf"^{cache_folder()}/good-\w+: cannot be written: .*too large"):
        load(gguf)
    assert [path for path in cache_folder().glob("*good*") if path.is_dir()] == []


def test_a_cache_that_cannot_be_made_is_said_with_the_variable_that_names_another(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = tmp_path / "good.gguf"
    gguf.write_bytes(b"GGUF")
    monkeypatch.setenv("DUAL_DATA_CACHE", str(gguf / "cache"))
    with pytest.raises(
        OSError, match=rf"^{gguf}/cache/models/good-\w+: cannot be written: Not a .*set DUAL_DATA_CACHE"
    ):
        load(gguf)
    assert load(saved).info.weights
    monkeypatch.delenv("DUAL_DATA_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no HOME, and a user id without a name
    assert weights_seen(str(gguf)) is None
    with pytest.raises(UsageError, match=r"no home folder for converted models: set DUAL_DATA_CACHE"):
        load(gguf)


def test_a_note_that_cannot_be_read_costs_only_time(saved: Path) -> None:
    weights = files_hash(saved)
    for note in (cache_folder() / "hashes").iterdir():
        note.unlink()
        note.mkdir()
    assert files_hash(saved) == weights


def test_a_home_folder_in_the_name_of_the_cache_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUAL_DATA_CACHE", "~/cache")  # as in a file of settings, which no shell reads
    assert cache_folder() == Path.home() / "cache" / "models"


def test_the_soft_cap_on_attention_is_kept_where_transformers_would_choose_attention_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gemma2PreTrainedModel, "_supports_sdpa", True)  # as in transformers 5.0
    capped = tiny("gemma2")
    ids = torch.arange(3, 20)[None]
    hardly = capped.model(input_ids=ids).logits
    layers: Any = decoder_layers(capped.model)
    for layer in layers:
        layer.self_attn.attn_logit_softcapping = 0.1
    capped.model.config.attn_logit_softcapping = 0.1
    expected = capped.model(input_ids=ids).logits
    assert not torch.allclose(expected, hardly, atol=1e-3)
    capped.model.save_pretrained(tmp_path / "m")
    capped.tokenizer.save_pretrained(tmp_path / "m")
    model = load(tmp_path / "m").model
    assert torch.allclose(model(input_ids=ids).logits, expected, atol=1e-5)
    causal = torch.ones(1, 1, 17, 17, dtype=torch.bool).tril()
    assert torch.allclose(head(model, last_hidden(model, ids, causal)), expected, atol=1e-5)


def test_how_a_model_likes_to_be_sampled_changes_no_greedy_answer() -> None:
    requests = [request_of(row) for row in encode(tiny().tokenizer, cities(), "chat")]
    expected = PlainEngine(tiny(), rows=64, max_new_tokens=12).run(requests)[0]
    model: Any = tiny().model
    model.generation_config.update(do_sample=True, temperature=0.7, top_k=2, repetition_penalty=3.0)
    loaded = finish(model, tiny().tokenizer, "x")
    outcomes = PlainEngine(loaded, rows=64, max_new_tokens=12).run(requests)[0]
    assert [outcome.generation for outcome in outcomes] == [outcome.generation for outcome in expected]
    assert any(
        len(set(outcome.generation)) < len(outcome.generation) for outcome in outcomes
    )  # a penalty would be seen


def test_remote_code_is_refused_unless_asked_for(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "remote"
    folder.mkdir()
    for path in saved.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('ran')")
    for function in (identify, load):
        with pytest.raises(UsageError, match=r"ships its own code.*--trust-remote-code"):
            function(str(folder))
        with pytest.raises(SystemExit, match="ran"):
            function(str(folder), trust_remote_code=True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("/no/such/folder", "no such model folder or file"),
        ("~no-such-user/model", "no such model folder or file"),
        ("nobody/no-such-model", "no folder or file here, not complete in the Hub's cache"),
        ("tiny-nobody/no-such-model", "no folder or file here, not complete in the Hub's cache"),
        ("tiny-mamba", "unknown tiny architecture 'mamba'; known: llama"),
    ],
)
def test_models_that_are_not_there_are_named(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(spec)


def test_a_folder_without_a_model_and_an_unknown_dtype_are_named(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(UsageError, match=r"holds 0 GGUF files and no config\.json: it is not a model folder"):
        load(tmp_path)
    with pytest.raises(
        UsageError, match="unknown dtype 'int3'; known: float32, bfloat16, float16 \\(float16 not for training"
    ):
        load(saved, "int3")
    (saved.parent / "broken").mkdir(exist_ok=True)
    (saved.parent / "broken" / "config.json").write_text("{")
    with pytest.raises(UsageError, match="broken"):
        load(saved.parent / "broken")


def test_a_tokenizer_that_is_missing_or_of_another_model_is_told(saved: Path, tmp_path: Path) -> None:
    """Without its files, transformers makes up an empty one for some architectures and a list of classes for others."""
    for architecture in ("qwen", "llama"):
        folder = tmp_path / architecture
        tiny(architecture).model.save_pretrained(folder)
        for read in (load, identify):
            with pytest.raises(
                UsageError, match=rf"{architecture}: no tokenizer beside the weights: .*tokenizer\.json"
            ):
                read(str(folder))
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UsageError, match="llama: no tokenizer beside the weights"):
        load(folder)
    shutil.copytree(saved, folder := tmp_path / "small")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 300}))
    with pytest.raises(UsageError, match=r"small: its tokenizer has .* but the model has only 300 tokens"):
        identify(str(folder))


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5", "architectures": ["T5"]}))
    with pytest.raises(UsageError, match="encoder-decoder"):
        load(tmp_path)
