"""Hub server: the Hugging Face Hub's protocol over HTTP, reading and writing, for the real client.

with serve({"org/name": Repository({"main": {"config.json": b"{}"}})}) as hub:
    command(..., **hub.environment(tmp_path))

A route is a method, a pattern and a function of the matched names, and of the body where the method has one.
Writing wants TOKEN; READ_TOKEN, of the same user, only reads. What is to go wrong is listed in `hub.faults`.
A commit is what the client makes of one: a list of regular files and of large ones, whose content was sent before it
under its SHA-256 (the LFS batch protocol, without its parts and without xet).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from types import SimpleNamespace
from typing import Literal
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_test"
READ_TOKEN = "hf_read"
USER = "me"
Files = dict[str, bytes]


@dataclass
class Repository:
    """A repository: the files of each branch, tag or other ref. A data set's id begins with `datasets/`.

    To anybody without TOKEN a private one is not there, and a gated one shows its list of files only.
    """

    refs: dict[str, Files]
    private: bool = False
    gated: bool = False

    def commit(self, revision: str) -> str:
        """The commit that a ref stands at: a name of what it holds."""
        digest = hashlib.sha1()
        for name, data in sorted(self.refs[revision].items()):
            digest.update(f"{name} {len(data)} ".encode() + data)
        return digest.hexdigest()

    def ref(self, revision: str) -> str | None:
        """The ref of this name, or one that stands at this commit."""
        if revision in self.refs:
            return revision
        return next((name for name in self.refs if self.commit(name) == revision), None)


@dataclass
class Fault:
    """What becomes of the next `times` requests whose "METHOD path" matches `where`."""

    where: str
    times: int = 1
    status: int = 0  # refused with this status
    retry_after: int | None = None
    drop: Literal["", "upload", "download"] = ""  # the connection is cut within the body that comes, or that goes
    seconds: float = 0.0  # passed before anything else


@dataclass
class Hub:
    """A running server: its repositories by id, and the log of its requests as (method, path)."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    url: str = ""
    large: dict[str, bytes] = field(default_factory=dict)  # contents by SHA-256
    commits: list[tuple[str, str, str]] = field(default_factory=list)  # (repository, branch, message)
    requests: list[tuple[str, str]] = field(default_factory=list)
    tokens: dict[str, Literal["write", "read"]] = field(default_factory=lambda: {TOKEN: "write", READ_TOKEN: "read"})
    faults: list[Fault] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    waited: list[float] = field(default_factory=list)  # seconds that an adopting process would have slept

    def adopt(self, monkeypatch: pytest.MonkeyPatch, home: Path, token: str) -> None:
        """Let this process and its children talk to this server; here pauses are noted in `waited`, not made.

        The client read its settings when it was imported.
        """
        from huggingface_hub import HfApi, constants

        for name, value in self.environment(home, token).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "ENDPOINT", self.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: HfApi(endpoint=self.url))
        clock = SimpleNamespace(sleep=self.waited.append, monotonic=lambda: sum(self.waited), time=time.time)
        for module in ("interface.push", "huggingface_hub.utils._http"):
            monkeypatch.setattr(f"{module}.time", clock)

    def fault(self, request: str) -> Fault | None:
        """The first fault that waits for such a request; it has one time less from now on."""
        with self.lock:
            found = next((fault for fault in self.faults if fault.times and re.search(fault.where, request)), None)
            if found:
                found.times -= 1
            return found

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """What a command needs to talk to this server and to nobody else."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home / "hf_home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": token or "",
        }

    def fetched(self) -> set[str]:
        """Names of the files whose content was sent."""
        return {path.rsplit("/", 1)[1] for method, path in self.requests if method == "GET" and "/resolve/" in path}


class NotThere(Exception):
    """A refusal: status and X-Error-Code as the Hub gives them."""

    def __init__(self, status: int, code: str, message: str, **more: str) -> None:
        self.status, self.code, self.message, self.more = status, code, message, more


Answer = tuple[bytes, dict[str, str]]


def find(hub: Hub, model: str, revision: str, token: str | None) -> tuple[Repository, str]:
    repository = hub.repositories.get(model)
    if repository is None or (repository.private and token not in hub.tokens):
        # 401 without a token, 404 with one: the Hub never says whether a private repository exists
        raise NotThere(404 if token else 401, "RepoNotFound", "Repository not found")
    ref = repository.ref(revision)
    if ref is None:
        raise NotThere(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return repository, ref


def as_json(value: object) -> Answer:
    return json.dumps(value).encode(), {"Content-Type": "application/json"}


def info(hub: Hub, token: str | None, model: str, revision: str = "main") -> Answer:
    repository, ref = find(hub, model, revision, token)
    return as_json({
        "_id": model, "id": model, "modelId": model, "sha": repository.commit(ref), "private": repository.private,
        "tags": [], "siblings": [{"rfilename": name} for name in repository.refs[ref]],
    })  # fmt: skip


def tree(hub: Hub, token: str | None, model: str, revision: str) -> Answer:
    repository, ref = find(hub, model, revision, token)
    return as_json([
        {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        for name, data in repository.refs[ref].items()
    ])  # fmt: skip


def content(hub: Hub, token: str | None, model: str, revision: str, name: str) -> Answer:
    repository, ref = find(hub, model, revision, token)
    if repository.gated and token not in hub.tokens:
        raise NotThere(403 if token else 401, "GatedRepo", f"Access to model {model} is restricted")
    if name not in repository.refs[ref]:
        raise NotThere(404, "EntryNotFound", f"{name} is not in this revision")
    data = repository.refs[ref][name]
    return data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": repository.commit(ref)}


# --- writing ------------------------------------------------------------------------------------------------------

LARGE = (".safetensors", ".msgpack", ".bin")  # as the Hub's .gitattributes has it


OTHERS = "somebody-else/"  # whose repositories nobody here may write to


def signed_in(hub: Hub, token: str | None) -> str:
    if token not in hub.tokens:
        raise NotThere(401, "", "Invalid username or password.")
    return hub.tokens[token]


def whoami(hub: Hub, token: str | None) -> Answer:
    role = signed_in(hub, token)
    return as_json({"type": "user", "name": USER, "orgs": [], "auth": {"accessToken": {"role": role}}})


def writable(hub: Hub, token: str | None, model: str) -> Repository:
    role = signed_in(hub, token)
    if model not in hub.repositories:
        raise NotThere(404, "RepoNotFound", "Repository not found")
    if role == "read" or model.startswith(OTHERS):
        raise NotThere(403, "", f"You don't have the rights to write to {model}")
    return hub.repositories[model]


def check_write(hub: Hub, token: str | None, model: str) -> Answer:
    writable(hub, token, model)
    return as_json({})


def branch_of(repository: Repository, revision: str) -> Files:
    if revision not in repository.refs:
        raise NotThere(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return repository.refs[revision]


def create(hub: Hub, token: str | None, body: bytes) -> Answer:
    asked = json.loads(body)
    model = f"{asked['organization'] or USER}/{asked['name']}"
    if signed_in(hub, token) == "read" or model.startswith(OTHERS):
        raise NotThere(403, "", "You don't have the rights to create a model under this namespace")
    if model in hub.repositories:
        raise NotThere(409, "", "You already created this model repo", url=f"{hub.url}/{model}")
    hub.repositories[model] = Repository({"main": {}}, private=asked.get("visibility") == "private")
    return as_json({"url": f"{hub.url}/{model}"})


def create_branch(hub: Hub, token: str | None, model: str, revision: str, body: bytes) -> Answer:
    repository = writable(hub, token, model)
    if revision in repository.refs:
        raise NotThere(409, "", f"Reference already exists: {revision}")
    repository.refs[revision] = dict(branch_of(repository, json.loads(body).get("startingPoint", "main")))
    return as_json({})


def preupload(hub: Hub, token: str | None, model: str, revision: str, body: bytes) -> Answer:
    """Say how each file is to be sent, and what stands there under its name."""
    there = branch_of(writable(hub, token, model), revision)

    def told(name: str) -> dict[str, object]:
        large, data = name.endswith(LARGE), there.get(name)
        blob = None if data is None else b"blob %d\0" % len(data) + data
        oid = None if blob is None else hashlib.sha256(data).hexdigest() if large else hashlib.sha1(blob).hexdigest()
        return {"path": name, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    return as_json({"files": [told(file["path"]) for file in json.loads(body)["files"]]})


def batch(hub: Hub, token: str | None, model: str, body: bytes) -> Answer:
    """Where to send large contents; one that is here already needs no sending."""
    writable(hub, token, model)
    wanted = json.loads(body)["objects"]
    return as_json({
        "transfer": "basic",
        "objects": [
            thing if thing["oid"] in hub.large
            else thing | {"actions": {"upload": {"href": f"{hub.url}/large/{thing['oid']}"}}}
            for thing in wanted
        ],
    })  # fmt: skip


def receive(hub: Hub, token: str | None, oid: str, body: bytes) -> Answer:
    if hashlib.sha256(body).hexdigest() != oid:
        raise NotThere(422, "", "content does not have the announced SHA-256")
    hub.large[oid] = body
    return b"", {}


def commit(hub: Hub, token: str | None, model: str, revision: str, body: bytes) -> Answer:
    repository = writable(hub, token, model)
    files = dict(branch_of(repository, revision))
    message = ""
    for line in body.splitlines():
        entry = json.loads(line)
        key, value = entry["key"], entry["value"]
        if key == "header":
            message = value["summary"]
        elif key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            if value["oid"] not in hub.large:
                raise NotThere(400, "", f"content of {value['path']} was never sent")
            files[value["path"]] = hub.large[value["oid"]]
        elif key == "deletedFile":
            files.pop(value["path"], None)
        elif key == "deletedFolder":
            files = {name: data for name, data in files.items() if not name.startswith(value["path"])}
        else:
            raise NotThere(400, "", f"unknown entry {key}")
    repository.refs[revision] = files  # all of it or, above, nothing
    hub.commits.append((model, revision, message))
    oid = repository.commit(revision)
    return as_json({"commitUrl": f"{hub.url}/{model}/commit/{oid}", "commitOid": oid})


def validate_card(hub: Hub, token: str | None, body: bytes) -> Answer:
    return as_json({"errors": [], "warnings": []})


# (method, pattern of the quoted path, answer); a HEAD is answered as a GET without its body.
ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", r"/(?P<model>datasets/[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)", content),
    ("GET", r"/api/models/(?P<model>[^/]+/[^/]+)", info),
    ("GET", r"/api/models/(?P<model>[^/]+/[^/]+)/revision/(?P<revision>[^/]+)", info),
    ("GET", r"/api/models/(?P<model>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)/?", tree),
    ("GET", r"/(?P<model>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)", content),
    ("GET", r"/api/whoami-v2", whoami),
    ("GET", r"/api/models/(?P<model>[^/]+/[^/]+)/auth-check/write", check_write),
    ("POST", r"/api/repos/create", create),
    ("POST", r"/api/models/(?P<model>[^/]+/[^/]+)/branch/(?P<revision>[^/]+)", create_branch),
    ("POST", r"/api/models/(?P<model>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)", preupload),
    ("POST", r"/(?P<model>[^/]+/[^/]+)\.git/info/lfs/objects/batch", batch),
    ("PUT", r"/large/(?P<oid>[0-9a-f]{64})", receive),
    ("POST", r"/api/models/(?P<model>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)", commit),
    ("POST", r"/api/validate-yaml", validate_card),
]


@contextmanager
def serve(repositories: dict[str, Repository]) -> Iterator[Hub]:
    """Run a hub on a free port of this machine until the block ends."""
    hub = Hub(repositories)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            path = urlsplit(self.path).path
            hub.requests.append((self.command, unquote(path)))
            said = self.headers.get("Authorization", "")
            token = said.removeprefix("Bearer ") or None
            method = "GET" if self.command == "HEAD" else self.command
            self.wrong = hub.fault(f"{self.command} {unquote(path)}") or Fault("")
            time.sleep(self.wrong.seconds)
            if self.wrong.drop == "upload":
                self.rfile.read(1)
                self.cut()
                return
            more = {"body": self.body()} if method in ("POST", "PUT") else {}
            try:
                if self.wrong.status:
                    raise NotThere(self.wrong.status, "", "out of order")
                for wanted, pattern, function in ROUTES:
                    match = re.fullmatch(pattern, path) if wanted == method else None
                    if match:
                        names = {name: unquote(value) for name, value in match.groupdict().items()}
                        self.reply(200, *function(hub, token, **names, **more))
                        return
                raise NotThere(404, "NotFound", f"no route for {self.command} {path}")
            except NotThere as refusal:
                headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
                if self.wrong.retry_after is not None:
                    headers["Retry-After"] = str(self.wrong.retry_after)
                self.reply(refusal.status, json.dumps({"error": refusal.message} | refusal.more).encode(), headers)

        def body(self) -> bytes:
            """What was sent, whole or in chunks."""
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.wrong.drop == "download":
                self.wfile.write(body[: len(body) // 2])
                self.cut()
            elif self.command != "HEAD":
                self.wfile.write(body)

        def cut(self) -> None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
