"""The set-up that the Makefile does: which Python it takes, and what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.services import require

ROOT = Path(__file__).parents[1]


def made(commands: Path, target: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A dry run of make, where `commands` is all that is on the path."""
    make = shutil.which("make")
    require(make, "make is not installed")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS")}
    return subprocess.run(
        [str(make), "--dry-run", "--directory", ROOT, target, "VENV=.venv-none", *options],
        env=environment | {"PATH": str(commands)},
        capture_output=True,
        text=True,
        check=False,
    )


def write_command(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.parametrize("options", [(), ("PYTHON=python9",)])
def test_the_first_python_that_runs_is_taken_unless_one_is_named(tmp_path: Path, options: tuple[str, ...]) -> None:
    write_command(tmp_path / "python3.11", "exit 127")  # as a version manager does for what it has not installed
    for name in ("python3.12", "python3.14"):
        write_command(tmp_path / name, f"echo {name}")
    output = made(tmp_path, ".venv-none/.demo", *options).stdout
    python = "python9" if options else "python3.12"
    assert f"{python} -m venv .venv-none\n" in output
    assert "several GB" in output[: output.index("--editable")], "said before the packages are installed"


def test_without_a_python_one_message_says_what_to_do(tmp_path: Path) -> None:
    process = made(tmp_path, "demo")
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert "No python3.11, python3.12, python3.13 or python3.14 runs here. Install one" in line
    assert "make demo PYTHON=" in line
