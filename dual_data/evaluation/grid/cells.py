"""The cells of a grid, what they share, and which of them are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.engine.manifest import git_state
from dual_data.errors import ConfigError, UsageError
from dual_data.evaluation.grid.origin import origin
from dual_data.evaluation.grid.sets import Sets, counterfactual_answers, read_refusals, read_sets, refusal_of
from dual_data.evaluation.measuring.workload import MeasureOptions
from dual_data.evaluation.methods import method_named
from dual_data.evaluation.models.loading import Unloaded, identify
from dual_data.evaluation.results import BASE, adapter_path, cell_id, cell_path, head_of, stages_folder
from dual_data.evaluation.rows.data import Item, data_hash
from dual_data.evaluation.rows.encoding import PROFILES, PromptFormat, template_of
from dual_data.evaluation.rows.panel import SHIPPED, SHIPPED_PANEL, Panel, panel_hash, read_panel
from dual_data.evaluation.settings import (
    PRETRAINED,
    EvaluationSettings,
    GridSettings,
    ModelSettings,
    PresetSettings,
    StageSettings,
    resolved,
)
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.train import check_dtype
from dual_data.ids import digest
from dual_data.system.files import expanded
from dual_data.text.display import visible


class Cell(NamedTuple):
    """One run: a model in a training stage, unlearning a set by a method at a learning rate and seed."""

    model: str
    stage: str
    set: str
    method: str
    """A method's name, or `none` for the model before unlearning."""
    lr: float
    seed: int
    id: str
    base: str
    """Id of the cell of the same model and stage before unlearning; of that cell its own id."""
    identity: Mapping[str, Any]
    """Everything that is hashed into the id."""

    @property
    def sweep(self) -> tuple[str, str, str, str, int]:
        """What it shares with the cells that differ in learning rate alone, some of which are run at once."""
        return self.model, self.stage, self.set, self.method, self.seed

    @property
    def label(self) -> str:
        """Name of the cell in output."""
        rate = "" if self.method == BASE else f" lr {self.lr:g}"
        seed = "" if self.method == BASE and self.stage == PRETRAINED else f" seed {self.seed}"
        return visible(f"{self.model} {self.stage} {self.set} {self.method}{rate}{seed}")


class Grid(NamedTuple):
    """A grid with everything that its cells share."""

    name: str
    project: Path
    """Whose methods are run."""
    git: Mapping[str, Any] | None
    """The state of its repository when the grid was opened, and so of its settings and code; None outside one."""
    settings: GridSettings
    models: Mapping[str, ModelSettings]
    stages: Mapping[str, StageSettings | None]
    """By name; None for the stage that trains nothing."""
    preset: PresetSettings
    """With what the grid sets in its place."""
    profile: PromptFormat
    sets: Mapping[str, Sets]
    """The rows as each stage uses them, by stage."""
    panel: Panel | None
    """What utility is measured on; None where it is not measured."""
    refusals: tuple[str, ...]
    """Refusals in place of answers; empty where no method of the grid uses them."""
    origin: Mapping[str, str | None]
    """The build or release that the rows come from; empty where unknown."""
    popularity: str
    """What the popularity of a fact counts, for the report."""
    folder: Path
    """Where results go."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that are run."""
        return self.settings.methods or tuple(self.preset.methods)

    @property
    def measure(self) -> MeasureOptions:
        """What is measured besides the canonical questions; names are sorted, whatever their order in the grid."""
        wordings = self.settings.paraphrases
        return MeasureOptions(
            self.settings.distractors,
            wordings if isinstance(wordings, bool) else tuple(sorted(set(wordings))),
            attacks=tuple(sorted(self.settings.attacks)),
            minilm=self.settings.minilm,
        )

    def coordinates(self, cell: Cell) -> dict[str, Any]:
        """The coordinates of a cell, as its result has them."""
        return {
            "model": cell.model,
            "data": self.settings.data,
            "stage": cell.stage,
            "set": cell.set,
            "method": cell.method,
            "preset": self.settings.preset,
            "profile": self.profile.name,
            "lr": cell.lr,
            "seed": cell.seed,
        }

    def evaluated(self, stage: str, name: str) -> dict[str, list[Item]]:
        """The sets that the cells of a stage and of the set `name` are measured on, by name."""
        sets = self.sets[stage]
        # A learning rate is chosen on forget and retain_train, so that the choice does not use retain_eval.
        return {
            "forget": sets.forget[name],
            "retain_train": sets.retain_train,
            "retain_eval": sets.retain_eval,
            **sets.measured,
        }

    def preferred(self, stage: str, name: str, method: str) -> list[Item]:
        """The forget rows of a set with the answers that a method prefers; empty for a method without such answers.

        Swapped answers are taken from all sets of the data, so that they do not depend on which sets are run.
        """
        kind, sets = method_named(method).other_answer, self.sets[stage]
        if not kind:
            return []
        rows = sets.forget[name]
        if kind == "refusals":
            return [item._replace(answer=refusal_of(item, self.refusals)) for item in rows]
        every_row = [item for items in sets.forget.values() for item in items]
        answers = counterfactual_answers(every_row, f"the method {method}")
        return [item._replace(answer=answers[item.question]) for item in rows]


