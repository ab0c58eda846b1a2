#!/usr/bin/env python3
"""Fine-tune a causal language model on a stream of code.

./run_clm_streaming_flax.py --model_name_or_path MODEL --data_dir CORPUS --do_train --do_eval --output_dir OUT
"""

from __future__ import annotations

from interface.errors import run
from interface.flags import parse
from training.streaming_arguments import StreamingArguments


def main() -> None:
    arguments = parse(
        StreamingArguments,
        prog="run_clm_streaming_flax.py",
        description="Fine-tune a causal language model on a stream of code. All *_steps count optimizer steps.",
    )
    from evaluation.in_training import judge_of
    from modeling.scratch_memory import keep_scratch_memory
    from training.start import start

    keep_scratch_memory()
    start(arguments, judge_of)


if __name__ == "__main__":
    run(main)
