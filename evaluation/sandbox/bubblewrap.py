"""bubblewrap: how the zygote of untrusted programs is started, and what to do where the system does not let it."""

from __future__ import annotations

import os
import shutil
import site
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import SandboxUnavailable
from .launch import FIRST, STAGE

INSIDE = Path(__file__).parent / "inside"
NOBODY = 65534  # who they are to themselves
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",  # a numpy of many threads reserves more address space than a program may have
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def interpreter_folders() -> dict[str, str]:
    """What Python needs here, by where the sandbox has it: its prefix where it is, the folders of packages elsewhere.

    A clone, and so its environment, may lie below /tmp, which every program has empty.
    """
    prefix = os.path.realpath(sys.base_prefix)
    found = {} if _lies_in(prefix, "/usr") else {prefix: prefix}
    return found | {target: source for source, target in packages().items() if target != source}


def packages() -> dict[str, str]:
    """The folders of installed packages, and where the sandbox has each."""
    shared = ("/usr", os.path.realpath(sys.base_prefix))
    return {
        folder: folder if any(_lies_in(folder, there) for there in shared) else f"/sandbox/packages-{number}"
        for number, folder in enumerate(sys_path_of_packages())
        if os.path.isdir(folder)  # noqa: PTH112
    }


def _lies_in(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def python_command(namespaces: bool, inside: str, warm: Sequence[str]) -> list[str]:
    """The zygote's interpreter: without site, without the current folder, `inside` and the packages on its path."""
    paths = [str(Path(inside).parent), *(packages().values() if namespaces else packages())]
    start = f"import sys; sys.path += {paths!r}; from inside import zygote; zygote.main(sys.argv[1:])"
    executable = os.path.realpath(sys.executable)
    words = [executable, "-S", "-s", "-P", "-B", "-X", "utf8", "-c", start]
    return [*words, str(FIRST), str(FIRST + 1), "yes" if namespaces else "no", os.uname().machine, *warm]


def sys_path_of_packages() -> list[str]:
    """The folders of installed packages. The worker runs without site, so it looks itself for a virtual environment."""
    environment = Path(sys.executable).parent.parent
    prefixes = [str(environment)] if (environment / "pyvenv.cfg").is_file() else None
    return sorted({os.path.realpath(path) for path in site.getsitepackages(prefixes)})


def zygote_command(
    warm: Sequence[str], *, unsafe: bool, hash_seed: int = 0
) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """The zygote's command, its environment, and the folders to bind before it (see launch.py), where there are any."""
    environment = ENVIRONMENT | {"PYTHONHASHSEED": str(hash_seed)}
    if unsafe:
        return python_command(False, str(INSIDE), warm), environment, {}
    sources = interpreter_folders() | {"/sandbox/inside": str(INSIDE)}
    binds: dict[str, str] = {}
    if os.geteuid() == 0:
        staged = {target: f"{STAGE}/{number}" for number, target in enumerate(sources)}
        binds = {staged[target]: source for target, source in sources.items()}
        sources = staged
    words = bubblewrap_command(sources, environment) + python_command(True, "/sandbox/inside", warm)
    return words, {}, binds


def bubblewrap_command(sources: dict[str, str], environment: dict[str, str]) -> list[str]:
    """bubblewrap up to the command: `sources` maps folders of the sandbox to where they are now, all read-only."""
    words = [find_bubblewrap(), "--unshare-user", "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1"]
    words += ["--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "sandbox"]
    # for the zygote alone, in its own user namespace: each program gets namespaces of its own and keeps nothing of
    # these
    words += ["--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP"]
    words += ["--ro-bind", "/usr", "/usr"]
    for name in ("lib", "lib64", "lib32", "bin"):
        folder = Path("/", name)
        if folder.is_symlink():
            words += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            words += ["--ro-bind", str(folder), str(folder)]
    for target, source in sources.items():
        words += ["--ro-bind", source, target]
    for device in DEVICES:
        words += ["--dev-bind", device, device]
    words += ["--dir", "/tmp", "--chdir", "/tmp", "--remount-ro", "/"]
    for name, value in environment.items():
        words += ["--setenv", name, value]
    return [*words, "--"]


def find_bubblewrap() -> str:
    path = shutil.which("bwrap")
    if path is None:
        raise SandboxUnavailable(
            "bubblewrap (the program bwrap) is not installed; it isolates the code that a model writes. Install it: "
            "sudo apt-get install bubblewrap (Debian, Ubuntu), dnf install bubblewrap (Fedora); it needs Linux"
        )
    return path


def unavailable(said: str, root: Path = Path("/")) -> SandboxUnavailable:
    """The error for a bubblewrap that did not start, from what it said and what the system says of itself."""

    def setting(name: str) -> str:
        try:
            return (root / "proc/sys" / name).read_text().strip()
        except OSError:
            return ""

    said = " ".join(said.split()) or "nothing"
    if setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        cause = "AppArmor keeps programs without a profile from making user namespaces (Ubuntu 23.10 and newer)"
        cure = (
            f"sudo cp {Path(__file__).parent / 'bwrap.apparmor'} /etc/apparmor.d/bwrap && "
            "sudo apparmor_parser -r /etc/apparmor.d/bwrap"
        )
    elif setting("kernel/unprivileged_userns_clone") == "0":
        cause, cure = "kernel.unprivileged_userns_clone is 0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    elif setting("user/max_user_namespaces") == "0":
        cause, cure = "user.max_user_namespaces is 0", "sudo sysctl -w user.max_user_namespaces=15000"
    elif any((root / name).exists() for name in (".dockerenv", "run/.containerenv")):
        cause = "this container may not make namespaces (Docker's default profiles forbid it)"
        cure = (
            "start it with --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined, or score outside the container"
        )
    else:
        cause = "the system does not let it make its namespaces"
        cure = "see docs/sandbox.md, or score on a machine where `bwrap --unshare-all --ro-bind / / true` works"
    return SandboxUnavailable(
        f"the sandbox did not start: {cause}; bubblewrap said: {said}. Cure: {cure}. (--unsafe-no-sandbox runs the "
        "code without isolation: only for programs that you trust)"
    )
