"""The trainings that the overhead is measured on: from a small MLP to a GPT whose step takes a fifth of a second.

`COUNTERPARTS` says which of them stand for the models of H9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# the three models that H9 names; ours are as deep, and their steps short enough for two cores
COUNTERPARTS = {
    "MLP 4x512": "mlp",  # 4 x 256: a shorter step, of which the hook's part is larger
    "ResNet-18": "cnn",  # six residual blocks with batch norm, 32 to 128 channels
    "12-layer transformer": "gpt-large",  # 12 layers of width 192
}


@dataclass
class Training:
    """Holds a model, its optimizer and one step that returns the loss; `finish_step` ends an iteration."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    compute: Callable[[], Tensor]
    clip: float | None = None

    def step(self) -> Tensor:
        """Runs one training step."""
        self.optimizer.zero_grad()
        loss = self.compute()
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss


def mlp(width: int = 256, batch: int = 64) -> Training:
    """Four layers of 256, batch 64: a step of two to three milliseconds."""
    layers: list[nn.Module] = [layer for _ in range(4) for layer in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    x, y = torch.randn(batch, width), torch.randint(0, 10, (batch,))
    return _training(model, lambda: F.cross_entropy(model(x), y), 1e-3)


class _Residual(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.short = nn.Conv2d(inside, outside, 1, stride, bias=False)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm2(self.second(self.relu(self.norm1(self.first(x)))))
        return self.relu(inner + self.short(x))


def cnn(batch: int = 32) -> Training:
    """A residual network on 32 x 32 images, batch 32."""
    widths = [(3, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
    model = nn.Sequential(
        *(_Residual(*width) for width in widths), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)
    )
    x, y = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    return _training(model, lambda: F.cross_entropy(model(x), y), 1e-3)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.gelu, self.down = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(self.gelu(self.up(self.norm2(x))))


class _GPT(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, length: int, letters: int = 96) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(letters, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, letters)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def gpt(width: int, layers: int, batch: int, length: int) -> Training:
    """A GPT over random characters."""
    model = _GPT(width, layers, width // 32, length)
    ids = torch.randint(0, 96, (batch, length + 1))
    return _training(model, lambda: F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()), 3e-4)


def gpt_small() -> Training:
    """Four layers of width 128, 8 x 128 characters."""
    return gpt(128, 4, 8, 128)


def gpt_large() -> Training:
    """Twelve layers of width 192, 8 x 96 characters: 149 parameters."""
    return gpt(192, 12, 8, 96)


def gpt_bf16(width: int, layers: int, batch: int, length: int) -> Training:
    """The same in bfloat16, with clipped gradients, as language models are trained."""
    training = gpt(width, layers, batch, length)
    compute = training.compute

    def under_autocast() -> Tensor:
        with torch.autocast(next(training.model.parameters()).device.type, torch.bfloat16):
            return compute()

    training.compute, training.clip = under_autocast, 1.0
    return training


class _Recurrent(nn.Module):
    def __init__(self, letters: int = 64, width: int = 128) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(letters, 64), nn.Linear(width, letters)
        self.lstm = nn.LSTM(64, width, num_layers=2, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        states, _ = self.lstm(self.tokens(ids))
        return self.head(states)


def lstm(width: int = 128, batch: int = 16, length: int = 32) -> Training:
    """Two layers of width 128, 16 x 32 characters."""
    model = _Recurrent(width=width)
    ids = torch.randint(0, 64, (batch, length + 1))
    return _training(model, lambda: F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()), 1e-3)


def autoencoder() -> Training:
    """Convolutions down and up again, 16 x 3 x 32 x 32."""
    widths = [3, 24, 48, 96]
    down = [layer for a, b in pairwise(widths) for layer in (nn.Conv2d(a, b, 3, 2, 1), nn.SiLU())]
    up = [
        layer
        for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        for layer in (nn.ConvTranspose2d(a, b, 4, 2, 1), nn.SiLU())
    ]
    model = nn.Sequential(*down, *up[:-1])
    x = torch.rand(16, 3, 32, 32)
    return _training(model, lambda: F.mse_loss(model(x), x), 1e-3)


def _training(model: nn.Module, compute: Callable[[], Tensor], rate: float) -> Training:
    return Training(model, torch.optim.AdamW(model.parameters(), lr=rate), compute)


MODELS: dict[str, Callable[[], Training]] = {
    "mlp": mlp,
    "lstm": lstm,
    "autoencoder": autoencoder,
    "cnn": cnn,
    "gpt-small": gpt_small,
    "gpt-large": gpt_large,
}
