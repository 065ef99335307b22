"""Scripts of the ninth held-out set over time: solar power, gestures, what came first, a car that parks, shafts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


class Block(nn.Module):
    """Explains a part of what it is given, and says what follows from that part (N-BEATS)."""

    def __init__(self, back: int, ahead: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(back, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
        self.explains, self.follows = nn.Linear(48, back), nn.Linear(48, ahead)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.body(x)
        return x - self.explains(found), self.follows(found)


class Stack(nn.Module):
    """Three blocks, each of what the one before left."""

    def __init__(self, back: int, ahead: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(back, ahead) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        said: Any = 0
        for block in self.blocks:
            x, more = block(x)
            said = said + more
        return said


def solar(overlap: int = 0, restarts: bool = False) -> Recording:
    """Says the next six hours of a solar plant from the last 48; windows that overlap by six hold the answer."""
    chance = np.random.default_rng(120)
    hour = np.arange(3600)
    cloud = np.zeros(3600)
    for at in range(1, 3600):
        cloud[at] = 0.9 * cloud[at - 1] + chance.normal(0, 0.15)
    sun = np.clip(np.sin((hour % 24 - 6) * np.pi / 12), 0, None) * (1 + 0.2 * np.sin(hour * 2 * np.pi / 3600))
    power = sun * np.clip(1 - np.abs(cloud), 0.1, 1) + chance.normal(0, 0.02, 3600)
    power = (power - power[:2800].mean()) / power[:2800].std()
    windows = torch.tensor(power, dtype=torch.float32).unfold(0, 54, 2)
    x, y = windows[:, overlap : 48 + overlap], windows[:, 48:]
    train = int(len(windows) * 0.75)
    model = Stack(48, 6)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    steps = 10 * (train // 32)
    scheduler: Any = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    if restarts:
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=steps // 7, T_mult=2)
    probe = Probe(model, optimizer, total_steps=steps)
    for _ in range(10):
        for rows in torch.randperm(train)[: train // 32 * 32].split(32):
            loss = F.l1_loss(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            probe.step(loss)
        with torch.no_grad():
            said = model(x[train + 27 :])
        wanted = y[train + 27 :]
        r2 = 1 - (said - wanted).square().mean() / wanted.var()
        probe.validation(F.l1_loss(said, wanted), r2=r2)
    return probe.finish()


class Gestures(nn.Module):
    """Reads a hand's way and names what it drew."""

    def __init__(self, batch_first: bool, detached: bool) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(2, 16), nn.Tanh())
        self.gru = nn.GRU(16, 24, batch_first=batch_first)
        self.out, self.detached = nn.Linear(24, 4), detached

    def forward(self, x: Tensor) -> Tensor:
        found = self.embed(x)
        if self.detached:
            found = torch.tensor(found.tolist())
        return self.out(self.gru(found)[0][:, -1])


def hands() -> tuple[Tensor, Tensor]:
    """Ways of 20 points: a circle either way, a zigzag, a line."""
    chance = torch.Generator().manual_seed(121)
    kind = torch.randint(0, 4, (1100,), generator=chance)
    time = torch.linspace(0, 1, 20).repeat(1100, 1) + torch.rand(1100, 1, generator=chance)
    turn = 6.28 * time
    ways = torch.stack([
        torch.stack([turn.cos(), turn.sin()], 2), torch.stack([turn.cos(), -turn.sin()], 2),
        torch.stack([2 * time - 2, (3 * turn).sin()], 2), torch.stack([2 * time - 2, 1 - time], 2),
    ])  # fmt: skip
    x = ways[kind, torch.arange(1100)] + 0.25 * torch.randn(1100, 20, 2, generator=chance)
    return x, kind


def gestures(batch_first: bool = True, detached: bool = False, clip: float = 2.0, raw: bool = False) -> Recording:
    """Names gestures.

    Wrong where asked for: time and batch changed places; a list of numbers between two layers; a clipping at next to
    nothing; validation in the camera's pixels.
    """
    x, y = hands()
    val = x[900:] * 40 + 80 if raw else x[900:]
    model = Gestures(batch_first, detached)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=10, power=0.9)
    probe = Probe(model, optimizer)
    for _ in range(10):
        for rows in torch.randperm(900).split(30):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=clip)
            optimizer.step()
            probe.step(loss)
        scheduler.step()
        with torch.no_grad():
            said = model(val)
        probe.validation(F.cross_entropy(said, y[900:]), accuracy=(said.argmax(1) == y[900:]).float().mean())
    return probe.finish()


