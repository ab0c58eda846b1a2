"""Processes that are started beside a command."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.conftest import ROOT

PARENT = """
import time
from interface.workers import start_process
if __name__ == "__main__":
    print(start_process(time.sleep, 600).pid, flush=True)
    time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_ends_with_a_parent_that_was_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    time.sleep(1)  # until it is in its function, or else it could not have been told
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(600):
        if not alive(pid):
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    raise AssertionError("it goes on without its parent")
