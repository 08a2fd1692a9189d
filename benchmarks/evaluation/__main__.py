"""python -m benchmarks.evaluation: one model on one machine, in one run; results as JSON and Markdown."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.evaluation.parts import PARTS, Bench
from benchmarks.evaluation.subject import SHAPES, SMOLLM2, Work, first, made_up, published
from benchmarks.evaluation.table import markdown
from dual_data.evaluation.record import device_name


def main(arguments: list[str] | None = None) -> int:
    """Run the parts asked for; write results.json and results.md after each, so that a run cut short leaves its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("--model", default="llama-1m", choices=[*SHAPES, SMOLLM2])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="", help="bfloat16 on a GPU, else float32, where not given")
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json and results.md")
    parser.add_argument(
        "--checkpoints", type=Path, help="where random models are kept; a temporary folder if not given"
    )
    parser.add_argument("--parts", default="counts,ceilings,cells,grid,parity", help=", ".join(PARTS))
    parser.add_argument("--methods", default="GradAscent,NPO")
    parser.add_argument("--limit", type=int, default=0, help="rows to forget and to retain; 0 for all")
    parser.add_argument("--made-up", action="store_true", help="invented rows in place of the published ones")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rows", type=int, default=1000, help="rows asked at once, of all cells together")
    parser.add_argument("--cells-at-once", type=int, default=4)
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
    on_gpu = chosen.device.startswith("cuda")
    dtype = chosen.dtype or ("bfloat16" if on_gpu else "float32")
    work = _work(chosen)
    chosen.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"setting": _setting(chosen, work, dtype)}
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(
            name=chosen.model,
            device=chosen.device,
            dtype=dtype,
            work=work,
            methods=tuple(chosen.methods.split(",")),
            rows=chosen.rows,
            cells_at_once=chosen.cells_at_once,
            plain_steps=chosen.plain_steps,
            plain_requests=chosen.plain_requests,
            as_shipped=chosen.as_shipped,
            checkpoints=chosen.checkpoints or Path(scratch) / "checkpoints",
            scratch=Path(scratch),
            say=_say,
        )
        for part in chosen.parts.split(","):
            if part not in PARTS:
                parser.error(f"unknown part {part}; known: {', '.join(PARTS)}")
            _say(f"{part} ...")
            results[part] = PARTS[part](bench, results)
            (chosen.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
            (chosen.out / "results.md").write_text(markdown(results))
    print(markdown(results))
    return 0


def _work(chosen: argparse.Namespace) -> Work:
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    reference = Path(os.environ.get("DUAL_DATA_REFERENCE", beside))
    if chosen.made_up or not (reference / "duet").is_dir():
        count = chosen.limit or 500
        forget, retain, source = made_up(min(count, 482), count)
    else:
        forget, retain, source = published(reference)
    return Work(first(forget, chosen.limit), first(retain, chosen.limit), source, new_tokens=chosen.new_tokens)


def _setting(chosen: argparse.Namespace, work: Work, dtype: str) -> dict[str, Any]:
    names = ("torch", "transformers", "peft", "tokenizers")
    return {
        "command": "python -m benchmarks.evaluation " + " ".join(sys.argv[1:]),
        "model": chosen.model,
        "device": device_name(torch.device(chosen.device)),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "dtype": dtype,
        "rows": {"forget": len(work.forget), "retain": len(work.retain), "source": work.source},
        "epochs": work.epochs,
        "batch": work.batch,
        "new_tokens": work.new_tokens,
        "rows_at_once": chosen.rows,
        "packages": {name: version(name) for name in names} | {"python": platform.python_version()},
    }


_say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731

if __name__ == "__main__":
    raise SystemExit(main())
