"""Scratch memory: what a step on a CPU frees and takes again, hundreds of megabytes each time.

glibc gives freed memory of that size back to the kernel, which zeroes it page by page before the next step has it:
a third of the time of a training step (docs/log.md). A process that computes keeps it instead.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

# malloc.h and sys/mman.h of glibc on Linux
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
MADV_HUGEPAGE = 14
HUGE_PAGE_BYTES = 2 << 20
ACCELERATORS = ("nvidia[0-9]*", "dxg", "kfd", "accel*", "vfio/[0-9]*")  # in /dev: GPUs, also under WSL, and TPUs


def keep_scratch_memory() -> bool:
    """Let freed memory stay in this process, in one heap on huge pages; False where that is not for us to say.

    To be called by a command before jax has devices: threads that jax has started then keep heaps of their own. It
    is for glibc on Linux, where no accelerator does the work, and where nobody has tuned malloc by its environment
    variables. Memory that was in use once stays with the process to its end, so it is for steps that are repeated.
    """
    tuned = "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "") or any(
        name.startswith("MALLOC_") for name in os.environ
    )
    if sys.platform != "linux" or tuned or _expects_accelerator():
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    # Large pieces come from the heap too, its free end is never given back, and all threads share it.
    for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_ARENA_MAX, 1)):
        libc.mallopt(parameter, value)
    if _addresses_are_free():
        _ask_for_huge_pages(libc, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    return True


def _ask_for_huge_pages(libc: ctypes.CDLL, num_bytes: int) -> None:
    """Stretch the heap over addresses that no memory is behind yet, and mark them: pages of 2 MiB, once touched."""
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if address := libc.malloc(num_bytes):
        start = -(-address // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
        libc.madvise(start, address + num_bytes - start, MADV_HUGEPAGE)
        libc.free(address)


def _addresses_are_free() -> bool:
    """Whether stretching the heap takes nothing from anybody: addresses are limited neither for this process nor, by
    a kernel that counts what is promised, for all together."""
    import resource

    limits = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    if any(resource.getrlimit(limit)[0] != resource.RLIM_INFINITY for limit in limits):
        return False
    promises = Path("/proc/sys/vm/overcommit_memory")
    return not promises.exists() or promises.read_text().strip() != "2"


def _expects_accelerator(devices: Path = Path("/dev")) -> bool:
    """Whether jax will find more than CPUs: asked before it looks, since it starts its threads then."""
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    import jax

    if asked := jax.config.jax_platforms:  # type: ignore[attr-defined]
        return bool(asked.split(",")[0] != "cpu")
    able = find_spec("libtpu") is not None or entry_points(group="jax_plugins")
    return bool(able) and any(any(devices.glob(pattern)) for pattern in ACCELERATORS)
