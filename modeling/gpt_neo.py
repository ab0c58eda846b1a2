"""GPT-Neo: alternating global and local attention, unscaled scores, learned positions, a tied head.

Source of the conventions: EleutherAI's checkpoints as torch transformers reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from modeling.attention import attend, visible
from modeling.config import DecoderConfig, UnsupportedConfig, want
from modeling.dot import dot
from modeling.norm import layer_norm
from modeling.table import Row, initial_value

_BLOCK = "transformer.h.{layer}."

#      path                hf name                                        axes       init                 decay
TABLE = (
    Row("embed.tokens", "transformer.wte.weight", "V D", "initializer_range", True),
    Row("embed.positions", "transformer.wpe.weight", "P D", "initializer_range", True),
    Row("blocks.norm_1_scale", _BLOCK + "ln_1.weight", "L D", "ones", False),
    Row("blocks.norm_1_bias", _BLOCK + "ln_1.bias", "L D", "zeros", False),
    Row("blocks.query", _BLOCK + "attn.attention.q_proj.weight", "L HK D", "initializer_range", True),
    Row("blocks.key", _BLOCK + "attn.attention.k_proj.weight", "L HK D", "initializer_range", True),
    Row("blocks.value", _BLOCK + "attn.attention.v_proj.weight", "L HK D", "initializer_range", True),
    Row("blocks.out", _BLOCK + "attn.attention.out_proj.weight", "L D HK", "initializer_range", True),
    Row("blocks.out_bias", _BLOCK + "attn.attention.out_proj.bias", "L D", "zeros", False),
    Row("blocks.norm_2_scale", _BLOCK + "ln_2.weight", "L D", "ones", False),
    Row("blocks.norm_2_bias", _BLOCK + "ln_2.bias", "L D", "zeros", False),
    Row("blocks.up", _BLOCK + "mlp.c_fc.weight", "L F D", "initializer_range", True),
    Row("blocks.up_bias", _BLOCK + "mlp.c_fc.bias", "L F", "zeros", False),
    Row("blocks.down", _BLOCK + "mlp.c_proj.weight", "L D F", "initializer_range", True),
    Row("blocks.down_bias", _BLOCK + "mlp.c_proj.bias", "L D", "zeros", False),
    Row("final.norm_scale", "transformer.ln_f.weight", "D", "ones", False),
    Row("final.norm_bias", "transformer.ln_f.bias", "D", "zeros", False),
)

# Buffers and copies that older checkpoints carry; they hold no weights of their own.
IGNORED = (r"transformer\.h\.\d+\.attn\.attention\.(bias|masked_bias)", r"lm_head\.weight")


@dataclass(frozen=True)
class GPTNeoConfig(DecoderConfig):
    """What the forward pass needs of a GPT-Neo config.json; `windows[layer]` is None where attention is global."""

    intermediate_size: int
    layer_norm_epsilon: float
    windows: tuple[int | None, ...]

    @classmethod
    def from_hf(cls, hf: dict[str, Any]) -> Self:
        if hf.get("activation_function", "gelu_new") != "gelu_new":
            raise UnsupportedConfig(
                f"activation_function is {hf['activation_function']!r}; GPT-Neo here knows gelu_new"
            )
        if not hf.get("tie_word_embeddings", True):
            raise UnsupportedConfig("tie_word_embeddings is false; GPT-Neo checkpoints tie the head to the input table")
        kinds = [kind for pattern, repeats in want(hf, "attention_types") for _ in range(repeats) for kind in pattern]
        if len(kinds) != want(hf, "num_layers") or set(kinds) - {"global", "local"}:
            raise UnsupportedConfig(
                f"attention_types {hf['attention_types']} names {len(kinds)} layers ({', '.join(sorted(set(kinds)))}); "
                f"wanted {hf['num_layers']}, each global or local"
            )
        return cls(
            hf=cls.freeze(hf),
            vocab_size=want(hf, "vocab_size"),
            max_position_embeddings=want(hf, "max_position_embeddings"),
            hidden_size=want(hf, "hidden_size"),
            num_layers=want(hf, "num_layers"),
            num_heads=want(hf, "num_heads"),
            initializer_range=hf.get("initializer_range", 0.02),
            intermediate_size=hf.get("intermediate_size") or 4 * want(hf, "hidden_size"),
            layer_norm_epsilon=hf.get("layer_norm_epsilon", 1e-5),
            windows=tuple(hf.get("window_size", 256) if kind == "local" else None for kind in kinds),
        )

    @property
    def sizes(self) -> dict[str, int]:
        return super().sizes | {"F": self.intermediate_size}


class Block(nnx.Module):
    """One layer's parameters; the model holds a Block whose every leaf has a leading layer axis."""

    def __init__(self, config: GPTNeoConfig, key: jax.Array) -> None:
        for row in TABLE:
            if row.stacked:
                value = initial_value(row, config.sizes, config.initializer_range, key)
                setattr(self, row.path.removeprefix("blocks."), nnx.Param(value))

    def __call__(
        self,
        x_BTD: jax.Array,
        cache: tuple[jax.Array, jax.Array] | None,
        slot: jax.Array,
        first_slot_B: jax.Array | None,
        config: GPTNeoConfig,
        window: int | None,
        dtype: str,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        T = x_BTD.shape[1]
        heads = (*x_BTD.shape[:2], config.num_heads, config.head_size)
        normed_BTD = layer_norm(x_BTD, self.norm_1_scale, self.norm_1_bias, config.layer_norm_epsilon)
        query_BTHK = dot("BTD,ED->BTE", normed_BTD, self.query[...], dtype).reshape(heads)
        key_BSHK = dot("BTD,ED->BTE", normed_BTD, self.key[...], dtype).reshape(heads)
        value_BSHK = dot("BTD,ED->BTE", normed_BTD, self.value[...], dtype).reshape(heads)
        if cache is not None:
            key_BSHK, value_BSHK = (
                jax.lax.dynamic_update_slice(old, new.astype(old.dtype), (0, slot, 0, 0))
                for old, new in zip(cache, (key_BSHK, value_BSHK))
            )
        seen_BTS = visible(slot + jnp.arange(T), jnp.arange(key_BSHK.shape[1]), first_slot_B, window)
        mixed_BTHK = attend(query_BTHK, key_BSHK, value_BSHK, seen_BTS, 1.0, dtype)  # GPT-Neo does not scale scores
        mixed_BTE = mixed_BTHK.reshape(*x_BTD.shape[:2], -1)
        x_BTD = x_BTD + dot("BTE,DE->BTD", mixed_BTE, self.out[...], dtype) + self.out_bias
        normed_BTD = layer_norm(x_BTD, self.norm_2_scale, self.norm_2_bias, config.layer_norm_epsilon)
        up_BTF = dot("BTD,FD->BTF", normed_BTD, self.up[...], dtype) + self.up_bias
        active_BTF = jax.nn.gelu(up_BTF, approximate=True)  # float32: four times as fast as bfloat16 on a CPU
        x_BTD = x_BTD + dot("BTF,DF->BTD", active_BTF, self.down[...], dtype) + self.down_bias
        return x_BTD, (key_BSHK, value_BSHK)


class GPTNeo(nnx.Module):
    """The decoder up to its last norm, and its head."""

    def __init__(self, config: GPTNeoConfig, key: jax.Array) -> None:
        values = {
            row.path: nnx.Param(initial_value(row, config.sizes, config.initializer_range, key))
            for row in TABLE
            if not row.stacked
        }
        self.embed = nnx.Dict(tokens=values["embed.tokens"], positions=values["embed.positions"])
        self.blocks = Block(config, key)
        self.final = nnx.Dict(norm_scale=values["final.norm_scale"], norm_bias=values["final.norm_bias"])

    def hidden(
        self,
        tokens_BT: jax.Array,
        cache: tuple[tuple[jax.Array, jax.Array], ...] | None,
        slot: jax.Array,
        first_slot_B: jax.Array | None,
        config: GPTNeoConfig,
        dtype: str,
    ) -> tuple[jax.Array, tuple[tuple[jax.Array, jax.Array], ...]]:
        slot_T = slot + jnp.arange(tokens_BT.shape[1])
        position_BT = slot_T[None] if first_slot_B is None else jnp.maximum(slot_T[None] - first_slot_B[:, None], 0)
        x_BTD = self.embed.tokens[tokens_BT] + self.embed.positions[position_BT]
        structure, stacked = nnx.split(self.blocks)
        # unstack, not x[layer]: its transpose is one concatenation where L slices would each add a full-size array
        layers = jax.tree.map(lambda leaf: jnp.unstack(leaf), stacked)
        caches = []
        for layer in range(config.num_layers):
            own = jax.tree.map(lambda leaf: leaf[layer], layers, is_leaf=lambda leaf: isinstance(leaf, tuple))  # noqa: B023
            block = nnx.merge(structure, own)
            old = None if cache is None else cache[layer]
            x_BTD, new = block(x_BTD, old, slot, first_slot_B, config, config.windows[layer], dtype)
            caches.append(new)
        x_BTD = layer_norm(x_BTD, self.final.norm_scale, self.final.norm_bias, config.layer_norm_epsilon)
        return x_BTD, tuple(caches)

    def head(self, hidden_BTD: jax.Array, dtype: str) -> jax.Array:
        return dot("BTD,VD->BTV", hidden_BTD, self.embed.tokens[...], dtype)
