"""Loss and gradients of a GPT-Neo-125M shape against torch + transformers in eager bfloat16 autocast.

python benchmarks/forward.py [--rows 2 --length 512 --rounds 7]
"""

from __future__ import annotations

import argparse

from peers import GPT_NEO_125M, alternate, keep_scratch_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    keep_scratch_memory()
    import jax
    import numpy as np
    import torch
    import transformers

    from modeling.decoder import config_from_hf, init_params, token_losses
    from modeling.execution import choose

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

    model = transformers.GPTNeoForCausalLM(transformers.GPTNeoConfig(**GPT_NEO_125M)).train()
    theirs_inputs, theirs_targets = torch.tensor(tokens[:, :-1]), torch.tensor(tokens[:, 1:])

    def ours() -> None:
        jax.block_until_ready(loss_and_gradients(params))

    def theirs() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(theirs_inputs).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), theirs_targets.flatten())
        loss.backward()

    mine, peer, ratio = alternate(ours, theirs, options.rounds)
    count = options.rows * options.length
    print(
        f"forward and backward, GPT-Neo 125M, {options.rows} x {options.length}, bfloat16: "
        f"{count / mine:.0f} tokens/s; torch eager autocast {count / peer:.0f}; ratio {ratio:.2f}"
    )


if __name__ == "__main__":
    main()
