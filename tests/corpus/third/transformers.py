"""Transformers of the third held-out set: for pictures, for letters, for padded sentences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus import data as corpus_data
from tests.corpus.third import data


def patches(x: Tensor) -> Tensor:
    """Cuts pictures of 8 × 8 into sixteen patches of 2 × 2."""
    return x.unfold(2, 2, 2).unfold(3, 2, 2).reshape(len(x), 16, 4)


def layers(width: int, depth: int, dropout: float = 0.0) -> nn.TransformerEncoder:
    """Makes layers that normalise first."""
    layer = nn.TransformerEncoderLayer(
        width, 4, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)


class Vit(nn.Module):
    """A vision transformer with a class token."""

    def __init__(self, width: int = 32, depth: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.put = nn.Linear(4, width)
        self.first, self.places = (nn.Parameter(0.02 * torch.randn(many, width)) for many in (1, 17))
        self.drop, self.body = nn.Dropout(dropout), layers(width, depth, dropout)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.put(patches(x))
        seen = torch.cat([self.first.expand(len(x), 1, -1), seen], 1) + self.places
        return self.head(self.norm(self.body(self.drop(seen))[:, 0]))


class Attention(nn.Module):
    """Causal attention with rotary positions."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.all, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        half = width // heads // 2
        angle = torch.arange(64).unsqueeze(1) * 10_000 ** (-torch.arange(half) / half)
        self.register_buffer("cosine", angle.cos(), persistent=False)
        self.register_buffer("sine", angle.sin(), persistent=False)

    def turned(self, x: Tensor) -> Tensor:
        """Turns pairs of numbers by the position."""
        one, two = x.chunk(2, -1)
        cosine, sine = self.cosine[: x.shape[2]], self.sine[: x.shape[2]]
        return torch.cat([one * cosine - two * sine, one * sine + two * cosine], -1)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        q, k, v = (
            part.reshape(rows, length, self.heads, -1).transpose(1, 2) for part in self.all(x).split(width, dim=2)
        )
        seen = F.scaled_dot_product_attention(self.turned(q), self.turned(k), v, is_causal=self.causal)
        return self.out(seen.transpose(1, 2).reshape(rows, length, width))


class Gated(nn.Module):
    """SwiGLU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate, self.up, self.down = (
            nn.Linear(a, b, bias=False) for a, b in ((width, inner), (width, inner), (inner, width))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Llama(nn.Module):
    """A decoder with rotary positions, RMS norms, gated layers and a head that is the table of its letters."""

    def __init__(self, width: int = 40, depth: int = 2, causal: bool = True, letters: int = 0) -> None:
        super().__init__()
        self.tokens = nn.Embedding(letters or corpus_data.letters(), width)
        self.attention = nn.ModuleList(Attention(width, 4, causal) for _ in range(depth))
        self.gated = nn.ModuleList(Gated(width, 2 * width) for _ in range(depth))
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(2 * depth + 1))
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Embedding):
                nn.init.normal_(layer.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.tokens(x)
        for at, (attention, gated) in enumerate(zip(self.attention, self.gated, strict=True)):
            hidden = hidden + attention(self.norms[2 * at](hidden))
            hidden = hidden + gated(self.norms[2 * at + 1](hidden))
        return (self.norms[-1](hidden) @ self.tokens.weight.T).transpose(1, 2)


class Sentences(nn.Module):
    """An encoder for padded sentences that answers from the sign in front."""

    def __init__(self, width: int = 32, inverted: bool = False, placed: bool = True) -> None:
        super().__init__()
        self.tokens = nn.Embedding(data.SIGNS, width, padding_idx=0)
        self.places = nn.Embedding(data.LONGEST, width) if placed else None
        self.body, self.head = layers(width, 2), nn.Linear(width, 4)
        self.inverted = inverted

    def forward(self, x: Tensor) -> Tensor:
        seen: Any = self.tokens(x)
        if self.places is not None:
            seen = seen + self.places(torch.arange(x.shape[1]))
        mask = x != 0 if self.inverted else x == 0
        return self.head(self.body(seen, src_key_padding_mask=mask)[:, 0])
