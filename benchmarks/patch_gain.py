"""What the whitespace patch gives: the same model, data and budget of bytes, with it and without.

python benchmarks/patch_gain.py [--seeds 0 1 2 --base_steps 300 --steps 200 --output_dir DIR]

A small GPT-Neo is trained from scratch on one half of Python's standard library (each seed its own), and then on the
other half: as it is, and with whitespace tokens whose rows start as tab's, or random. All see the same number of bytes
of text. Bits per byte are those of held-out packages.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from small_job import bits_per_byte, make_base, make_corpus, metrics, train
from toolkit import command, flags

VARIANTS = ("no patch", "clippy, tab's row", "clippy, random rows", "indent, tab's row")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--base_steps", type=int, default=300)
    parser.add_argument("--steps", type=int, default=200, help="of the clippy variants; the others get the same bytes")
    parser.add_argument("--output_dir", type=Path)
    options = parser.parse_args()
    folder = options.output_dir or Path(tempfile.mkdtemp(prefix="patch-gain-"))
    make_corpus(folder)
    found = {seed: run_seed(folder, folder / f"seed-{seed}", seed, options) for seed in options.seeds}
    print(
        "| variant | steps | tokens a byte | text a second | "
        + " | ".join(f"seed {s}" for s in found)
        + " | mean | at the start |"
    )
    print("|---" * (len(found) + 6) + "|")
    for variant in VARIANTS:
        rows = [scores[variant] for scores in found.values()]
        bits = [row["bits"] for row in rows]
        start = statistics.mean(row["start"] for row in rows)
        speed = statistics.median(row["bytes_per_second"] for row in rows)
        print(
            f"| {variant} | {rows[0]['steps']:.0f} | {rows[0]['tokens_per_byte']:.3f} | {speed / 1e3:.1f} kB | "
            + " | ".join(f"{value:.4f}" for value in [*bits, statistics.mean(bits)])
            + f" | {start:.4f} |"
        )
    print(f"\nbits a byte on held-out packages after the same bytes of text; wrote models and scores to {folder}")


def run_seed(corpus: Path, folder: Path, seed: int, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Train one base model and its four continuations; what each came to."""
    base = make_base(folder, corpus, options.base_steps, seed)
    starts = {"no patch": base}
    tokens = {}
    for preset in ("clippy", "indent"):
        patched = folder / f"patched-{preset}"
        words = flags(
            model_name_or_path=base, output_dir=patched, preset=preset, data_dir=corpus / "half-2", score_bytes=0
        )
        if not (patched / "config.json").exists():
            command(folder / "log.txt", "-m", "tokenizer_patch", *words)
        starts[f"{preset}, tab's row"] = patched
        before, after = json.loads((patched / "tokenizer_patch.json").read_text())["tokens_per_byte"]
        tokens |= {"no patch": before, f"{preset}, tab's row": after}
    starts["clippy, random rows"] = with_random_rows(starts["clippy, tab's row"], base, folder / "patched-random", seed)
    tokens["clippy, random rows"] = tokens["clippy, tab's row"]
    runs, steps = {}, {}
    for variant in VARIANTS:
        steps[variant] = round(options.steps * tokens[variant] / tokens["clippy, tab's row"])
        runs[variant] = train(
            folder, corpus / "half-2", f"tuned-{VARIANTS.index(variant)}", steps[variant], seed,
            model_name_or_path=starts[variant], learning_rate=1e-3, warmup_steps=20,
        )  # fmt: skip
    bits = bits_per_byte(
        folder / "log.txt",
        corpus / "corpus",
        [*starts.values(), *runs.values()],
        folder / "bits.json",
        max_bytes=400_000,
    )
    return {
        variant: {
            "bits": bits[runs[variant]], "start": bits[starts[variant]], "steps": steps[variant],
            "tokens_per_byte": tokens[variant],
            "bytes_per_second": tokens_per_second(runs[variant]) / tokens[variant],
        }
        for variant in VARIANTS
    }  # fmt: skip


def tokens_per_second(run: Path) -> float:
    """Of training, without the first interval, in which the process takes its memory."""
    return statistics.median(row["tokens_per_second"] for row in metrics(run)[1:])


def with_random_rows(patched: Path, base: Path, folder: Path, seed: int) -> Path:
    """The patched model with new rows drawn as the table's first values are, not copied from tab's."""
    import jax.numpy as jnp
    import numpy as np

    from modeling.checkpoint import load, read_config, save

    model = load(patched)
    new = slice(read_config(base).vocab_size, model.config.vocab_size)
    table = np.array(model.params["embed"]["tokens"])
    draw = np.random.default_rng(seed)
    table[new] = model.config.initializer_range * draw.standard_normal(table[new].shape)
    model.params["embed"]["tokens"] = jnp.asarray(table)
    save(folder, model, tokenizer_dir=patched, eos_token_id=model.config.to_hf()["eos_token_id"])
    return folder


if __name__ == "__main__":
    main()
