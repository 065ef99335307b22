"""Scripts of the eighteenth held-out set that foretell a series: an LSTM, dilated convolutions, a transformer."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import dice, fit, loaders, optimizer, schedule
from tests.corpus.probe import Recording


@cache
def load(length: int, ahead: int, count: int = 12_000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Megawatts of each hour: days, weeks, a slow wind; windows to learn from come before those to test on."""
    chance = dice(251)
    hour = torch.arange(count).float()
    wind, kick = torch.zeros(count), torch.randn(count, generator=chance)
    for at in range(1, count):
        wind[at] = 0.95 * wind[at - 1] + 0.3 * kick[at]
    day, week = 2 * math.pi * hour / 24, 2 * math.pi * hour / 168
    megawatts = 5000 + 900 * day.sin() + 350 * (2 * day).cos() + 500 * week.sin() + 300 * wind
    megawatts = megawatts + 120 * torch.randn(count, generator=chance)
    windows = megawatts.unfold(0, length + ahead, 1)
    x, y = windows[:, :length].unsqueeze(2), windows[:, length:]
    cut = int(0.8 * len(x))
    return x[:cut], y[:cut], x[cut + length :: 4], y[cut + length :: 4]


class Remembers(nn.Module):
    """An LSTM whose last state says the next hours."""

    def __init__(self, width: int, layers: int, ahead: int, drop: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, width, layers, batch_first=True, dropout=drop if layers > 1 else 0.0)
        self.fc = nn.Linear(width, ahead)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.lstm(x)[0][:, -1])


class Chomp(nn.Module):
    """A residual block of dilated convolutions that see the past alone."""

    def __init__(self, a: int, b: int, far: int, drop: float) -> None:
        super().__init__()
        self.far = 2 * far
        self.conv1 = nn.utils.parametrizations.weight_norm(nn.Conv1d(a, b, 3, dilation=far))
        self.conv2 = nn.utils.parametrizations.weight_norm(nn.Conv1d(b, b, 3, dilation=far))
        self.drop, self.short = nn.Dropout(drop), nn.Conv1d(a, b, 1) if a != b else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.drop(F.relu(self.conv1(F.pad(x, (self.far, 0)))))
        out = self.drop(F.relu(self.conv2(F.pad(out, (self.far, 0)))))
        return F.relu(out + self.short(x))


class Convolves(nn.Module):
    """A temporal convolutional net."""

    def __init__(self, width: int, depth: int, ahead: int, drop: float) -> None:
        super().__init__()
        self.net = nn.Sequential(*[Chomp(1 if at == 0 else width, width, 2**at, drop) for at in range(depth)])
        self.fc = nn.Linear(width, ahead)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.net(x.transpose(1, 2))[:, :, -1])


class Cuts(nn.Module):
    """PatchTST: each window is normed by itself, cut into patches, and given its mean and spread back."""

    def __init__(self, length: int, ahead: int, width: int, depth: int, patch: int = 12) -> None:
        super().__init__()
        self.patch = patch
        self.put, self.place = nn.Linear(patch, width), nn.Parameter(0.02 * torch.randn(1, length // patch, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.1, "gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.fc = nn.Linear(width * (length // patch), ahead)

    def forward(self, x: Tensor) -> Tensor:
        mid, wide = x.mean((1, 2), keepdim=True), x.std((1, 2), keepdim=True) + 1e-5
        seen = ((x - mid) / wide).squeeze(2).unfold(1, self.patch, self.patch)
        out = self.fc(self.body(self.put(seen) + self.place).flatten(1))
        return out * wide.squeeze(2) + mid.squeeze(2)


def foretold(
    net: str = "lstm", rate: float = 2e-3, name: str = "adam", decay: float = 0.0, batch: int = 64, steps: int = 400,
    length: int = 72, ahead: int = 12, width: int = 64, layers: int = 1, drop: float = 0.0, clip: float | None = 1.0,
    plan: str = "cosine", judged: str = "squares", scaled: bool = True, squashed: bool = False, every: int = 80,
    momentum: float = 0.9,
) -> Recording:  # fmt: skip
    """Foretells the next hours from the last; not `scaled` leaves megawatts as they are."""
    x, y, vx, vy = load(length, ahead)
    if scaled:
        mean, wide = x.mean(), x.std()
        x, y, vx, vy = ((part - mean) / wide for part in (x, y, vx, vy))
    learn, held = loaders((x, y, vx, vy), batch)
    model: nn.Module
    if net == "lstm":
        model = Remembers(width, layers, ahead, drop)
    elif net == "tcn":
        model = Convolves(width, layers, ahead, drop)
    else:
        model = Cuts(length, ahead, width, layers)
    if squashed:
        model = nn.Sequential(model, nn.ReLU())
    made = optimizer(name, model.parameters(), rate, decay, momentum)
    planned = schedule(plan, made, steps, rate)
    loss_of = {"squares": F.mse_loss, "amounts": F.l1_loss, "huber": F.smooth_l1_loss}[judged]
    return fit(
        model, made, learn, held, loss_of, steps, planned, clip=clip, every=every, named=False, total_steps=steps
    )
