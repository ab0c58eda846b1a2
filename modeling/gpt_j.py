"""GPT-J: rotary positions, attention and MLP side by side, an untied head with a bias.

Source of the conventions: mesh-transformer-jax's checkpoint as torch transformers reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jax
from flax import nnx

from modeling.activation import gelu
from modeling.attention import self_attention
from modeling.config import DecoderConfig, UnsupportedConfig, want_size
from modeling.dot import dot
from modeling.dropout import Rates, drop
from modeling.layers import Cache, LayerCache, Leaves, Pass, look_up, run_blocks, sites
from modeling.norm import layer_norm
from modeling.rotary import rotate_pairs
from modeling.table import Row, Table

_BLOCK = "transformer.h.{layer}."

#      path                  hf name                           axes      init                 kind
TABLE = (
    Row("embed.tokens", "transformer.wte.weight", "V D", "initializer_range", "lookup"),
    Row("blocks.norm_scale", _BLOCK + "ln_1.weight", "L D", "ones", "vector"),
    Row("blocks.norm_bias", _BLOCK + "ln_1.bias", "L D", "zeros", "vector"),
    Row("blocks.query", _BLOCK + "attn.q_proj.weight", "L HK D", "initializer_range", "matrix"),
    Row("blocks.key", _BLOCK + "attn.k_proj.weight", "L HK D", "initializer_range", "matrix"),
    Row("blocks.value", _BLOCK + "attn.v_proj.weight", "L HK D", "initializer_range", "matrix"),
    Row("blocks.out", _BLOCK + "attn.out_proj.weight", "L D HK", "initializer_range", "matrix"),
    Row("blocks.up", _BLOCK + "mlp.fc_in.weight", "L F D", "initializer_range", "matrix"),
    Row("blocks.up_bias", _BLOCK + "mlp.fc_in.bias", "L F", "zeros", "vector"),
    Row("blocks.down", _BLOCK + "mlp.fc_out.weight", "L D F", "initializer_range", "matrix"),
    Row("blocks.down_bias", _BLOCK + "mlp.fc_out.bias", "L D", "zeros", "vector"),
    Row("final.norm_scale", "transformer.ln_f.weight", "D", "ones", "vector"),
    Row("final.norm_bias", "transformer.ln_f.bias", "D", "zeros", "vector"),
    Row("output.tokens", "lm_head.weight", "V D", "initializer_range", "head"),
    Row("output.bias", "lm_head.bias", "V", "zeros", "vector"),
)

# Mask buffers of older checkpoints.
IGNORED = (r"transformer\.h\.\d+\.attn\.(bias|masked_bias|causal_mask|embed_positions)",)


@dataclass(frozen=True)
class GPTJConfig(DecoderConfig):
    """What the forward pass needs of a GPT-J config.json."""

    rotary_dim: int

    @classmethod
    def from_hf(cls, hf: dict[str, Any]) -> Self:
        name = hf["model_type"]
        if hf.get("activation_function", "gelu_new") != "gelu_new":
            raise UnsupportedConfig(f"activation_function is {hf['activation_function']!r}; {name} here knows gelu_new")
        if hf.get("tie_word_embeddings", False):
            raise UnsupportedConfig(f"tie_word_embeddings is true; {name} checkpoints have a head of their own")
        rotary_dim = want_size(hf, "rotary_dim", want_size(hf, "n_embd") // want_size(hf, "n_head"))
        if rotary_dim % 2 or rotary_dim > want_size(hf, "n_embd") // want_size(hf, "n_head"):
            raise UnsupportedConfig(f"rotary_dim is {rotary_dim}; wanted an even number of a head's channels")
        return cls(
            hf=cls.freeze(hf),
            vocab_size=want_size(hf, "vocab_size"),
            max_position_embeddings=want_size(hf, "n_positions"),
            hidden_size=want_size(hf, "n_embd"),
            num_layers=want_size(hf, "n_layer"),
            num_heads=want_size(hf, "n_head"),
            initializer_range=hf.get("initializer_range", 0.02),
            dropout=Rates(*(hf.get(name, 0.0) for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"))),
            intermediate_size=want_size(hf, "n_inner", 4 * want_size(hf, "n_embd")),
            layer_norm_epsilon=hf.get("layer_norm_epsilon", 1e-5),
            windows=(None,) * want_size(hf, "n_layer"),
            rotary_dim=rotary_dim,
        )


class Block(Leaves):
    """One layer: attention and MLP read the same norm and are added together."""

    def __call__(
        self,
        x_BTD: jax.Array,
        cache: LayerCache | None,
        this: Pass,
        config: GPTJConfig,
        layer: Any,
        window: int | None,
    ) -> tuple[jax.Array, LayerCache | None]:
        weights_site, attention_site, mlp_site = sites(layer)
        dtype = this.how.dtype
        normed_BTD = layer_norm(x_BTD, self.norm_scale, self.norm_bias, config.layer_norm_epsilon)
        query_BTE, key_BTE, value_BTE = self.project(normed_BTD, dtype)
        mixed_BTE, cache = self_attention(
            rotate_pairs(query_BTE, this.position_BT, config.num_heads, config.rotary_dim),
            rotate_pairs(key_BTE, this.position_BT, config.num_heads, config.rotary_dim),
            value_BTE, cache, this,
            num_heads=config.num_heads, scale=config.head_size**-0.5, window=window, site=weights_site,
        )  # fmt: skip
        up_BTF = dot("BTD,FD->BTF", normed_BTD, self.up[...], dtype) + self.up_bias
        active_BTF = gelu(up_BTF)
        attended_BTD = dot("BTE,DE->BTD", mixed_BTE, self.out[...], dtype)
        down_BTD = dot("BTF,DF->BTD", active_BTF, self.down[...], dtype) + self.down_bias
        attended_BTD = drop(attended_BTD, this.dropout, "residual", attention_site)
        return x_BTD + attended_BTD + drop(down_BTD, this.dropout, "residual", mlp_site), cache

    def project(self, normed_BTD: jax.Array, dtype: str) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Query, key and value [B, T, E]."""
        query_BTE = dot("BTD,ED->BTE", normed_BTD, self.query[...], dtype)
        key_BTE = dot("BTD,ED->BTE", normed_BTD, self.key[...], dtype)
        return query_BTE, key_BTE, dot("BTD,ED->BTE", normed_BTD, self.value[...], dtype)


class GPTJ(nnx.Module):
    """The decoder up to its last norm, and its head."""

    table: ClassVar[Table] = TABLE
    block: ClassVar[type[Block]] = Block

    def __init__(self, config: GPTJConfig, key: jax.Array) -> None:
        self.embed = Leaves(self.table, "embed", config, key)
        self.blocks = self.block(self.table, "blocks", config, key)
        self.final = Leaves(self.table, "final", config, key)
        self.output = Leaves(self.table, "output", config, key)

    def hidden(
        self,
        tokens_BT: jax.Array,
        cache: Cache | None,
        this: Pass,
        config: GPTJConfig,
    ) -> tuple[jax.Array, Cache | None]:
        x_BTD = drop(look_up(self.embed.tokens[...], tokens_BT, this.how), this.dropout, "embed", 0)
        x_BTD, cache = run_blocks(self.blocks, x_BTD, cache, this, config)
        return layer_norm(x_BTD, self.final.norm_scale, self.final.norm_bias, config.layer_norm_epsilon), cache

    def head(self, hidden_BTD: jax.Array, dtype: str) -> jax.Array:
        return dot("BTD,VD->BTV", hidden_BTD, self.output.tokens[...], dtype) + self.output.bias
