"""The self-test: a few attacks from within before any program is run."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .errors import IsolationIneffective
from .jobs import Job, Limits, Outcome
from .session import Session

JUDGE = f"{__name__}:judge"

# Each function is one attack and returns what it got hold of, or None. They are given what the host laid out for them.
ATTACKS = """
import ctypes, os, resource, socket, sys

libc = ctypes.CDLL(None, use_errno=True)

def attempt(what):
    try:
        return what()
    except BaseException:
        return None

def root(facts):
    return "runs as root" if 0 in (os.getuid(), os.geteuid(), os.getgid()) else None

def files(facts):
    if attempt(lambda: open(facts["secret_file"]).read()):
        return "reads the host's files"

def writing(facts):
    library, secret = os.path.dirname(os.__file__), os.path.dirname(facts["secret_file"])
    for folder in ("/", "/usr", "/dev", "/dev/shm", library, secret):
        if attempt(lambda: open(folder + "/.sandbox-self-test", "w")):
            return "writes to " + folder

def environment(facts):
    if facts["secret"] in str(dict(os.environ)) or attempt(lambda: facts["secret"] in open("/proc/1/environ").read()):
        return "sees the environment"

def network(facts):
    def connect():
        with socket.socket() as end:
            end.connect(("127.0.0.1", facts["port"]))
            return True
    return "reaches the network" if attempt(connect) else None

def processes(facts):
    for process in facts["processes"]:
        if attempt(lambda: os.kill(process, 0) or True):
            return "sees processes of the host"

def forking(facts):
    process = attempt(os.fork)
    if process == 0:
        os._exit(0)
    return "starts processes" if process else None

def namespaces(facts):
    for flags in (0x10000000, 0x00020000, 0x20000000):
        if libc.unshare(flags) == 0:
            return "makes namespaces"
    return "mounts" if libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None) == 0 else None

def memory(facts):
    return "takes memory without limit" if attempt(lambda: len(bytearray(8 << 30))) else None

def space(facts):
    def fill():
        with open("/tmp/full", "wb") as file:
            for _ in range(4 * facts["file_bytes"] >> 20):
                file.write(bytes(1 << 20))
        return True
    return "fills /tmp without limit" if attempt(fill) else None

def privileges(facts):
    return "keeps a privilege" if libc.setuid(0) == 0 or libc.chroot(b"/") == 0 else None

def all_of_them(facts):
    attacks = (root, files, writing, environment, network, processes, forking, namespaces, memory, space, privileges)
    return [found for found in (attack(facts) for attack in attacks) if found]

def hang():
    while True:
        pass
"""


def judge(session: Session, payload: dict[str, Any]) -> tuple[str, Any]:
    """The trusted side: passed where no attack got anything."""
    session.load(ATTACKS)
    if payload["hang"]:
        session.call("hang")
    found = session.call("all_of_them", payload)
    return ("failed", found) if found else ("passed", [])


def run(judge_all: Callable[[Iterable[Job]], Iterator[Outcome]]) -> None:
    """Raise IsolationIneffective unless every attack comes to nothing."""
    secret = os.urandom(12).hex()
    limits = Limits(seconds=20.0)
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        Path(folder).chmod(0o755)
        file = Path(folder, "secret")
        file.write_text(secret)
        os.environ["SANDBOX_SELF_TEST"] = secret
        try:
            facts = {
                "secret": secret, "secret_file": str(file), "port": server.getsockname()[1], "hang": False,
                "processes": [os.getpid(), os.getppid()], "file_bytes": limits.file_bytes,
            }  # fmt: skip
            jobs = [Job("attacks", JUDGE, facts, limits), Job("hang", JUDGE, facts | {"hang": True}, Limits(0.3))]
            outcomes = {outcome.key: outcome for outcome in judge_all(jobs)}
        finally:
            del os.environ["SANDBOX_SELF_TEST"]
    attacks = outcomes["attacks"]
    found = attacks.detail if isinstance(attacks.detail, list) else [f"could not be looked into: {attacks.detail}"]
    if outcomes["hang"].status != "timed out":
        found.append("runs past its time")
    if found:
        raise IsolationIneffective(
            f"the sandbox does not hold on this machine: a program in it {', '.join(map(str, found))}. Nothing "
            "was run; see docs/sandbox.md (--unsafe-no-sandbox runs the code without isolation: only for programs that "
            "you trust)"
        )
