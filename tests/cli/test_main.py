"""The command line as a whole: help, imports, and how errors end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from dual_data import __version__
from dual_data.cli import app
from tests.cli.command import ROOT, dual_data

HEAVY = {
    "polars", "pyarrow", "pydantic", "dataframely", "datasets", "torch", "transformers", "openai", "mwclient", "requests",
    "SPARQLWrapper", "huggingface_hub", "rouge_score", "matplotlib", "pyoxigraph", "numpy", "pandas", "tenacity",
}  # fmt: skip


def commands(
    group: typer.core.TyperGroup, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], typer.core.TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from commands(command, (*path, name))
        elif isinstance(command, typer.core.TyperCommand):
            yield (*path, name), command


ROOT_COMMAND = typer.main.get_command(app)
assert isinstance(ROOT_COMMAND, typer.core.TyperGroup)
COMMANDS = dict(commands(ROOT_COMMAND))


def test_help_imports_the_command_line_library_and_nothing_heavy() -> None:
    code = "import sys, dual_data.cli; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    packages = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY.isdisjoint(packages)
    assert "typer" in packages


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_is_documented(path: tuple[str, ...]) -> None:
    outcome = dual_data(*path, "--help")
    assert outcome.code == 0
    assert dual_data(*path, "-h") == outcome
    command = COMMANDS[path]
    assert command.help
    for parameter in command.params:
        if parameter.name != "help":
            assert getattr(parameter, "help", None), f"{' '.join(path)} does not explain {parameter.name}"


@pytest.mark.parametrize(
    ("environment", "used"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "active"}, None)],
    ids=["by default", "a spin of one's own", "a policy of one's own"],
)
def test_waiting_threads_leave_the_processor_to_other_programs(
    environment: dict[str, str], used: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert dual_data("--version").code == 0
    assert os.environ.get("GOMP_SPINCOUNT") == used


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whatever_is_stopped_says_so(number: signal.Signals) -> None:
    code = """
import signal, sys, dual_data.cli as cli
number = int(sys.argv.pop(1))
for group in (cli.app, cli.relations.app):
    group.command()(lambda: signal.raise_signal(number))
    group.registered_commands[-1].name = "wait"
cli.main(sys.argv[1:])
"""
    for command in (["wait"], ["relations", "wait"]):
        words = [sys.executable, "-c", code, str(int(number)), *command]
        process = subprocess.run(words, capture_output=True, text=True, check=False)
        assert process.returncode == 130, process.stderr
        assert process.stderr == "\nstopped; run the same command again to go on\n"


SIGNALLED = """
import signal, sys
name = sys.argv.pop(1)

class Finder:
    def find_spec(self, module, path=None, target=None):
        if module == name:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
if name == "main":
    import dual_data.cli, typer
    typer.core.TyperGroup.make_context = lambda *_, **__: signal.raise_signal(signal.SIGINT)
