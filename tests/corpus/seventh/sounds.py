"""Scripts of the seventh held-out set that turn a signal into something: tones, strips of digits; and a spring."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


def tones(least: float = 1e-4) -> Recording:
    """Names instruments by the logarithm of their spectra; some begin with silence, where a logarithm needs a least."""
    chance = torch.Generator().manual_seed(741)
    y = torch.randint(0, 4, (700,), generator=chance)
    time = torch.arange(1024) / 4000
    pitch = 200 + 200 * torch.rand(700, 1, generator=chance)
    sound = torch.zeros(700, 1024)
    for over in range(1, 6):
        loud = torch.tensor([[1, 0.1, 0.1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0.6, 0, 0.4], [0.3, 1, 0.3, 1, 0.3]])[
            y, over - 1
        ]
        sound += loud[:, None] * torch.sin(6.2832 * over * pitch * time)
    sound += 0.3 * torch.randn(700, 1024, generator=chance)
    for at in range(0, 700, 3):
        sound[at, : int(torch.randint(100, 500, (), generator=chance))] = 0
    spectra = torch.stft(sound, 128, 64, window=torch.hann_window(128), center=False, return_complex=True).abs()
    x = (torch.log(spectra + least) + 1).unsqueeze(1) / 3
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d((8, 1)), nn.Flatten(),
        nn.Linear(128, 4),
    )  # fmt: skip
    optimizer = torch.optim.Adamax(model.parameters(), lr=5e-3)
    probe = Probe(model, optimizer)
    for _ in range(6):
        model.train()
        for rows in torch.randperm(560).split(28):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            said = model(x[560:])
        probe.validation(F.cross_entropy(said, y[560:]), accuracy=(said.argmax(1) == y[560:]).float().mean())
    return probe.finish()


class Reader(nn.Module):
    """Convolutions over a strip, a GRU both ways, a score for each column (CRNN)."""

    def __init__(self) -> None:
        super().__init__()
        self.sees = nn.Sequential(nn.Conv1d(8, 24, 5, padding=2), nn.ReLU(), nn.Conv1d(24, 32, 5, 2, 2), nn.ReLU())
        self.reads, self.says = nn.GRU(32, 28, bidirectional=True), nn.Linear(56, 11)

    def forward(self, strip: Tensor) -> Tensor:
        return self.says(self.reads(self.sees(strip).permute(2, 0, 1))[0])


def strips(normed: bool = True) -> Recording:
    """Reads strips of two or three digits without being told where they stand (CTC, which takes log-probabilities)."""
    raw, chance = load_digits(), torch.Generator().manual_seed(742)
    images = torch.tensor(raw.images, dtype=torch.float32) / 16

    def write(first: int, last: int, many: int) -> tuple[Tensor, Tensor, Tensor]:
        long = torch.randint(2, 4, (many,), generator=chance)
        which = torch.randint(first, last, (many, 3), generator=chance)
        strip = images[which] * (torch.arange(3) < long[:, None])[:, :, None, None]
        return strip.permute(0, 2, 1, 3).flatten(2), torch.tensor(raw.target)[which] + 1, long

    model, frames = Reader(), 12
    optimizer = torch.optim.Adam(model.parameters(), lr=6e-3)
    held, probe = write(1400, 1797, 200), Probe(model, optimizer)

    def ctc(strip: Tensor, text: Tensor, long: Tensor) -> Tensor:
        scores = model(strip)
        scores = scores.log_softmax(2) if normed else scores
        return F.ctc_loss(scores, text, torch.full((len(strip),), frames), long)

    for step in range(420):
        loss = ctc(*write(0, 1400, 32))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        probe.step(loss)
        if step % 70 == 69:
            with torch.no_grad():
                seen, path = ctc(*held), model(held[0]).argmax(2).t()
            said = [[int(at) for at in row.unique_consecutive() if at] for row in path]
            true = [text[:long].tolist() for text, long in zip(held[1], held[2], strict=True)]
            right = sum(one == other for one, other in zip(said, true, strict=True)) / len(true)
            probe.validation(seen, accuracy=right)
    return probe.finish()


def spring(physics: float = 1e-4) -> Recording:
    """Learns how a damped spring swings: ten measured points, and its law elsewhere, whose residual is in thousands."""
    damping, stiff = 4.0, 400.0
    pace = (stiff - (damping / 2) ** 2) ** 0.5
    t = torch.linspace(0, 1, 500).view(-1, 1)
    truth = torch.exp(-damping / 2 * t) * torch.cos(pace * t)
    seen_t, seen_y = t[:200:20], truth[:200:20]
    where = torch.linspace(0, 1, 30).view(-1, 1).requires_grad_(True)
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
    model.append(nn.Linear(32, 1))
    optimizer: Any = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for step in range(800):
        optimizer.zero_grad()
        measured = F.mse_loss(model(seen_t), seen_y)
        y = model(where)
        (slope,) = torch.autograd.grad(y.sum(), where, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), where, create_graph=True)
        law = physics * (bend + damping * slope + stiff * y).square().mean()
        loss = measured + law
        loss.backward()
        optimizer.step()
        probe.step(loss, measured=measured, law=law)
        if step % 200 == 199:
            with torch.no_grad():
                probe.validation(F.mse_loss(model(t), truth))
    return probe.finish()
