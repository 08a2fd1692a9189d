"""The command line: a thin layer over the library, with a file for each group of commands.

Heavy packages are imported only by the commands that need them, so that `dual-data --help` is fast.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

import typer

from dual_data import __version__
from dual_data.cli import (
    audit,
    build,
    check,
    dumps,
    export,
    keys,
    project,
    relations,
    release,
    report,
)
from dual_data.cli.evaluation import attack, methods, push, results, run
from dual_data.cli.text import say
from dual_data.errors import ConfigError, Dropped, DualDataError
from dual_data.system.interrupts import say_stopped, stopped_as_by_hand


class Commands(typer.core.TyperGroup):
    """All commands, without the endings that Typer would give them."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the arguments, and print the help."""
        try:
            return super().make_context(*arguments, **options)
        except BrokenPipeError:
            _end_unread()

    def invoke(self, ctx: Any) -> Any:
        """Run the command; if answers are awaited, Ctrl-C ends the process at once."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            _in_plain_words(error)
            raise
        except BrokenPipeError:
            _end_unread()
        except Dropped:
            # A normal exit would wait for every thread. The log is closed, and its content is on disk.
            say_stopped()
            sys.stdout.flush()
            os._exit(130)


class Command(typer.core.TyperCommand):
    """A command that refuses an option given more than once, of which Typer would take the last value alone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        single = [one for one in given if isinstance(one, typer.core.TyperOption) and not (one.is_flag or one.multiple)]
        for option in single:
            if (times := single.count(option)) > 1:
                ctx.fail(f"Option {option.get_error_hint()} is given {times} times, but takes one value: give it once.")
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="dual-data",
    cls=Commands,
    help="Build, audit, release and evaluate the DUAL benchmark for LLM unlearning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if show:
        print(__version__)
        raise typer.Exit


app.command()(project.init)
app.command()(check.check)
app.command()(keys.keys)
app.command()(build.build)
app.command()(build.show)
app.command()(audit.audit)
app.command()(report.report)
app.command()(release.release)
app.command()(release.verify)
app.command()(release.diff)
app.command()(release.push)
app.add_typer(export.app, name="export")
app.add_typer(relations.app, name="relations")
app.add_typer(dumps.app, name="dumps")

unlearning = typer.Typer(help="Run, score and report the unlearning evaluation.", no_args_is_help=True)
unlearning.command()(run.run)
unlearning.command()(methods.methods)
unlearning.command()(results.score)
unlearning.command()(results.report)
unlearning.command()(results.compare)
unlearning.command()(attack.attack)
unlearning.command()(push.push)
app.add_typer(unlearning, name="eval")
for _group in (app, *(_info.typer_instance for _info in app.registered_groups)):
    for _command in _group.registered_commands if _group else ():
        _command.cls = Command


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; expected errors become one message and an exit code, without a traceback.

    SIGTERM, which schedulers send before they kill, ends a command as Ctrl-C does: answers in flight are kept.
    """
    for stream in (sys.stdout, sys.stderr):
        # A label in another script must not crash a command on a terminal that is not UTF-8.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if "OMP_WAIT_POLICY" not in os.environ:
        # torch's threads spin for milliseconds while they wait for each other: if other programs use the processor too,
        # everything takes twenty times as long. A short spin costs nothing.
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        with stopped_as_by_hand():
            _run(arguments)
    except KeyboardInterrupt:
        say_stopped()
        sys.exit(130)
    except DualDataError as error:
        # A ConfigError has a line for each fault; other messages go on in further lines.
        further = "\nerror: " if isinstance(error, ConfigError) else "\n"
        say("error: " + str(error).replace("\n", further))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        _end_unread()
    except OSError as error:
        # Such as a read-only folder or a full disk: the system's message says what to do.
        name = error.filename or ("" if _is_writable() else "<stdout>")
        say(f"error: {name}{': ' if name else ''}{error.strerror or error}")
        sys.exit(1)


def _run(arguments: Sequence[str] | None) -> None:
    """Run the command; it ends by SystemExit, also where all is well."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="dual-data")
    except SystemExit as ended:
        if ended.code == 130:  # Typer would say nothing after Ctrl-C.
            raise KeyboardInterrupt from None
        print(end="", flush=True)  # A failure is reported here, but not if the interpreter flushes at its end.
        raise


def _in_plain_words(error: typer.BadParameter) -> None:
    """Word a value that an option refuses as one of a configuration file; Typer has pydantic's words for it."""
    from pydantic import ValidationError

    from dual_data.config import in_words

    if isinstance(error.__cause__, ValidationError):
        error.message = in_words(error.__cause__.errors()[0])


def _end_unread() -> NoReturn:
    """End without a message, as a signal would: the reader of our output is gone, as after `| head`."""
    _discard(sys.stdout, sys.stderr)
    sys.exit(141)


def _is_writable() -> bool:
    """Whether a line can be written to stdout; if not, what waits there is discarded."""
    try:
        print(flush=True)  # After a failure, flushing alone may succeed: what failed is no longer waiting.
    except OSError:
        _discard(sys.stdout)
        return False
    return True


def _discard(*streams: TextIO) -> None:
    """Send what could not be written nowhere: at its end the interpreter would try again, and change the exit code."""
    with Path(os.devnull).open("w") as nowhere:
        for stream in streams:
            with suppress(AttributeError, io.UnsupportedOperation):  # None if it is closed; not a file in tests
                os.dup2(nowhere.fileno(), stream.fileno())
