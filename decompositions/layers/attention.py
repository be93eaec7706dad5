"""Unfused attention: what `nn.MultiheadAttention` computes, with every weight in an `nn.Linear` of its own.

Formats replace linear layers, but `nn.MultiheadAttention` multiplies with its weights itself: `in_proj_weight` is a
parameter, and the pass of `out_proj` is never called. Unfused, a layer has the children `q`, `k`, `v` and `out_proj`,
or `qkv` and `out_proj` if the three are to stay one matrix (Vaswani et al. 2017):

    out_proj(concat_h softmax(q_h(x) k_h(y)ᵀ / √d + mask) v_h(z))      h: head, d: features of a head

A joint `qkv` of rank r has r · 4D parameters, three of rank r have 3 · r · 2D, for D features.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from decompositions.layers.parts import linear_with, thirds

OPTIONS = ("embed_dim", "kdim", "vdim", "num_heads", "head_dim", "dropout", "batch_first")


class UnfusedAttention(nn.Module):
    """An `nn.MultiheadAttention` whose weights are linear layers."""

    embed_dim: int
    kdim: int
    vdim: int
    num_heads: int
    head_dim: int
    dropout: float
    batch_first: bool

    # What torch's encoder layers ask for before they multiply with all weights themselves: this one keeps them from it.
    _qkv_same_embed_dim = False
    add_zero_attn = False
    bias_k = bias_v = None

    def __init__(self, layer: nn.MultiheadAttention, joint_qkv: bool = False) -> None:
        """Take over the parameters of `layer` and its options under their names.

        `joint_qkv` keeps q, k and v one layer if their inputs have as many features as their outputs.
        """
        super().__init__()
        for option in OPTIONS:
            setattr(self, option, getattr(layer, option))
        weight, bias = layer._parameters["in_proj_weight"], layer._parameters["in_proj_bias"]
        self.joint_qkv = joint_qkv and weight is not None
        if self.joint_qkv:
            assert weight is not None
            self.qkv = linear_with(weight, bias)
        else:
            own = [layer._parameters[f"{part}_proj_weight"] for part in "qkv"]
            weights = own if weight is None else thirds(weight)
            for part, part_weight, part_bias in zip("qkv", weights, thirds(bias), strict=True):
                assert part_weight is not None
                self.add_module(part, linear_with(part_weight, part_bias))
        out = layer.out_proj._parameters
        assert out["weight"] is not None
        self.out_proj = linear_with(out["weight"], out["bias"])
        self.train(layer.training)

    def extra_repr(self) -> str:
        """Show the options that differ from torch's defaults."""
        dropout = f", dropout={self.dropout}" if self.dropout else ""
        return f"{self.embed_dim}, {self.num_heads}{dropout}{', batch_first=True' if self.batch_first else ''}"

    def __getattr__(self, name: str) -> Any:
        """Serve the fused layer's names, for code that looks at them: the dense weight or bias, formed at each read."""
        own_weights = not self.embed_dim == self.kdim == self.vdim if name.endswith("_proj_weight") else False
        if name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
            return getattr(self._modules[name[0]], name[7:]) if own_weights else None
        if name in ("in_proj_weight", "in_proj_bias"):
            values = [getattr(self._modules[part], name[8:]) for part in (("qkv",) if self.joint_qkv else "qkv")]
            if own_weights or values[0] is None:
                return None
            return values[0] if self.joint_qkv else torch.cat(values)
        return super().__getattr__(name)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Take and return what `nn.MultiheadAttention` does.

        Raises `ValueError` for nested tensors, and for `is_causal` without the mask that torch asks for, too.
        """
        if query.is_nested or key.is_nested or value.is_nested:
            raise ValueError("unfused attention takes no nested tensors; pass a padded batch and key_padding_mask")
        if is_causal and attn_mask is None:
            raise ValueError("is_causal is a hint about attn_mask: expected a mask, got none; pass the causal mask too")
        is_batched = query.dim() == 3
        q, k, v = self._projected(query, key, value)
        if not is_batched:
            q, k, v = q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0)
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            q, k, v = q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)
        q, k, v = (x.unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2) for x in (q, k, v))
        # Torch takes the hint only where it changes nothing else.
        is_causal = is_causal and key_padding_mask is None and not need_weights
        mask = None if is_causal else self._mask(attn_mask, key_padding_mask, q)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * math.sqrt(1.0 / self.head_dim)) @ k.transpose(2, 3)  # (batch, head, query, key)
            weights = functional.softmax(scores if mask is None else scores + mask, dim=-1)
            weights = functional.dropout(weights, dropout) if dropout else weights
            heads = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            heads = functional.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal)
        # Laid out in memory as torch's, so that a dropout behind it draws the same numbers.
        output = self.out_proj(heads.permute(2, 0, 1, 3).flatten(2))  # (query, batch, feature)
        if not is_batched:
            return output.squeeze(1), None if weights is None else weights.squeeze(0)
        return output.transpose(0, 1) if self.batch_first else output, weights

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Multiply the inputs by their weights; a joint weight is applied to each of them that is another tensor."""
        if not self.joint_qkv:
            return self.q(query), self.k(key), self.v(value)
        of_query = self.qkv(query).chunk(3, -1)
        of_key = of_query if key is query else self.qkv(key).chunk(3, -1)
        of_value = of_query if value is query else of_key if value is key else self.qkv(value).chunk(3, -1)
        return of_query[0], of_key[1], of_value[2]

    def _mask(self, attention: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
        """Return what is added to the scores, a tensor that broadcasts to `(batch, head, query, key)`, or None."""
        mask = None
        if attention is not None:
            mask = _added(attention, q.dtype)  # (query, key), or (batch · head, query, key)
            mask = mask.unflatten(0, (q.shape[0], self.num_heads)) if mask.dim() == 3 else mask
        if padding is not None:
            padding = _added(padding, q.dtype)[:, None, None]  # (batch, key) for all heads and queries
            mask = padding if mask is None else mask + padding
        return mask


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask as what is added: minus infinity where a mask of booleans is true."""
    if mask.is_floating_point():
        return mask
    if mask.dtype != torch.bool:
        raise ValueError(f"a mask is of booleans or of floats, got {mask.dtype}")
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)
