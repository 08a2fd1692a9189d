"""python -m benchmarks.evaluation: one model on one machine; results as JSON and Markdown, and later calls go on."""

from __future__ import annotations

import argparse
import platform
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks import reference
from benchmarks.evaluation.clock import is_gpu
from benchmarks.evaluation.parts import PARTS, Bench
from benchmarks.evaluation.stored import Stored
from benchmarks.evaluation.subject import SHAPES, SMALL, SMOLLM2, Work, first, made_up, published, tokenizer_of
from dual_data.errors import InputError, UsageError
from dual_data.evaluation.device.devices import settle
from dual_data.evaluation.device.memory import release
from dual_data.evaluation.grid.provenance import device_name


def main(arguments: list[str] | None = None) -> int:
    """Run the pieces of the named parts that the folder does not have, and write each when it is done.

    An error in a piece becomes its result, which the next call tries again; the others still run. The exit status is 1.
    """
    # A shell lets its background jobs ignore Ctrl-C, which ends a call and removes its temporary models.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    names = options.parts.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"unknown part {', '.join(unknown)}; known: {', '.join(PARTS)}")
    dtype = options.dtype or ("bfloat16" if is_gpu(options.device) else "float32")
    if options.plain_steps == 1:
        parser.error("--plain-steps: two or more, since the first step is slower than the others; or 0 for all")
    try:
        work = _work(options)
    except InputError as error:
        parser.error(str(error))
    rows = options.rows or (4000 if options.model in SMALL else 1000)
    try:
        stored = Stored(
            options.out, _setting(options, work, rows, dtype, sys.argv[1:] if arguments is None else arguments)
        )
    except UsageError as error:
        parser.error(str(error))
    settle(options.device)  # for both sides, whichever is measured first
    with ExitStack() as stack:
        folder = options.checkpoints or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scratch = folder / f".scratch-{options.model}"
        shutil.rmtree(scratch, ignore_errors=True)  # of an interrupted call
        bench = Bench(
            name=options.model,
            device=options.device,
            dtype=dtype,
            work=work,
            methods=tuple(options.methods.split(",")),
            rows=rows,
            cells_at_once=options.cells_at_once,
            plain_steps=options.plain_steps,
            plain_requests=options.plain_requests,
            as_shipped=options.as_shipped,
            checkpoints=folder,
            temporary=not options.checkpoints,
            scratch=scratch,
            say=_say,
        )
        failed = [label for part in names for label in _run(part, bench, stored)]
    print(stored.write_table())
    if failed:
        _say(f"failed, and tried again by the same command: {'; '.join(failed)}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("--model", default="llama-1m", choices=[*SHAPES, SMOLLM2])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="", help="bfloat16 on a GPU, else float32, where not given")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of results.json and results.md; what it has is kept"
    )
    parser.add_argument(
        "--checkpoints", type=Path, help="where random models are kept; a temporary folder if not given"
    )
    parser.add_argument("--parts", default="ceilings,cells,grid,parity", help=", ".join(PARTS))
    parser.add_argument("--methods", default="GradAscent,NPO")
    parser.add_argument("--limit", type=int, default=0, help="rows to forget and to retain; 0 for all")
    parser.add_argument("--made-up", action="store_true", help="invented rows in place of the published ones")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument(
        "--rows",
        type=int,
        default=0,
        help="rows asked at once, of all cells together; 0 for 4000 of smollm2 and llama-135m, else 1000",
    )
    parser.add_argument("--cells-at-once", type=int, default=0, help="0 for as many as the package takes")
    parser.add_argument("--threads", type=int, default=0, help="of the processor; 0 for torch's choice")
    parser.add_argument(
        "--plain-steps", type=int, default=0, help="training steps of the plain loop; the rest by scale"
    )
    parser.add_argument("--plain-requests", type=int, default=0, help="questions asked by it; the rest by scale")
    parser.add_argument(
        "--as-shipped", action="store_true", help="also the plain loop in micro-batches with recomputation"
    )
    return parser


def _run(part: str, bench: Bench, stored: Stored) -> list[str]:
    """Run the pieces of a part that are not there yet; the labels of those that failed."""
    failed = []
    for path, make in PARTS[part](bench):
        label = " ".join((part, *path))
        if stored.has(part, *path):
            _say(f"{label}: is there already")
            continue
        _say(f"{label} ...")
        began = time.perf_counter()
        try:
            release()
            result = make()
        except Exception as error:  # of any kind: the other pieces are worth keeping
            _say(traceback.format_exc())
            result = {"error": f"{type(error).__name__}: {str(error).split(chr(10))[0]}"}
            failed.append(label)
        stored.put(result, part, *path)
        outcome = (
            result.get("error") or result.get("note") or "; ".join(["done", *result.get("how", {}).get("notes", ())])
        )
        _say(f"{label}: {outcome} ({time.perf_counter() - began:.1f} s)")
    return failed


def _work(options: argparse.Namespace) -> Work:
    splits = reference("duet")
    if options.made_up:
        count = options.limit or 500
        forget, retain, source = made_up(min(count, 482), count)
    elif splits.is_dir():
        forget, retain, source = published(splits)
    else:
        raise InputError(
            f"{splits}: no published splits here; let DUAL_DATA_REFERENCE name the folder that holds duet, "
            "or take invented rows with --made-up"
        )
    return Work(first(forget, options.limit), first(retain, options.limit), source, new_tokens=options.new_tokens)


def _setting(
    options: argparse.Namespace, work: Work, rows: int, dtype: str, arguments: Sequence[str]
) -> dict[str, Any]:
    names = ("torch", "transformers", "peft", "tokenizers")
    processor = {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    return {
        "command": " ".join(["python -m benchmarks.evaluation", *arguments]),
        "model": options.model,
        "device": device_name(torch.device(options.device)),
        "torch_device": options.device,
        **({} if is_gpu(options.device) else processor),  # a GPU's figures hardly depend on it
        "dtype": dtype,
        "methods": options.methods,
        "rows": {"forget": len(work.forget), "retain": len(work.retain), "source": work.source},
        "vocabulary": len(tokenizer_of()),  # with the tiny one a row has 1.5 times as many tokens
        "epochs": work.epochs,
        "batch": work.batch,
        "new_tokens": work.new_tokens,
        "rows_at_once": rows,
        "cells_at_once": options.cells_at_once,
        "plain_steps": options.plain_steps,
        "plain_requests": options.plain_requests,
        "packages": {name: version(name) for name in names} | {"python": platform.python_version()},
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
