"""Scripts of the eleventh held-out set on signals: notes, spoken words, letters, noise, hearts, gears."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording

RATE = 2000  # samples a second


@cache
def tones(count: int = 1320, kinds: int = 5) -> tuple[Tensor, Tensor]:
    """Quarter seconds of notes with overtones, at any loudness, in noise."""
    chance = torch.Generator().manual_seed(1130)
    kind = torch.arange(count) % kinds
    pitch = torch.tensor([110.0, 147.0, 196.0, 262.0, 349.0])[kind]
    pitch = pitch * (1 + 0.06 * torch.randn(count, generator=chance))
    time = torch.arange(512) / RATE
    phase = 2 * math.pi * torch.rand(count, 1, generator=chance)
    wave = sum(torch.sin(2 * math.pi * n * pitch[:, None] * time + n * phase) / n for n in (1, 2, 3))
    loud = 0.1 + 0.5 * torch.rand(count, 1, generator=chance)
    return loud * wave + 0.4 * torch.randn(count, 512, generator=chance), kind


def spectra(wave: Tensor) -> Tensor:
    """The logarithm of the power of short pieces, (batch, frequencies, times)."""
    power = torch.stft(wave, 64, 32, window=torch.hann_window(64), return_complex=True).abs() ** 2
    return (power + 1e-3).log()


def notes(soft: bool = False, mixed: bool = True, lr: float = 2e-3) -> Recording:
    """Tells notes by a spectrogram and convolutions over time; a softmax before the loss makes it slow and blunt.

    Wrong where asked for: one note after the other.
    """
    wave, kind = tones()
    seen = spectra(wave)
    mean, std = seen[:1120].mean((0, 2), keepdim=True), seen[:1120].std((0, 2), keepdim=True)
    seen = (seen - mean) / std
    layers: list[nn.Module] = [
        nn.Conv1d(33, 24, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(24, 24, 3), nn.ReLU(), nn.AdaptiveMaxPool1d(1),
        nn.Flatten(), nn.Linear(24, 5),
    ]  # fmt: skip
    model = nn.Sequential(*layers, nn.Softmax(1)) if soft else nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    probe = Probe(model, optimizer)
    for _ in range(6):
        for rows in (torch.randperm(1120) if mixed else kind[:1120].argsort(stable=True)).split(40):
            loss = F.cross_entropy(model(seen[rows]), kind[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            scores = model(seen[1120:])
        right = (scores.argmax(1) == kind[1120:]).float().mean()
        probe.validation(F.cross_entropy(scores, kind[1120:]), accuracy=right)
    return probe.finish()


@cache
def commands(count: int = 800, kinds: int = 4, length: int = 32) -> tuple[Tensor, Tensor]:
    """Rows of 12 cepstra: each word is a path of its own, spoken faster or slower, by voices that differ."""
    chance = torch.Generator().manual_seed(1131)
    paths = torch.randn(kinds, 12, 6, generator=chance)
    smooth = F.interpolate(paths, length + 16, mode="linear", align_corners=True)
    kind = torch.randint(kinds, (count,), generator=chance)
    start = torch.randint(0, 16, (count,), generator=chance)
    made = torch.stack([smooth[k, :, s : s + length].T for k, s in zip(kind.tolist(), start.tolist(), strict=True)])
    voice = 0.5 * torch.randn(count, 1, 12, generator=chance)
    return made + voice + 0.8 * torch.randn(count, length, 12, generator=chance), kind


class Commands(nn.Module):
    """Hears a word forwards and backwards."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(12, 24, batch_first=batch_first, bidirectional=True), nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x)[0].mean(1))


def spoken(batch_first: bool = True) -> Recording:
    """Tells four spoken words; wrong where asked for: a GRU that takes batches for time."""
    heard, kind = commands()
    loader = DataLoader(TensorDataset(heard[:640], kind[:640]), batch_size=20, shuffle=True)
    model = Commands(batch_first)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for _ in range(6):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            scores = model(heard[640:])
        right = (scores.argmax(1) == kind[640:]).float().mean()
        probe.validation(F.cross_entropy(scores, kind[640:]), accuracy=right)
    return probe.finish()


