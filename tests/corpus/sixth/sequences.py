"""Scripts of the sixth held-out set over time and over words: birds, tides, chords, numbers, masked words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tests.corpus.probe import Probe, Recording


class Birds(Dataset):
    """Calls that rise, fall, trill or stay, as 16-bit samples brought to ±1."""

    def __init__(self, count: int, seed: int) -> None:
        chance = torch.Generator().manual_seed(seed)
        self.kind = torch.randint(0, 4, (count,), generator=chance)
        time = torch.linspace(0, 1, 128)
        pitch = 6 + 4 * torch.rand(count, 1, generator=chance)
        sweep = torch.tensor([8.0, -3.5, 0.0, 0.0])[self.kind].unsqueeze(1)
        trill = torch.tensor([0.0, 0.0, 2.5, 0.0])[self.kind].unsqueeze(1)
        phase = 6.283 * (pitch * time + sweep * time**2 / 2 + trill * torch.sin(18 * time) / 6.283)
        loud = 3000 + 9000 * torch.rand(count, 1, generator=chance)
        sound = loud * torch.sin(phase) + 6000 * torch.randn(count, 128, generator=chance)
        self.sound = (sound / 32768.0).unsqueeze(1)

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        return self.sound[at], self.kind[at]


def conv_block(inputs: int, outputs: int) -> nn.Sequential:
    """Convolution, norm, ReLU, pool."""
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, 9, padding=4), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True), nn.MaxPool1d(4)
    )


@torch.no_grad()
def predict(model: nn.Module, loader: DataLoader) -> tuple[Tensor, Tensor]:
    """Gives what the model says of everything, and the truth."""
    model.eval()
    found = [(model(sound), kind) for sound, kind in loader]
    return torch.cat([said for said, _ in found]), torch.cat([kind for _, kind in found])


def birds(batch: int = 32, pieces: int = 1, average: bool = True, back: bool = True, epochs: int = 7) -> Recording:
    """Tells calls apart; batches may be taken in pieces, and their losses be averaged or not."""
    loader = DataLoader(Birds(640, 621), batch // pieces, shuffle=True)
    held_out = DataLoader(Birds(200, 622), 100)
    model = nn.Sequential(conv_block(1, 8), conv_block(8, 16), nn.Flatten(), nn.Linear(128, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    probe = Probe(model, optimizer)
    model.train()
    for _ in range(epochs):
        if back:
            model.train()
        optimizer.zero_grad()
        for at, (sound, kind) in enumerate(loader):
            loss = F.cross_entropy(model(sound), kind)
            (loss / pieces if average else loss).backward()
            if (at + 1) % pieces == 0:
                optimizer.step()
                optimizer.zero_grad()
            probe.step(loss)
        said, kind = predict(model, held_out)
        probe.validation(F.cross_entropy(said, kind), accuracy=(said.argmax(1) == kind).float().mean())
    return probe.finish()


class Stack(nn.Module):
    """Blocks that each explain a part of the past and of the future (N-BEATS)."""

    def __init__(self, past: int = 24, ahead: int = 6, many: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(past, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, past + ahead))
            for _ in range(many)
        )
        self.past = past

    def forward(self, x: Tensor) -> Tensor:
        told: Any = 0.0
        for block in self.blocks:
            found = block(x)
            x = x - found[:, : self.past]
            told = told + found[:, self.past :]
        return told


class Last(nn.Module):
    """A GRU whose last state is read."""

    def __init__(self, ahead: int = 6) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(1, 24, batch_first=True), nn.Linear(24, ahead)

    def forward(self, x: Tensor) -> Tensor:
        _, state = self.gru(x.unsqueeze(2))
        return self.out(state[-1])


def tides(make: Any = Stack, gap: int = 0, lr: float = 2e-3) -> Recording:
    """Says how high the water will stand for six hours; a negative gap lets the window reach into what is asked for."""
    chance = torch.Generator().manual_seed(623)
    hour = torch.arange(1500).float()
    level = torch.sin(6.283 * hour / 12.4) + 0.5 * torch.sin(6.283 * hour / 24) + 0.3 * torch.sin(6.283 * hour / 330)
    surge = torch.zeros(1500)
    for at in range(1, 1500):
        surge[at] = 0.9 * surge[at - 1] + 0.15 * torch.randn((), generator=chance)
    level = level + surge
    rows = level.unfold(0, 24 + 6 + gap, 1)
    x, y = rows[:, :24], rows[:, 24 + gap :]
    cut = int(0.8 * len(x))
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
    probe = Probe(model, optimizer)
    for _ in range(12):
        for part in torch.randperm(cut).split(60):
            loss = F.l1_loss(model(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            seen = F.l1_loss(model(x[cut:]), y[cut:])
        scheduler.step(seen)
        probe.validation(seen)
    return probe.finish()


class Chords(nn.Module):
    """Reads notes both ways, and gives each the function that its chord has."""

    def __init__(self) -> None:
        super().__init__()
        self.notes = nn.Embedding(12, 16)
        self.reads = nn.GRU(16, 24, batch_first=True, bidirectional=True)
        self.says = nn.Linear(48, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.says(self.reads(self.notes(x))[0])


def chords(turned: bool = True) -> Recording:
    """Gives each of eight notes one of eight functions: as many as there are notes, so that no shape is wrong."""
    chance = torch.Generator().manual_seed(624)
    x = torch.randint(0, 12, (1200, 8), generator=chance)
    y = (x // 3 + 2 * (x.roll(1, 1) > 5) + (x.roll(-1, 1) % 2)) % 8
    model = Chords()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    probe = Probe(model, optimizer)

    def loss_of(scores: Tensor, truth: Tensor) -> Tensor:
        return F.cross_entropy(scores.transpose(1, 2) if turned else scores, truth)

    for _ in range(8):
        for rows in torch.randperm(1000).split(25):
            loss = loss_of(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            scores = model(x[1000:])
        probe.validation(loss_of(scores, y[1000:]), accuracy=(scores.argmax(2) == y[1000:]).float().mean())
    return probe.finish()


class Encoder(nn.Module):
    """Reads digits."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.embedding, self.gru = nn.Embedding(10, width), nn.GRU(width, width, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.gru(self.embedding(x))