def resolve_grid(settings: EvaluationSettings, name: str, project: Path, folder: Path) -> Grid:
    """Read the rows of a grid and resolve its settings. Raises UsageError.

    A ConfigError about `settings` names the key, and no file: only the caller knows that.
    """
    if folder.resolve() == stages_folder(folder):
        raise UsageError(
            f"{folder}: the grids beside it keep their trained stages here; give another folder with --out, or another "
            "name to the grid"
        )
    unloaded.cache_clear()  # files of a model may have changed since another grid was opened, as those of rows
    grid_settings = settings.grids[name]
    data = settings.data[grid_settings.data]
    preset = settings.preset_of(grid_settings)
    profile = PROFILES[preset.profile]
    all_stages: dict[str, StageSettings | None] = {PRETRAINED: None, **settings.stages}
    stages = {stage: all_stages[stage] for stage in grid_settings.stages}
    source = resolved(
        data.folder, project, f"data.{grid_settings.data}.folder", f"the folder of {', '.join(data.files)}"
    )
    rows = read_sets(data, source, grid_settings.limit)
    sets = {
        stage: rows.counterfactual(stage) if recipe is not None and recipe.counterfactual else rows
        for stage, recipe in stages.items()
    }
    grid = Grid(
        name=name,
        project=project,
        git=git_state(project),
        settings=grid_settings,
        models={model: _in_project(project, model, settings.models[model]) for model in grid_settings.models},
        stages=stages,
        preset=preset,
        profile=profile._replace(system=preset.system) if profile.chat else profile,
        sets=sets,
        panel=_read_panel(name, grid_settings, project) if grid_settings.panel else None,
        refusals=(),
        origin=origin(source),
        popularity=data.popularity,
        folder=folder,
    )
    if any(method_named(method).other_answer == "refusals" for method in grid.methods):
        grid = grid._replace(refusals=tuple(read_refusals(project)))
    return grid


def _in_project(project: Path, name: str, model: ModelSettings) -> ModelSettings:
    """The model; where its spec is a path relative to the project, with the path resolved."""
    path = resolved(model.spec, project, f"models.{name}.spec", "a model")
    if not path.exists() or path.resolve() == expanded(model.spec).resolve():
        return model
    return model.model_copy(update={"spec": str(path)})


def _read_panel(name: str, grid: GridSettings, project: Path) -> Panel:
    key = f"grids.{name}.panel"
    path = SHIPPED_PANEL if grid.panel == SHIPPED else resolved(grid.panel, project, key, "a file of JSON lines")
    if not path.exists():
        raise ConfigError(f"{path}: no such file; name a file of JSON lines, or {SHIPPED!r}", key=key)
    panel = read_panel(path)
    most = grid.panel_questions or grid.limit
    return panel.first(most) if most else panel


@cache
def unloaded(model: ModelSettings) -> Unloaded:
    """What is known of a model without loading its weights; found out once for a grid that is opened."""
    return identify(model.spec, trust_remote_code=model.trust_remote_code, revision=model.revision)


