"""A loopback server that speaks the part of the Hub's HTTP API which huggingface_hub uses for datasets and models.

Repositories live in memory: commits are snapshots {path: bytes}, large files go through LFS storage by their SHA-256,
and a commit that names an object which was never uploaded is refused, as the Hub does. Xet is not spoken.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from tests.services.loopback import Handler, serving

TOKEN = "hf_" + "m" * 34
"""The one token that may write."""
LARGE = (".parquet", ".safetensors")
MAIN = "main"


class Answer(NamedTuple):
    """What goes back to the client."""

    status: int
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


class Call(NamedTuple):
    """A request, taken apart."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    token: str

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


Files = dict[str, bytes]


@dataclass
class Repository:
    """One dataset or model."""

    private: bool
    commits: dict[str, Files] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: Files, title: str) -> str:
        """Put a snapshot on a branch; the new commit's id."""
        lines = [str(len(self.commits)), *(f"{path} {_oid(data)}" for path, data in sorted(files.items()))]
        identity = hashlib.sha1("\n".join(lines).encode()).hexdigest()
        self.commits[identity] = files
        self.titles.append(title)
        self.branches[branch] = identity
        return identity

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch, tag or id names."""
        commit = self.branches.get(revision) or self.tags.get(revision) or revision
        return commit if commit in self.commits else None

    @property
    def head(self) -> Files:
        """The files on main."""
        return self.commits[self.branches[MAIN]]


class Hub:
    """Address, repositories and storage of a running server; `before` may change or replace any answer."""

    def __init__(self) -> None:
        self.url = ""
        self.public = ""
        """Address in the links that it hands out; set to a proxy's, uploads go through that too."""
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        """Uploaded objects by SHA-256."""
        self.requests: list[tuple[str, str]] = []
        self.before: Callable[[str, str], Answer | None] = lambda method, path: None
        """An answer that it returns is given instead, and nothing is done."""
        self.after: Callable[[str, str], Answer | None] = lambda method, path: None
        """An answer that it returns is given instead, although the request was served."""
        self.lock = threading.Lock()

    def state(self) -> dict[str, Any]:
        """Everything that a reader of the Hub can see: to be compared before and after."""
        return {
            name: (dict(repository.branches), dict(repository.tags), list(repository.commits), repository.private)
            for name, repository in self.repositories.items()
        }

    def serve(self, method: str, target: str, body: bytes, token: str) -> Answer:
        """Answer one request."""
        address = urlsplit(target)
        call = Call(method, unquote(address.path), parse_qs(address.query), body, token)
        self.requests.append((method, call.path))
        if (answer := self.before(method, call.path)) is not None:
            return answer
        answer = self._route(call)
        return self.after(method, call.path) or answer

    def _route(self, call: Call) -> Answer:
        match call.path.split("/")[1:]:
            case ["storage", oid]:
                answer = self._store(oid, call.body)
            case ["api", "validate-yaml"]:
                answer = _validate(call.json()["content"])
            case ["datasets", owner, name, "resolve", revision, *path]:
                answer = self._resolve(f"{owner}/{name}", revision, "/".join(path))
            case [owner, name, "resolve", revision, *path]:
                answer = self._resolve(f"{owner}/{name}", revision, "/".join(path))
            case _ if call.method in ("POST", "DELETE") and call.token != TOKEN:
                answer = Answer(401, {"error": f"Invalid credentials: {call.token}"})
            case [*_, name, "info", "lfs", "objects", "batch"] if name.endswith(".git"):
                answer = self._batch(call.json())
            case ["api", "repos", "create"]:
                answer = self._create(call.json())
            case ["api", "repos", "delete"]:
                gone = self.repositories.pop("{organization}/{name}".format(**call.json()), None)
                answer = Answer(200 if gone else 404, {})
            case ["api", "datasets" | "models", owner, name, *rest]:
                answer = self._api(f"{owner}/{name}", rest, call)
            case _:
                answer = Answer(404, {"error": "no such route"})
        return answer

    def _create(self, options: dict[str, Any]) -> Answer:
        name = f"{options['organization']}/{options['name']}"
        if name in self.repositories:
            return Answer(409, {"error": "You already created this dataset repo"})
        repository = self.repositories[name] = Repository(options.get("visibility") == "private")
        repository.commit(MAIN, {".gitattributes": b"*.parquet filter=lfs\n"}, "initial commit")
        return Answer(200, {"url": f"{self.public}/datasets/{name}", "id": "1", "name": name})

    def _api(self, name: str, rest: list[str], call: Call) -> Answer:
        repository = self.repositories.get(name)
        if repository is None or (repository.private and call.token != TOKEN):
            return Answer(404, {"error": "Repository not found"}, (("X-Error-Code", "RepoNotFound"),))
        match [call.method, *rest]:
            case ["GET"]:
                answer = _info(name, repository, MAIN)
            case ["GET", "revision", revision]:
                answer = _info(name, repository, revision)
            case ["GET", "refs"]:
                refs = {"branches": _refs(repository.branches, "heads"), "tags": _refs(repository.tags, "tags")}
                answer = Answer(200, {**refs, "converts": []})
            case ["GET", "tree", revision, *folder]:
                answer = _tree(repository, revision, folder)
            case ["POST", "preupload", revision]:
                answer = _preupload(repository, revision, call.json())
            case ["POST", "commit", revision]:
                answer = self._commit(name, repository, revision, call)
            case ["POST", "tag", revision]:
                answer = _tag(repository, revision, call.json()["tag"])
            case _:
                answer = Answer(404, {"error": f"no such route: {rest}"})
        return answer

    def _batch(self, request: dict[str, Any]) -> Answer:
        objects = []
        for item in request["objects"]:
            entry: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.stored:
                # As storage services do, the address carries its own credentials.
                href = f"{self.public}/storage/{item['oid']}?X-Amz-Signature=signed-by-the-storage"
                entry["actions"] = {"upload": {"href": href}}
            objects.append(entry)
        return Answer(200, {"transfer": "basic", "objects": objects})

    def _store(self, oid: str, body: bytes) -> Answer:
        if hashlib.sha256(body).hexdigest() != oid:
            return Answer(400, {"error": "the content is not what its hash says"})
        self.stored[oid] = body
        return Answer(200, {})

    def _commit(self, name: str, repository: Repository, revision: str, call: Call) -> Answer:
        lines = [json.loads(line) for line in call.body.splitlines()]
        pull_request = "create_pr" in call.query
        header = lines[0]["value"]
        head = repository.resolve(revision)
        if head is None:
            return _no_revision()
        parent = header.get("parentCommit") or head
        if parent != head and not pull_request:
            return Answer(412, {"error": "A commit has happened since. Please refresh and try again."})
        files = dict(repository.commits[parent])  # a pull request begins at the commit that it names
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.stored:
                    return Answer(400, {"error": f"no object {value['oid']}"})
                files[value["path"]] = self.stored[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        branch = f"refs/pr/{len(repository.titles)}" if pull_request else revision
        identity = repository.commit(branch, files, header["summary"])
        answer = {"commitOid": identity, "commitUrl": f"{self.public}/datasets/{name}/commit/{identity}"}
        if pull_request:
            answer["pullRequestUrl"] = f"{self.public}/datasets/{name}/discussions/{branch.rpartition('/')[2]}"
        return Answer(200, answer)

    def _resolve(self, name: str, revision: str, path: str) -> Answer:
        repository = self.repositories.get(name)
        if repository is None:
            return Answer(404, {}, (("X-Error-Code", "RepoNotFound"),))
        commit = repository.resolve(revision)
        if commit is None:
            return _no_revision()
        data = repository.commits[commit].get(path)
        if data is None:
            return Answer(404, {}, (("X-Error-Code", "EntryNotFound"), ("X-Repo-Commit", commit)))
        return Answer(200, data, (("ETag", f'"{_oid(data)}"'), ("X-Repo-Commit", commit)))


def _oid(data: bytes) -> str:
    """The id that git gives the content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _no_revision() -> Answer:
    return Answer(404, {"error": "Invalid rev id"}, (("X-Error-Code", "RevisionNotFound"),))


def _refs(names: dict[str, str], kind: str) -> list[dict[str, str]]:
    return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit} for name, commit in names.items()]


def _info(name: str, repository: Repository, revision: str) -> Answer:
    commit = repository.resolve(revision)
    if commit is None:
        return _no_revision()
    siblings = [{"rfilename": path} for path in sorted(repository.commits[commit])]
    body = {"id": name, "sha": commit, "private": repository.private, "siblings": siblings, "tags": []}
    return Answer(200, body)


def _tag(repository: Repository, revision: str, tag: str) -> Answer:
    commit = repository.resolve(revision)
    if tag in repository.tags:
        return Answer(409, {"error": "Tag reference exists already"})
    if commit is None:
        return _no_revision()
    repository.tags[tag] = commit
    return Answer(200, {})


def _tree(repository: Repository, revision: str, folder: list[str]) -> Answer:
    """All files of the repository, or those below a folder of it."""
    commit = repository.resolve(revision)
    if commit is None:
        return _no_revision()
    files = [item for item in repository.commits[commit].items() if item[0].split("/")[: len(folder)] == folder]
    return Answer(200, [{"type": "file", "path": path, "size": len(data), "oid": _oid(data)} for path, data in files])


def _preupload(repository: Repository, revision: str, request: dict[str, Any]) -> Answer:
    files = repository.commits[repository.resolve(revision) or ""]
    entries = []
    for item in request["files"]:
        path = item["path"]
        large = path.endswith(LARGE)
        known = None
        if path in files:
            known = _pointer_oid(files[path]) if large else _oid(files[path])
        mode = "lfs" if large else "regular"
        entries.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": known})
    return Answer(200, {"files": entries})


def _pointer_oid(data: bytes) -> str:
    """What the Hub reports of a large file: the SHA-256 of its content."""
    return hashlib.sha256(data).hexdigest()


def _validate(content: str) -> Answer:
    import yaml

    try:
        head = yaml.safe_load(content.split("---\n")[1])
    except yaml.YAMLError as error:
        return Answer(400, {"errors": [{"message": str(error)}], "warnings": []})
    errors = [] if isinstance(head, dict) else [{"message": "no mapping"}]
    return Answer(400 if errors else 200, {"errors": errors, "warnings": []})


@contextmanager
def hub() -> Iterator[Hub]:
    """Run a Hub on a free loopback port."""
    served = Hub()

    class Own(_Handler):
        hub = served

    with serving(Own) as served.url:
        served.public = served.url
        yield served


class _Handler(Handler):
    hub: Hub

    def serve(self) -> None:
        body = self._chunked() if "chunked" in self.headers.get("Transfer-Encoding", "") else self.body()
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        with self.hub.lock:
            answer = self.hub.serve(self.command, self.path, body, token)
        data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        headers = [*answer.headers, ("Content-Type", "application/json")]
        if answer.status >= 400 and isinstance(answer.body, dict) and "error" in answer.body:
            headers.append(("X-Error-Message", str(answer.body["error"])))
        self.answer(answer.status, headers, data)

    def _chunked(self) -> bytes:
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)
