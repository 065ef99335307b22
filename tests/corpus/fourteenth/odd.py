"""Scripts of the fourteenth held-out set of other kinds: experts, a mean that teaches, facts, mass moved, currents."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fourteenth.stock import accuracy, digits
from tests.corpus.probe import Probe, Recording


def regimes(
    alike: bool = False, axis: int = 1, rate: float = 0.02, batch: int = 80, steps: int = 600, count: int = 3,
    noise: float = 0.15, optimizer_name: str = "adam", warm: int = 150,
) -> Recording:  # fmt: skip
    """Fits several lines to one cloud, each point as far as a line is likely to have made it (EM by gradients)."""
    g = torch.Generator().manual_seed(14)
    slopes = torch.tensor([[2.0, -1.0], [-2.0, 0.5], [0.3, 2.0]])[:count]
    x, line = torch.randn(2400, 2, generator=g), torch.randint(0, count, (2400,), generator=g)
    y = (x * slopes[line]).sum(1) + torch.tensor([1.0, -1.0, 0.0])[line] + noise * torch.randn(2400, generator=g)
    model = nn.ModuleDict({"lines": nn.Linear(2, count), "wide": nn.ParameterList([nn.Parameter(torch.zeros(count))])})
    if alike:
        nn.init.zeros_(model["lines"].weight)
        nn.init.zeros_(model["lines"].bias)
    opt: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    if optimizer_name == "sgd":
        opt = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    probe = Probe(model, opt)
    for step in range(steps):
        rows = torch.randint(0, 2000, (batch,))
        spread = model["wide"][0].exp()
        likely = torch.distributions.Normal(model["lines"](x[rows]), spread).log_prob(y[rows].unsqueeze(1))
        with torch.no_grad():
            whose = (likely * min(1.0, (step + 1) / warm)).softmax(axis)
        loss = -(whose * likely).sum(1).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                off = (model["lines"](x[2000:]) - y[2000:].unsqueeze(1)).abs().min(1).values.mean()
            probe.log(nearest=off)
    return probe.finish()


def unlabelled(
    weight: float = 2.0, known: int = 100, labels_each: int = 16, rate: float = 3e-3, batch: int = 96, steps: int = 400,
    keep: float = 0.98, mixed: bool = False, width: int = 96, drop: float = 0.2,
) -> Recording:  # fmt: skip
    """Learns from few labels and many digits without (mean teacher); `mixed` draws both kinds into one batch."""
    x, y, vx, vy = digits(images=False)
    y = y.clone()
    y[known:] = -100
    net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(drop), nn.Linear(width, 10))
    mean = copy.deepcopy(net).requires_grad_(False)
    opt = torch.optim.Adam(net.parameters(), lr=rate)
    probe = Probe(net, opt, moving_target=True)
    for step in range(steps):
        rows = torch.randint(0, len(x), (batch,))
        if not mixed:
            rows[:labels_each] = torch.randint(0, known, (labels_each,))
        out = net(x[rows] + 0.2 * torch.randn(batch, 64))
        with torch.no_grad():
            agreed = mean(x[rows] + 0.2 * torch.randn(batch, 64)).softmax(1)
        named = F.cross_entropy(out, y[rows], ignore_index=-100)
        same = F.mse_loss(out.softmax(1), agreed) * min(1.0, step / 150)
        loss = named + weight * 10 * same
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            for late, now in zip(mean.parameters(), net.parameters(), strict=True):
                late.lerp_(now, 1 - keep)
        probe.step(loss, named=named, same=weight * 10 * same)
        if step % 25 == 24:
            mean.eval()
            with torch.no_grad():
                probe.log(accuracy=accuracy(mean(vx), vy))
            mean.train()
    return probe.finish()


def facts(
    strangers: str = "drawn", margin: float = 1.0, rate: float = 0.02, batch: int = 128, steps: int = 450,
    width: int = 24, optimizer_name: str = "adagrad",
) -> Recording:  # fmt: skip
    """Learns facts about towns as moves from one to the other (TransE) by a margin to facts that are not true."""
    g = torch.Generator().manual_seed(14)
    place = torch.randn(120, 3, generator=g)
    move = torch.randn(6, 3, generator=g)
    head, relation = torch.randint(0, 120, (5000,), generator=g), torch.randint(0, 6, (5000,), generator=g)
    tail = torch.cdist(place[head] + move[relation], place).argmin(1)
    towns, moves = nn.Embedding(120, width), nn.Embedding(6, width)
    for table in (towns, moves):
        nn.init.uniform_(table.weight, -6 / width**0.5, 6 / width**0.5)
    model = nn.ModuleDict({"towns": towns, "moves": moves})
    make = {"adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer_name]
    opt = make(model.parameters(), lr=rate)

    def far(h: Tensor, r: Tensor, t: Tensor) -> Tensor:
        one, two = (F.normalize(towns(of), dim=-1) for of in (h, t))
        return (one + moves(r) - two).norm(dim=-1)

    probe = Probe(model, opt)
    for step in range(steps):
        rows = torch.randint(0, 4500, (batch,))
        wrong = torch.randint(0, 120, (batch,)) if strangers == "drawn" else tail[rows]
        true, false = far(head[rows], relation[rows], tail[rows]), far(head[rows], relation[rows], wrong)
        loss = F.relu(margin + true - false).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                all_tails = torch.arange(120).expand(500, 120)
                away = far(head[4500:, None], relation[4500:, None], all_tails)
                first = away.argsort(1)[:, :10] == tail[4500:, None]
            probe.log(among_ten=first.any(1).float().mean())
    return probe.finish()


def moved(
    penalty: float = 0.3, last: str = "none", rate: float = 2e-3, rounds: int = 400, each: int = 4, batch: int = 96,
    width: int = 48, swapped: bool = False, detached: bool = True, betas: tuple[float, float] = (0.0, 0.9),
) -> Recording:  # fmt: skip
    """Moves noise onto six spots by a critic with a penalty on its slope (WGAN-GP); losses have either sign."""
    spot = torch.arange(6) * 1.0472
    middle = 2 * torch.stack((spot.cos(), spot.sin()), 1)
    maker = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
    if last == "sigmoid":
        maker.append(nn.Sigmoid())
    critic = nn.Sequential(
        nn.Linear(2, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1)
    )
    opt_m = torch.optim.Adam(maker.parameters(), lr=rate, betas=betas)
    opt_c = torch.optim.Adam((maker if swapped else critic).parameters(), lr=rate, betas=betas)
    probe = Probe({"maker": maker, "critic": critic}, {"maker": opt_m, "critic": opt_c}, moving_target=True)
    for turn in range(rounds):
        for _ in range(each):
            real = middle[torch.randint(0, 6, (batch,))] + 0.3 * torch.randn(batch, 2)
            fake = maker(torch.randn(batch, 4)).detach()
            share = torch.rand(batch, 1)
            between = (share * real + (1 - share) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            steep = ((slope.norm(dim=1) - 1) ** 2).mean()
            loss_c = critic(fake).mean() - critic(real).mean() + penalty * steep
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
        loss_m = -critic(maker(torch.randn(batch, 4))).mean()
        opt_m.zero_grad()
        loss_m.backward()
        opt_m.step()
        probe.step(loss_m, critic=loss_c, maker=loss_m)
        if turn % 25 == 24:
            with torch.no_grad():
                made = maker(torch.randn(600, 4))
                true = middle[torch.randint(0, 6, (600,))] + 0.3 * torch.randn(600, 2)
                own, other = torch.cdist(made, made).mean(), torch.cdist(true, true).mean()
                energy = 2 * torch.cdist(made, true).mean() - own - other
            probe.log(energy=energy)
    return probe.finish()


class Unasked(nn.Module):
    """Lets everything through; the layer that was once meant for it is still there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x


