#!/usr/bin/env python3
"""Fine-tune a causal language model on APPS: problems as prompts, loss on the answers.

python run_clm_apps.py --model_name_or_path MODEL --do_train --do_eval --num_train_epochs 5 --output_dir OUT
"""

from __future__ import annotations

from interface.errors import run
from interface.flags import parse
from training.apps_arguments import AppsArguments


def main() -> None:
    arguments = parse(
        AppsArguments,
        prog="run_clm_apps.py",
        description="Fine-tune a causal language model on APPS. All *_steps count optimizer steps.",
    )
    from evaluation.in_training import judge_of
    from modeling.scratch_memory import keep_scratch_memory
    from training.start import start

    keep_scratch_memory()
    start(arguments, judge_of)


if __name__ == "__main__":
    run(main)