class Decoder(nn.Module):
    """Writes letters, and looks at the digits while it does."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.embedding, self.gru = nn.Embedding(13, width), nn.GRU(width, width, batch_first=True)
        self.joins, self.out = nn.Linear(2 * width, width), nn.Linear(width, 13)

    def forward(self, before: Tensor, seen: Tensor, state: Tensor) -> Tensor:
        found = self.gru(self.embedding(before), state)[0]
        heeds = torch.softmax(found @ seen.transpose(1, 2) / 7, 2)
        return self.out(torch.tanh(self.joins(torch.cat([found, heeds @ seen], 2))))


def numbers(encoder_steps: bool = True, shifted: bool = True, clears_encoder: bool = True) -> Recording:
    """Writes numbers backwards in signs of their own, as the tutorial translates: two networks and two optimizers."""
    chance = torch.Generator().manual_seed(625)
    x = torch.randint(0, 10, (1500, 5), generator=chance)
    y = torch.cat([(x.flip(1) * 7 + 3) % 10, torch.full((1500, 1), 11)], 1)
    encoder, decoder = Encoder(), Decoder()
    encoder_optimizer = torch.optim.Adam(encoder.parameters(), lr=4e-3)
    decoder_optimizer = torch.optim.Adam(decoder.parameters(), lr=4e-3)
    probe = Probe(
        {"encoder": encoder, "decoder": decoder}, {"encoder": encoder_optimizer, "decoder": decoder_optimizer}
    )

    def loss_of(rows: Tensor) -> Tensor:
        seen, state = encoder(x[rows])
        before = F.pad(y[rows][:, :-1], (1, 0), value=10) if shifted else y[rows]
        return F.cross_entropy(decoder(before, seen, state).flatten(0, 1), y[rows].flatten())

    for _ in range(10):
        for rows in torch.randperm(1200).split(40):
            if clears_encoder:
                encoder_optimizer.zero_grad()
            decoder_optimizer.zero_grad()
            loss = loss_of(rows)
            loss.backward()
            if encoder_steps:
                encoder_optimizer.step()
            decoder_optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(loss_of(torch.arange(1200, 1500)))
    return probe.finish()


class Masked(nn.Module):
    """Reads a sentence with holes."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.place = nn.Embedding(41, 32), nn.Parameter(0.02 * torch.randn(12, 32))
        nn.init.normal_(self.words.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(32, 2, 64, 0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 1, nn.LayerNorm(32), enable_nested_tensor=False)
        self.says = nn.Linear(32, 40)

    def forward(self, x: Tensor) -> Tensor:
        return self.says(self.body(self.words(x) + self.place))


def masked(only: bool = True) -> Recording:
    """Guesses words that were covered (one in six), from what stands beside them; or every word, covered or not."""
    chance = torch.Generator().manual_seed(626)
    begin, stride = torch.randint(0, 40, (1500, 1), generator=chance), torch.randint(1, 3, (1500, 1), generator=chance)
    text = (begin + stride * torch.arange(12)) % 40
    model = Masked()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=20)
    probe = Probe(model, optimizer)

    def hide(rows: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.rand(rows.shape, generator=chance) < 1 / 6
        hidden[:, 0] |= ~hidden.any(1)
        return rows.masked_fill(hidden, 40), rows.masked_fill(~hidden, -100) if only else rows

    for _ in range(8):
        for rows in torch.randperm(1200).split(40):
            seen, wanted = hide(text[rows])
            loss = F.cross_entropy(model(seen).transpose(1, 2), wanted)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            probe.step(loss)
        seen, wanted = hide(text[1200:])
        with torch.no_grad():
            said = model(seen)
        covered = seen == 40
        right = (said.argmax(2) == text[1200:])[covered].float().mean()
        probe.validation(F.cross_entropy(said.transpose(1, 2), wanted), accuracy=right)
    return probe.finish()
