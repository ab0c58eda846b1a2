"""Scanned against unrolled layers: time to compile, time of a loss with its gradients, scratch memory.

python benchmarks/layers.py [--rows 1 --length 256 --rounds 5]

GPT-Neo 125M's width, at 12 and at 28 layers, on this machine's devices (docs/design/0009-execution.md).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from peers import GPT_NEO_125M, alternate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    import jax
    import jax.numpy as jnp

    from modeling.decoder import config_from_hf, init_params, token_losses
    from modeling.execution import choose
    from modeling.scratch_memory import keep_scratch_memory

    keep_scratch_memory()
    jax.config.update("jax_enable_compilation_cache", False)  # compile times are what is measured
    tokens = jax.random.randint(jax.random.key(0), (options.rows, options.length), 0, 50257)
    for layers in (12, 28):
        hf = GPT_NEO_125M | {"num_layers": layers, "attention_types": [[["global", "local"], layers // 2]]}
        config = config_from_hf(hf)
        params = init_params(config, 0)
        steps, facts = [], []
        for scan in (True, False):
            how = replace(choose(config, "bfloat16"), scan=scan)

            def loss(params: dict, how=how, config=config) -> jax.Array:  # type: ignore[no-untyped-def]
                return jnp.mean(token_losses(config, params, tokens, tokens, how=how))

            started = time.perf_counter()
            step = jax.jit(jax.value_and_grad(loss)).lower(params).compile()
            facts.append((time.perf_counter() - started, step.memory_analysis().temp_size_in_bytes / 2**20))
            steps.append(lambda step=step, params=params: jax.block_until_ready(step(params)))
        *seconds, ratio = alternate(*steps, options.rounds)
        for name, (compiling, scratch), taken in zip(("scanned", "unrolled"), facts, seconds, strict=True):
            print(
                f"{layers} layers {name}: compiled in {compiling:.1f} s, {taken * 1e3:.0f} ms a loss with gradients, "
                f"{scratch:.0f} MiB of scratch memory"
            )
        print(f"{layers} layers: unrolled takes {ratio:.2f} times as long as scanned", flush=True)


if __name__ == "__main__":
    main()
