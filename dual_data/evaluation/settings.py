"""The grid file (pipeline/evaluation.toml) as frozen models: models, data, training stages, presets and grids."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from dual_data.config import Strict, parse, read_toml
from dual_data.errors import ConfigError, InputError
from dual_data.evaluation.rows.schedule import Optimisation
from dual_data.evaluation.training.lora import ATTENTION, LoraSpec

PRETRAINED = "pretrained"
"""The stage that trains nothing."""


_OWN_SETS = ("forget", "retain_train", "retain_eval", "name", "preferred")
"""What no further measured set may be called: the sets that every cell has, and what stands beside them."""


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values. Raises ValueError where one is listed twice."""
    if twice := [value for value, count in Counter(values).items() if count > 1]:
        raise ValueError(f"lists {twice[0]!r} more than once")
    return values


Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Names = Annotated[tuple[str, ...], AfterValidator(_each_once)]
Rates = Annotated[tuple[Rate, ...], AfterValidator(_each_once)]


class ModelSettings(Strict):
    """One model."""

    spec: str
    """Hub name, folder or GGUF file (relative to the project), `smollm2` for the small real model, or `tiny-llama` and
    the like for a smoke run."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    revision: str | None = None
    trust_remote_code: bool = False
    """Whether code that comes with the model is run."""


class SplitSettings(Strict):
    """A file of rows, or some of its rows: of a split, of relations, with a hash rank in [start, end)."""

    path: str
    split: str = ""
    """Of a table of several splits the one to take, as its column `split` names it."""
    relations: tuple[str, ...] = ()
    """Relations to take, as the column `relation` names them; all where none are named."""
    start: float = Field(default=0.0, ge=0, le=1)
    end: float = Field(default=1.0, ge=0, le=1)


Split = Annotated[SplitSettings, BeforeValidator(lambda value: {"path": value} if isinstance(value, str) else value)]


class DataSettings(Strict):
    """One dataset: the rows to forget by set, those to retain, and those only measured."""

    folder: str
    """Where the files are; relative to the project, with $VARIABLES."""
    forget: Mapping[str, Split] = Field(min_length=1)
    """Sets to forget, such as rare and popular."""
    retain_train: Split
    retain_eval: Split
    """Never trained on by an unlearning method, never looked at when a learning rate is chosen."""
    format: Split | None = None
    """Other subjects, the same kind of questions: what sft_format trains on."""
    measured: Mapping[str, Split] = {}
    """Further sets that are measured and never trained on."""
    paraphrases: str | None = None
    """A table of question and paraphrase, where the rows do not carry their own."""

    @field_validator("measured")
    @classmethod
    def _of_other_names(cls, measured: Mapping[str, SplitSettings]) -> Mapping[str, SplitSettings]:
        if taken := [name for name in measured if name in _OWN_SETS]:
            raise ValueError(f"a measured set cannot be called {taken[0]!r}, which means another one: rename it")
        return measured


class LoraSettings(Strict):
    """Shape of the adapters."""

    rank: int = Field(default=32, ge=1)
    alpha: float = 64.0
    targets: tuple[str, ...] = ATTENTION

    def spec(self) -> LoraSpec:
        """The same as the adapters take it."""
        return LoraSpec(self.rank, self.alpha, self.targets)


class StageSettings(Optimisation):
    """A training stage before unlearning: plain fine-tuning with an adapter that becomes part of the base."""

    train: tuple[Literal["forget", "retain_train", "retain_eval", "format"], ...]
    """Which rows are trained on; forget means every set to forget."""
    counterfactual: bool = False
    """Every row's answer is first swapped for another of its relation, in training and measurement alike: facts that
    can only have been learned here."""
    lr: Rate = 2e-4
    lora: LoraSettings = LoraSettings()
    apply: Literal["merge", "stack"] = "merge"
    """merge: rounded into the base's weights, no cost later; stack: stays a frozen adapter, no rounding."""

    def recipe(self) -> dict[str, Any]:
        """Every setting that changes a weight of the adapter."""
        return self.model_dump(mode="json", exclude={"apply"} | self.without_effect())


class PresetSettings(Optimisation):
    """A recipe of optimisation, named in every result."""

    methods: Mapping[str, Mapping[str, Any]]
    """Methods and the options in which they differ from their defaults."""
    lrs: Rates
    profile: Literal["chat", "dual-raw"] = "chat"
    max_new_tokens: int = Field(default=64, ge=1)
    lora: LoraSettings = LoraSettings()
    full: bool = False
    """Train all weights in place of adapters: one cell at a time, 16 to 20 bytes of device memory a parameter."""


