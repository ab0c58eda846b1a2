"""What the launcher finds out about its machine (launch/platform.sh)."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(("vendor", "device", "wanted"), [
    ("0x1ae0", "0x0063", "tpu"), ("0x1ae0", "0x0042", "cpu"), ("0x10de", "0x0063", "cpu"),
])  # fmt: skip
def test_a_tpu_is_known_by_its_chip_and_not_by_googles_network_card(vendor, device, wanted, shell, tmp_path):
    card = tmp_path / "pci" / "0000:00:04.0"
    card.mkdir(parents=True)
    (card / "vendor").write_text(f"{vendor}\n")
    (card / "device").write_text(f"{device}\n")
    look = f". launch/platform.sh; nvidia-smi() {{ return 1; }}; accelerator {tmp_path / 'pci'}"
    assert shell("bash", "-c", look).stdout.strip() == wanted


def test_a_gpu_is_known_by_its_driver_and_an_unknown_accelerator_is_refused(shell):
    look = ". launch/platform.sh; nvidia-smi() { true; }; accelerator /nowhere"
    assert shell("bash", "-c", look).stdout.strip() == "cuda"
    done = shell("./run.sh", "apps", DRY_RUN="1", ACCELERATOR="abacus")
    assert done.returncode == 2 and "ACCELERATOR is abacus; wanted tpu, cuda or cpu" in done.stderr


def test_a_slices_hosts_are_counted_by_its_metadata(shell, tmp_path):
    """Four hosts that did not know of each other would be four runs."""
    count = ". launch/platform.sh; curl() { echo a:0:10.0.0.1,b:1:10.0.0.2,c:2:10.0.0.3; }; platform tpu; env"
    assert "JAX_NUM_PROCESSES=3\n" in shell("bash", "-c", count).stdout
    alone = count.replace(",b:1:10.0.0.2,c:2:10.0.0.3", "")
    assert "JAX_NUM_PROCESSES" not in shell("bash", "-c", alone).stdout
    absent = ". launch/platform.sh; curl() { return 6; }; set -euo pipefail; platform tpu; env"
    assert "JAX_NUM_PROCESSES" not in shell("bash", "-c", absent).stdout


def test_a_slice_of_several_hosts_trains_and_one_host_scores(shell):
    """A scoring command on one host of a slice would wait for the others' chips for ever."""
    score = ". launch/platform.sh; . launch/recipes.sh; say() { echo $*; }; want_one_host; echo scores"
    assert "scores" not in shell("bash", "-c", score, ACCELERATOR="tpu", JAX_NUM_PROCESSES="4").stdout
    for environment in ({"ACCELERATOR": "tpu"}, {"ACCELERATOR": "cuda", "JAX_NUM_PROCESSES": "4"}):
        assert shell("bash", "-c", score, **environment).stdout == "scores\n"


def test_a_processs_number_comes_from_its_variables_slurm_or_the_slice(shell):
    number = ". launch/platform.sh; die() { echo $*; exit 2; }; curl() { echo 5; }; rank"
    assert shell("bash", "-c", number).stdout == "0\n"
    assert shell("bash", "-c", number, SLURM_PROCID="3").stdout == "3\n"
    assert shell("bash", "-c", number, JAX_NUM_PROCESSES="8").stdout == "5\n"
    lost = shell("bash", "-c", number.replace("echo 5", "return 6"), JAX_NUM_PROCESSES="8")
    assert lost.returncode == 2 and "set JAX_PROCESS_ID" in lost.stdout
