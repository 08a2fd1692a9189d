"""Build from labels, then time what a release takes: python -m benchmarks.release [FOLDER] [--record]."""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import ROOT, reference
from benchmarks.machine import machine
from benchmarks.readme import record
from dual_data.text import markdown

HERE = Path(__file__).parent
PACKAGES = ("polars", "pyarrow", "datasets", "huggingface_hub", "matplotlib")
STAGES = ("facts", "links", "questions", "knowledge", "salience", "splits")
PROFILE = """[project]
name = "labels"

[facts]
source = "labels"
folder = "{folder}"

[links]
method = "none"

[splits.matched]
signal = "mentions"

[splits.paper]
signal = "mentions"
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.release", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=reference("wikidata_triplets"))
    parser.add_argument("--record", action="store_true", help="write results.json and the table of the README")
    options = parser.parse_args()
    if not any(options.folder.glob("*.csv")):
        parser.error(f"{options.folder}: no CSV files of subjectLabel, relation, objectLabel there")
    # The Hub's client reads these when it is imported.
    os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    results: dict[str, Any] = {"machine": machine(PACKAGES), "seconds": {}}
    with tempfile.TemporaryDirectory() as name:
        os.environ["HF_HOME"] = f"{name}/home"
        project = Path(name) / "project"
        measure(project, build(project, options.folder.resolve()), Path(name), results)
    results["peak_megabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(table(results))
    if options.record:
        record(HERE, results, table(results))


def table(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    host, sizes = results["machine"], results["sizes"]
    times = [(part, f"{clock:.1f}", f"{busy:.1f}") for part, (clock, busy) in results["seconds"].items()]
    lines = [
        f"{host['date']}, {host['processor']}, {host['cores']} cores, load {host['load']} before; "
        f"Python {host['python']}" + "".join(f", {name} {number}" for name, number in host["packages"].items()),
        "",
        markdown.table(("part", "seconds", "of the processor"), times),
        "",
        f"{sizes['configurations']} configurations, {sizes['splits']} splits, {sizes['rows']:,} rows; peak memory "
        f"{results['peak_megabytes']:,} MB; findings of verify: {results['findings']}.",
        "",
        markdown.table(("what", "megabytes"), [(name, f"{size / 1e6:.2f}") for name, size in sizes["bytes"].items()]),
    ]
    return "\n".join(lines) + "\n"


def build(project: Path, folder: Path) -> Path:
    """Build from labels, and return the folder of the artifacts."""
    from dual_data.cli import main as dual_data

    for part in ("pipeline", "prompts"):
        shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "pipeline" / "labels.toml").write_text(PROFILE.format(folder=folder))
    try:
        dual_data(["build", "--project", str(project), "--profile", "labels"])
    except SystemExit as ended:
        if ended.code:
            raise
    return project / "artifacts" / "labels"


def measure(project: Path, artifacts: Path, scratch: Path, results: dict[str, Any]) -> None:
    """Time every part, and note sizes and findings."""
    from dual_data.config import load_relations
    from dual_data.export.lm_eval import lm_eval_files
    from dual_data.export.open_unlearning import open_unlearning_files
    from dual_data.export.tofu_json import tofu_json_files
    from dual_data.release.build import read_build
    from dual_data.release.diff import compare, read_dataset
    from dual_data.release.hub import push
    from dual_data.release.reload import reload_all
    from dual_data.release.tree import write_release
    from dual_data.release.verify import verify
    from dual_data.released import Place
    from dual_data.report.page import write_report
    from dual_data.report.read import read_built
    from tests.services.hub import TOKEN, hub

    folder, page, stages = scratch / "release", scratch / "report.html", list(STAGES)
    seconds = results["seconds"]
    with timed("read build", seconds):
        built = read_build(artifacts, stages)
    with timed("release", seconds):
        release = write_release(built, folder, name="labels")
    with timed("of it reload", seconds):
        list(reload_all(release, folder, scratch / "cache"))
    with timed("verify", seconds):
        findings = verify(Place(folder=folder))[1]
    with timed("diff", seconds):
        compare(read_dataset(str(folder)), read_dataset(str(folder)))
    texts = {}
    for export in (lm_eval_files, open_unlearning_files, tofu_json_files):
        name = export.__name__.removesuffix("_files")
        with timed(f"export {name}", seconds):
            texts[name] = export(release, Place(folder=folder))
    with timed("report", seconds):
        write_report(read_built("labels", artifacts, stages), load_relations(project / "pipeline" / "relations"), page)
    resolved = release.model_copy(update={"state": release.state.model_copy(update={"unresolved": 0})})
    with hub() as served:
        for part in ("push", "push again"):
            with timed(part, seconds):
                push(resolved, folder, "made-up/dual", f"v{len(part)}", endpoint=served.url, token=TOKEN, force=True)
    files = [file for splits in release.configs.values() for file in splits.values()]
    results["findings"] = len(findings)
    results["sizes"] = {
        "configurations": len(release.configs),
        "splits": len(files),
        "rows": sum(file.rows for file in files),
        "bytes": {
            "tables": sum(file.bytes for file in files),
            **{name: (folder / name).stat().st_size for name in ("README.md", "croissant.json", "manifest.json")},
            **{
                f"export {name} ({len(files)} files)": sum(len(text.encode()) for text in files.values())
                for name, files in texts.items()
            },
            "report.html": page.stat().st_size,
        },
    }


@contextlib.contextmanager
def timed(part: str, seconds: dict[str, list[float]]) -> Iterator[None]:
    """Note the wall and processor seconds of the block."""
    clock, processor = time.perf_counter(), time.process_time()
    yield
    seconds[part] = [round(time.perf_counter() - clock, 2), round(time.process_time() - processor, 2)]
    print(part, *seconds[part], file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
