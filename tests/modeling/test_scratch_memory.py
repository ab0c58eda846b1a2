"""Freed memory stays in a process that asked for it, and only where that is ours to say."""

from __future__ import annotations

import os
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


@pytest.fixture(autouse=True)
def untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests' own environment says of malloc is not theirs."""
    for name in list(os.environ):
        if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES":
            monkeypatch.delenv(name)


def run(script: str, **environment: str) -> list[str]:
    return succeed("-c", script, **({"JAX_PLATFORMS": "cpu"} | environment)).split()


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
    ids=lambda environment: next(iter(environment)),
)
def test_a_malloc_that_the_environment_tunes_is_left_as_it_is(environment: dict[str, str]) -> None:
    kept, again = run(CALL + AGAIN, **environment)
    _, plain = run("kept = False\n" + AGAIN, **environment)
    assert kept == "False" and int(again) > int(plain) // 2, (kept, again, plain)


def test_tunables_of_something_else_do_not_matter() -> None:
    assert run(CALL + "print(kept)", GLIBC_TUNABLES="glibc.rtld.optional_static_tls=2048") == ["True"]


@pytest.mark.parametrize(
    ("platforms", "installed", "device", "expected"),
    [
        ("", "libtpu", "vfio/0", True), ("", "libtpu", "accel0", True), ("", "libtpu", "tty0", False),
        ("", "nothing", "nvidia0", False), ("cpu", "libtpu", "accel0", False), ("tpu,cpu", "nothing", "tty0", True),
    ],
)  # fmt: skip
def test_an_accelerator_is_expected_where_its_plugin_and_the_device_are_there(
    tmp_path: Path, platforms: str, installed: str, device: str, expected: bool
) -> None:
    (tmp_path / "packages" / installed).mkdir(parents=True)
    (tmp_path / "packages" / installed / "__init__.py").touch()
    (tmp_path / "dev" / device).parent.mkdir(parents=True)
    (tmp_path / "dev" / device).touch()
    script = f"""
from importlib import metadata
from pathlib import Path
metadata.entry_points = lambda group: []
from modeling import scratch_memory
print(scratch_memory._expects_accelerator(Path({str(tmp_path / "dev")!r})))
scratch_memory._expects_accelerator = lambda: {expected}
print(scratch_memory.keep_scratch_memory())
"""
    assert run(script, JAX_PLATFORMS=platforms, PYTHONPATH=str(tmp_path / "packages")) == [
        str(expected), str(not expected)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("training.run_clm_streaming_flax", "--model_name_or_path m --output_dir o --do_train"),
        ("training.run_clm_apps", "--model_name_or_path m --output_dir o --do_train"),
        ("evaluation.__main__", "bits_per_byte --models m --data_dir d"),
    ],
)
def test_commands_that_repeat_steps_keep_it_before_jax_has_devices(command: str, words: str) -> None:
    script = f"""
import sys
from jax._src.xla_bridge import backends_are_initialized
from modeling import scratch_memory
def called():
    print("called", backends_are_initialized())
    sys.exit()
scratch_memory.keep_scratch_memory = called
sys.argv = ["command", *{words.split()!r}]
from {command} import main
main()
"""
    assert run(script) == ["called", "False"]
