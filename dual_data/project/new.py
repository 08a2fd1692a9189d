"""A new project: a copy of another, by default of the shipped one, under a name of its own."""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from dual_data import __version__
from dual_data.config import profile_files, shipped_project
from dual_data.errors import DualDataError, UsageError
from dual_data.text.display import visible

_ABOUT = re.compile(r"(^\[project\]\n(?:#[^\n]*\n)*name = [^\n]*\n).*?(?=^\[services\]$)", re.MULTILINE | re.DOTALL)
"""The part of a shipped profile's [project] that describes the dataset, after its name."""
_README = """\
# {title}

A benchmark for LLM unlearning, made with dual-data {version}.

| where | what |
|---|---|
| `pipeline/dual.toml`, `pipeline/embedded.toml` | profiles: the parameters of every stage; `embedded` is offline |
| `pipeline/topics.toml`, `pipeline/relations/` | what the facts are about, and how each relation is asked |
| `pipeline/*.py` | the stages |
| `pipeline/evaluation.toml` | models, data, presets and grids of the evaluation |
| `pipeline/methods/` | unlearning methods of your own, one Python file each; make the folder |
| `prompts/` | what the knowledge probe and the salience judge are asked with |
| `artifacts/PROFILE/` | what is built, and every answer of a service; git ignores it |

```bash
git init && git add -A && git commit -m start   # a release names the commit that it was built from
dual-data check                                 # the files of this folder
dual-data build --profile embedded --dry-run    # the plan
dual-data build --profile embedded              # then: dual-data show --profile embedded
```

`dual-data keys` lists the tables of all these files, and `dual-data keys links`, for example, explains the keys of one.

## Facts of your own

Put them into tables, one for each topic and named after it, such as `tables/places_country.csv`:

```csv
subjectLabel,relation,objectLabel
Canada,capital,Ottawa
```

The relation is one of the `labels` of a relation file of the topic, or its property id. Then write
`pipeline/mine.toml`:

```toml
[project]
name = "mine"

[facts]
source = "labels"
folder = "tables"

[splits]            # for about 100 facts a topic; with 400 or more, leave this table out
percents = [10]
smallest = 5

[splits.matched]
signal = "mentions"

[splits.paper]
signal = "mentions"
```

Commit both, and build with `dual-data build --profile mine`; `dual-data show --profile mine` says what was rejected,
for reasons that the first lines of `pipeline/facts.py` and `pipeline/questions.py` explain, and which splits were not
made and why.

## Evaluation

```bash
dual-data eval run --grid smoke                 # after the build of the profile embedded: a random model, in seconds
dual-data eval report artifacts/evaluation/smoke
```

To evaluate on splits of your own, add a `[data.NAME]` and a grid to `pipeline/evaluation.toml`, beside those there; its
files are tables with at least the columns question and answer. `dual-data keys data` and `dual-data keys grids` explain
their keys, and `dual-data eval methods` the methods.

## Another version of dual-data

`pipeline/*.py` and the folders beside them with code are those of the version above, and go with it. To take those of
another version, install it, make a new project with `dual-data init`, and move into it what is yours: profiles,
`topics.toml`, `relations/`, `evaluation.toml`, `methods/`, stages and prompts that you wrote or edited, and
`artifacts/`, whose log of answers is read again. `dual-data build --dry-run` says which stages will run anew, and why.
"""


def init(target: Path, source: Path | None = None) -> None:
    """Copy the project `source`, by default the shipped one, to `target`, which must be absent or empty.

    A failure leaves nothing behind. Raises DualDataError where the files cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: exists and is not an empty folder; choose another name")
    if obstacles := [parent for parent in target.parents if parent.exists() and not parent.is_dir()]:
        raise UsageError(f"{target}: cannot be made, because {obstacles[0]} is a file; choose another name")
    is_new = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".init-") as scratch:
            _fill(Path(scratch), source or shipped_project(), visible(target.resolve().name))
            for path in list(Path(scratch).iterdir()):
                path.rename(target / path.name)
    except BaseException as error:
        if is_new:
            with suppress(OSError):
                target.rmdir()
        if isinstance(error, OSError):
            raise DualDataError(
                f"{target}: cannot be made ({error.strerror or error}); nothing was left behind"
            ) from None
        raise


def _fill(folder: Path, source: Path, title: str) -> None:
    """Copy the project in `source` with `title` in place of its profiles' descriptions of the original dataset, and a
    README."""
    for path in (entry for name in ("pipeline", "prompts") for entry in (source / name).rglob("*")):
        copy = folder / path.relative_to(source)
        if path.is_file() and copy.parent.name != "__pycache__":
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())  # Without file modes: an installation may be read-only.
    own = f"title = {json.dumps(title, ensure_ascii=False)}\n\n"
    for profile in profile_files(folder):
        profile.write_bytes(_ABOUT.sub(lambda match: match[1] + own, profile.read_text("utf-8")).encode())
    (folder / "artifacts").mkdir()
    (folder / "README.md").write_text(_README.format(title=title, version=__version__), encoding="utf-8")
    # What `git add .` must not take: results, and the dumps of README's recipe.
    (folder / ".gitignore").write_text("/artifacts/\n/dumps/\n__pycache__/\n")
