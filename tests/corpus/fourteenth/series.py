"""Scripts of the fourteenth held-out set on time and on sets: visits, tides, bags of coins."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fourteenth.stock import cut
from tests.corpus.probe import Probe, Recording


@cache
def _visits(count: int = 700, length: int = 24, seed: int = 14) -> Tensor:
    """Hours between visits to a shop's page; one visit soon brings the next, and a long pause a longer one."""
    g = torch.Generator().manual_seed(seed)
    pauses, mood = [], torch.ones(count)
    for _ in range(length):
        pause = -torch.log(torch.rand(count, generator=g)) * mood * 0.4
        mood = 0.2 + 0.5 * mood + 1.6 * (pause > 0.5).float() * torch.rand(count, generator=g)
        pauses.append(pause + 0.01)
    return torch.stack(pauses, 1)


class Rhythm(nn.Module):
    """The rate of the next visit from the pauses before it."""

    def __init__(self, cell: str, width: int, ends_in: str) -> None:
        super().__init__()
        self.cell = (nn.GRU if cell == "gru" else nn.LSTM)(2, width, batch_first=True)
        self.rate, self.ends_in = nn.Linear(width, 2), ends_in

    def forward(self, pauses: Tensor) -> tuple[Tensor, Tensor]:
        before = torch.stack((pauses, pauses.clamp(min=1e-3).log() if self.ends_in != "raw" else pauses), 2)
        out = self.rate(self.cell(before[:, :-1])[0])
        made = F.relu(out) if self.ends_in == "relu" else F.softplus(out) + 1e-4
        return made[..., 0], made[..., 1]


def visits(
    ends_in: str = "softplus", unit: float = 1.0, cell: str = "gru", rate: float = 5e-3, batch: int = 40,
    epochs: int = 12, width: int = 24, clip: float | None = None,
) -> Recording:  # fmt: skip
    """Foretells when the next visit comes, as a Weibull law; `unit` is how long an hour is."""
    pauses = _visits() * unit
    known, unseen = pauses[:560], pauses[560:]
    model = Rhythm(cell, width, ends_in)
    opt = torch.optim.Adam(model.parameters(), lr=rate)

    def doubt(of: Tensor) -> Tensor:
        scale, shape = model(of)
        then = of[:, 1:]
        density = shape.log() + shape * scale.log() + (shape - 1) * then.log() - (scale * then) ** shape
        return -density.mean()

    probe = Probe(model, opt)
    for _ in range(epochs):
        for rows in torch.randperm(len(known)).split(batch):
            opt.zero_grad()
            loss = doubt(known[rows])
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            opt.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(doubt(unseen))
    return probe.finish()


@cache
def _tides(length: int = 6000, seed: int = 14) -> Tensor:
    """The height of the sea by the hour, in centimetres: two tides, weather, and a level."""
    g = torch.Generator().manual_seed(seed)
    at = torch.arange(length).float()
    weather = [torch.zeros(())]
    for shock in torch.randn(length - 1, generator=g):
        weather.append(0.97 * weather[-1] + 6 * shock)
    moon, sun = 140 * torch.sin(6.2832 * at / 12.42), 50 * torch.sin(6.2832 * at / 12)
    return 410 + moon + sun + torch.stack(weather) + 3 * torch.randn(length, generator=g)