from dual_data.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "moment",
    [
        "dual_data.system.interrupts",
        "dual_data.cli",
        "dual_data.cli.audit",
        "typer",
        "main",
        "dual_data.project.checks",
    ],
)
def test_a_command_that_is_stopped_at_once_says_so(moment: str, tmp_path: Path) -> None:
    """While the command line is imported, before it has chosen the command, and while the command is imported."""
    command = [sys.executable, "-c", SIGNALLED, moment, "check", "--project", str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (130, "\nstopped; run the same command again to go on\n")


def test_the_installed_command_handles_an_interrupt_of_its_imports() -> None:
    from dual_data import __main__ as module

    text = (Path(module.__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    assert tomllib.loads(text)["project"]["scripts"] == {"dual-data": f"{module.__name__}:{module.main.__name__}"}
    code = "import sys, dual_data.__main__; print(*{name.split('.')[0] for name in sys.modules})"
    packages = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "typer" not in packages


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["check"], ["relations", "--help"]], ids=" ".join)
def test_a_reader_that_is_gone_ends_a_command_without_a_message(arguments: list[str], unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = subprocess.run(
            [sys.executable, "-m", "dual_data", *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            cwd=ROOT,
            check=False,
        )
    finally:
        os.close(writing)
    assert (process.returncode, process.stderr) == (141, b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("rows", [1, 900])
def test_output_that_cannot_be_written_is_named(rows: int, unbuffered: str, tmp_path: Path) -> None:
    """Less and more than the interpreter keeps before it writes."""
    tables = [tmp_path / f"{number:0200}.csv" for number in range(1 + rows // 10)]
    for table in tables:
        table.write_text("question,answer\nWho?,She\nWhere?,There\n")
    command = [sys.executable, "-m", "dual_data", "audit", "--json", *map(str, tables)]
    with Path("/dev/full").open("w") as full:
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert process.returncode == 1
    assert process.stderr.endswith("error: <stdout>: No space left on device\n")
    assert "Exception ignored" not in process.stderr


def test_a_command_without_output_and_errors_runs() -> None:
    command = 'exec "$0" -m dual_data --version >&- 2>&-'
    assert subprocess.run(["sh", "-c", command, sys.executable], check=False).returncode == 0


def test_a_terminal_that_is_not_utf_8_shows_what_it_can(tmp_path: Path) -> None:
    table = tmp_path / "é.csv"
    table.write_text("question,answer\nWho?,Łódź\u202e\nWhere?,Łódź\u202e\n", encoding="utf-8")
    command = [sys.executable, "-m", "dual_data", "audit", str(table)]
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = subprocess.run(command, capture_output=True, text=True, check=True, env=ascii_only)
    assert (process.stdout.split()[:2], process.stderr) == (["split", r"\xe9"], "")
    assert r"\u0141\xf3d\u017a" in process.stdout
    process = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, env=ascii_only)
    assert json.loads(process.stdout)["splits"]["é"]["top_answer"] == "Łódź\u202e"


def test_what_the_system_refuses_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").touch()
    (tmp_path / "pipeline" / "relations").touch()
    # Not by permissions, which do not stop root: by a name that is too long, and a file in place of a folder.
    for command in (("init", tmp_path / ("x" * 300)), ("relations", "new", "P1082", "--project", tmp_path)):
        outcome = dual_data(*command)
        assert (outcome.code, outcome.out) == (1, "")
        # From Python 3.14 on, a path with such a name does not exist, and the folder cannot be made.
        why = r"(?:[A-Z][a-z ]+|cannot be made \([A-Z][a-z ]+\); nothing was left behind)"
        assert re.fullmatch(rf"error: {re.escape(str(tmp_path))}/[^:\n]+: {why}\n", outcome.err)


def test_version() -> None:
    assert dual_data("--version") == (0, f"{__version__}\n", "")


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "dual_data"]
    process = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert process.stdout == f"{__version__}\n"
    process = subprocess.run([*command, "bulid"], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr.splitlines()[0]) == (2, "Usage: dual-data [OPTIONS] COMMAND [ARGS]...")
    assert "bulid" in process.stderr


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_option_that_takes_one_value_is_refused_if_it_is_given_twice(path: tuple[str, ...]) -> None:
    options = [option for option in COMMANDS[path].params if isinstance(option, typer.core.TyperOption)]
    for option in options:
        if not option.is_flag and not option.multiple:
            outcome = dual_data(*path, option.opts[0], "x", f"{option.opts[-1]}=x")
            assert (outcome.code, outcome.out) == (2, "")
            said = f"Error: Option {option.get_error_hint()} is given 2 times, but takes one value: give it once."
            assert outcome.err.splitlines()[-1] == said
    flags = [option.opts[0] for option in options if option.is_flag]
    assert dual_data(*path, *flags * 2, "--help").code == 0


def test_an_option_that_takes_several_values_may_be_given_twice() -> None:
    assert dual_data("audit", "--split", "one", "--split", "two", "--help").code == 0
