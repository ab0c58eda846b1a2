"""Loss and gradients of a GPT-Neo-125M shape against torch + transformers in eager bfloat16 autocast.

python benchmarks/forward.py [--rows 2 --length 512 --rounds 7]

Each peer has a process of its own and takes its turn: ours as a command of the toolkit starts, torch as it comes, and
torch once more in a process that keeps freed memory as ours does.
"""

from __future__ import annotations

import argparse
import statistics

from peers import GPT_NEO_125M, KEPT, keep_as_named, peak_host_bytes, serve, take_turns

PEERS = {
    "ours": "ours", "eager": "torch eager", f"eager{KEPT}": "torch eager, freed memory kept",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        (ours if options.peer == "ours" else theirs)(options)
        return
    turns = take_turns(PEERS, [], options.rounds)
    count = options.rows * options.length
    print(f"forward and backward, GPT-Neo 125M, {options.rows} x {options.length}, bfloat16: tokens/s, ours over it")
    for name, label in PEERS.items():
        pace = count / statistics.median(turns[name].seconds)
        print(f"  {label:30} {pace:9,.0f}  {turns[name].ratio_to(turns['ours']):.2f}")


def ours(options: argparse.Namespace) -> None:
    import jax
    import numpy as np

    from modeling.decoder import config_from_hf, init_params, token_losses
    from modeling.execution import choose
    from modeling.scratch_memory import keep_scratch_memory

    keep_scratch_memory()
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # as training.start does
    tokens = np.random.default_rng(0).integers(0, 50257, (options.rows, options.length + 1))
    config = config_from_hf(GPT_NEO_125M)
    how = choose(config, "bfloat16")
    params = init_params(config, 0)
    inputs, targets = jax.numpy.asarray(tokens[:, :-1]), jax.numpy.asarray(tokens[:, 1:])

    @jax.jit
    def loss_and_gradients(params: dict) -> tuple:
        def loss(params: dict) -> jax.Array:
            return token_losses(config, params, inputs, targets, how=how).mean()

        return jax.value_and_grad(loss)(params)

    serve(lambda: float(jax.block_until_ready(loss_and_gradients(params))[0]), peak_host_bytes)


def theirs(options: argparse.Namespace) -> None:
    import numpy as np
    import torch
    import transformers

    keep_as_named(options.peer)
    tokens = np.random.default_rng(0).integers(0, 50257, (options.rows, options.length + 1))
    model = transformers.GPTNeoForCausalLM(transformers.GPTNeoConfig(**GPT_NEO_125M)).train()
    inputs, targets = torch.tensor(tokens[:, :-1]), torch.tensor(tokens[:, 1:])

    def step() -> float:
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(inputs).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        loss.backward()
        return loss.item()

    serve(step, peak_host_bytes)


if __name__ == "__main__":
    main()
