"""Scripts of the eighteenth held-out set that cut pictures into patches: a vision transformer and a mixer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import digits, fit, loaders, optimizer, scenes, schedule
from tests.corpus.probe import Recording


class Attends(nn.Module):
    """A block of a transformer with its norms first, and PyTorch's attention."""

    def __init__(self, width: int, heads: int, drop: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, dropout=drop, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(drop), nn.Linear(4 * width, width), nn.Dropout(drop)
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = self.norm1(x)
        x = x + self.attn(seen, seen, seen, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A token for the whole beside the patches, with learnt places."""

    def __init__(
        self, size: int, patch: int, channels: int, classes: int, width: int = 64, depth: int = 4, heads: int = 4,
        drop: float = 0.0, whole: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.put = nn.Conv2d(channels, width, patch, patch)
        many = (size // patch) ** 2
        self.cls = nn.Parameter(torch.zeros(1, 1, width)) if whole else None
        self.place = nn.Parameter(0.02 * torch.randn(1, many + int(whole), width))
        self.blocks = nn.Sequential(*[Attends(width, heads, drop) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.put(x).flatten(2).transpose(1, 2)
        if self.cls is not None:
            x = torch.cat((self.cls.expand(len(x), -1, -1), x), 1)
        x = self.norm(self.blocks(x + self.place))
        return self.head(x[:, 0] if self.cls is not None else x.mean(1))


class MixerBlock(nn.Module):
    """Mixes places, then channels."""

    def __init__(self, many: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.places = nn.Sequential(nn.Linear(many, 2 * many), nn.GELU(), nn.Linear(2 * many, many))
        self.channels = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.places(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    """Patches that are mixed without attention."""

    def __init__(self, size: int, patch: int, channels: int, classes: int, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.put = nn.Conv2d(channels, width, patch, patch)
        self.blocks = nn.Sequential(*[MixerBlock((size // patch) ** 2, width) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.put(x).flatten(2).transpose(1, 2))).mean(1))


def patches(
    net: str = "vit", rate: float = 1e-3, name: str = "adamw", decay: float = 0.05, batch: int = 64, steps: int = 250,
    plan: str = "warm cosine", warm: int = 25, size: int = 32, patch: int = 4, width: int = 64, depth: int = 4,
    drop: float = 0.0, smooth: float = 0.1, whole: bool = True, data: str = "scenes", clip: float | None = 1.0,
    scaled: float = 1.0, count: int = 6000, soft: bool = False, every: int = 50,
) -> Recording:  # fmt: skip
    """Names pictures by their patches; `scaled` makes all first weights larger."""
    x, y, vx, vy = digits(count) if data == "digits" else scenes(count, size)
    x, vx, size, channels = (x - 0.5) / 0.25, (vx - 0.5) / 0.25, x.shape[2], x.shape[1]
    learn, held = loaders((x, y, vx, vy), batch)
    model: nn.Module
    if net == "vit":
        model = ViT(size, patch, channels, 10, width, depth, 4, drop, whole)
    else:
        model = Mixer(size, patch, channels, 10, width, depth)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(scaled)
    made = optimizer(name, model.parameters(), rate, decay)
    planned = schedule(plan, made, steps, rate, warm)

    def loss_of(out: Tensor, asked: Tensor) -> Tensor:
        return F.cross_entropy(out.softmax(1) if soft else out, asked, label_smoothing=smooth)

    return fit(model, made, learn, held, loss_of, steps, planned, clip=clip, every=every, total_steps=steps)
