"""A grid spelled out: its cells, the rows behind them, and which are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.errors import InputError, UsageError
from dual_data.evaluation.grid.origin import origin, remedy
from dual_data.evaluation.grid.stages import Sets, counterfactual_answers
from dual_data.evaluation.methods import method_named
from dual_data.evaluation.models.loading import Identity, identify
from dual_data.evaluation.results import BASE, cell_id, cell_path, status_of
from dual_data.evaluation.rows.data import Item, PromptFormat, data_hash, profile_named, read_split
from dual_data.evaluation.rows.panel import PANEL, SHIPPED, Panel, panel_hash, read_panel
from dual_data.evaluation.rows.schedule import Optimisation
from dual_data.evaluation.rows.workload import MeasureOptions
from dual_data.evaluation.settings import (
    PRETRAINED,
    DataSettings,
    EvaluationSettings,
    GridSettings,
    ModelSettings,
    PresetSettings,
    SplitSettings,
    StageSettings,
    resolved,
)
from dual_data.ids import digest


class Cell(NamedTuple):
    """One run: a model in a training stage, unlearning a set by a method at a learning rate and seed."""

    model: str
    stage: str
    set: str
    method: str
    """A method's name, or none for the model before unlearning."""
    lr: float
    seed: int
    id: str
    base: str
    """Id of the cell that is the same model and stage before unlearning; its own for that cell."""
    identity: Mapping[str, Any]
    """Everything that the id is the hash of."""

    @property
    def label(self) -> str:
        """How a line of output names it."""
        rate = "" if self.method == BASE else f" lr {self.lr:g} seed {self.seed}"
        return f"{self.model} {self.stage} {self.set} {self.method}{rate}"


class Grid(NamedTuple):
    """A grid with all that its cells share."""

    name: str
    settings: GridSettings
    models: Mapping[str, ModelSettings]
    stages: Mapping[str, StageSettings | None]
    """By name; None for the stage that trains nothing."""
    preset: PresetSettings
    profile: PromptFormat
    sets: Mapping[str, Sets]
    """The rows as each stage sees them, by stage."""
    panel: Panel | None
    """What utility is measured on; None where it is not."""
    refusals: tuple[str, ...]
    """What may be said in place of an answer; empty where no method that is run refuses."""
    origin: Mapping[str, str | None]
    """Which build or release the rows come from; empty where none says so."""
    folder: Path
    """Where results go."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that are run."""
        return self.settings.methods or tuple(self.preset.methods)

    @property
    def measure(self) -> MeasureOptions:
        """What is measured beside the canonical questions; names in one order, however the grid lists them."""
        return MeasureOptions(
            self.settings.distractors,
            asked if isinstance(asked := self.settings.paraphrases, bool) else tuple(sorted(asked)),
            attacks=tuple(sorted(self.settings.attacks)),
            minilm=self.settings.minilm,
        )

    @property
    def max_new_tokens(self) -> int:
        """Longest generation in tokens."""
        return self.settings.max_new_tokens or self.preset.max_new_tokens

    def place(self, cell: Cell) -> dict[str, Any]:
        """The coordinates that a result names its cell by, and that its place in a report follows from."""
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
        """The sets that a cell is measured on, by name."""
        sets = self.sets[stage]
        # A learning rate is chosen by forget and retain_train, so that retain_eval stays unseen by the choice.
        return {
            "forget": sets.forget[name],
            "retain_train": sets.retain_train,
            "retain_eval": sets.retain_eval,
            **sets.measured,
        }

    def preferred(self, stage: str, name: str, method: str) -> list[Item]:
        """The forget rows of a set with the answers that a method is to prefer; empty where it prefers none.

        Swapped answers are drawn from all sets of the data, so that they do not depend on which sets are run.
        """
        kind, sets = method_named(method).other_answer, self.sets[stage]
        if not kind:
            return []
        rows = sets.forget[name]
        if kind == "refusals":
            return [item._replace(answer=refusal_of(item, self.refusals)) for item in rows]
        answers = counterfactual_answers([item for every in sets.forget.values() for item in every])
        return [item._replace(answer=answers[item.id]) for item in rows]

    def options(self, method: str) -> dict[str, Any]:
        """All options of a method: the preset's over the defaults."""
        return method_named(method).options(self.preset.methods[method])


