"""Peak: the dense bfloat16 operations a second that a device's maker promises, which MFU is a share of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# TFLOP/s of one jax device (a core on TPU v2 and v3), by what its kind contains; the first that fits.
# Sources: cloud.google.com/tpu/docs (a page each), NVIDIA's data sheets, without sparsity. SXM parts unless said.
PEAK_TFLOPS = (
    ("TPU v2", 22.5), ("TPU v3", 61.5), ("TPU v4", 275), ("TPU v5 lite", 197), ("TPU v5e", 197), ("TPU v5", 459),
    ("TPU v6", 918),
    ("B200", 2250), ("GH200", 989), ("H200", 989), ("H100 PCIe", 756), ("H100 NVL", 835), ("H100", 989),
    ("A100", 312), ("A10G", 70), ("A10", 125), ("A40", 150), ("A6000", 155), ("L40S", 362), ("L40", 181), ("L4", 121),
    ("RTX 4090", 165), ("RTX 3090", 71),
)  # fmt: skip


def peak_flops(devices: Sequence[Any], tflops: float | None = None) -> float | None:
    """Operations a second of all devices together; None where their kind is not known (a CPU's never is).

    `tflops` of one device wins over the table.
    """
    if tflops is None:
        kind = devices[0].device_kind
        tflops = next((peak for name, peak in PEAK_TFLOPS if name in kind), None)
    return None if tflops is None else tflops * 1e12 * len(devices)