def letters(normalised: bool = True) -> Recording:
    """Reads three to five letters from a signal that does not say where they are, by CTC.

    Wrong where asked for: raw scores go to the loss, which is no likelihood then.
    """
    chance = torch.Generator().manual_seed(1132)
    shapes = torch.randn(7, 4, 10, generator=chance)
    shapes[0] = 0

    def draw(count: int) -> tuple[Tensor, Tensor, Tensor]:
        many = torch.randint(3, 6, (count,), generator=chance)
        spelt = torch.randint(1, 7, (count, 5), generator=chance)
        signal = 0.4 * torch.randn(count, 30, 10, generator=chance)
        for row in range(count):
            for at in range(int(many[row])):
                begin = at * 6 + int(torch.randint(0, 3, (1,), generator=chance))
                signal[row, begin : begin + 4] += shapes[spelt[row, at]]
        return signal, spelt, many

    signal, spelt, many = draw(480)
    model = nn.Sequential(nn.Conv1d(10, 32, 5, padding=2), nn.ReLU(), nn.Conv1d(32, 32, 5, padding=2), nn.ReLU(),
                          nn.Conv1d(32, 7, 1))  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    probe = Probe(model, optimizer)

    def loss_of(rows: Tensor) -> Tensor:
        scores = model(signal[rows].transpose(1, 2)).permute(2, 0, 1)
        scores = scores.log_softmax(2) if normalised else scores
        lengths = torch.full((len(rows),), 30)
        return F.ctc_loss(scores, spelt[rows], lengths, many[rows], blank=0, zero_infinity=True)

    for _ in range(12):
        for rows in torch.randperm(400).split(20):
            loss = loss_of(rows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(loss_of(torch.arange(400, 480)))
    return probe.finish()


def ratio(said: Tensor, truth: Tensor) -> Tensor:
    """How far the noise lies below the signal, in decibels, whatever the loudness."""
    scale = (said * truth).sum(1, keepdim=True) / truth.pow(2).sum(1, keepdim=True)
    error = said - scale * truth
    return 10 * torch.log10((scale * truth).pow(2).sum(1) / (error.pow(2).sum(1) + 1e-6) + 1e-6).mean()


def denoised(positive: bool = False) -> Recording:
    """Cleans waves of noise, judged by mean square and decibels; a ReLU at the end loses their lower halves."""
    chance = torch.Generator().manual_seed(1133)
    time = torch.linspace(0, 1, 128)
    pitch, phase = 2 + 8 * torch.rand(900, 1, generator=chance), 6.3 * torch.rand(900, 1, generator=chance)
    clean = torch.sin(2 * math.pi * pitch * time + phase) * torch.exp(-time)
    noisy = clean + 0.4 * torch.randn(900, 128, generator=chance)
    layers: list[nn.Module] = [
        nn.Conv1d(1, 16, 9, padding=4), nn.PReLU(), nn.Conv1d(16, 16, 9, padding=4), nn.PReLU(),
        nn.Conv1d(16, 1, 9, padding=4),
    ]  # fmt: skip
    model = nn.Sequential(*layers, nn.ReLU()) if positive else nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for _ in range(8):
        for rows in torch.randperm(800).split(32):
            optimizer.zero_grad()
            loss = F.mse_loss(model(noisy[rows, None]).squeeze(1), clean[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said = model(noisy[800:, None]).squeeze(1)
        probe.validation(F.mse_loss(said, clean[800:]), decibels=ratio(said, clean[800:]))
    return probe.finish()


def hearts(weighted: bool = True, share: float = 0.06) -> Recording:
    """Finds beats that are wrong, one in twelve and of two kinds, with a weight for each kind in the loss."""
    chance = torch.Generator().manual_seed(1134)
    lot = torch.rand(2000, generator=chance)
    kind = (lot < share).long() + (lot < share / 2).long()
    time = torch.linspace(-1, 1, 64)
    at = 0.1 * torch.randn(2000, 1, generator=chance) - 0.25 * (kind == 1)[:, None].float()
    wide = 0.06 + 0.07 * (kind == 2)[:, None].float()
    beat = torch.exp(-(((time - at) / wide) ** 2)) - 0.2 * torch.exp(-(((time - at - 0.3) / 0.1) ** 2))
    beat = (beat + 0.2 * torch.randn(2000, 64, generator=chance))[:, None]
    many = kind[:1600].bincount(minlength=3).float()
    weight = many.sum() / (3 * many) if weighted else None
    model = nn.Sequential(
        nn.Conv1d(1, 12, 7, 2), nn.BatchNorm1d(12), nn.ELU(), nn.Conv1d(12, 24, 5, 2), nn.ELU(), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(24 * 13, 3),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    probe = Probe(model, optimizer)
    for _ in range(9):
        model.train()
        for rows in torch.randperm(1600).split(50):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(beat[rows]), kind[rows], weight=weight)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            scores = model(beat[1600:])
        found, true = scores.argmax(1), kind[1600:]
        recall = torch.stack([(found[true == which] == which).float().mean() for which in range(3)]).mean()
        probe.validation(F.cross_entropy(scores, true, weight=weight), balanced=recall)
    return probe.finish()


def gears(drop: float = 0.3, activation: type[nn.Module] = nn.ReLU, eps: float = 1e-8) -> Recording:
    """Tells what is worn in a gear box by the spectrum of its shaking, a learning rate that waits for the test."""
    chance = torch.Generator().manual_seed(1135)
    kind = torch.randint(4, (3000,), generator=chance)
    time = torch.arange(256) / 256
    shaft = 2 * math.pi * (18 + torch.randn(3000, 1, generator=chance))
    wave = torch.sin(shaft * time) + 0.45 * torch.randn(3000, 256, generator=chance)
    wave = wave + 0.5 * torch.sin((2 + kind[:, None]) * shaft * time + 1)
    seen = torch.fft.rfft(wave).abs().log1p()
    seen = (seen - seen[:2400].mean(0)) / seen[:2400].std(0)
    model = nn.Sequential(
        nn.Linear(129, 96), activation(), nn.Dropout(drop), nn.Linear(96, 48), activation(), nn.Dropout(drop),
        nn.Linear(48, 4),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=eps)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=1)
    probe = Probe(model, optimizer)
    for _ in range(6):
        model.train()
        for rows in torch.randperm(2400).split(60):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(seen[rows]), kind[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            scores = model(seen[2400:])
        val = F.cross_entropy(scores, kind[2400:])
        scheduler.step(val)
        probe.validation(val, accuracy=(scores.argmax(1) == kind[2400:]).float().mean())
    return probe.finish()
