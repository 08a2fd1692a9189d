"""Grids from file to cells: which there are, what makes one another cell, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from dual_data.errors import ConfigError, InputError, UsageError
from dual_data.evaluation.grid.sets import read_refusals, refusal_of
from dual_data.evaluation.grid.tokenised import Tokenised
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.results import BASE
from dual_data.evaluation.settings import load_settings
from tests.cli.command import dual_data as dual_data_command
from tests.evaluation.grid.small_grid import FILE, one_stage, opened, run_command
from tests.evaluation.questions import cities


def test_a_grid_is_every_combination_with_one_base_a_model_stage_and_seed(project: Path) -> None:
    _, cells = opened(project)
    assert len(cells) == len({cell.id for cell in cells}) == len({cell.label for cell in cells}) == (1 + 8) + (2 + 8)
    bases = {cell.id: cell for cell in cells if cell.method == BASE}
    assert [(cell.stage, cell.seed) for cell in bases.values()] == [("pretrained", 0), ("sft", 0), ("sft", 1)]
    for cell in cells:
        base = bases[cell.base]
        assert base.stage == cell.stage
        assert cell.stage == "pretrained" or base.seed == cell.seed
    assert {cell.set for cell in opened(project, "all")[1]} == {"rare", "popular"}
    _, others = opened(project, file=FILE.replace("seeds = [0, 1]", "seeds = [1]"))
    assert [cell for cell in cells if cell.id in {other.id for other in others}] == others


def test_a_fact_with_one_id_a_file_has_one_swapped_answer_in_every_set(project: Path) -> None:
    items = cities()
    for name, rows in (("rare", items[:3]), ("popular", items[3:] + items[:3])):
        frame = [{"fact_id": n, "question": i.question, "answer": i.answer} for n, i in enumerate(rows)]
        pl.DataFrame(frame).write_ndjson(project / "data" / f"{name}.jsonl")
    grid, _ = opened(project)
    rare, popular = (grid.preferred("pretrained", name, "DPO") for name in ("rare", "popular"))
    assert [item.answer for item in rare] == [item.answer for item in popular[-3:]]


@pytest.mark.parametrize(("system", "shown"), [("Be brief.", "system\nBe brief."), ("", "user\nWhich")])
def test_a_preset_may_have_a_system_prompt_of_its_own(project: Path, system: str, shown: str) -> None:
    file = FILE.replace("[grids.one]", '[grids.one]\nattacks = ["role_play"]')
    _, published = opened(project, file=file)
    grid, cells = opened(project, file=file.replace("max_new_tokens", f'system = "{system}"\nmax_new_tokens'))
    tokenizer = tiny().tokenizer
    requests = Tokenised(grid, tokenizer).workload("pretrained", "rare").requests
    prompts = [str(tokenizer.decode(list(request.prompt))) for request in requests]
    role, _, _ = shown.partition("\n")
    assert all(prompt.startswith(f"<|start|>{role}\n") for prompt in prompts)
    assert sum(shown in prompt for prompt in prompts) >= len(cities(3))
    assert not {cell.id for cell in cells} & {cell.id for cell in published}


def test_a_system_prompt_without_a_chat_is_refused(project: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"presets\.short: system is only for the profile chat, and this one is dual-raw"
    ):
        opened(project, file=FILE.replace("max_new_tokens", 'system = "x"\nprofile = "dual-raw"\nmax_new_tokens'))


def test_results_are_not_written_into_the_folder_of_trained_stages(project: Path) -> None:
    file = FILE.replace("[grids.one]", "[grids.stages]")
    with pytest.raises(UsageError, match=r"out/stages: .* trained stages .* another folder with --out"):
        opened(project, "stages", file)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("beta = 0.5", "beta = 0.4", False),
        ("rank = 2", "rank = 4", False),
        ("batch = 2", "batch = 3", False),
        ("batch = 2", "batch = 2\nmicro_batch = 1", True),
        ("batch = 2", "batch = 2\ndiverged_nll = 2.0", True),
        ("batch = 2", "batch = 2\ndiverged_nll = 3.0", False),
        ("batch = 2", "batch = 2\ndiverged_norm = 1e5", False),
        ("max_new_tokens = 3", "max_new_tokens = 4", False),
        ("beta = 0.5", "beta = 0.5, alpha = 1.0", True),
        ("beta = 0.5", "beta = 0.5, alpha = 1", True),
        ("lrs = [1e-3, 1e-2]", "lrs = [1e-2, 1e-3]", True),
        ("end = 0.5", "end = 0.4", False),
        ("tiny-llama", "tiny-qwen", False),
        ('dtype = "float32"', 'dtype = "bfloat16"', False),
        ("seeds = [0, 1]", "seeds = [0, 1]\ndistractors = 1", False),
        ("[stages.sft]", '[stages.sft]\napply = "stack"', False),
    ],
)
def test_a_cell_is_addressed_by_what_changes_its_numbers(project: Path, old: str, new: str, same: bool) -> None:
    before, after = (
        {(cell.stage, cell.lr, cell.seed): cell.id for cell in opened(project, file=text)[1] if cell.method == "NPO"}
        for text in (FILE, FILE.replace(old, new))
    )
    assert (before == after) is same


def test_neither_order_of_names_nor_place_of_a_model_makes_other_cells(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = tiny("llama")
    for name in ("models/one", "moved"):
        loaded.model.save_pretrained(project / name)
        loaded.tokenizer.save_pretrained(project / name)
    more = 'seeds = [0, 1]\nattacks = ["cloze", "reverse"]\nparaphrases = ["forget", "retain_eval"]'
    file = FILE.replace("seeds = [0, 1]", more).replace("tiny-llama", "models/one")
    grid, cells = opened(project, file=file)
    assert grid.models["tiny"].spec == str(project / "models" / "one")  # wherever the command is given
    swapped = file.replace('"cloze", "reverse"', '"reverse", "cloze"').replace(
        '"forget", "retain_eval"]\n', '"retain_eval", "forget", "forget"]\n'
    )
    moved = swapped.replace("models/one", "moved")
    assert [cell.id for cell in opened(project, file=moved)[1]] == [cell.id for cell in cells]
    monkeypatch.chdir(project)
    assert opened(project, file=file)[0].models["tiny"].spec == "models/one"


def test_the_chat_template_and_what_a_panel_asks_address_cells(project: Path) -> None:
    loaded, panel = tiny("llama"), project / "panel.jsonl"
    loaded.model.save_pretrained(project / "model")
    loaded.tokenizer.save_pretrained(project / "model")
    panel.write_text('{"kind": "life", "question": "What barks?", "options": ["dogs", "cats"], "answer": 0}\n')
    file = FILE.replace("tiny-llama", "model").replace("seeds = [0, 1]", 'seeds = [0, 1]\npanel = "panel.jsonl"')
    ids = [{cell.id for cell in opened(project, file=file)[1]}]
    for path, old, new in (
        (panel, "barks", "meows"),
        (project / "model" / "chat_template.jinja", "assistant", "model"),
    ):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        ids.append({cell.id for cell in opened(project, file=file)[1]})
    assert len(ids[0] | ids[1] | ids[2]) == 3 * len(ids[0])


def test_a_dollar_in_a_path_is_only_a_variable_where_it_names_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "data").rename(project / "data$old")
    monkeypatch.setenv("WITH_DOLLAR", "data$old")
    for folder in ("data$$old", "$WITH_DOLLAR", "${WITH_DOLLAR}/."):
        grid, _ = opened(project, file=FILE.replace('folder = "data"', f'folder = "{folder}"'))
        assert len(grid.sets["pretrained"].forget["rare"]) == 3


def test_a_model_named_by_its_folder_may_lie_in_one_of_any_name(project: Path) -> None:
    opened(project)
    loaded, folder = tiny("llama"), project / "my $models"
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    outcome = dual_data_command(*run_command(project, project / "out", "--dry-run", "--model", str(folder)))
    assert outcome.code == 0, outcome.err
    assert "19 cells, 19 to do" in outcome.out


def test_changed_rows_change_the_cells(project: Path) -> None:
    before = {cell.id for cell in opened(project)[1]}
    path = project / "data" / "rare.jsonl"
    path.write_text(path.read_text().replace("France", "Frankreich"))
    assert not before & {cell.id for cell in opened(project)[1]}


def test_which_sets_are_run_changes_neither_the_stage_nor_the_answers_to_prefer(project: Path) -> None:
    file = FILE.replace("NPO = { beta = 0.5 }", "DPO = {}").replace(
        'data = "cities"\npreset', 'data = "cities"\nstages = ["sft", "sft_new"]\npreset'
    )
    whole, all_cells = opened(project, "all", file=file)
    narrow, rare_cells = opened(project, "all", file=f'{file}sets = ["rare"]\n')
    assert {cell.set for cell in rare_cells} == {"rare"}
    assert [cell.id for cell in rare_cells] == [cell.id for cell in all_cells if cell.set == "rare"]
    sft = narrow.stages["sft"]
    assert sft is not None
    assert narrow.sets["sft"].trained(sft) == whole.sets["sft"].trained(sft)
    assert narrow.preferred("sft_new", "rare", "DPO") == whole.preferred("sft_new", "rare", "DPO")


def test_what_swaps_answers_is_named_where_all_rows_have_the_same(project: Path) -> None:
    for path in (project / "data").iterdir():
        path.write_text(re.sub(r'"answer":"[^"]*"', '"answer":"France"', path.read_text()))
    with pytest.raises(InputError, match=r"^the stage sft_new swaps .* \(raise --limit\), or leave it out"):
        opened(project, file=FILE.replace('"pretrained", "sft"', '"sft_new"'))
    with pytest.raises(InputError, match=r"^the method DPO swaps .* \(raise --limit\), or leave it out"):
        opened(project, file=FILE.replace("NPO = { beta = 0.5 }", "DPO = {}"))


def test_the_answers_to_prefer_are_part_of_a_cell_that_prefers_them(project: Path) -> None:
    file = one_stage(FILE.replace("NPO = { beta = 0.5 }", "IdkDPO = {}\nDPO = {}"))
    (project / "prompts").mkdir()
    ids = []
    for refusals in ("No.\n", "No.\nNever.\n"):
        (project / "prompts" / "refusals.txt").write_text(refusals)
        ids.append({(cell.method, cell.lr): cell.id for cell in opened(project, file=file)[1]})
    first, second = ids
    assert {method for method, lr in first if first[method, lr] != second[method, lr]} == {"IdkDPO"}
    # DPO takes them from other rows, including those of sets that are not run.
    path = project / "data" / "popular.jsonl"
    path.write_text(path.read_text().replace('"answer":"', '"answer":"New '))
    third = {(cell.method, cell.lr): cell.id for cell in opened(project, file=file)[1]}
    assert {method for method, lr in third if third[method, lr] != second[method, lr]} == {"DPO"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[grids.one]", '[grids."../one"]', "grids.../one: must be a plain folder name"),
        ('models = ["tiny"]', 'models = ["tiny", "tiny"]', "grids.one.models: tiny is listed 2 times; list it once"),
        ("seeds = [0, 1]", "seeds = [1, 0, 1]", "grids.one.seeds: 1 is listed 2 times; list it once"),
        ("seeds = [0, 1]", "seeds = [0, -1]", "grids.one.seeds.1: must be greater than or equal to 0, not -1"),
        ("seeds = [0, 1]", "lrs = [1e-3, 0.0]", "grids.one.lrs.1: "),
        ("seeds = [0, 1]", "lrs = [nan]", "grids.one.lrs.0: "),
        ("lrs = [1e-3, 1e-2]", "lrs = [1e-3, 0.001]", "presets.short.lrs: 0.001 is listed 2 times; list it once"),
        ("lrs = [1e-3, 1e-2]", "lrs = [inf]", "presets.short.lrs.0: "),
        ("alpha = 4.0", "alpha = 0.0", "presets.short.lora.alpha: "),
        ("alpha = 4.0", "alpha = nan", "presets.short.lora.alpha: "),
        ("epochs = 2\nlr = 1e-2", "epochs = 2\nlr = -1e-2", "stages.sft.lr: "),
        ("[stages.sft]", "[stages.pretrained]", "stages: pretrained is the stage that trains nothing"),
        ("batch = 2", "warmup_epochs = inf", "presets.short.warmup_epochs: must be a finite number, not inf"),
        (
            "batch = 2",
            "warmup_epochs = 2.5",
            "presets.short: warmup_epochs = 2.5 leaves nothing of the training, epochs = 2",
        ),
        (
            'preset = "short"\nseeds = [0, 1]',
            'preset = "slow"\nepochs = 1\n[presets.slow]\nlrs = [1e-3]\nwarmup_epochs = 1\nmethods = { NPO = {} }',
            "grids.one.epochs: of slow, warmup_epochs = 1 leaves nothing of the training, epochs = 1",
        ),
        (
            'preset = "short"\nseeds = [0, 1]',
            'preset = "raw"\nattacks = ["cloze"]\n'
            '[presets.raw]\nlrs = [1e-3]\nprofile = "dual-raw"\nmethods = { NPO = {} }',
            "grids.one.attacks: they need the profile chat, and the preset raw has dual-raw: take another preset, or",
        ),
        (
            "popular = ",
            "retain_eval = ",
            "data.cities.forget: a set to forget cannot be called 'retain_eval', as another",
        ),
        (
            "counterfactual = true",
            "stop_forget_nll = 5.0",
            "stages.sft_new.stop_forget_nll: a stage learns, and has no forget loss to stop at: leave it out",
        ),
        ("batch = 2", "diverged_norm = inf", "presets.short.diverged_norm: must be a finite number, not inf"),
        *(
            (
                "[data.cities]",
                f'[data.cities]\nmeasured = {{ {name} = "rare.jsonl" }}',
                f"measured: a measured set cannot be called '{name}'",
            )
            for name in ("forget", "retain_train", "retain_eval", "name")
        ),
    ],
)
def test_lists_of_a_grid_and_names_of_sets_are_checked(project: Path, old: str, new: str, message: str) -> None:
    assert old in FILE
    with pytest.raises(ConfigError, match=re.escape(message)):
        opened(project, file=FILE.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ('preset = "short"', 'preset = "long"', ConfigError, "unknown 'long'; known here: short"),
        ('sets = ["rare"]', 'sets = ["best"]', ConfigError, "cities has no forget set 'best'; it has rare, popular"),
        (
            'sets = ["rare"]',
            'attacks = ["jailbreak"]',
            ConfigError,
            "evaluation.toml: grids.one.attacks: unknown 'jailbreak'; known here: .*in_context",
        ),
        (
            'sets = ["rare"]',
            'attacks = ["cloze", "multiple_choice"]\ndistractors = 0',
            ConfigError,
            "evaluation.toml: grids.one: the attack multiple_choice shows wrong answers, and distractors is 0: set it",
        ),
        *(
            (
                '["forget", "retain_train", "retain_eval"]',
                train,
                ConfigError,
                "evaluation.toml: grids.one.stages: sft trains on the rows of format, and cities has none: name some "
                r"as `format` under \[data.cities\]",
            )
            for train in ('["format"]', '["forget", "format"]')
        ),
        (
            "NPO = { beta = 0.5 }",
            "NPO = { betta = 0.5 }",
            ConfigError,
            r"evaluation.toml: presets.short.methods.NPO.betta: unknown key; known here: alpha, beta, gamma$",
        ),
        (
            "beta = 0.5",
            'beta = "low"',
            ConfigError,
            "evaluation.toml: presets.short.methods.NPO.beta: 'low' is not a valid float",
        ),
        (
            "beta = 0.5",
            "beta = 0",
            ConfigError,
            "evaluation.toml: presets.short.methods.NPO.beta: 0 is not greater than 0$",
        ),
        (
            "GradAscent = {}",
            "GA = {}",
            ConfigError,
            "evaluation.toml: presets.short.methods.GA: unknown method; known here: .*GradAscent",
        ),
        (
            "epochs = 2\nbatch",
            "epoch = 2\nbatch",
            ConfigError,
            "evaluation.toml: presets.short.epoch: unknown key; known here: batch, .*epochs, .*lrs, .*methods",
        ),
        (
            "rank = 2",
            "ranks = 2",
            ConfigError,
            "presets.short.lora.ranks: unknown key; known here: alpha, rank, targets; did you mean 'rank'.$",
        ),
        (
            ", end = 0.5",
            ", ends = 0.5",
            ConfigError,
            "data.cities.retain_train.ends: unknown key; known here: end, path",
        ),
        ("[models.tiny]", "[model.tiny]", ConfigError, "evaluation.toml: model: unknown key; known here: data, grids"),
        ("lrs = [1e-3, 1e-2]", "lrs = []", ConfigError, "evaluation.toml: presets.short.lrs: name at least one$"),
        ("GradAscent = {}\nNPO = { beta = 0.5 }", "", ConfigError, "presets.short.methods: name at least one$"),
        ("rank = 2", "rank = 2, targets = []", ConfigError, "presets.short.lora.targets: name at least one$"),
        ('["forget", "retain_train", "retain_eval"]', "[]", ConfigError, "stages.sft.train: name at least one\n"),
        ("start = 0.5", "relations = []", ConfigError, "data.cities.retain_eval.relations: name at least one$"),
        ('models = ["tiny"]', "models = []", ConfigError, "grids.one.models: name at least one\n"),
        ('stages = ["pretrained", "sft"]', "stages = []", ConfigError, "grids.one.stages: name at least one$"),
        ('sets = ["rare"]', "sets = []", ConfigError, "grids.one.sets: name at least one$"),
        (
            'sets = ["rare"]',
            'paraphrases = ["forget", "retain_train"]',
            ConfigError,
            "one.paraphrases: further wordings are not asked of 'retain_train'; they can be of forget, retain_eval$",
        ),
        ('sets = ["rare"]', "methods = []", ConfigError, "grids.one.methods: name at least one$"),
        ('sets = ["rare"]', "lrs = []", ConfigError, "grids.one.lrs: name at least one$"),
        ("seeds = [0, 1]", "seeds = []", ConfigError, "grids.one.seeds: name at least one$"),
        (
            'folder = "data"',
            'folder = "$NOT_SET_ANYWHERE/x"',
            ConfigError,
            r"^data.cities.folder: the environment variable NOT_SET_ANYWHERE is not set; set it so that "
            r"\$NOT_SET_ANYWHERE/x is the folder of rare.jsonl, popular.jsonl, retain.jsonl$",
        ),
        ('folder = "data"', 'folder = "${NOT_SET_ANYWHERE}.x"', ConfigError, "variable NOT_SET_ANYWHERE is not set;"),
        ('"tiny-llama"', '"~no-such-user/x"', UsageError, "^~no-such-user/x: no such model folder or file$"),
        ('"tiny-llama"', '"$NOT_SET_ANYWHERE"', ConfigError, r"^models.tiny.spec: .*\$NOT_SET_ANYWHERE is a model$"),
        (
            'folder = "data"',
            'folder = "a$/x"',
            ConfigError,
            r"^data.cities.folder: a\$/x: a \$ that begins no variable is written \$\$",
        ),
        (
            'folder = "data"',
            'folder = "elsewhere"',
            InputError,
            "elsewhere: no such folder.* takes its rows from it: correct",
        ),
        (
            'folder = "data"',
            'folder = "~no-such-user/x"',
            InputError,
            "~no-such-user/x: no such folder.* from it: correct",
        ),
        ('folder = "data"', 'folder = "artifacts/evaluation/x"', InputError, "x: no such folder.* from it: correct"),
        ('folder = "data"', 'folder = "artifacts"', InputError, "artifacts: no such folder.* from it: correct"),
        ("rare.jsonl", "absent.jsonl", InputError, "no such file"),
        ("end = 0.5", "end = 0.0", InputError, "no rows in the part from 0.0 to 0.0"),
        (
            "popular.jsonl",
            "retain.jsonl",
            InputError,
            "data: 21 of 21 rows of the forget set popular are also in retain_train or retain_eval, such as '0: Which",
        ),
    ],
)
def test_what_is_wrong_in_the_file_is_named(
    project: Path, old: str, new: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        opened(project, file=FILE.replace(old, new))


def test_the_shipped_grid_file_is_right_and_its_refusals_are_read() -> None:
    root = Path(__file__).parents[3]
    settings = load_settings(root / "pipeline" / "evaluation.toml")
    assert {"paper", "later", "early", "demo", "smoke"} <= set(settings.grids)
    assert settings.presets["paper"].lora.model_dump() == {
        "rank": 32,
        "alpha": 64.0,
        "targets": ("q_proj", "k_proj", "v_proj", "o_proj"),
    }
    assert set(settings.stages) == {"sft", "sft_demo", "sft_format", "sft_long", "sft_new", "sft_retain"}
    refusals = read_refusals(root)
    assert len(refusals) == len(set(refusals)) >= 20
    chosen = [refusal_of(item, refusals) for item in cities()]
    assert chosen == [refusal_of(item, refusals) for item in cities()]
    assert len(set(chosen)) > 1


def test_the_size_of_micro_batches_addresses_cells_whose_loss_depends_on_it(project: Path) -> None:
    ids = []
    for size in (1, 2):
        text = FILE.replace("batch = 2", f'batch = 2\nnormalise = "micro_batch"\nmicro_batch = {size}')
        ids.append({cell.id for cell in opened(project, file=text)[1] if cell.method != BASE})
    assert not ids[0] & ids[1]


def test_rows_that_a_stage_learns_are_part_of_cells_that_do_not_measure_them(project: Path) -> None:
    def ids() -> dict[tuple[str, str, float, int], str]:  # sets = ["rare"]
        return {(cell.stage, cell.method, cell.lr, cell.seed): cell.id for cell in opened(project)[1]}

    before, path = ids(), project / "data" / "popular.jsonl"
    path.write_text(path.read_text().replace("Italy", "Italia"))
    after = ids()
    assert {(key[0], before[key] == after[key]) for key in before} == {("pretrained", True), ("sft", False)}