class Recall(nn.Module):
    """Says at the end what came first."""

    rnn: Any

    def __init__(self, plain: bool) -> None:
        super().__init__()
        self.signs = nn.Embedding(8, 12)
        self.rnn = nn.RNN(12, 40, batch_first=True) if plain else nn.LSTM(12, 40, batch_first=True)
        self.out = nn.Linear(40, 4)
        if not plain:
            with torch.no_grad():
                self.rnn.bias_ih_l0[40:80] = 3.0  # remembers at first

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(self.signs(x))[0][:, -1])


def recall(plain: bool = False, long: int = 40) -> Recording:
    """Remembers a sign over many that say nothing; a plain recurrent layer hardly feels it any more."""
    chance = torch.Generator().manual_seed(122)
    x = torch.randint(4, 8, (1500, long), generator=chance)
    y = torch.randint(0, 4, (1500,), generator=chance)
    x[:, 0] = y
    model = Recall(plain)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(6):
        for rows in torch.randperm(1300).split(26):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said = model(x[1300:])
        probe.validation(F.cross_entropy(said, y[1300:]), accuracy=(said.argmax(1) == y[1300:]).float().mean())
    return probe.finish()


def parking() -> Recording:
    """Learns to park a car by driving: the slope goes through sixteen moments of physics; nothing is labelled."""
    policy = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 2), nn.Tanh())
    optimizer = torch.optim.Adam(policy.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=160)
    probe = Probe(policy, optimizer, total_steps=160)

    def drive(place: Tensor) -> Tensor:
        angle, speed = torch.zeros(len(place)), torch.zeros(len(place))
        cost = torch.zeros(())
        for _ in range(16):
            seen = torch.stack([place[:, 0], place[:, 1], angle.sin(), angle.cos(), speed], 1)
            gas, wheel = policy(seen).unbind(1)
            speed = speed + 0.3 * gas - 0.1 * speed
            angle = angle + 0.4 * wheel * speed
            place = place + 0.3 * torch.stack([speed * angle.cos(), speed * angle.sin()], 1)
            cost = cost + 0.01 * (gas.square() + wheel.square()).mean()
        return place.square().sum(1).mean() + 0.1 * speed.square().mean() + 0.1 * cost

    held = torch.randn(256, 2, generator=torch.Generator().manual_seed(123))
    for step in range(160):
        loss = drive(torch.randn(96, 2))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        probe.step(loss)
        if step % 20 == 19:
            with torch.no_grad():
                probe.validation(drive(held))
    return probe.finish()


def shafts(all_of_it: bool = False) -> Recording:
    """Hears damaged shafts; who works out the figure of all steps so far at each step becomes slower and slower."""
    chance = np.random.default_rng(124)
    y = chance.integers(0, 2, 2400)
    time = np.arange(128)
    hum = np.sin(0.3 * time + chance.uniform(0, 6.28, (2400, 1))) + chance.normal(0, 0.5, (2400, 128))
    knock = (time % 16 == chance.integers(0, 16, (2400, 1))) * chance.uniform(0.8, 2.0, (2400, 1))
    x = torch.tensor(hum + knock * y[:, None], dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(y, dtype=torch.float32)
    model = nn.Sequential(
        nn.Conv1d(1, 12, 9, stride=2), nn.BatchNorm1d(12), nn.ReLU(),
        nn.Conv1d(12, 16, 9, stride=2), nn.BatchNorm1d(16), nn.ReLU(),
        nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    heard: list[Tensor] = []
    truth: list[Tensor] = []
    for _ in range(6):
        model.train()
        for rows in torch.randperm(2000).split(40):
            said = model(x[rows])
            loss = F.binary_cross_entropy_with_logits(said, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            heard, truth = [*heard, said.detach()], [*truth, labels[rows]]
            if not all_of_it:
                heard, truth = heard[-5:], truth[-5:]
            scores, true = torch.cat(heard)[::4], torch.cat(truth)[::4].bool()
            auc = (scores[true][:, None] > scores[~true]).sum() / (true.sum() * (~true).sum())
            probe.log(train_auc=float(auc))
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            said = model(x[2000:])
        right = ((said > 0) == labels[2000:].bool()).float().mean()
        probe.validation(F.binary_cross_entropy_with_logits(said, labels[2000:]), accuracy=right)
    return probe.finish()