def spell_out(settings: EvaluationSettings, name: str, project: Path, folder: Path) -> Grid:
    """Read the rows of a grid and settle its settings. Raises UsageError and InputError."""
    chosen = settings.grids[name]
    data = settings.data[chosen.data]
    changed = {key: value for key in ("epochs", "batch") if (value := getattr(chosen, key))}
    preset = settings.presets[chosen.preset].model_copy(update=changed)
    known: dict[str, StageSettings | None] = {PRETRAINED: None, **settings.stages}
    stages = {stage: known[stage] for stage in chosen.stages}
    rows = read_sets(data, project, chosen.limit)
    sets = {
        stage: rows.counterfactual() if recipe is not None and recipe.counterfactual else rows
        for stage, recipe in stages.items()
    }
    grid = Grid(
        name,
        chosen,
        {model: _below(project, settings.models[model]) for model in chosen.models},
        stages,
        preset,
        profile_named(preset.profile),
        sets,
        read_utility_panel(chosen, project) if chosen.panel else None,
        (),
        origin(resolved(data.folder, project)),
        folder,
    )
    for method in grid.methods:
        grid.options(method)  # raises where there is no such method or option
    if any(method_named(method).other_answer == "refusals" for method in grid.methods):
        grid = grid._replace(refusals=tuple(read_refusals(project)))
    return grid


def _below(project: Path, model: ModelSettings) -> ModelSettings:
    """A model whose folder or file, where its spec is a relative path of one, is the project's."""
    path = resolved(model.spec, project)
    if not path.exists() or path.resolve() == Path(model.spec).expanduser().resolve():
        return model
    return model.model_copy(update={"spec": str(path)})


def read_utility_panel(grid: GridSettings, project: Path) -> Panel:
    """The questions and texts that a grid measures utility on. Raises InputError."""
    panel = read_panel(PANEL if grid.panel == SHIPPED else resolved(grid.panel, project))
    most = grid.panel_questions or grid.limit
    return panel.first(most) if most else panel


def read_sets(data: DataSettings, project: Path, limit: int) -> Sets:
    """All rows of a dataset; with a limit, the first of each split by hash, in the order of the file."""
    folder = resolved(data.folder, project)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder, and the grid's rows are to come from it: {remedy(folder)}correct "
            "`folder` in the grid file"
        )
    paraphrases = folder / data.paraphrases if data.paraphrases else None

    def read(split: SplitSettings) -> list[Item]:
        rows = read_split(folder / split.path, paraphrases, split=split.split, relations=split.relations)
        kept = [item for item in rows if split.start <= int(digest(f"part|{item.id}", 8), 16) / 16**8 < split.end]
        if limit:
            first = set(sorted((item.id for item in kept), key=lambda name: digest(f"limit|{name}"))[:limit])
            kept = [item for item in kept if item.id in first]
        if not kept:
            raise InputError(f"{folder / split.path}: no rows in the part from {split.start} to {split.end}")
        return kept

    return Sets(
        {name: read(split) for name, split in data.forget.items()},
        read(data.retain_train),
        read(data.retain_eval),
        read(data.format) if data.format else [],
        {name: read(split) for name, split in data.measured.items()},
    )


def identity_of(model: ModelSettings) -> Identity:
    """What is known of a model without its weights in memory."""
    return identify(model.spec, trust_remote_code=model.trust_remote_code, revision=model.revision)