class Past(nn.Module):
    """Dilated convolutions that see the past only; `centred` pads both sides."""

    def __init__(self, width: int, norm: bool, centred: bool, drop: float) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, width, 1)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=2**k) for k in range(4))
        kind = nn.BatchNorm1d if norm else nn.Identity
        self.norms, self.drop = nn.ModuleList(kind(width) for _ in range(4)), nn.Dropout(drop)
        self.last, self.centred = nn.Conv1d(width, 1, 1), centred

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            reach = 2 * layer.dilation[0]
            padding = (reach // 2, reach // 2) if self.centred else (reach, 0)
            x = x + self.drop(F.relu(norm(layer(F.pad(x, padding)))))
        return self.last(x)


def tides(
    centred: bool = False, scaled: bool = True, own_scale: bool = False, norm: bool = False, drop: float = 0.0,
    rate: float = 3e-3, batch: int = 24, epochs: int = 9, width: int = 24, span: int = 72, ahead: int = 1,
    clip: float | None = None, clear: bool = True, optimizer_name: str = "adam", value_clip: float | None = None,
) -> Recording:  # fmt: skip
    """Foretells the sea of the next hours at each hour; `own_scale` brings the test part to another spread."""
    sea = _tides()
    mean, std = sea[:4800].mean(), sea[:4800].std()
    if scaled:
        sea = (sea - mean) / std
    rows = sea.unfold(0, span + ahead, 24)
    cut_at = int(0.8 * len(rows))
    x, y = rows[:cut_at, None, :span], rows[:cut_at, None, ahead:]
    vx, vy = rows[cut_at + 3 :, None, :span], rows[cut_at + 3 :, None, ahead:]
    if own_scale:
        vx = vx * std + mean
    model = Past(width, norm, centred, drop)
    opt: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    if optimizer_name == "sgd":
        opt = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    probe = Probe(model, opt)
    for _ in range(epochs):
        for _ in range(4):
            model.train()
            for chosen in torch.randperm(len(x)).split(batch):
                if clear:
                    opt.zero_grad()
                loss = F.smooth_l1_loss(model(x[chosen]), y[chosen])
                loss.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                opt.step()
                probe.step(loss)
        model.eval()
        with torch.no_grad():
            out = model(vx)
            probe.validation(F.smooth_l1_loss(out, vy), off=(out - vy).abs().mean())
    return probe.finish()


class Bag(nn.Module):
    """Looks at each coin alone, adds them up, and judges the sum (deep sets)."""

    def __init__(self, width: int, pooled: str, bends: bool) -> None:
        super().__init__()
        act = nn.ReLU if bends else nn.Identity
        self.each = nn.Sequential(nn.Linear(3, width), act(), nn.Linear(width, width), act())
        self.whole = nn.Sequential(nn.Linear(width, width), act(), nn.Linear(width, 1))
        self.care, self.pooled = nn.Linear(3, 1), pooled
        if pooled == "sum":
            del self.care

    def forward(self, coins: Tensor, there: Tensor) -> Tensor:
        seen = self.each(coins) * there.unsqueeze(2)
        if self.pooled != "sum":
            care = self.care(coins).squeeze(2).masked_fill(there == 0, -1e9)
            heed = care.softmax(1 if self.pooled == "attention" else 0)
            seen = seen * heed.unsqueeze(2) * there.sum(1).view(-1, 1, 1)
        seen = seen.sum(1)
        return self.whole(seen).squeeze(1)


def coins(
    pooled: str = "sum", flat: bool = True, rate: float = 2e-3, batch: int = 32, epochs: int = 14, width: int = 32,
    decay: float = 0.0, bends: bool = True, most: int = 12,
) -> Recording:  # fmt: skip
    """Says what a bag of coins is worth by their size, weight and colour; `flat` keeps targets as a row."""
    g = torch.Generator().manual_seed(14)
    kind = torch.randint(0, 4, (1600, most), generator=g)
    there = (torch.arange(most) < torch.randint(4, most + 1, (1600, 1), generator=g)).float()
    looks = torch.tensor([[-1.0, -1.0, 1.0], [-0.3, 0.2, 1.0], [0.4, -0.2, -1.0], [1.0, 1.0, -1.0]])
    worth = torch.tensor([0.1, 0.2, 0.5, 1.0])
    x = looks[kind] + 0.15 * torch.randn(1600, most, 3, generator=g)
    y = (worth[kind] * there).sum(1)
    y = (y - 3.5) / 1.5
    at, y, vat, vy = cut(torch.arange(1600), y if flat else y.unsqueeze(1))
    model = Bag(width, pooled, bends)
    opt = torch.optim.RAdam(model.parameters(), lr=rate, weight_decay=decay)
    probe = Probe(model, opt)
    for _ in range(epochs):
        for rows in torch.randperm(len(at)).split(batch):
            out = model(x[at[rows]], there[at[rows]])
            loss = F.mse_loss(out, y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.mse_loss(model(x[vat], there[vat]), vy))
    return probe.finish()
