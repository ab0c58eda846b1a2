"""Tokenizers: loading one, adding whitespace tokens with their embedding rows, training one from scratch."""

from tokenizer_patch.patch import CLIPPY_TOKENS, patch_params, patch_tokenizer
from tokenizer_patch.tokenizer import Tokenizer, TokenizerError, VocabularyMismatch

__all__ = ["CLIPPY_TOKENS", "Tokenizer", "TokenizerError", "VocabularyMismatch", "patch_params", "patch_tokenizer"]
