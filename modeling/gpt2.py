"""GPT-2: learned positions, attention then MLP, a tied head, weights stored [in, out].

With `scale_attn_by_inverse_layer_idx` and `reorder_and_upcast_attn`, which CodeParrot's checkpoints set; the second
asks for float32 scores, which is what every family here computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from modeling.activation import gelu
from modeling.attention import self_attention
from modeling.config import DecoderConfig, UnsupportedConfig, want_size
from modeling.dot import dot
from modeling.dropout import Rates, drop
from modeling.layers import Cache, LayerCache, Leaves, Pass, look_up, run_blocks, sites
from modeling.norm import layer_norm
from modeling.table import Layout, Row

_BLOCK = "transformer.h.{layer}."
_TRANSPOSED = Layout(np.transpose, np.transpose)  # Conv1D holds [in, out]
_FUSED = Layout(  # [D, 3E] -> [3, E, D]: query, key, value
    lambda w: w.T.reshape(3, -1, w.shape[0]), lambda w: w.reshape(-1, w.shape[-1]).T
)
_FUSED_BIAS = Layout(lambda b: b.reshape(3, -1), lambda b: b.reshape(-1))

#      path                 hf name                            axes        init                 kind  layout
TABLE = (
    Row("embed.tokens", "transformer.wte.weight", "V D", "initializer_range", "head"),
    Row("embed.positions", "transformer.wpe.weight", "P D", "initializer_range", "lookup"),
    Row("blocks.norm_1_scale", _BLOCK + "ln_1.weight", "L D", "ones", "vector"),
    Row("blocks.norm_1_bias", _BLOCK + "ln_1.bias", "L D", "zeros", "vector"),
    Row("blocks.query_key_value", _BLOCK + "attn.c_attn.weight", "L 3 HK D", "initializer_range", "matrix", _FUSED),
    Row("blocks.query_key_value_bias", _BLOCK + "attn.c_attn.bias", "L 3 HK", "zeros", "vector", _FUSED_BIAS),
    Row("blocks.out", _BLOCK + "attn.c_proj.weight", "L D HK", "initializer_range", "matrix", _TRANSPOSED),
    Row("blocks.out_bias", _BLOCK + "attn.c_proj.bias", "L D", "zeros", "vector"),
    Row("blocks.norm_2_scale", _BLOCK + "ln_2.weight", "L D", "ones", "vector"),
    Row("blocks.norm_2_bias", _BLOCK + "ln_2.bias", "L D", "zeros", "vector"),
    Row("blocks.up", _BLOCK + "mlp.c_fc.weight", "L F D", "initializer_range", "matrix", _TRANSPOSED),
    Row("blocks.up_bias", _BLOCK + "mlp.c_fc.bias", "L F", "zeros", "vector"),
    Row("blocks.down", _BLOCK + "mlp.c_proj.weight", "L D F", "initializer_range", "matrix", _TRANSPOSED),
    Row("blocks.down_bias", _BLOCK + "mlp.c_proj.bias", "L D", "zeros", "vector"),
    Row("final.norm_scale", "transformer.ln_f.weight", "D", "ones", "vector"),
    Row("final.norm_bias", "transformer.ln_f.bias", "D", "zeros", "vector"),
)

IGNORED = (r"transformer\.h\.\d+\.attn\.(bias|masked_bias)", r"lm_head\.weight")


@dataclass(frozen=True)
class GPT2Config(DecoderConfig):
    """What the forward pass needs of a GPT-2 config.json; `scales[layer]` multiplies a layer's scores."""

    scales: tuple[float, ...]

    @classmethod
    def from_hf(cls, hf: dict[str, Any]) -> Self:
        if hf.get("activation_function", "gelu_new") != "gelu_new":
            raise UnsupportedConfig(f"activation_function is {hf['activation_function']!r}; GPT-2 here knows gelu_new")
        if not hf.get("tie_word_embeddings", True) or hf.get("add_cross_attention"):
            raise UnsupportedConfig("GPT-2 here ties its head to the input table and has no cross attention")
        head_size = want_size(hf, "n_embd") // want_size(hf, "n_head") or 1  # more heads than channels: refused below
        scale = head_size**-0.5 if hf.get("scale_attn_weights", True) else 1.0
        by_layer = hf.get("scale_attn_by_inverse_layer_idx", False)
        return cls(
            hf=cls.freeze(hf),
            vocab_size=want_size(hf, "vocab_size"),
            max_position_embeddings=want_size(hf, "n_positions"),
            hidden_size=want_size(hf, "n_embd"),
            num_layers=want_size(hf, "n_layer"),
            num_heads=want_size(hf, "n_head"),
            initializer_range=hf.get("initializer_range", 0.02),
            dropout=Rates(*(hf.get(name, 0.1) for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"))),
            intermediate_size=want_size(hf, "n_inner", 4 * want_size(hf, "n_embd")),
            layer_norm_epsilon=hf.get("layer_norm_epsilon", 1e-5),
            windows=(None,) * want_size(hf, "n_layer"),
            scales=tuple(scale / (layer + 1) if by_layer else scale for layer in range(want_size(hf, "n_layer"))),
        )


class Block(Leaves):
    """One layer."""

    def __call__(
        self,
        x_BTD: jax.Array,
        cache: LayerCache | None,
        this: Pass,
        config: GPT2Config,
        layer: Any,
        window: int | None,
    ) -> tuple[jax.Array, LayerCache | None]:
        weights_site, attention_site, mlp_site = sites(layer)
        dtype = this.how.dtype
        normed_BTD = layer_norm(x_BTD, self.norm_1_scale, self.norm_1_bias, config.layer_norm_epsilon)
        all_BTQE = dot("BTD,QED->BTQE", normed_BTD, self.query_key_value[...], dtype) + self.query_key_value_bias
        mixed_BTE, cache = self_attention(
            all_BTQE[:, :, 0], all_BTQE[:, :, 1], all_BTQE[:, :, 2], cache, this,
            num_heads=config.num_heads, scale=jnp.asarray(config.scales)[layer], window=window, site=weights_site,
        )  # fmt: skip
        attended_BTD = dot("BTE,DE->BTD", mixed_BTE, self.out[...], dtype) + self.out_bias
        x_BTD = x_BTD + drop(attended_BTD, this.dropout, "residual", attention_site)
        normed_BTD = layer_norm(x_BTD, self.norm_2_scale, self.norm_2_bias, config.layer_norm_epsilon)
        up_BTF = dot("BTD,FD->BTF", normed_BTD, self.up[...], dtype) + self.up_bias
        active_BTF = gelu(up_BTF)
        down_BTD = dot("BTF,DF->BTD", active_BTF, self.down[...], dtype) + self.down_bias
        return x_BTD + drop(down_BTD, this.dropout, "residual", mlp_site), cache


class GPT2(nnx.Module):
    """The decoder up to its last norm, and its head."""

    def __init__(self, config: GPT2Config, key: jax.Array) -> None:
        self.embed = Leaves(TABLE, "embed", config, key)
        self.blocks = Block(TABLE, "blocks", config, key)
        self.final = Leaves(TABLE, "final", config, key)

    def hidden(
        self,
        tokens_BT: jax.Array,
        cache: Cache | None,
        this: Pass,
        config: GPT2Config,
    ) -> tuple[jax.Array, Cache | None]:
        x_BTD = look_up(self.embed.tokens[...], tokens_BT, this.how)
        x_BTD += look_up(self.embed.positions[...], this.position_BT, this.how)
        x_BTD = drop(x_BTD, this.dropout, "embed", 0)

        x_BTD, cache = run_blocks(self.blocks, x_BTD, cache, this, config)
        return layer_norm(x_BTD, self.final.norm_scale, self.final.norm_bias, config.layer_norm_epsilon), cache

    def head(self, hidden_BTD: jax.Array, dtype: str) -> jax.Array:
        return dot("BTD,VD->BTV", hidden_BTD, self.embed.tokens[...], dtype)
