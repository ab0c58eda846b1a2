"""The launcher's functions: run.sh reads all of these files, and the last of a name would win in silence."""

from __future__ import annotations

import re
from collections import Counter

from tests.conftest import ROOT


def test_no_two_files_that_run_sh_reads_define_a_function_of_one_name():
    files = [ROOT / "run.sh", *(ROOT / "launch").glob("*.sh"), *(ROOT / "launch" / "recipes").glob("*.sh")]
    own = {"local_gpus.sh", "slurm.sh", "tpu_vm.sh"}  # programs of their own
    names = Counter(name for file in files if file.name not in own
                    for name in re.findall(r"^(\w+)\(\)", file.read_text(), re.M))  # fmt: skip
    assert not [name for name, times in names.items() if times > 1]
