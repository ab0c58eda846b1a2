"""Choices: the words that a flag of several commands takes. Nothing is imported here, so `--help` stays quick."""

from __future__ import annotations

from typing import Literal

ModelType = Literal["gpt_neo", "gptj", "codegen", "gpt2"]  # families of modeling.decoder, by config.json's model_type
Precision = Literal["float32", "bfloat16"]
AttentionKernel = Literal["plain", "blocked", "cudnn", "splash"]
Attention = Literal["auto", AttentionKernel]
BenchmarkName = Literal["humaneval", "mbpp", "apps", "mtpb", "clippy", "clippy-apps"]
Remat = Literal["none", "dots", "block"]
