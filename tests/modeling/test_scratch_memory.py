"""Freed memory stays in a process that asked for it, and only where that is ours to say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import succeed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="malloc of Linux's glibc")

FAULTS = """
import resource
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
"""
# How many pages the kernel gives to ten runs of a function of many large temporary arrays.
AGAIN = (
    FAULTS
    + """
import jax, numpy
jax.config.update("jax_cpu_enable_async_dispatch", False)
@jax.jit
def step(x):
    for n in range(6):
        x = (x @ x).sum(1) + x[::-1].cumsum(0)
    return x
x = numpy.ones((2048, 2048), numpy.float32)
for n in range(5):
    step(x).block_until_ready()
before = faults()
for n in range(10):
    step(x).block_until_ready()
print(kept, faults() - before)
"""
)
# And to 64 MB that were never in use.
NEW = FAULTS + "before = faults(); new = bytearray(64 << 20); new[::4096] = bytes(1 << 14); print(faults() - before)"
# Whether what a thread allocates lies in the one heap of the process.
THREAD = """
import ctypes, threading
def look():
    piece = bytearray(100_000)
    address = ctypes.addressof(ctypes.c_char.from_buffer(piece))
    for line in open("/proc/self/maps"):
        low, high = (int(word, 16) for word in line.split()[0].split("-"))
        if low <= address < high:
            print(line.split()[-1])
thread = threading.Thread(target=look)
thread.start(), thread.join()
"""
CALL = "from modeling.scratch_memory import keep_scratch_memory; kept = keep_scratch_memory()\n"


def run(script: str, **environment: str) -> list[str]:
    return succeed("-c", script, JAX_PLATFORMS="cpu", **environment).split()


def huge_pages() -> bool:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return setting.exists() and "[madvise]" in setting.read_text()


def test_a_repeated_step_gets_no_new_pages_from_the_kernel() -> None:
    kept, again = run(CALL + AGAIN)
    _, plain = run("kept = False\n" + AGAIN)
    assert kept == "True" and int(again) < int(plain) // 10, (kept, again, plain)


def test_threads_take_their_memory_from_the_one_heap() -> None:
    assert run(CALL + THREAD) == ["[heap]"] != run(THREAD)


@pytest.mark.skipif(not huge_pages(), reason="this kernel gives huge pages to all or to nobody")
def test_new_memory_comes_in_huge_pages() -> None:
    (count,), (plain,) = run(CALL + NEW), run(NEW)
    assert int(count) < int(plain) // 10, (count, plain)


def test_under_a_limit_of_addresses_none_are_reserved_and_memory_is_kept_all_the_same() -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 36, 1 << 36))\n"
    gibibytes = "print(int(next(l for l in open('/proc/self/status') if l.startswith('VmData')).split()[1]) >> 20)\n"
    free, limited = int(run(CALL + gibibytes)[0]), int(run(limit + CALL + gibibytes)[0])
    assert free - limited >= 1, (free, limited)
    kept, again = run(limit + CALL + AGAIN)
    assert kept == "True" and int(again) < 100_000, (kept, again)


@pytest.mark.parametrize(
    "environment",
    [{"MALLOC_ARENA_MAX": "2"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}],
    ids=lambda x: next(iter(x)),
)
def test_a_malloc_that_the_environment_tunes_is_left_as_it_is(environment: dict[str, str]) -> None:
    kept, again = run(CALL + AGAIN, **environment)
    assert kept == "False" and int(again) > 100_000, (kept, again)


def test_where_an_accelerator_does_the_work_memory_is_given_back(tmp_path: Path) -> None:
    script = CALL + "print(kept)"
    assert succeed("-c", script, JAX_PLATFORMS="tpu,cpu").strip() == "False"
    assert succeed("-c", script, JAX_PLATFORMS="cpu").strip() == "True"
    (tmp_path / "libtpu").mkdir()
    (tmp_path / "libtpu" / "__init__.py").touch()
    assert succeed("-c", script, JAX_PLATFORMS="", PYTHONPATH=str(tmp_path)).strip() == "False"
