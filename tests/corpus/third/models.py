"""Networks of the third held-out set that are no transformers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.corpus import models
from tests.corpus.third import data


class Velocity(nn.Module):
    """Guesses the way from noise to a digit of a wished kind, at a time of the way."""

    def __init__(self, width: int = 160) -> None:
        super().__init__()
        self.kinds = nn.Embedding(10, 16)
        self.put, self.tune = nn.Linear(64, width), nn.Linear(32, 2 * width)
        self.body = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 64))

    def forward(self, x: Tensor, kind: Tensor, time: Tensor) -> Tensor:
        waves = time * math.pi * 2.0 ** torch.arange(8)
        scale, shift = self.tune(torch.cat([self.kinds(kind), waves.sin(), waves.cos()], 1)).chunk(2, 1)
        return self.body(self.put(x) * (1 + scale) + shift)


class Quantised(nn.Module):
    """Keeps a digit as four of 32 codes; gives the picture, what it looked up, and what it looked up for."""

    def __init__(self, registered: bool = True, straight: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 32))
        self.decoder = nn.Sequential(nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 64))
        codes = torch.empty(32, 8).uniform_(-1 / 32, 1 / 32)
        self.codes = nn.Parameter(codes) if registered else codes.requires_grad_()
        self.straight = straight

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wanted = self.encoder(x).reshape(-1, 8)
        near = (wanted.unsqueeze(1) - self.codes).square().sum(2).argmin(1)
        found = self.codes[near]
        passed = wanted + (found - wanted).detach() if self.straight else found
        return self.decoder(passed.reshape(len(x), 32)), found, wanted


class Tasks(nn.Module):
    """A class and two numbers from one trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.kind, self.numbers = nn.Linear(64, 10), nn.Linear(64, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.trunk(x)
        return self.kind(hidden), self.numbers(hidden)


class Weighing(nn.Module):
    """Weighs three losses by uncertainties that it learns (Kendall et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.logs = nn.Parameter(torch.zeros(3))

    def forward(self, losses: Tensor) -> Tensor:
        return (losses * (-self.logs).exp() + 0.5 * self.logs).sum()


class Ordered(nn.Module):
    """One score and four thresholds (CORAL)."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 1, bias=False))
        self.edges = nn.Parameter(torch.tensor([1.0, 0.3, -0.3, -1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x) + self.edges


class Points(nn.Module):
    """PointNet: one network for every point, and the largest of what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(
            nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 64, 1), nn.BatchNorm1d(64), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.each(x.transpose(1, 2)).amax(2))


class Tagger(nn.Module):
    """Tags every sign of packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.signs = nn.Embedding(9, 16, padding_idx=0)
        self.cells, self.head = nn.GRU(16, 32, batch_first=True, bidirectional=True), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        long = (x != 0).sum(1)
        packed = pack_padded_sequence(self.signs(x), long, batch_first=True, enforce_sorted=False)
        seen, _ = pad_packed_sequence(self.cells(packed)[0], batch_first=True, total_length=x.shape[1])
        return self.head(seen).transpose(1, 2)


class LongFilter(nn.Module):
    """A diagonal state-space layer, computed as one long convolution."""

    def __init__(self, width: int = 32, states: int = 8) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.linspace(-5, 0.5, states).repeat(width, 1))
        self.size = nn.Parameter(torch.randn(width, states) / states**0.5)
        self.direct = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        time = torch.arange(x.shape[1])
        kernel = (self.size.unsqueeze(2) * (-self.rate.exp().unsqueeze(2) * time).exp()).sum(1)
        both = torch.fft.rfft(x.transpose(1, 2), 2 * len(time)) * torch.fft.rfft(kernel, 2 * len(time))
        return torch.fft.irfft(both)[..., : len(time)].transpose(1, 2) + self.direct * x


class StateSpace(nn.Module):
    """Reads letters by two long filters and answers at the end."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.put = nn.Embedding(8, width)
        self.filters = nn.ModuleList(LongFilter(width) for _ in range(2))
        self.mix = nn.ModuleList(nn.Sequential(nn.GELU(), nn.Linear(width, 2 * width), nn.GLU()) for _ in range(2))
        self.norms, self.head = nn.ModuleList(nn.LayerNorm(width) for _ in range(2)), nn.Linear(width, 4)
        # the sums over time are long: as PyTorch starts it, this head was sure of itself, as GW201 told
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.put(x)
        for norm, filter_, mix in zip(self.norms, self.filters, self.mix, strict=True):
            hidden = hidden + mix(filter_(norm(hidden)))
        return self.head(hidden[:, -1])


class Dilated(nn.Module):
    """Causal convolutions over time with growing gaps, weight-normalised (TCN)."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            parametrizations.weight_norm(nn.Conv1d(width if gap > 1 else 1, width, 3, dilation=gap))
            for gap in (1, 2, 4, 8)
        )
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        for at, layer in enumerate(self.layers):
            new = torch.relu(layer(F.pad(x, (2 * 2**at, 0))))
            x = new + x if at else new
        return self.head(x[:, :, -1])


class WideAndDeep(nn.Module):
    """A linear part over ids beside a network over embeddings."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (100, 50, 10)
        self.wide = nn.ModuleList(nn.Embedding(many, 1) for many in sizes)
        self.deep = nn.ModuleList(nn.Embedding(many, 8) for many in sizes)
        for layer in [*self.wide, *self.deep]:
            nn.init.normal_(layer.weight, std=0.05)
        self.net = models.mlp(26, 1, 32)

    def forward(self, x: Tensor) -> Tensor:
        ids = x[:, :3].long()
        wide = sum(layer(ids[:, at]) for at, layer in enumerate(self.wide))
        deep = torch.cat([layer(ids[:, at]) for at, layer in enumerate(self.deep)], 1)
        return (wide + self.net(torch.cat([deep, x[:, 3:]], 1))).squeeze(1)


class Friends(nn.Module):
    """Graph attention with two layers."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.put = nn.ModuleList([nn.Linear(20, width), nn.Linear(width, 5)])
        self.asks, self.tells = (nn.ModuleList([nn.Linear(width, 1), nn.Linear(5, 1)]) for _ in range(2))
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor, link: Tensor) -> Tensor:
        for at, (put, asks, tells) in enumerate(zip(self.put, self.asks, self.tells, strict=True)):
            x = put(self.drop(x))
            score = F.leaky_relu(asks(x) + tells(x).T, 0.2).masked_fill(~link, float("-inf"))
            x = self.drop(score.softmax(1)) @ x
            x = F.elu(x) if at == 0 else x
        return x


class Swing(nn.Module):
    """Learns how a pendulum moves, and follows it with Runge and Kutta for a number of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.push = models.mlp(2, 2, 32, act=nn.Tanh)

    def forward(self, at: Tensor) -> Tensor:
        path, long = [], 0.2
        for _ in range(12):
            one = self.push(at)
            two = self.push(at + long / 2 * one)
            three = self.push(at + long / 2 * two)
            at = at + long / 6 * (one + 2 * two + 2 * three + self.push(at + long * three))
            path.append(at)
        return torch.stack(path, 1)


def neighbours() -> nn.Module:
    """A table network for words: one vector for a word in the middle, one for a word beside it."""
    many = data.words()[1]
    table = nn.ModuleDict({"middle": nn.Embedding(many, 24), "beside": nn.Embedding(many, 24)})
    nn.init.uniform_(table["middle"].weight, -0.5 / 24, 0.5 / 24)
    nn.init.zeros_(table["beside"].weight)
    return table
