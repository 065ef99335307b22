"""Scripts of the seventeenth held-out set that walk on a grid: flows that balance, clipped steps, what others did."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import made
from tests.corpus.probe import Probe, Recording

SIDE = 6


def _net(inputs: int, width: int, outputs: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), act(), nn.Linear(width, width), act(), nn.Linear(width, outputs))


def _seen(place: Tensor) -> Tensor:
    """Both coordinates, each as one of six."""
    return F.one_hot(place, SIDE).flatten(1).float()


class Flows(nn.Module):
    """Where to go, and how much there is in all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ahead, self.back = _net(2 * SIDE, width, 3), _net(2 * SIDE, width, 2)
        self.all = nn.Parameter(torch.zeros(()))


def balance(
    rate: float = 3e-3, total_rate: float = 0.1, name: str = "adam", width: int = 48, batch: int = 32, steps: int = 400,
    given: str = "all", clear: bool = True, dared: float = 0.1,
) -> Recording:  # fmt: skip
    """Trajectory balance: from a corner to where it stops; corners pay most. The total has a rate of its own."""
    model = Flows(width)
    groups = [{"params": [*model.ahead.parameters(), *model.back.parameters()], "lr": rate}]
    if given == "all":
        groups.append({"params": [model.all], "lr": total_rate})
    optimizer = torch.optim.Adam(groups) if name == "adam" else torch.optim.AdamW(groups)
    probe = Probe(model, optimizer, moving_target=True)
    line = torch.arange(SIDE)
    pays = 0.1 + 2.0 * ((line.view(-1, 1) - 2.5).abs() > 1.6) * ((line - 2.5).abs() > 1.6)
    for step in range(steps):
        place, on = torch.zeros(batch, 2, dtype=torch.long), torch.ones(batch, dtype=torch.bool)
        gone = torch.zeros(batch)
        for _ in range(2 * SIDE):
            banned = F.pad(place == SIDE - 1, (0, 1))
            ways = model.ahead(_seen(place)).masked_fill(banned, -1e9).log_softmax(1)
            chance = (1 - dared) * ways.detach().exp() + dared * (~banned).float() / (~banned).sum(1, keepdim=True)
            way = torch.multinomial(chance, 1)
            gone = gone + on * ways.gather(1, way).squeeze(1)
            moves = on & (way.squeeze(1) < 2)
            on = moves
            if not bool(on.any()):
                break
            place = place + F.one_hot(way.squeeze(1), 3)[:, :2] * moves.unsqueeze(1)
            returns = model.back(_seen(place)).masked_fill(place == 0, -1e9).log_softmax(1)
            back = returns.gather(1, way.clamp(max=1)).squeeze(1)
            gone = gone - torch.where(moves, back, torch.zeros(batch))
        paid = pays[place[:, 0], place[:, 1]]
        loss = ((model.all + gone - paid.log()) ** 2).mean()
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 25 == 24:
            probe.log(total=model.all.exp(), should_be=pays.sum(), paid=paid.mean())
    return probe.finish()


