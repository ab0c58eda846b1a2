#!/usr/bin/env python3
"""Fine-tune a causal language model on a stream of code.

./run_clm_streaming_flax.py --model_name_or_path MODEL --data_dir CORPUS --do_train --do_eval --output_dir OUT
"""

from __future__ import annotations

from interface.errors import run
from interface.flags import parse
from training.arguments import StreamingArguments


def main() -> None:
    arguments = parse(
        StreamingArguments,
        prog="run_clm_streaming_flax.py",
        description="Fine-tune a causal language model on a stream of code. All *_steps count optimizer steps.",
    )
    resolved = arguments.resolved()
    if arguments.dry_run:
        import json

        print(json.dumps(resolved, indent=2))
        return
    from training.loop import train
    from training.preparation import prepare
    from training.schedule import warmup_cosine

    numbers = {"peak": arguments.learning_rate, "warmup_steps": arguments.warmup_steps,
               "decay_steps": resolved["decay_steps"]}  # fmt: skip
    prepared = prepare(arguments, {"kind": "cosine", **numbers})
    output_dir = train(arguments, prepared, schedule=warmup_cosine(**numbers), max_steps=arguments.max_steps)
    print(f"wrote the model, its checkpoints and metrics.jsonl to {output_dir}")


if __name__ == "__main__":
    run(main)
