"""GPT-Neo: alternating global and local attention, unscaled scores, learned positions, a tied head.

Source of the conventions: EleutherAI's checkpoints as torch transformers reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import jax
from flax import nnx

from modeling.activation import gelu
from modeling.attention import self_attention
from modeling.config import DecoderConfig, UnsupportedConfig, want, want_size
from modeling.dot import dot
from modeling.dropout import Rates, drop
from modeling.layers import Cache, LayerCache, Leaves, Pass, look_up, run_blocks, sites
from modeling.norm import layer_norm
from modeling.table import Row

_BLOCK = "transformer.h.{layer}."

#      path                hf name                                        axes       init                 kind
TABLE = (
    Row("embed.tokens", "transformer.wte.weight", "V D", "initializer_range", "head"),
    Row("embed.positions", "transformer.wpe.weight", "P D", "initializer_range", "lookup"),
    Row("blocks.norm_1_scale", _BLOCK + "ln_1.weight", "L D", "ones", "vector"),
    Row("blocks.norm_1_bias", _BLOCK + "ln_1.bias", "L D", "zeros", "vector"),
    Row("blocks.query", _BLOCK + "attn.attention.q_proj.weight", "L HK D", "initializer_range", "matrix"),
    Row("blocks.key", _BLOCK + "attn.attention.k_proj.weight", "L HK D", "initializer_range", "matrix"),
    Row("blocks.value", _BLOCK + "attn.attention.v_proj.weight", "L HK D", "initializer_range", "matrix"),
    Row("blocks.out", _BLOCK + "attn.attention.out_proj.weight", "L D HK", "initializer_range", "matrix"),
    Row("blocks.out_bias", _BLOCK + "attn.attention.out_proj.bias", "L D", "zeros", "vector"),
    Row("blocks.norm_2_scale", _BLOCK + "ln_2.weight", "L D", "ones", "vector"),
    Row("blocks.norm_2_bias", _BLOCK + "ln_2.bias", "L D", "zeros", "vector"),
    Row("blocks.up", _BLOCK + "mlp.c_fc.weight", "L F D", "initializer_range", "matrix"),
    Row("blocks.up_bias", _BLOCK + "mlp.c_fc.bias", "L F", "zeros", "vector"),
    Row("blocks.down", _BLOCK + "mlp.c_proj.weight", "L D F", "initializer_range", "matrix"),
    Row("blocks.down_bias", _BLOCK + "mlp.c_proj.bias", "L D", "zeros", "vector"),
    Row("final.norm_scale", "transformer.ln_f.weight", "D", "ones", "vector"),
    Row("final.norm_bias", "transformer.ln_f.bias", "D", "zeros", "vector"),
)

# Buffers and copies that older checkpoints carry; they hold no weights of their own.
IGNORED = (r"transformer\.h\.\d+\.attn\.attention\.(bias|masked_bias)", r"lm_head\.weight")


@dataclass(frozen=True)
class GPTNeoConfig(DecoderConfig):
    """What the forward pass needs of a GPT-Neo config.json."""

    @classmethod
    def from_hf(cls, hf: dict[str, Any]) -> Self:
        if hf.get("activation_function", "gelu_new") != "gelu_new":
            raise UnsupportedConfig(
                f"activation_function is {hf['activation_function']!r}; GPT-Neo here knows gelu_new"
            )
        if not hf.get("tie_word_embeddings", True):
            raise UnsupportedConfig("tie_word_embeddings is false; GPT-Neo checkpoints tie the head to the input table")
        kinds = [kind for pattern, repeats in want(hf, "attention_types") for _ in range(repeats) for kind in pattern]
        if len(kinds) != want_size(hf, "num_layers") or set(kinds) - {"global", "local"}:
            raise UnsupportedConfig(
                f"attention_types {hf['attention_types']} names {len(kinds)} layers ({', '.join(sorted(set(kinds)))}); "
                f"wanted {hf['num_layers']}, each global or local"
            )
        return cls(
            hf=cls.freeze(hf),
            vocab_size=want_size(hf, "vocab_size"),
            max_position_embeddings=want_size(hf, "max_position_embeddings"),
            hidden_size=want_size(hf, "hidden_size"),
            num_layers=want_size(hf, "num_layers"),
            num_heads=want_size(hf, "num_heads"),
            initializer_range=hf.get("initializer_range", 0.02),
            dropout=Rates(*(hf.get(name, 0.0) for name in ("embed_dropout", "attention_dropout", "resid_dropout"))),
            intermediate_size=want_size(hf, "intermediate_size", 4 * want_size(hf, "hidden_size")),
            layer_norm_epsilon=hf.get("layer_norm_epsilon", 1e-5),
            windows=tuple(want_size(hf, "window_size", 256) if kind == "local" else None for kind in kinds),
        )


class Block(Leaves):
    """One layer; a model holds one whose every leaf has a leading layer axis."""

    def __call__(
        self,
        x_BTD: jax.Array,
        cache: LayerCache | None,
        this: Pass,
        config: GPTNeoConfig,
        layer: Any,
        window: int | None,
    ) -> tuple[jax.Array, LayerCache | None]:
        weights_site, attention_site, mlp_site = sites(layer)
        dtype = this.how.dtype
        normed_BTD = layer_norm(x_BTD, self.norm_1_scale, self.norm_1_bias, config.layer_norm_epsilon)
        query_BTE = dot("BTD,ED->BTE", normed_BTD, self.query[...], dtype)
        key_BTE = dot("BTD,ED->BTE", normed_BTD, self.key[...], dtype)
        value_BTE = dot("BTD,ED->BTE", normed_BTD, self.value[...], dtype)
        mixed_BTE, cache = self_attention(
            query_BTE, key_BTE, value_BTE, cache, this,
            num_heads=config.num_heads, scale=1.0, window=window,
            site=weights_site,  # GPT-Neo does not scale its scores
        )  # fmt: skip
        attended_BTD = dot("BTE,DE->BTD", mixed_BTE, self.out[...], dtype) + self.out_bias
        x_BTD = x_BTD + drop(attended_BTD, this.dropout, "residual", attention_site)
        normed_BTD = layer_norm(x_BTD, self.norm_2_scale, self.norm_2_bias, config.layer_norm_epsilon)
        up_BTF = dot("BTD,FD->BTF", normed_BTD, self.up[...], dtype) + self.up_bias
        active_BTF = gelu(up_BTF)
        down_BTD = dot("BTF,DF->BTD", active_BTF, self.down[...], dtype) + self.down_bias
        return x_BTD + drop(down_BTD, this.dropout, "residual", mlp_site), cache


class GPTNeo(nnx.Module):
    """The decoder up to its last norm, and its head."""

    def __init__(self, config: GPTNeoConfig, key: jax.Array) -> None:
        self.embed = Leaves(TABLE, "embed", config, key)
        self.blocks = Block(TABLE, "blocks", config, key)
        self.final = Leaves(TABLE, "final", config, key)

    def hidden(
        self,
        tokens_BT: jax.Array,
        cache: Cache | None,
        this: Pass,
        config: GPTNeoConfig,
    ) -> tuple[jax.Array, Cache | None]:
        x_BTD = look_up(self.embed.tokens[...], tokens_BT, this.how)
        x_BTD += look_up(self.embed.positions[...], this.position_BT, this.how)
        x_BTD = drop(x_BTD, this.dropout, "embed", 0)

        x_BTD, cache = run_blocks(self.blocks, x_BTD, cache, this, config)
        return layer_norm(x_BTD, self.final.norm_scale, self.final.norm_bias, config.layer_norm_epsilon), cache

    def head(self, hidden_BTD: jax.Array, dtype: str) -> jax.Array:
        return dot("BTD,VD->BTV", hidden_BTD, self.embed.tokens[...], dtype)