class GridSettings(Strict):
    """A set of cells: every combination of what is listed."""

    models: Names = Field(min_length=1)
    data: str
    stages: Names = Field(default=(PRETRAINED,), min_length=1)
    sets: Names = ()
    """Sets to forget; all of the data's where none are named."""
    preset: str = "paper"
    methods: Names = ()
    """All of the preset's where none are named."""
    lrs: Rates = ()
    """All of the preset's where none are named."""
    seeds: Annotated[tuple[int, ...], AfterValidator(_each_once)] = Field(default=(0,), min_length=1)
    limit: int = Field(default=0, ge=0)
    """At most this many rows a split, the first by hash; 0 for all."""
    epochs: int = Field(default=0, ge=0)
    """In place of the preset's; 0 for the preset's."""
    batch: int = Field(default=0, ge=0)
    """In place of the preset's; 0 for the preset's."""
    max_new_tokens: int = Field(default=0, ge=0)
    """In place of the preset's; 0 for the preset's."""
    paraphrases: bool | tuple[str, ...] = True
    """Whether the held-out wordings are asked too, or the sets of which they are."""
    minilm: bool = False
    """Whether the cosine of MiniLM's embeddings of generation and answer is a score of every item."""
    distractors: int = Field(default=4, ge=0)
    attacks: Names = ()
    """Attack prompts that are made for the forget set."""
    panel: str = ""
    """Utility panel of every cell: shipped, or a file of JSON lines, relative to the project, with $VARIABLES."""
    panel_questions: int = Field(default=0, ge=0)
    """At most this many questions of it, the first by hash, and all its texts; 0 for as many as `limit`."""


class EvaluationSettings(Strict):
    """The whole file."""

    models: Mapping[str, ModelSettings] = {}
    data: Mapping[str, DataSettings] = {}
    stages: Mapping[str, StageSettings] = {}
    presets: Mapping[str, PresetSettings] = {}
    grids: Mapping[str, GridSettings] = {}

    @model_validator(mode="after")
    def _names_exist(self) -> EvaluationSettings:
        for name, grid in self.grids.items():
            self.check(name, grid)
        return self

    def check(self, name: str, grid: GridSettings) -> None:
        """Raise ValueError where a grid names something that the file does not have."""
        if grid.panel_questions and not grid.panel:
            raise ValueError(f"grids.{name}.panel_questions: no panel is named that they could be of")
        tables: tuple[tuple[str, tuple[str, ...], list[str]], ...] = (
            ("models", grid.models, list(self.models)),
            ("data", (grid.data,), list(self.data)),
            ("stages", grid.stages, [PRETRAINED, *self.stages]),
            ("preset", (grid.preset,), list(self.presets)),
        )
        for what, chosen, known in tables:
            for one in chosen:
                if one not in known:
                    raise ValueError(f"grids.{name}.{what}: unknown {one!r}; known: {', '.join(known) or 'none'}")
        sets, methods = self.data[grid.data].forget, self.presets[grid.preset].methods
        if unknown := [one for one in grid.sets if one not in sets]:
            raise ValueError(f"grids.{name}.sets: {grid.data} forgets no {unknown[0]!r}; it has {', '.join(sets)}")
        if unknown := [one for one in grid.methods if one not in methods]:
            raise ValueError(
                f"grids.{name}.methods: the preset {grid.preset} has no {unknown[0]!r}; it has {', '.join(methods)}"
            )


def load_settings(path: Path) -> EvaluationSettings:
    """Read a grid file. Raises ConfigError with file and key."""
    return parse(EvaluationSettings, read_toml(path), path)


def grid_named(settings: EvaluationSettings, name: str, path: Path) -> GridSettings:
    """One grid of the file. Raises ConfigError naming those that it has."""
    if name not in settings.grids:
        known = ", ".join(settings.grids) or "none"
        raise ConfigError(f"no grid {name!r}; the file has: {known}", file=path, key="grids")
    return settings.grids[name]


def resolved(path: str, project: Path) -> Path:
    """A path with variables expanded, below the project where relative. Raises InputError for an unset variable."""
    expanded = os.path.expandvars(path)
    if "$" in expanded:
        variable = expanded.partition("$")[2].partition("/")[0].strip("{}")
        raise InputError(f"{path} needs the environment variable {variable}: set it to where that is")
    return project / Path(expanded).expanduser()
