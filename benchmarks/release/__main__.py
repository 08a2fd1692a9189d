"""Build from labels, then time what a release takes: python -m benchmarks.release [FOLDER]."""

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

ROOT = Path(__file__).resolve().parents[2]
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
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data" / "wikidata_triplets")
    chosen = parser.parse_args()
    if not any(chosen.folder.glob("*.csv")):
        parser.error(f"{chosen.folder}: no CSV files of subjectLabel, relation, objectLabel there")
    # Read by the Hub's client when it is imported.
    os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    print(f"load of this machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as name:
        os.environ["HF_HOME"] = f"{name}/home"
        measure(build(Path(name) / "project", chosen.folder.resolve()), Path(name))
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def build(project: Path, folder: Path) -> Path:
    """A build of the labels; the folder of its artifacts."""
    from dual_data.cli import main as dual_data

    for part in ("pipeline", "prompts"):
        shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "pipeline" / "labels.toml").write_text(PROFILE.format(folder=folder))
    with contextlib.suppress(SystemExit):
        dual_data(["build", "--project", str(project), "--profile", "labels"])
    return project / "artifacts" / "labels"


def measure(artifacts: Path, scratch: Path) -> None:
    """Print a line a part, and what came out."""
    from dual_data.export.lm_eval import lm_eval_files
    from dual_data.export.open_unlearning import open_unlearning_files
    from dual_data.export.tofu_json import tofu_json_files
    from dual_data.release.build import read_build
    from dual_data.release.diff import compare, read_snapshot
    from dual_data.release.hub import push
    from dual_data.release.reload import reload_all
    from dual_data.release.tree import write_release
    from dual_data.release.verify import verify
    from dual_data.released import Place
    from tests.services.hub import TOKEN, hub

    folder = scratch / "release"
    with timed("read build"):
        made = read_build(artifacts, ["facts", "links", "questions", "knowledge", "salience", "splits"])
    with timed("release"):
        release = write_release(made, folder, name="labels")
    with timed("of it reload"):
        list(reload_all(release, folder, scratch / "cache"))
    with timed("verify"):
        findings = verify(Place(folder=folder))[1]
    with timed("diff"):
        compare(read_snapshot(str(folder)), read_snapshot(str(folder)))
    with timed("exports"):
        counts = [
            len(export(release, Place(folder=folder)))
            for export in (lm_eval_files, open_unlearning_files, tofu_json_files)
        ]
    resolved = release.model_copy(update={"state": release.state.model_copy(update={"unresolved": 0})})
    with hub() as served:
        for part in ("push", "push again"):
            with timed(part):
                push(resolved, folder, "made-up/dual", f"v{len(part)}", endpoint=served.url, token=TOKEN, force=True)
    files = [file for splits in release.configs.values() for file in splits.values()]
    print(f"\n{len(release.configs)} configurations, {len(files)} splits, {sum(file.rows for file in files):,} rows")
    print(f"tables {sum(file.bytes for file in files) / 1e6:.1f} MB", end="")
    for name in ("README.md", "croissant.json", "manifest.json"):
        print(f", {name} {(folder / name).stat().st_size / 1e6:.2f} MB", end="")
    print(f"\nfindings of verify: {len(findings)}; files of the exports: {', '.join(map(str, counts))}")
    for config, splits in release.configs.items():
        print(f"  {config:<16}{len(splits):>5} splits {sum(file.rows for file in splits.values()):>9,} rows")
    for config, reason in release.absent.items():
        print(f"  {config:<16}absent: {reason}")


@contextlib.contextmanager
def timed(part: str) -> Iterator[None]:
    """Print the seconds that the block took, by the clock and by the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    yield
    print(f"{part:<14}{time.perf_counter() - clock:>8.1f} s ({time.process_time() - processor:.1f})")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
