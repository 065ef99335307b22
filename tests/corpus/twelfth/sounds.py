"""Scripts of the twelfth held-out set that read lines and listen: figures in a row, words, hearts, engines."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording
from tests.corpus.twelfth.shelf import digits, scored


@cache
def numbers(count: int = 600) -> tuple[Tensor, Tensor, Tensor]:
    """Gives pictures of two to four figures in a row, 8 by 40, the figures (from 0 on), and how many there are."""
    chance = torch.Generator().manual_seed(1240)
    x, y, _, _ = digits()
    many = torch.randint(2, 5, (count,), generator=chance)
    lines, said = torch.zeros(count, 1, 8, 40), torch.zeros(count, 4, dtype=torch.long)
    for at in range(count):
        left = 0
        for place in range(int(many[at])):
            which = int(torch.randint(0, len(x), (1,), generator=chance))
            left += int(torch.randint(0, 3, (1,), generator=chance)) if place else 0
            lines[at, 0, :, left : left + 8] = x[which, 0, :, : 40 - left]
            said[at, place] = y[which]
            left += 8
    return lines, said, many


class CRNN(nn.Module):
    """Looks along a line with convolutions, then reads it in both directions."""

    def __init__(self, stride: int = 2, order: str = "permuted") -> None:
        super().__init__()
        self.order = order
        self.look = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d((4, stride // 2)),
        )  # fmt: skip
        self.read, self.say = nn.GRU(24, 24, bidirectional=True), nn.Linear(48, 11)

    def forward(self, x: Tensor) -> Tensor:
        x = self.look(x).squeeze(2)
        count, channels, width = x.shape
        x = x.permute(2, 0, 1) if self.order == "permuted" else x.reshape(width, count, channels)
        return self.say(self.read(x)[0])


def line_reader(stride: int = 2, order: str = "permuted", normed: bool = True, epochs: int = 12) -> Recording:
    """Reads figures in a row by CTC; the blank is 0, the figure n is n + 1."""
    lines, said, many = numbers()
    model = CRNN(stride, order)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    criterion = nn.CTCLoss(blank=0)
    probe = Probe(model, optimizer)

    def losses(rows: Tensor) -> tuple[Tensor, Tensor]:
        out = model(lines[rows])
        chances = out.log_softmax(2) if normed else out
        given = torch.full((len(rows),), out.size(0), dtype=torch.long)
        return criterion(chances, said[rows] + 1, given, many[rows]), out

    def read(out: Tensor) -> list[list[int]]:
        best = out.argmax(2).T.tolist()
        return [
            [kind - 1 for at, kind in enumerate(line) if kind and (at == 0 or line[at - 1] != kind)] for line in best
        ]

    test = torch.arange(520, 600)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(520).split(26):
            loss, _ = losses(rows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            probe.step(loss)
        scheduler.step()
        model.eval()
        with torch.no_grad():
            loss, out = losses(test)
        wanted = [said[i, : many[i]].tolist() for i in test.tolist()]
        probe.validation(loss, whole_lines=sum(a == b for a, b in zip(read(out), wanted, strict=True)) / len(test))
    return probe.finish()


@cache
def words(count: int = 480) -> tuple[Tensor, Tensor]:
    """Makes sounds of 512 samples that rise, fall, hold or trill; each begins and ends in silence."""
    chance = torch.Generator().manual_seed(1241)
    time = torch.arange(512) / 512
    kinds = torch.randint(0, 4, (count,), generator=chance)
    low = 30 + 30 * torch.rand(count, 1, generator=chance)
    slope = torch.stack((60 * time**2, -20 * time**2, 0 * time, torch.sin(6.3 * 5 * time)))[kinds]
    sound = torch.sin(2 * math.pi * (low * time + slope)) + 0.3 * torch.randn(count, 512, generator=chance)
    start = torch.randint(20, 120, (count, 1), generator=chance)
    at = torch.arange(512)
    return sound * ((at >= start) & (at < start + 360)), kinds


def spectra(sound: Tensor, floor: float) -> Tensor:
    """Gives logarithms of power, 33 bands by 31 frames."""
    window = torch.hann_window(64)
    return (torch.stft(sound, 64, 16, window=window, center=False, return_complex=True).abs() ** 2 + floor).log()


class Ears(nn.Module):
    """Listens with convolutions and remembers with a GRU."""

    def __init__(self, first: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv1d(33, 24, 5, padding=2)
        self.norm, self.gru, self.out = nn.LayerNorm(24), nn.GRU(24, 24, batch_first=first), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(F.relu(self.conv(x)).transpose(1, 2))
        return self.out(self.gru(x)[0].mean(1))


def commands(floor: float = 1e-4, first: bool = True, masks: bool = True, epochs: int = 9) -> Recording:
    """Tells spoken commands apart; bands and frames are masked at random while it learns."""
    sound, kinds = words()
    x = spectra(sound, floor)
    x = (x - x[:384].mean()) / x[:384].std()
    model = Ears(first)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(384).split(24):
            batch = x[rows].clone()
            if masks:
                band, frame = int(torch.randint(0, 28, ())), int(torch.randint(0, 26, ()))
                batch[:, band : band + 5] = 0
                batch[:, :, frame : frame + 5] = 0
            loss = F.cross_entropy(model(batch), kinds[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            outputs = model(x[384:])
        probe.validation(F.cross_entropy(outputs, kinds[384:]), accuracy=scored(outputs, kinds[384:]))
    return probe.finish()


@cache
def beats(count: int = 520) -> tuple[Tensor, Tensor]:
    """Makes heartbeats of 96 samples in four kinds: usual, early, wide, with a sunk end."""
    chance = torch.Generator().manual_seed(1242)
    time = torch.linspace(0, 1, 96)
    kinds = torch.multinomial(torch.tensor([0.4, 0.2, 0.2, 0.2]), count, replacement=True, generator=chance)
    shift = 0.03 * torch.randn(count, 1, generator=chance) - 0.1 * (kinds == 1).view(-1, 1)
    wide = 0.015 + 0.025 * (kinds == 2).view(-1, 1)
    end = torch.where(kinds == 3, -0.25, 0.3).view(-1, 1)

    def bump(middle: float, width: Tensor | float) -> Tensor:
        return (-((time - middle - shift) ** 2) / (2 * width**2)).exp()

    size = 0.8 + 0.4 * torch.rand(count, 1, generator=chance)
    wave = size * (0.15 * bump(0.25, 0.03) + bump(0.45, wide) + end * bump(0.7, 0.05))
    drift = 0.3 * torch.sin(3 * time + 6.3 * torch.rand(count, 1, generator=chance))
    return (wave + drift + 0.15 * torch.randn(count, 96, generator=chance)).unsqueeze(1), kinds


class Residual(nn.Module):
    """Adds two convolutions to what it was given."""

    def __init__(self, width: int, momentum: float, drop: float) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv1d(width, width, 7, padding=3, bias=False) for _ in range(2))
        self.norm1, self.norm2 = (nn.BatchNorm1d(width, momentum=momentum) for _ in range(2))
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(self.drop(self.one(x))))
        return F.relu(x + self.norm2(self.drop(self.two(h))))


def hearts(
    momentum: float = 0.1, inside: float = 0.0, many: int = 416, mixed: bool = True, epochs: int = 10
) -> Recording:
    """Tells heartbeats apart with a residual network."""
    x, kinds = beats()
    model = nn.Sequential(
        nn.Conv1d(1, 16, 7, 2, 3), *(Residual(16, momentum, inside) for _ in range(2)),
        nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 4),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        order = torch.randperm(416) % many if mixed else kinds[:416].argsort()
        for rows in order.split(26):
            batch = x[rows] * (0.9 + 0.2 * torch.rand(len(rows), 1, 1))
            loss = F.cross_entropy(model(batch), kinds[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            outputs = model(x[416:])
        probe.validation(F.cross_entropy(outputs, kinds[416:]), accuracy=scored(outputs, kinds[416:]))
    return probe.finish()


def unmixed(epochs: int = 14) -> Recording:
    """Takes noise away from sounds by a mask on their spectra; judged by the ratio of signal to what is left."""
    chance = torch.Generator().manual_seed(1243)
    sound, _ = words()
    noisy = sound + 0.8 * torch.randn(sound.shape, generator=chance)
    window = torch.hann_window(64)
    spectrum = torch.stft(noisy, 64, 16, window=window, return_complex=True)
    loud = (spectrum.abs() + 1e-3).log().transpose(1, 2)
    model = nn.Sequential(
        nn.LayerNorm(33), nn.Linear(33, 48), nn.PReLU(), nn.Linear(48, 48), nn.PReLU(), nn.Linear(48, 33)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)

    def ratio(rows: Tensor) -> Tensor:
        mask = model(loud[rows]).transpose(1, 2).sigmoid()
        guess = torch.istft(spectrum[rows] * mask, 64, 16, window=window, length=512)
        true = sound[rows]
        scale = (guess * true).sum(1, keepdim=True) / (true**2).sum(1, keepdim=True)
        aim = scale * true
        return 10 * ((aim**2).sum(1) / ((guess - aim) ** 2).sum(1)).log10()

    for _ in range(epochs):
        for rows in torch.randperm(400).split(40):
            loss = -ratio(rows).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(-ratio(torch.arange(400, 480)).mean())
    return probe.finish()
