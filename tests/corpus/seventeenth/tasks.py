"""Scripts of the seventeenth held-out set that learn to learn: MAML on sines, prototypes of signs never seen."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording


def sines(
    rate: float = 4e-3, name: str = "adam", width: int = 40, tasks: int = 3, shots: int = 10, steps: int = 200,
    inner: float = 0.05, inner_steps: int = 2, cut_off: bool = False, first_order: bool = False,
) -> Recording:  # fmt: skip
    """Learns a start from which two steps fit a sine; `cut_off` loses the way back through the inner steps."""
    model = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, moving_target=True)

    def adapted(graph: bool) -> tuple[Tensor, Tensor]:
        high, phase = 0.5 + 2 * torch.rand(1), 3.14 * torch.rand(1)
        x = torch.rand(2 * shots, 1) * 8 - 4
        y = high * torch.sin(x + phase)
        fast = dict(model.named_parameters())
        before = F.mse_loss(functional_call(model, fast, (x[shots:],)), y[shots:])
        for _ in range(inner_steps):
            lost = F.mse_loss(functional_call(model, fast, (x[:shots],)), y[:shots])
            slopes = torch.autograd.grad(lost, list(fast.values()), create_graph=graph and not first_order)
            fast = {key: value - inner * slope for (key, value), slope in zip(fast.items(), slopes, strict=True)}
            if cut_off:
                fast = {key: value.detach().requires_grad_() for key, value in fast.items()}
        return F.mse_loss(functional_call(model, fast, (x[shots:],)), y[shots:]), before.detach()

    for step in range(steps):
        both = [adapted(True) for _ in range(tasks)]
        loss = torch.stack([after for after, _ in both]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            many = [adapted(False) for _ in range(40)]
            after, before = (torch.stack(part).mean() for part in zip(*many, strict=True))
            probe.log(after_two_steps=after, before_them=before)
    return probe.finish()


def prototypes(
    rate: float = 3e-3, name: str = "adam", width: int = 64, points: int = 32, ways: int = 5, shots: int = 3,
    asked: int = 6, steps: int = 250, act: str = "relu", bright: float = 1.0, noise: float = 1.5, power: float = 2.0,
) -> Recording:  # fmt: skip
    """Each step draws some of sixty made-up signs, spoilt; it is tested on twenty others."""
    signs = F.interpolate(torch.randn(80, 1, 3, 3, generator=dice(77)), size=8, mode="bilinear").flatten(1)
    bent = {"relu": nn.ReLU, "none": nn.Identity}[act]
    model = nn.Sequential(nn.Linear(64, width), bent(), nn.Linear(width, width), bent(), nn.Linear(width, points))
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, moving_target=True)

    def played(kinds: Tensor) -> tuple[Tensor, Tensor]:
        seen = signs[kinds].unsqueeze(1) + noise * torch.randn(len(kinds), shots + asked, 64)
        place = model(seen * bright)
        middle = place[:, :shots].mean(1)
        close = -torch.cdist(place[:, shots:].flatten(0, 1), middle).pow(power)
        right = torch.arange(len(kinds)).repeat_interleave(asked)
        return F.cross_entropy(close, right), (close.argmax(1) == right).float().mean()

    for step in range(steps):
        loss, named = played(torch.randperm(60)[:ways])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 25 == 24:
            with torch.no_grad():
                new = [played(60 + torch.randperm(20)[:ways]) for _ in range(20)]
            lost, right = (torch.stack(part).mean() for part in zip(*new, strict=True))
            probe.log(named=named, named_of_new=right, lost_of_new=lost)
    return probe.finish()
