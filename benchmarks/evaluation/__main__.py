"""python -m benchmarks.evaluation: one model on one machine; results as JSON and Markdown, and later calls go on."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.evaluation.clock import is_gpu
from benchmarks.evaluation.parts import PARTS, Bench
from benchmarks.evaluation.stored import Stored
from benchmarks.evaluation.subject import SHAPES, SMOLLM2, Work, first, made_up, published, vocabulary
from dual_data.errors import UsageError
from dual_data.evaluation.device.devices import settle
from dual_data.evaluation.device.memory import release
from dual_data.evaluation.grid.provenance import device_name


def main(arguments: list[str] | None = None) -> int:
    """Run what the folder does not have of the parts asked for, and write each piece as it comes.

    What goes wrong in a piece is its result, which the next call tries again, and ends no other; the exit status is 1.
    """
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
        help="rows asked at once, of all cells together; 0 for 4000 of smollm2, else 1000",
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
    chosen = parser.parse_args(arguments)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    names = chosen.parts.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"unknown part {', '.join(unknown)}; known: {', '.join(PARTS)}")
    dtype = chosen.dtype or ("bfloat16" if is_gpu(chosen.device) else "float32")
    work = _work(chosen)
    rows = chosen.rows or (4000 if chosen.model == SMOLLM2 else 1000)
    try:
        stored = Stored(
            chosen.out, _setting(chosen, work, rows, dtype, sys.argv[1:] if arguments is None else arguments)
        )
    except UsageError as error:
        parser.error(str(error))
    settle(chosen.device)  # for both sides alike, whichever is measured first
    with ExitStack() as stack:
        folder = chosen.checkpoints or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scratch = folder / f".scratch-{chosen.model}"
        shutil.rmtree(scratch, ignore_errors=True)  # of a call that was cut
        bench = Bench(
            name=chosen.model,
            device=chosen.device,
            dtype=dtype,
            work=work,
            methods=tuple(chosen.methods.split(",")),
            rows=rows,
            cells_at_once=chosen.cells_at_once,
            plain_steps=chosen.plain_steps,
            plain_requests=chosen.plain_requests,
            as_shipped=chosen.as_shipped,
            checkpoints=folder,
            temporary=not chosen.checkpoints,
            scratch=scratch,
            say=_say,
        )
        failed = [label for part in names for label in _run(part, bench, stored)]
    print(stored.write_table())
    if failed:
        _say(f"failed, and tried again by the same command: {'; '.join(failed)}")
    return 1 if failed else 0


def _run(part: str, bench: Bench, stored: Stored) -> list[str]:
    """Run the pieces of a part that are not there yet; which of them failed."""
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
            found = make()
        except Exception as error:  # whatever it is: what is measured beside it is worth keeping
            _say(traceback.format_exc())
            found = {"error": f"{type(error).__name__}: {str(error).split(chr(10))[0]}"}
            failed.append(label)
        stored.put(found, part, *path)
        _say(f"{label}: {found.get('error') or found.get('note') or 'done'} ({time.perf_counter() - began:.1f} s)")
    return failed


def _work(chosen: argparse.Namespace) -> Work:
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    reference = Path(os.environ.get("DUAL_DATA_REFERENCE", beside))
    if chosen.made_up or not (reference / "duet").is_dir():
        count = chosen.limit or 500
        forget, retain, source = made_up(min(count, 482), count)
    else:
        forget, retain, source = published(reference)
    return Work(first(forget, chosen.limit), first(retain, chosen.limit), source, new_tokens=chosen.new_tokens)


def _setting(chosen: argparse.Namespace, work: Work, rows: int, dtype: str, arguments: Sequence[str]) -> dict[str, Any]:
    names = ("torch", "transformers", "peft", "tokenizers")
    processor = {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    return {
        "command": " ".join(["python -m benchmarks.evaluation", *arguments]),
        "model": chosen.model,
        "device": device_name(torch.device(chosen.device)),
        "torch_device": chosen.device,
        **({} if is_gpu(chosen.device) else processor),  # on which a GPU's figures hardly hang
        "dtype": dtype,
        "methods": chosen.methods,
        "rows": {"forget": len(work.forget), "retain": len(work.retain), "source": work.source},
        "vocabulary": vocabulary(),
        "epochs": work.epochs,
        "batch": work.batch,
        "new_tokens": work.new_tokens,
        "rows_at_once": rows,
        "cells_at_once": chosen.cells_at_once,
        "plain_steps": chosen.plain_steps,
        "plain_requests": chosen.plain_requests,
        "packages": {name: version(name) for name in names} | {"python": platform.python_version()},
    }


_say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731

if __name__ == "__main__":
    raise SystemExit(main())
