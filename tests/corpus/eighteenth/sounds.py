"""Scripts of the eighteenth held-out set on sounds of 2,000 to 8,000 samples: by waves, by spectra, by CTC."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import dice, fit, loaders, optimizer, schedule
from tests.corpus.probe import Probe, Recording

RATE = 4000


@cache
def heard(count: int, length: int, held: int = 300) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Eight kinds of tones: two pitches that slide up or down, plain or trembling; noise and other tones besides."""
    chance = dice(261)
    many = count + held
    y = torch.randint(8, (many,), generator=chance)
    time = torch.arange(length) / RATE
    pitch = torch.where(y % 2 == 0, 300.0, 420.0) * (1 + 0.06 * torch.randn(many, generator=chance))
    slide = torch.where(y // 2 % 2 == 0, 160.0, -80.0).unsqueeze(1) * RATE / length
    phase = 6.28 * torch.rand(many, 1, generator=chance)
    wave = (6.28 * (pitch.unsqueeze(1) * time + slide * time**2 / 2) + phase).sin()
    tremble = 1 + (y // 4).unsqueeze(1) * 0.9 * (6.28 * 9 * time).sin()
    other = (6.28 * (200 + 900 * torch.rand(many, 1, generator=chance)) * time).sin()
    loud = 0.2 + 0.3 * torch.rand(many, 1, generator=chance)
    wave = loud * (wave * tremble + 0.5 * other) + 0.25 * torch.randn(many, length, generator=chance)
    wave = wave.unsqueeze(1)
    return wave[:count], y[:count], wave[count:], y[count:]


def m5(width: int = 24, out: int = 8, norm: bool = True, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """M5 of PyTorch's audio tutorial: a wide first convolution with a large stride."""
    layers: list[nn.Module] = []
    for a, b, k, s in ((1, width, 80, 8), (width, width, 3, 1), (width, 2 * width, 3, 1), (2 * width, 2 * width, 3, 1)):
        layers += [nn.Conv1d(a, b, k, s), nn.BatchNorm1d(b) if norm else nn.Identity(), act(), nn.MaxPool1d(4)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(2 * width, out))


class Spectrum(nn.Module):
    """Short Fourier transforms, logarithms, then convolutions over the picture."""

    def __init__(self, width: int, out: int, drop: float) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(256))
        layers: list[nn.Module] = [nn.BatchNorm2d(1)]
        for a, b in ((1, width), (width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]
        self.net = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten(), nn.Dropout(drop), nn.Linear(64 * width, out)
        )

    def forward(self, x: Tensor) -> Tensor:
        found = torch.stft(x.squeeze(1), 256, 128, window=self.window, return_complex=True).abs()
        return self.net((found[:, :64] + 1e-5).log().unsqueeze(1))


def named_sounds(
    net: str = "m5", rate: float = 3e-3, name: str = "adam", decay: float = 1e-4, batch: int = 32, steps: int = 150,
    length: int = 4000, width: int = 56, drop: float = 0.3, plan: str = "one cycle", norm: bool = True,
    loud: float = 1.0, every: int = 50, sigmoid: bool = False, **more: bool,
) -> Recording:  # fmt: skip
    """Names sounds; `loud` is how samples are scaled (32,768 as they lie in the file)."""
    x, y, vx, vy = heard(3000, length)
    learn, held = loaders((loud * x, y, loud * vx, vy), batch)
    model = m5(width, 8, norm, nn.Sigmoid if sigmoid else nn.ReLU) if net == "m5" else Spectrum(width, 8, drop)
    made = optimizer(name, model.parameters(), rate, decay)
    planned = schedule(plan, made, steps, rate)
    return fit(model, made, learn, held, F.cross_entropy, steps, planned, every=every, **more)


@cache
def _spoken(count: int, length: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    """Frames of twenty bands: three to six of ten sounds one after the other; which they are, and how many."""
    chance = dice(262)
    shapes = 1.2 * torch.randn(11, 20, generator=chance)
    many = torch.randint(3, 7, (count,), generator=chance)
    said = torch.randint(1, 11, (count, 6), generator=chance)
    frames = torch.zeros(count, length, dtype=torch.long)
    for row in range(count):
        at = int(torch.randint(0, 6, (1,), generator=chance))
        for number in range(int(many[row])):
            long = int(torch.randint(4, 8, (1,), generator=chance))
            frames[row, at : at + long] = said[row, number]
            at += long + int(torch.randint(1, 3, (1,), generator=chance))
    bands = shapes[frames] * (frames > 0).unsqueeze(2) + 0.6 * torch.randn(count, length, 20, generator=chance)
    return bands, said, many


class Reads(nn.Module):
    """A convolution, a GRU in both directions, names for each frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(20, width, 3, padding=1), nn.BatchNorm1d(width)
        self.gru = nn.GRU(width, width, 2, batch_first=True, bidirectional=True, dropout=0.1)
        self.fc = nn.Linear(2 * width, 11)

    def forward(self, x: Tensor) -> Tensor:
        seen = F.relu(self.norm(self.conv(x.transpose(1, 2)))).transpose(1, 2)
        return self.fc(self.gru(seen)[0])


def read(
    rate: float = 3e-3, name: str = "adamw", batch: int = 32, steps: int = 300, width: int = 48,
    plan: str = "one cycle", clip: float | None = 5.0, blank: int = 0, logs: bool = True, every: int = 60,
) -> Recording:  # fmt: skip
    """Learns by CTC which sounds were said; not `logs` hands scores to CTC that are no logarithms of shares."""
    x, said, many = _spoken(2500)
    cut = 2300
    model = Reads(width)
    made = optimizer(name, model.parameters(), rate, 0.01)
    planned = schedule(plan, made, steps, rate)
    probe = Probe(model, made, total_steps=steps)

    def lost(rows: Tensor) -> tuple[Tensor, Tensor]:
        out = model(x[rows])
        shares = (out.log_softmax(2) if logs else out).transpose(0, 1)
        long = torch.full((len(rows),), 64)
        return F.ctc_loss(shares, said[rows], long, many[rows], blank=blank, zero_infinity=True), out

    for step in range(steps):
        loss, _ = lost(torch.randint(cut, (batch,)))
        made.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if step % every == every - 1:
            model.eval()
            rows = torch.arange(cut, 2500)
            with torch.no_grad():
                loss, out = lost(rows)
            model.train()
            whole = 0
            for row, best in zip(rows.tolist(), out.argmax(2), strict=True):
                told = [int(a) for a in torch.unique_consecutive(best) if a > 0]
                whole += told == said[row, : many[row]].tolist()
            probe.validation(loss, whole=whole / len(rows))
    return probe.finish()
