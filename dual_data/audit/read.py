"""Reads the splits to audit from files, release folders and Hub datasets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from dual_data.audit.cards import configurations
from dual_data.audit.columns import expect_texts, is_auditable
from dual_data.audit.table_files import SUFFIXES, read_table
from dual_data.errors import InputError
from dual_data.hub_reading import expect_no_folder, hub_error, is_repository, quietly
from dual_data.sources.tables.files import separator_hint
from dual_data.system.files import expect_utf_8
from dual_data.text.display import did_you_mean

_SHARD = re.compile(r"-\d{5}(-of-\d{5})(?:-[0-9a-f]{16})?$")
"""The end of a shard's name; earlier versions of `datasets` added a hash to it."""
_SHOWN = 12
"""Most columns that a message about a table lists."""


class Split(NamedTuple):
    """A table, its name, and its configuration in a release ("" for single files)."""

    name: str
    config: str
    rows: pl.DataFrame


class NotAuditable(InputError):
    """A readable table without anything to audit."""


class _Listed(NamedTuple):
    """A table of a folder, not yet read: its name, configuration and files."""

    name: str
    config: str
    files: list[Path]
    certain: bool
    """Whether a card names the files, so that they must be tables."""


class Selection(NamedTuple):
    """The configurations and splits to audit, by name; empty means all."""

    configs: Sequence[str] = ()
    names: Sequence[str] = ()
    """Of splits, with or without the configuration as a prefix."""

    def has(self, name: str, config: str) -> bool:
        """Whether the split is selected."""
        is_named = not self.names or name in self.names or name.rpartition("/")[2] in self.names
        return is_named and (not self.configs or config in self.configs)


ALL = Selection()


def read(target: str, say: Callable[[str], None] = lambda _: None, selection: Selection = ALL) -> list[Split]:
    """The splits of a file, a folder, or a Hub dataset named `owner/name[@revision]`.

    A folder with a dataset card is read by the configurations of its card; any other folder file by file, the shards of
    a table together. A table with a column `split` is divided by it. Tables of a folder with neither question-answer
    pairs nor triplets are skipped, and so are unreadable ones unless a card names them. `say` gets a line for each
    unreadable table, and for each other skipped one and each without rows if it is in the `selection`. The Hub is
    accessed by huggingface_hub, with its settings (HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE ...).

    Raises `InputError` if there is nothing to audit, `ServiceError` if the Hub does not answer.
    """
    if not target:
        raise InputError("an empty text names no file, folder or Hub dataset")
    path = Path(target)
    expect_utf_8(path)
    if path.is_file():
        splits = list(_divided(path.stem, "", _auditable([path], say)))
    elif path.is_dir():
        splits = _folder(path, say, selection)
    elif is_repository(target.partition("@")[0]):
        if "@" not in target:
            expect_no_folder(target)
        splits = _folder(_downloaded(target), say, selection)
    else:
        raise InputError(f"{target}: no such file or folder, and not the name of a Hub dataset (owner/name[@revision])")
    if not splits:
        raise InputError(
            f"{target}: no table with question and answer, or with subjectLabel, relation and objectLabel, in it, "
            f"among the files whose name ends in {', '.join(SUFFIXES)}; save other kinds of files as one of these"
        )
    return splits


def read_all(
    targets: Iterable[str], say: Callable[[str], None] = lambda _: None, selection: Selection = ALL
) -> list[Split]:
    """The splits of several targets; a repeated name gets its target as a prefix, then also a number.

    A target without anything to audit is skipped if others have something, since `*.parquet` may match it. A target
    that is missing or cannot be read is an error in any case.
    """
    splits_by_name: dict[str, Split] = {}
    unfit: list[NotAuditable] = []
    for target in targets:
        try:
            splits = read(target, say, selection)
        except NotAuditable as error:
            unfit.append(error)
            continue
        for split in splits:
            name, number = split.name, 1
            while name in splits_by_name:
                name = f"{Path(target).parent.name or target}/{split.name}" + (f" ({number})" if number > 1 else "")
                number += 1
            splits_by_name[name] = split._replace(name=name)
    if unfit and not splits_by_name:
        raise InputError("\n".join(map(str, unfit)))
    for reason in unfit:
        say(f"skipped: {reason}")
    return list(splits_by_name.values())


def _folder(folder: Path, say: Callable[[str], None], selection: Selection) -> list[Split]:
    auditable = []
    for name, config, files, certain in _each_once(_configured(folder), selection.configs) or _plain(folder):
        # Tables outside the selection are not reported.
        report = say if selection.has(name, config or name) else lambda _: None
        try:
            auditable.append((name, config, _auditable(files, report)))
        except NotAuditable as error:
            report(f"skipped: {error}")
        except InputError as error:
            if certain:
                raise
            say(f"skipped: {error}")  # It may hold any split.
    single = len({config for _, config, _ in auditable}) == 1
    return [
        split
        for name, config, rows in auditable
        for split in _divided(name if single or not config else f"{config}/{name}", config, rows)
    ]


