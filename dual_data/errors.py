"""The exceptions that dual-data raises on purpose; a few narrower ones stand beside the code that tells them apart.

    DualDataError               one clear message: what, where, what to do    exit 1
    |-- UsageError              the user's input is wrong                     exit 2
    |   |-- ConfigError         a profile, topic, relation or prompt file
    |   `-- InputError          a data file, or a folder that should hold one
    |-- MissingExtra            an optional dependency is not installed
    |-- ServiceError            a remote service failed
    |   |-- Transient           worth another try, perhaps later
    |   |   `-- BrokenOff       the answer was cut short
    |   |-- TooLarge            the request must be split, not repeated
    |   |-- Refused             no try will help: ban, key, quota, contact
    |   `-- Offline             the answer is not in the call log
    |-- BudgetSpent             the spending limit that the user set is reached
    `-- ProjectBusy             another process is building the same project, or writing the same folder

    KeyboardInterrupt
    `-- Dropped                 Ctrl-C that gives up answers in flight            exit 130

The command line prints the message and exits with `exit_code`. Of an OSError it prints the file and the system's
reason, and exits with 1; only unexpected exceptions show a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class DualDataError(Exception):
    """Base of all expected errors; its text is complete: what, where and what to do."""

    exit_code = 1


class UsageError(DualDataError):
    """Something that the user wrote or chose is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A file of the project is wrong; the message starts with `file: key: `."""

    def __init__(self, message: str, *, file: Path | str | None = None, key: str | None = None) -> None:
        self.file, self.key = file, key
        super().__init__(": ".join(str(part) for part in (file, key, message) if part))


class InputError(UsageError):
    """A data file is missing, unreadable or invalid."""


class MissingExtra(DualDataError):
    """An optional dependency is needed but not installed."""

    def __init__(self, package: str, extra: str) -> None:
        checkout = Path(__file__).parents[1]
        is_checkout = (checkout / "pyproject.toml").is_file()
        requirement = f"-e '{checkout}[{extra}]'" if is_checkout else f"'dual-data[{extra}]'"
        super().__init__(f"{package} is not installed. Install it with: pip install {requirement}")


class ServiceError(DualDataError):
    """A remote service failed."""


class Transient(ServiceError):
    """A failure that may pass: 429, 5xx, a cut body, a reset connection.

    `retry_after` is what the service asked for, in seconds, or None where it did not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class BrokenOff(Transient):
    """An answer that was cut short: by chance, or because the service hit a time limit without reporting it."""


class TooLarge(ServiceError):
    """The service ran out of time or space on this request; a smaller one may pass, the same one will not."""


class Refused(ServiceError):
    """The service will not answer this client: ban, key, quota, missing contact."""


class Offline(ServiceError):
    """A call is not in the log and calls are switched off."""

    def __init__(self, source: str, missing: Sequence[str]) -> None:
        calls = "\n".join(f"  {source}: {request}" for request in missing[:5])
        more = f"\n  ... and {len(missing) - 5} more" if len(missing) > 5 else ""
        super().__init__(
            f"offline, and {len(missing)} call(s) are not in the call log:\n{calls}{more}\nRun once without --offline."
        )


class BudgetSpent(DualDataError):
    """The user's limit of tokens or money is reached; everything answered so far is in the call log."""


class ProjectBusy(DualDataError):
    """Another process holds the lock of a project's artifacts, of a folder of dumps, or of a folder being written."""


class Dropped(KeyboardInterrupt):
    """Ctrl-C while answers were awaited: threads that still wait for them would delay a normal exit."""