def cells_of(grid: Grid) -> list[Cell]:
    """The cells in the order in which they run: by model, stage and set; first the cells before unlearning."""
    grid_settings = grid.settings
    rates = grid_settings.lrs or grid.preset.lrs
    cells: list[Cell] = []
    for model in grid.models:
        for stage in grid_settings.stages:
            recipe = grid.stages[stage]
            trained = "" if recipe is None else data_hash(grid.sets[stage].trained(recipe))
            # A stage that trains nothing has one model before unlearning, whichever seeds are asked for.
            seeds = grid_settings.seeds if recipe is not None else (0,)
            for name in grid_settings.sets or tuple(grid.sets[stage].forget):
                place = model, stage, name
                data = {key: data_hash(rows) for key, rows in grid.evaluated(stage, name).items()}
                bases = {seed: _cell(grid, (*place, BASE), 0.0, seed, data, trained) for seed in seeds}
                cells += bases.values()
                for method in grid.methods:
                    preferred = grid.preferred(stage, name, method)
                    of_method = data | ({"preferred": data_hash(preferred)} if preferred else {})
                    for seed in grid_settings.seeds:
                        base = bases[seed if recipe is not None else 0].id
                        cells += [
                            _cell(grid, (*place, method), lr, seed, of_method, trained)._replace(base=base)
                            for lr in rates
                        ]
    return cells


def _cell(
    grid: Grid, place: tuple[str, str, str, str], lr: float, seed: int, data: Mapping[str, str], trained: str
) -> Cell:
    """A cell; `data` has hashes of the rows that it is measured on or prefers, `trained` is that of its stage's."""
    model, stage, name, method = place
    settings, recipe = grid.models[model], grid.stages[stage]
    known = unloaded(settings)
    identity: dict[str, Any] = {
        "model": {
            "name": model,
            "dtype": settings.dtype,
            # With known weights, it does not matter where the files are.
            **({"weights": known.weights} if known.weights else {"spec": settings.spec}),
        },
        "template": digest(template_of(known.tokenizer)),
        "profile": grid.profile._asdict(),
        "stage": {"name": stage},
        "data": {"name": grid.settings.data, **data},
        "set": name,
        "max_new_tokens": grid.preset.max_new_tokens,
        "measure": grid.measure._asdict(),
        "method": method,
        "seed": seed,
    }
    if grid.panel is not None:
        identity["panel"] = panel_hash(grid.panel)
    if recipe is not None:
        identity["stage"] |= {
            "seed": seed,
            "rows": trained,
            "recipe": {**recipe.recipe(), "apply": recipe.apply},
        }
    if method != BASE:
        named = set(Optimisation.model_fields) - grid.preset.without_effect()
        identity |= {
            "preset": grid.settings.preset,
            "code": method_named(method).code,
            "options": method_named(method).options(grid.preset.methods[method]),
            "optimisation": grid.preset.model_dump(include=named),
            "lora": None if grid.preset.full else grid.preset.lora.model_dump(),
            "lr": lr,
        }
    identifier = cell_id(identity)
    return Cell(model, stage, name, method, lr, seed, identifier, identifier, identity)


def refuse_training(grid: Grid, cells: Sequence[Cell], *, adapters: bool, shard: bool) -> None:
    """Raise UsageError where a cell or its stage would be trained in float16, and where a grid that trains all weights
    is to keep adapters, or to share a base (`shard`).
    """
    for cell in cells:
        if cell.method != BASE or grid.stages[cell.stage] is not None:
            check_dtype(cell.model, grid.models[cell.model].dtype)
    if grid.preset.full and adapters:
        raise UsageError(f"{grid.name} trains all weights and has no adapters to keep: leave --save-adapters out")
    if grid.preset.full and shard:
        raise UsageError(
            f"{grid.name} trains all weights, but the base that --shard spreads over devices is not trained: leave "
            "--shard out"
        )


def is_done(folder: Path, cell: Cell, *, adapter: bool = False) -> bool:
    """Whether the cell has a result, and its adapter if `adapter`; a failed cell is not done, so it is tried again."""
    if adapter and cell.method != BASE and not adapter_path(folder, cell.id).is_dir():
        return False
    head = head_of(cell_path(folder, cell.id))
    return head is not None and head.status != "failed"
