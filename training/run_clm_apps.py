#!/usr/bin/env python3
"""Fine-tune a causal language model on APPS: problems as prompts, loss on the answers.

python run_clm_apps.py --model_name_or_path MODEL --do_train --output_dir OUT --dry_run
"""

from __future__ import annotations

from interface.errors import UserError, run
from interface.flags import parse
from training.arguments import AppsArguments


def main() -> None:
    arguments = parse(
        AppsArguments,
        prog="run_clm_apps.py",
        description="Fine-tune a causal language model on APPS. All *_steps count optimizer steps.",
    )
    if not arguments.dry_run:
        raise UserError(
            "this version resolves the APPS recipe with --dry_run but has no reader for APPS data yet; "
            "run_clm_streaming_flax.py trains on any corpus"
        )
    import json

    print(json.dumps(arguments.resolved(), indent=2))


if __name__ == "__main__":
    run(main)
