"""Execution: how a forward pass is run. Every choice computes the same; only rounding, speed and memory differ.

What is best depends on the machine, so `choose` asks it once and the choice travels as one static argument.
"""

from __future__ import annotations

from dataclasses import dataclass

from interface.choices import Attention, AttentionKernel, Precision, Remat
from interface.errors import UserError
from modeling.config import DecoderConfig

# Logits alive at once on an accelerator, in tokens x vocabulary rows: half a gigabyte in float32.
LOGITS_ALIVE = 1 << 27


class UnsupportedExecution(UserError):
    """A way of running that this machine or this model cannot take."""


@dataclass(frozen=True)
class Execution:
    """`dtype`: precision of matrix operands (sums, norms, softmax, logits and loss are float32).
    `attention`: see modeling.attention.
    `remat`: what the backward pass computes again instead of keeping: nothing, all but matrix products ("dots"), or
        all inside a block.
    `scan`: loop over the layers' stack instead of unrolling it. On a CPU that takes twice the time; on an accelerator
        it compiles once what unrolling compiles L times, and needs less memory.
    `logits_alive`: the loss is computed in chunks of at most this many logits; None: all at once.
    `rows_over`: the axes of the mesh in use that cut a batch's rows; (): no mesh, all rows given are on one device.
    """

    dtype: Precision = "float32"
    attention: AttentionKernel = "plain"
    remat: Remat = "none"
    scan: bool = False
    logits_alive: int | None = None
    rows_over: tuple[str, ...] = ()


def choose(
    config: DecoderConfig,
    dtype: Precision = "float32",
    *,
    attention: Attention = "auto",
    remat: Remat = "none",
    platform: str | None = None,
) -> Execution:
    """What suits a model on this process's devices, or on those of `platform` (cpu, gpu, tpu).

    Raises: UnsupportedExecution where `attention` names what cannot run there.
    """
    import jax

    platform = platform or jax.default_backend()
    able: dict[AttentionKernel, str | None] = {
        "plain": None,
        "blocked": None,
        "cudnn": _why_not_cudnn(platform, dtype, config.head_size),
        "splash": None if platform == "tpu" else f"it is a TPU kernel, and this is a {platform}",
    }
    preferred: tuple[AttentionKernel, ...] = ("splash", "cudnn", "blocked")
    way = next(name for name in preferred if able[name] is None) if attention == "auto" else attention
    if (reason := able[way]) is not None:
        raise UnsupportedExecution(f"--attention {way} cannot run here: {reason}. Leave it at auto")
    accelerated = platform != "cpu"
    scan = accelerated or remat != "none"  # XLA's CPU backend undoes remat in unrolled layers: it finds them twice
    return Execution(dtype, way, remat, scan=scan, logits_alive=LOGITS_ALIVE if accelerated else None)


def _why_not_cudnn(platform: str, dtype: str, head_size: int) -> str | None:
    """cuDNN's flash attention wants an Ampere or newer GPU, 16-bit operands, and heads of a multiple of 8 up to 128
    (256 from Hopper on). GPUs that are only described, not there, are taken for Hopper's."""
    import jax

    if platform != "gpu":
        return f"it is an NVIDIA GPU's, and this is a {platform}"
    if dtype == "float32":
        return "it multiplies 16-bit operands only; give --dtype bfloat16"
    capability = "9.0"
    if jax.default_backend() == "gpu":
        capability = str(getattr(jax.local_devices()[0], "compute_capability", ""))
    if not capability.replace(".", "", 1).isdecimal() or float(capability) < 8:
        return f"the GPU's compute capability is {capability or 'unknown'}; it wants 8.0 (a T4 has 7.5)"
    widest = 256 if float(capability) >= 9 else 128
    if head_size % 8 or head_size > widest:
        return f"heads are {head_size} wide; it takes multiples of 8 up to {widest}"
    return None