def cells_of(grid: Grid, known_as: Callable[[ModelSettings], Identity] = identity_of) -> list[Cell]:
    """The cells in the order in which they run: by model, stage and set, those before unlearning first."""
    chosen = grid.settings
    rates = chosen.lrs or grid.preset.lrs
    found: list[Cell] = []
    for model, settings in grid.models.items():
        known = known_as(settings)
        for stage in chosen.stages:
            seeds = chosen.seeds if grid.stages[stage] is not None else chosen.seeds[:1]
            for name in chosen.sets or tuple(grid.sets[stage].forget):
                bases = {seed: _cell(grid, (model, stage, name, BASE), 0.0, seed, known) for seed in seeds}
                found += bases.values()
                for method in grid.methods:
                    preferred = grid.preferred(stage, name, method)
                    for seed in chosen.seeds:
                        base = bases.get(seed, bases[seeds[0]]).id
                        found += [
                            _cell(grid, (model, stage, name, method), lr, seed, known, preferred)._replace(base=base)
                            for lr in rates
                        ]
    return found


def _cell(
    grid: Grid,
    place: tuple[str, str, str, str],
    lr: float,
    seed: int,
    known: Identity,
    preferred: Sequence[Item] = (),
) -> Cell:
    model, stage, name, method = place
    settings, recipe = grid.models[model], grid.stages[stage]
    identity: dict[str, Any] = {
        "model": {
            "name": model,
            "dtype": settings.dtype,
            # Where the files are known, it makes no difference where they lie.
            **({"weights": known.weights} if known.weights else {"spec": settings.spec}),
        },
        "template": digest(str(getattr(known.tokenizer, "chat_template", None) or "")),
        "profile": grid.profile._asdict(),
        "stage": {"name": stage},
        "data": {
            "name": grid.settings.data,
            **{key: data_hash(rows) for key, rows in grid.evaluated(stage, name).items()},
        },
        "set": name,
        "max_new_tokens": grid.max_new_tokens,
        "measure": grid.measure._asdict(),
        "method": method,
        "seed": seed,
    }
    if grid.panel is not None:
        identity["panel"] = panel_hash(grid.panel)
    if recipe is not None:
        identity["stage"] |= {
            "seed": seed,
            "rows": data_hash(grid.sets[stage].trained(recipe)),
            "recipe": {**recipe.recipe(), "apply": recipe.apply},
        }
    if method != BASE:
        if preferred:
            identity["data"]["preferred"] = data_hash(preferred)
        named = set(Optimisation.model_fields) - grid.preset.without_effect()
        identity |= {
            "preset": grid.settings.preset,
            "options": grid.options(method),
            "optimisation": grid.preset.model_dump(include=named),
            "lora": None if grid.preset.full else grid.preset.lora.spec()._asdict(),
            "lr": lr,
        }
    elif recipe is None:
        identity["seed"] = 0
    found = cell_id(identity)
    return Cell(model, stage, name, method, lr, seed, found, found, identity)


def adapter_path(folder: Path, identifier: str) -> Path:
    """Where the adapter of a cell is kept if it is."""
    return folder / "adapters" / identifier


def is_done(folder: Path, cell: Cell, *, adapter: bool = False) -> bool:
    """Whether the cell has a result, and its adapter where that is asked for; one that failed is tried again."""
    lacks = adapter and cell.method != BASE and not adapter_path(folder, cell.id).is_dir()
    return not lacks and status_of(cell_path(folder, cell.id)) in ("done", "stopped")


def read_refusals(project: Path) -> list[str]:
    """The refusals of IdkDPO: prompts/refusals.txt of the project, else the shipped ones; one a line."""
    shipped = Path(__file__).parents[2] / "_project" / "prompts"
    for folder in (project / "prompts", shipped, Path(__file__).parents[3] / "prompts"):
        path = folder / "refusals.txt"
        if path.exists():
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
            if found := [line for line in lines if line]:
                return found
            raise InputError(f"{path}: holds no refusal; write one a line")
    raise UsageError(f"{project / 'prompts' / 'refusals.txt'}: no such file; IdkDPO needs refusals, one a line")


def refusal_of(item: Item, refusals: Sequence[str]) -> str:
    """The refusal of a row, chosen by the hash of its id: the same at every access and in every run."""
    return refusals[int(digest(f"refusal|{item.id}"), 16) % len(refusals)]