def _moved(place: Tensor, way: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Up, down, left, right; the goal is the far corner, each step costs."""
    change = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]])[way]
    after = (place + change).clamp(0, SIDE - 1)
    there = (after == SIDE - 1).all(1)
    return after, there.float() - 0.05, there


class Player(nn.Module):
    """What to do and what it is worth, of one body."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2 * SIDE, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.act, self.worth = nn.Linear(width, 4), nn.Linear(width, 1)
        nn.init.orthogonal_(self.act.weight, 0.01)

    def forward(self, place: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(_seen(place))
        return self.act(h), self.worth(h).squeeze(1)


def clipped(
    rate: float = 3e-3, name: str = "adam", width: int = 48, many: int = 16, long: int = 24, rounds: int = 30,
    times: int = 4, curious: float = 0.01, later: float = 0.95, smooth: float = 0.9, clip: float | None = 0.5,
    bound: float = 0.2, old_kept: bool = True, given: str = "all", pay: float = 1.0, unit: float = 1.0,
) -> Recording:  # fmt: skip
    """PPO with advantages that are smoothed; the loss stays about zero and says nothing."""
    model = Player(width)
    optimizer = made(name, model.parameters() if given == "all" else model.body.parameters(), rate)
    probe = Probe(model, optimizer, moving_target=True)
    place = torch.randint(SIDE, (many, 2))
    for _ in range(rounds):
        kept, reached = [], 0
        with torch.no_grad():
            for _ in range(long):
                said, worth = model(place)
                chosen = torch.distributions.Categorical(logits=said)
                way = chosen.sample()
                after, paid, there = _moved(place, way)
                kept.append((place, way, chosen.log_prob(way), worth, paid * pay, there.float()))
                reached += int(there.sum())
                place = torch.where(there.unsqueeze(1), torch.randint(SIDE, (many, 2)), after)
            next_worth, gain, gains = model(place)[1], torch.zeros(many), []
            for _, _, _, worth, paid, there in reversed(kept):
                off = paid + later * next_worth * (1 - there) - worth
                gain = off + later * smooth * (1 - there) * gain
                gains.insert(0, gain)
                next_worth = worth
        places, ways, before, worths = (torch.cat([item[at] for item in kept]) for at in range(4))
        better = torch.cat(gains)
        aim = better + worths
        for _ in range(times):
            for rows in torch.randperm(len(places)).split(96):
                said, worth = model(places[rows])
                chosen = torch.distributions.Categorical(logits=said)
                share = (chosen.log_prob(ways[rows]) - before[rows]).exp()
                gain = (better[rows] - better[rows].mean()) / (better[rows].std() + 1e-8)
                policy = -torch.minimum(share * gain, share.clamp(1 - bound, 1 + bound) * gain).mean()
                value, spread = F.mse_loss(worth, aim[rows]), chosen.entropy().mean()
                loss = (policy + 0.5 * value - curious * spread) * unit
                optimizer.zero_grad()
                loss.backward()
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                probe.step(loss, policy=policy, value=value, entropy=spread)
        probe.log(goals_in_a_hundred_steps=100 * reached / (many * long))
    return probe.finish()


def others(
    rate: float = 3e-3, name: str = "adam", width: int = 48, batch: int = 96, steps: int = 500, high: float = 0.8,
    later: float = 0.9, slow: float = 0.02, hot: float = 5.0, given: str = "all", through: bool = False,
) -> Recording:  # fmt: skip
    """IQL: learns from what somebody did by chance; three networks, three losses, one optimizer each."""
    place = torch.randint(SIDE, (4000, 2))
    way = torch.randint(4, (4000,))
    after, paid, there = _moved(place, way)
    parts = {"q": _net(2 * SIDE, width, 4), "v": _net(2 * SIDE, width, 1), "pi": _net(2 * SIDE, width, 4)}
    old = copy.deepcopy(parts["q"])
    optimizers = {key: made(name, part.parameters(), rate) for key, part in parts.items() if given in ("all", key)}
    probe = Probe(parts, optimizers)
    for step in range(steps):
        rows = torch.randint(len(place), (batch,))
        now, did = _seen(place[rows]), way[rows].unsqueeze(1)
        asked = old(now).gather(1, did).squeeze(1).detach()
        worth = parts["v"](now).squeeze(1)
        off = asked - worth
        lost_v = (torch.where(off > 0, high, 1 - high) * off**2).mean()
        with torch.no_grad():
            target = paid[rows] + later * ~there[rows] * parts["v"](_seen(after[rows])).squeeze(1)
        lost_q = F.mse_loss(parts["q"](now).gather(1, did).squeeze(1), target)
        weight = (hot * off.detach()).exp().clamp(max=50)
        lost_pi = (weight * F.cross_entropy(parts["pi"](now), way[rows], reduction="none")).mean()
        for key, lost in (("v", lost_v), ("q", lost_q), ("pi", lost_pi)):
            if key in optimizers:
                optimizers[key].zero_grad()
                lost.backward()
                optimizers[key].step()
        with torch.no_grad():
            for a, b in zip(old.parameters(), parts["q"].parameters(), strict=True):
                a.lerp_(b, slow)
        probe.step(lost_v + lost_q + lost_pi, v=lost_v, q=lost_q, pi=lost_pi)
        if step % 50 == 49:
            at, arrived = torch.randint(SIDE, (200, 2)), torch.zeros(200, dtype=torch.bool)
            with torch.no_grad():
                for _ in range(12):
                    at, _, goal = _moved(at, parts["pi"](_seen(at)).argmax(1))
                    arrived |= goal
            probe.log(arrived=arrived.float().mean())
    return probe.finish()


class Decider(nn.Module):
    """A transformer over triples of what is still to come, a place, and a way."""

    def __init__(self, width: int, long: int, causal: bool) -> None:
        super().__init__()
        self.pay, self.place, self.way = nn.Linear(1, width), nn.Linear(2 * SIDE, width), nn.Embedding(4, width)
        self.at = nn.Embedding(long, width)
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)
        self.out, self.causal = nn.Linear(width, 4), causal

    def forward(self, pay: Tensor, seen: Tensor, way: Tensor) -> Tensor:
        at = self.at(torch.arange(way.shape[1]))
        h = torch.stack((self.pay(pay) + at, self.place(seen) + at, self.way(way) + at), 2).flatten(1, 2)
        mask = torch.triu(torch.full((h.shape[1], h.shape[1]), float("-inf")), 1) if self.causal else None
        return self.out(self.body(h, mask)[:, 1::3])


def decided(
    rate: float = 3e-3, name: str = "adamw", width: int = 32, batch: int = 32, steps: int = 200, long: int = 8,
    warm: int = 20, causal: bool = True, clip: float | None = 0.25, clever: float = 0.6,
) -> Recording:  # fmt: skip
    """Decision transformer: the ways of walkers who are clever by turns, given what they still earned."""
    count = 1500
    place, clear_head = torch.randint(SIDE, (count, 2)), torch.rand(count) < clever
    places, ways, pays = [], [], []
    for _ in range(long):
        best = torch.where(place[:, 0] < SIDE - 1, torch.zeros(count), 2 * torch.ones(count)).long()
        way = torch.where(clear_head, best, torch.randint(4, (count,)))
        places.append(_seen(place))
        ways.append(way)
        place, paid, _ = _moved(place, way)
        pays.append(paid)
    seen, way = torch.stack(places, 1), torch.stack(ways, 1)
    earned = torch.stack(pays, 1).flip(1).cumsum(1).flip(1).unsqueeze(2) / 2
    model = Decider(width, long, causal)
    optimizer = made(name, model.parameters(), rate, decay=1e-4)
    plan = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / warm))
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(count - 200, (batch,))
        loss = F.cross_entropy(model(earned[rows], seen[rows], way[rows]).flatten(0, 1), way[rows].flatten())
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        plan.step()
        probe.step(loss)
        if step % 25 == 24:
            with torch.no_grad():
                out = model(earned[-200:], seen[-200:], way[-200:])
            sure = clear_head[-200:]
            lost = F.cross_entropy(out.flatten(0, 1), way[-200:].flatten())
            probe.validation(lost, clever=(out.argmax(2) == way[-200:])[sure].float().mean())
    return probe.finish()
