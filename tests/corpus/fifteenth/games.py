"""Scripts of the fifteenth held-out set on games and ratings: a pole to be balanced, books to be recommended."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording


def _pushed(state: Tensor, right: Tensor) -> Tensor:
    """The cart and its pole, a fiftieth of a second later."""
    x, v, angle, spin = state.unbind(1)
    force = right.float() * 20 - 10
    sine, cosine = angle.sin(), angle.cos()
    push = (force + 0.05 * spin**2 * sine) / 1.1
    turn = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
    drive = push - 0.05 * turn * cosine / 1.1
    return torch.stack((x + 0.02 * v, v + 0.02 * drive, angle + 0.02 * spin, spin + 0.02 * turn), 1)


def pole(
    sign: float = -1.0, rate: float = 1e-2, gamma: float = 0.97, logarithm: bool = True, games: int = 8,
    longest: int = 50, updates: int = 120, last: str = "none", scaled: bool = True, bonus: float = 0.0, width: int = 32,
    name: str = "adam", axis: int = -1, told: bool = True,
) -> Recording:  # fmt: skip
    """Balances a pole by REINFORCE, several games at a time."""
    policy = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))
    if last == "relu":
        policy.append(nn.ReLU())
    optimizer = made(name, policy.parameters(), rate)
    probe = Probe(policy, optimizer, **({"moving_target": True} if told else {}))
    for update in range(updates):
        state = 0.05 * torch.randn(games, 4)
        alive = torch.ones(games, dtype=torch.bool)
        chosen, lived = [], []
        for _ in range(longest):
            chances = Categorical(probs=F.softmax(policy(state), dim=axis))
            action = chances.sample()
            mark = chances.log_prob(action)
            chosen.append(mark if logarithm else mark.exp())
            lived.append(alive.float())
            state = _pushed(state, action)
            alive = alive & (state[:, 2].abs() < 0.21) & (state[:, 0].abs() < 2.4)
            if not alive.any():
                break
        there = torch.stack(lived)
        value, later = torch.zeros(games), []
        for now in reversed(lived):
            value = now + gamma * value
            later.append(value)
        gain = torch.stack(later[::-1])
        if scaled:
            known = gain[there > 0]
            gain = (gain - known.mean()) / (known.std() + 1e-6)
        loss = sign * (torch.stack(chosen) * gain * there).sum() / there.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if update % 5 == 4:
            probe.log(mean_return=there.sum(0).mean())
    return probe.finish()


class Books(nn.Module):
    """Readers and books by factors, and a small network on both."""

    def __init__(self, factors: int, deviation: float, last: str, width: int) -> None:
        super().__init__()
        self.reader, self.book = nn.Embedding(200, factors), nn.Embedding(120, factors)
        nn.init.normal_(self.reader.weight, 0.0, deviation)
        nn.init.normal_(self.book.weight, 0.0, deviation)
        self.net = nn.Sequential(nn.Linear(2 * factors, width), nn.ReLU(), nn.Linear(width, 1))
        self.last = last

    def forward(self, reader: Tensor, book: Tensor) -> Tensor:
        out = self.net(torch.cat((self.reader(reader), self.book(book)), 1)).squeeze(1)
        return torch.sigmoid(out) if self.last == "sigmoid" else out


def books(
    last: str = "none", middle: bool = True, deviation: float = 0.1, rate: float = 1e-2, name: str = "adam",
    factors: int = 12, width: int = 48, decay: float = 0.0, batch: int = 128, epochs: int = 8, count: int = 8000,
) -> Recording:  # fmt: skip
    """Foretells the stars that readers give to books; `middle` takes the mean of all stars off."""
    chance = dice(91)
    r, b = torch.randn(200, 2, generator=chance), torch.randn(120, 2, generator=chance)
    who, what = (torch.randint(n, (count,), generator=chance) for n in (200, 120))
    stars = 3.2 + 0.6 * r[who, 0] + 0.5 * b[what, 0] + 0.5 * r[who, 1] * b[what, 1]
    stars = (stars + 0.25 * torch.randn(count, generator=chance)).clamp(1, 5)
    if middle:
        stars = stars - 3.2
    model = Books(factors, deviation, last, width)
    optimizer = made(name, model.parameters(), rate, decay=decay)
    cut = count // 6
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        for rows in (cut + torch.randperm(count - cut)).split(batch):
            loss = F.mse_loss(model(who[rows], what[rows]), stars[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            lost = F.mse_loss(model(who[:cut], what[:cut]), stars[:cut])
        probe.validation(lost, unexplained=lost / stars[:cut].var())
    return probe.finish()
