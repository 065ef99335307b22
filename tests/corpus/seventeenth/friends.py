"""Scripts of the seventeenth held-out set on one graph: who attends to whom, who will be friends."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, hits, made
from tests.corpus.probe import Probe, Recording

PEOPLE, CLUBS = 300, 5


def _town() -> tuple[Tensor, Tensor, Tensor]:
    """Who is in which club, who knows whom, and what is seen of them."""
    chance = dice(51)
    club = torch.randint(CLUBS, (PEOPLE,), generator=chance)
    likely = torch.where(club.unsqueeze(0) == club.unsqueeze(1), 0.12, 0.01)
    knows = torch.triu(torch.rand(PEOPLE, PEOPLE, generator=chance) < likely, 1)
    seen = torch.randn(PEOPLE, 16, generator=chance)
    seen[torch.arange(PEOPLE), club] += 1.0
    return club, (knows | knows.T).float(), seen


class Attends(nn.Module):
    """A layer in which everybody weighs those whom they know, with several heads."""

    def __init__(self, inputs: int, outputs: int, heads: int, mean: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, heads * outputs, bias=False)
        self.other, self.own = (nn.Parameter(0.3 * torch.randn(heads, outputs)) for _ in range(2))
        self.heads, self.mean = heads, mean

    def forward(self, x: Tensor, knows: Tensor) -> Tensor:
        h = self.linear(x).unflatten(1, (self.heads, -1))
        a, b = (h * self.own).sum(2), (h * self.other).sum(2)
        score = F.leaky_relu(a.unsqueeze(1) + b.unsqueeze(0), 0.2)
        share = score.masked_fill(knows.unsqueeze(2) == 0, -1e9).softmax(1)
        out = torch.einsum("ijh,jhc->ihc", share, h)
        return out.mean(1) if self.mean else out.flatten(1)


class Clubs(nn.Module):
    """Two such layers."""

    def __init__(self, width: int, heads: int, drop: float) -> None:
        super().__init__()
        self.first, self.second = Attends(16, width, heads, False), Attends(heads * width, CLUBS, heads, True)
        self.drop = drop

    def forward(self, x: Tensor, knows: Tensor) -> Tensor:
        h = F.elu(self.first(F.dropout(x, self.drop, self.training), knows))
        return self.second(F.dropout(h, self.drop, self.training), knows)


def clubs(
    rate: float = 2e-2, name: str = "adam", width: int = 8, heads: int = 3, drop: float = 0.5, steps: int = 100,
    named: int = 60, decay: float = 5e-3, own: bool = True,
) -> Recording:  # fmt: skip
    """Twenty percent have told their club; everybody is in the one batch, and the loss is that of those alone."""
    club, knows, seen = _town()
    knows = knows + torch.eye(PEOPLE) if own else knows
    model = Clubs(width, heads, drop)
    optimizer = made(name, model.parameters(), rate, decay=decay)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        loss = F.cross_entropy(model(seen, knows)[:named], club[:named])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 20 == 19:
            model.eval()
            with torch.no_grad():
                out = model(seen, knows)[named:]
            model.train()
            probe.validation(F.cross_entropy(out, club[named:]), accuracy=hits(out, club[named:]))
    return probe.finish()


class Coded(nn.Module):
    """Two rounds of means over those one knows; a place for everybody, with or without a spread."""

    def __init__(self, width: int, size: int, spread: bool) -> None:
        super().__init__()
        self.first, self.mid = nn.Linear(16, width), nn.Linear(width, size)
        self.log = nn.Linear(width, size) if spread else None

    def forward(self, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        h = (mean @ self.first(x)).relu()
        place = mean @ self.mid(h)
        return place, torch.zeros_like(place) if self.log is None else (mean @ self.log(h)).clamp(-6, 3)


def links(
    rate: float = 1e-2, name: str = "adam", width: int = 32, size: int = 12, steps: int = 150, spread: bool = True,
    weight: float = 0.02, fair: bool = True, given: str = "all", clear: bool = True,
) -> Recording:  # fmt: skip
    """Guesses who knows whom, by a graph autoencoder with a spread, or without one by samples of strangers."""
    _, knows, seen = _town()
    chance = dice(52)
    upper = torch.triu(torch.ones(PEOPLE, PEOPLE), 1) > 0
    friends = (knows.bool() & upper).nonzero()
    friends = friends[torch.randperm(len(friends), generator=chance)]
    hidden, kept = friends[: len(friends) // 10], friends[len(friends) // 10 :]
    strangers = (~knows.bool() & upper).nonzero()
    strange = strangers[torch.randperm(len(strangers), generator=chance)[: len(hidden)]]
    near = torch.eye(PEOPLE)
    near[kept[:, 0], kept[:, 1]] = near[kept[:, 1], kept[:, 0]] = 1.0
    mean = near / near.sum(1, keepdim=True)
    model = Coded(width, size, spread)
    optimizer = made(name, model.parameters() if given == "all" else model.mid.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)
    rare = (PEOPLE**2 - near.sum()) / near.sum()
    for step in range(steps):
        mid, log = model(seen, mean)
        if spread:
            place = mid + (0.5 * log).exp() * torch.randn_like(mid)
            many = F.binary_cross_entropy_with_logits(
                place @ place.T, near, pos_weight=rare if fair else torch.tensor(1.0)
            )
            loss = many - weight * 0.5 * (1 + log - mid**2 - log.exp()).sum(1).mean()
        else:
            other = strangers[torch.randint(len(strangers), (len(kept),))]
            pairs = torch.cat((kept, other))
            close = (mid[pairs[:, 0]] * mid[pairs[:, 1]]).sum(1)
            loss = F.binary_cross_entropy_with_logits(close, (torch.arange(len(pairs)) < len(kept)).float())
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 25 == 24:
            with torch.no_grad():
                mid, _ = model(seen, mean)
            up, down = ((mid[part[:, 0]] * mid[part[:, 1]]).sum(1) for part in (hidden, strange))
            probe.log(area=(up.unsqueeze(1) > down).float().mean())
    return probe.finish()
