"""A whole training step beside torch + transformers: eager, and under torch.compile.

python benchmarks/train_step.py [--model 125M --rows 2 --length 512 --rounds 7]

All: float32 masters, bfloat16 operands, gradients clipped to norm 1, AdamW (torch's fused one). Each peer has a
process of its own and takes its turn: ours as a command of the toolkit starts, torch as it comes, and on a CPU torch
eager once more in a process that keeps freed memory as ours does. Memory is the process's on a CPU and the device's on
a GPU. On a GPU the default is 125M at 8 x 2048 and then 1.3B, torch with SDPA, and MFU counts 6N plus the attended
pairs.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

from peers import GPT_NEO_1_3B, GPT_NEO_125M, KEPT, keep_as_named, peak_host_bytes, serve, take_turns

MODELS = {"125M": GPT_NEO_125M, "1.3B": GPT_NEO_1_3B}
PEERS = {
    "ours": "ours", "eager": "torch eager", "compiled": "torch.compile",
    f"eager{KEPT}": "torch eager, freed memory kept", f"compiled{KEPT}": "torch.compile, freed memory kept",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--length", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", help="of " + ", ".join(PEERS))
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--device", choices=("cpu", "cuda"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        (ours if options.peer == "ours" else theirs)(options)
        return
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, length = (8, 2048) if device == "cuda" else (2, 512)
    models = [options.model] if options.model else ["125M", "1.3B"] if device == "cuda" else ["125M"]
    for model in models:
        measure(model, options.rows or rows, options.length or length, device, options)


def measure(model: str, rows: int, length: int, device: str, options: argparse.Namespace) -> None:
    names = options.peers or f"ours,eager,compiled{f',eager{KEPT}' if device == 'cpu' else ''}"
    words = ["--model", model, "--rows", str(rows), "--length", str(length), "--device", device]
    # several processes share a GPU: ours must not take all of it
    turns = take_turns(names.split(","), words, options.rounds, XLA_PYTHON_CLIENT_PREALLOCATE="false")
    first = next(iter(turns.values()))
    print(f"training step, GPT-Neo {model}, {rows} x {length}, bfloat16, {device}: tokens/s, peak memory, ratio to it")
    for name, own in turns.items():
        pace = rows * length / statistics.median(own.seconds)
        best = rows * length / min(own.seconds)
        last = own.steps[-1]
        peak = first.about.get("peak")
        share = f", MFU {flops(model, length) * pace / peak:.1%}" if peak else ""
        print(
            f"  {PEERS[name]:32} {pace:9,.0f} (best {best:,.0f}) {last['gigabytes']:6.2f} GB  {own.ratio_to(first):.2f}"
            f"{share}  first two steps {own.about['ready']:.0f} s, last loss {last['loss']:.3f}",
            flush=True,
        )


def flops(model: str, length: int) -> float:
    from modeling.cost import training_flops
    from modeling.decoder import config_from_hf

    return training_flops(config_from_hf(MODELS[model]), length)


def ours(options: argparse.Namespace) -> None:
    import jax

    from training.peak import peak_flops

    take = our_step(options.model, options.rows, options.length)

    def peak_bytes() -> float:
        stats = jax.local_devices()[0].memory_stats()
        return stats["peak_bytes_in_use"] if stats else peak_host_bytes()

    serve(take, peak_bytes, peak=peak_flops(jax.local_devices()))


def our_step(model: str, rows: int, length: int) -> Callable[[], float]:
    """The trainer's own step on one device, again and again on one batch; returns its loss."""
    import jax
    import numpy as np
    import optax

    from modeling.decoder import config_from_hf, family, init_params
    from modeling.execution import choose
    from modeling.scratch_memory import keep_scratch_memory
    from training.optimizer import make_optimizer
    from training.placement import DataParallel, bind
    from training.step import initial_state, train_step
    from training.streaming_arguments import StreamingArguments

    keep_scratch_memory()
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # as training.start does
    config = config_from_hf(MODELS[model])
    asked = StreamingArguments(output_dir="o", model_name_or_path="m", weight_decay=0.1, adam_beta2=0.95)
    schedule = optax.constant_schedule(1e-4)
    optimizer, placement = make_optimizer(asked, schedule, family(config).table), DataParallel()
    step = bind(
        train_step, placement, config=config, optimizer=optimizer, schedule=schedule, seed=0,
        how=choose(config, "bfloat16"), max_grad_norm=asked.max_grad_norm,
    )  # fmt: skip
    state = placement.make(lambda: initial_state(init_params(config, 0), optimizer))
    tokens = np.random.default_rng(0).integers(0, 50257, (rows, length + 1)).astype(np.int32)
    batch = placement.put(
        {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "rows": np.arange(rows, dtype=np.int32),
         "loss_weights": np.ones((rows, length), np.float32)}, 1,
    )  # fmt: skip
    compiled = placement.compile_step(step, state, batch)

    def take() -> float:
        nonlocal state
        state, metrics = compiled(state, batch)
        return float(metrics["loss"])

    return take


def theirs(options: argparse.Namespace) -> None:
    """The same step in torch."""
    import numpy as np
    import torch
    import transformers

    keep_as_named(options.peer)
    torch.manual_seed(0)
    config = transformers.GPTNeoConfig(**MODELS[options.model])
    if options.device == "cuda":
        use_sdpa()
    model = transformers.GPTNeoForCausalLM(config)
    model = model.to(options.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    tokens = np.random.default_rng(0).integers(0, 50257, (options.rows, options.length + 1))
    inputs, targets = (torch.tensor(part, device=options.device) for part in (tokens[:, :-1], tokens[:, 1:]))

    def loss_of(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.autocast(options.device, dtype=torch.bfloat16):
            logits = model(inputs, use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    forward = torch.compile(loss_of) if options.peer.startswith("compiled") else loss_of

    def take() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    on_device = options.device == "cuda"
    serve(take, torch.cuda.max_memory_allocated if on_device else peak_host_bytes)


def use_sdpa() -> None:
    """Give transformers' GPT-Neo the attention that it lacks: causal by flag, a window by mask, unscaled."""
    import torch
    from transformers.models.gpt_neo import modeling_gpt_neo

    def attend(self, query, key, value, attention_mask=None):  # type: ignore[no-untyped-def]
        length = query.shape[-2]
        local = self.attention_type == "local" and length > self.config.window_size
        mask = self.bias[:, :, :length, :length] if local else None
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=1.0
        ), None

    modeling_gpt_neo.GPTNeoSelfAttention._attn = attend


if __name__ == "__main__":
    main()