def _auditable(files: Sequence[Path], say: Callable[[str], None]) -> pl.DataFrame:
    """The rows of a table in one file or several; `say` gets a line if there are none.

    Raises `NotAuditable` without the necessary columns.
    """
    file, tables = files[0], [read_table(part) for part in files]
    try:
        rows = pl.concat(tables, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{file}: its columns and those of {files[-1].name} do not match: {error}") from error
    if not rows.columns:
        raise NotAuditable(f"{file}: has no rows, and so no columns to audit")
    if not is_auditable(rows.columns):
        listing = ", ".join(rows.columns[:_SHOWN]) + (" ..." if rows.width > _SHOWN else "")
        raise NotAuditable(
            f"{file}: an audit needs the columns question and answer, or subjectLabel, relation and objectLabel; "
            f"there are: {listing}{separator_hint(rows.columns)}"
        )
    for part, table in zip(files, tables, strict=True):
        expect_texts(table, part)
    if rows.is_empty():
        say(f"{file}: has no rows")
    return rows


def _configured(folder: Path) -> list[_Listed]:
    """The tables that the dataset card lists; empty without a card or configurations."""
    card = folder / "README.md"
    tables: list[_Listed] = []
    for config in configurations(card):
        if not config.data_files:
            listed = _plain(folder / config.data_dir, config.config_name)
            if not listed:
                raise InputError(f"{card}: configs: {config.config_name}: no table below {config.data_dir}")
            tables += listed
        for split, patterns in config.data_files:
            # For `datasets` a final ** stands for files, for pathlib before Python 3.13 for folders alone.
            globs = [f"{pattern}/*" if pattern.endswith("**") else pattern for pattern in patterns]
            try:
                files = sorted({file for pattern in globs for file in folder.glob(pattern) if _is_table(file)})
            except ValueError as error:  # A pattern such as a**b.
                raise InputError(f"{card}: configs: data_files: {error}") from None
            if not files:
                raise InputError(f"{card}: configs: {config.config_name}: no file matches {', '.join(patterns)}")
            tables.append(_Listed(split, config.config_name, files, certain=True))
    return tables


def _each_once(tables: list[_Listed], wanted: Sequence[str]) -> list[_Listed]:
    """Without the configurations, other than the `wanted`, of which another one has all tables and more: a full release
    opens with such a one, `matched_all`."""
    contents: dict[str, set[tuple[str, ...]]] = {}
    for table in tables:
        contents.setdefault(table.config, set()).add((table.name, *map(str, table.files)))
    repeated = {config for config, own in contents.items() if any(own < others for others in contents.values())}
    return [table for table in tables if table.config in wanted or table.config not in repeated]


def _plain(folder: Path, config: str = "") -> list[_Listed]:
    """Every table below the folder, with its shards; if two share a name, the file suffix is added to it."""
    tables: dict[tuple[str, str, str], list[Path]] = {}
    for file in sorted(filter(_is_table, folder.rglob("*"))):
        relative = file.relative_to(folder)
        if any(component.startswith(".") for component in relative.parts):
            continue
        stem = relative.with_suffix("").as_posix()
        shard = _SHARD.search(stem)
        name = stem.removesuffix(shard[0]) if shard else stem
        tables.setdefault((name, shard[1] if shard else "", file.suffix), []).append(file)
    shared = Counter(name for name, _, _ in tables)
    return [
        _Listed(name if shared[name] == 1 else f"{name}{total}{suffix}", config, files, certain=False)
        for (name, total, suffix), files in tables.items()
    ]


def _is_table(path: Path) -> bool:
    # Spark names its folders of tables like files.
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def _downloaded(target: str) -> Path:
    """The folder of a snapshot of a Hub dataset."""
    from huggingface_hub import snapshot_download

    name, _, revision = target.partition("@")
    patterns = ["README.md", *(f"*{case}" for suffix in SUFFIXES for case in (suffix, suffix.upper()))]
    try:
        with quietly():
            folder = snapshot_download(name, repo_type="dataset", revision=revision or None, allow_patterns=patterns)
    except Exception as error:
        raise hub_error(f"{target}: no such file or folder, and", error) from None
    return Path(folder)


def _divided(name: str, config: str, rows: pl.DataFrame) -> Iterator[Split]:
    """The table itself, or its rows by the columns `split` (and `recipe`) if it has them, in order of appearance."""
    keys = [column for column in ("recipe", "split") if column in rows.columns and not rows[column].dtype.is_nested()]
    if "split" not in keys or rows.is_empty():
        yield Split(name, config, rows)
        return
    for values, group in rows.partition_by(keys, as_dict=True, maintain_order=True).items():
        label = "/".join(str(value) for value in values)
        yield Split(f"{name}/{label}", config or "/".join([name, *map(str, values[:-1])]), group)


def select(splits: list[Split], selection: Selection) -> list[Split]:
    """The selected splits. Raises `InputError` if there are none."""
    of_configs = [split for split in splits if not selection.configs or split.config in selection.configs]
    if not of_configs:
        raise _unknown("configuration", selection.configs, [split.config for split in splits if split.config])
    chosen = [split for split in of_configs if selection.has(split.name, split.config)]
    if not chosen:
        raise _unknown("split", selection.names, [split.name for split in of_configs])
    return chosen


def _unknown(kind: str, names: Sequence[str], known: Sequence[str]) -> InputError:
    candidates = [*known, *(name.rpartition("/")[2] for name in known)]
    hint = next(filter(None, (did_you_mean(name, candidates) for name in names)), ".")
    return InputError(
        f"{', '.join(names)}: no such {kind}{hint} There are: {', '.join(dict.fromkeys(known)) or 'none'}"
    )