def currents(
    clear: bool = True, rate: float = 3e-3, batch: int = 128, steps: int = 600, width: int = 64,
    spare: bool = False, decay: float = 0.0, optimizer_name: str = "adamw", drop: float = 0.0, bends: bool = True,
    half: bool = False, eps: float = 1e-8,
) -> Recording:  # fmt: skip
    """Learns the current that carries noise onto a chessboard (flow matching); the loss cannot come near 0."""
    act = nn.SiLU if bends else nn.Identity
    net = nn.Sequential()
    for inputs in (6, width, width):
        net.extend([nn.Linear(inputs, width), act(), *([nn.Dropout(drop)] if drop else [])])
    net.append(nn.Linear(width, 2))
    if spare:
        net.add_module("spare", Unasked(width))
    if half:
        net = net.half()
    make = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[optimizer_name]
    opt = make(net.parameters(), lr=rate, weight_decay=decay, eps=eps)
    probe = Probe(net, opt)

    def error(count: int) -> Tensor:
        column = torch.randint(0, 4, (count,))
        row = 2 * torch.randint(0, 2, (count,)) + column % 2
        there = torch.stack((column, row), 1) - 2 + torch.rand(count, 2)
        here, time = torch.randn(count, 2), torch.rand(count, 1)
        at = (1 - time) * here + time * there
        clock = torch.cat((time, (6.28 * time).sin(), (6.28 * time).cos(), time**2), 1)
        seen = torch.cat((at, clock), 1)
        out = net(seen.half()).float() if half else net(seen)
        return F.mse_loss(out, there - here)

    for step in range(steps):
        loss = error(batch)
        if clear:
            opt.zero_grad()
        loss.backward()
        opt.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                probe.validation(error(2000))
    return probe.finish()
