"""Loops of the third held-out set that learn by rewards, by tasks of tasks, or against somebody."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tests.corpus import data as corpus_data
from tests.corpus import models
from tests.corpus.probe import Recording
from tests.corpus.second.loops import descend, go, some
from tests.corpus.setup import Setup
from tests.corpus.third import data
from tests.corpus.third.loops import seen


class Speaker(nn.Module):
    """Reads three signs and says three, one after the other."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.signs, self.cell = nn.Embedding(6, width), nn.GRUCell(width, width)
        self.reads, self.head = nn.Linear(3 * width, width), nn.Linear(width, 5)

    def forward(self, asked: Tensor, said: Tensor | None = None, chance: Any = None) -> tuple[Tensor, Tensor]:
        """Gives the logarithms of the chances of every sign, and what was said."""
        state = torch.tanh(self.reads(self.signs(asked).flatten(1)))
        last, scores, spoken = torch.full((len(asked),), 5), [], []
        for at in range(3):
            state = self.cell(self.signs(last), state)
            score = self.head(state).log_softmax(1)
            last = torch.multinomial(score.exp(), 1, generator=chance).squeeze(1) if said is None else said[:, at]
            scores.append(score)
            spoken.append(last)
        return torch.stack(scores, 1), torch.stack(spoken, 1)


def groups(setup: Setup, sign: int = -1) -> Recording:
    """Says three signs backwards, and learns from how it did among eight attempts (GRPO); its sign may be lost."""
    model = Speaker()
    reference = copy.deepcopy(model).requires_grad_(False)
    optimizer = setup.optimizer(model)
    seed = data.chance(setup.seed)
    told: list[float] = []

    def likely(net: nn.Module, asked: Tensor, said: Tensor) -> Tensor:
        return net(asked, said)[0].gather(2, said.unsqueeze(2)).squeeze(2)

    def each(step: int) -> Any:
        asked = torch.randint(5, (setup.batch, 3), generator=seed).repeat_interleave(8, 0)
        with torch.no_grad():
            said = model(asked, chance=seed)[1]
            before = likely(reference, asked, said)
        reward = (said == asked.flip(1)).float().mean(1)
        grouped = reward.reshape(-1, 8)
        gain = (grouped - grouped.mean(1, keepdim=True)) / (grouped.std(1, keepdim=True) + 1e-4)
        now = likely(model, asked, said)
        ratio = (now - now.detach()).exp()
        drift = ((before - now).exp() - (before - now) - 1).mean()
        policy = sign * (ratio * gain.reshape(-1, 1)).mean()
        optimizer.zero_grad()
        (policy + 0.005 * drift).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        told.append(float(reward.mean()))
        return policy + 0.005 * drift, {"policy_loss": policy, "kl": drift}

    def check() -> dict[str, Any]:
        return {"loss": -sum(told[-20:]) / 20, "reward": sum(told[-20:]) / 20}

    return go(setup, model, optimizer, each, check)


def of_tasks(setup: Setup, copies: bool = False) -> Recording:
    """Learns where to start from, so that one step fits a new sine (MAML); or takes that step with a copy."""
    model = models.mlp(1, 1, 40)
    optimizer = setup.optimizer(model)
    seed = data.chance(setup.seed)

    def sines(many: int) -> tuple[Tensor, Tensor]:
        size = torch.rand(many, 1, 1, generator=seed) * 2 + 0.5
        shift = torch.rand(many, 1, 1, generator=seed) * 3.1416
        x = torch.rand(many, 20, 1, generator=seed) * 10 - 5
        return x, size * torch.sin(x + shift)

    def after_one_step(x: Tensor, y: Tensor) -> Tensor:
        if copies:
            tuned = copy.deepcopy(model)
            inner = torch.optim.SGD(tuned.parameters(), 0.02)
            descend(inner, F.mse_loss(tuned(x[:10]), y[:10]))
            return F.mse_loss(tuned(x[10:]), y[10:])
        start = dict(model.named_parameters())
        loss = F.mse_loss(functional_call(model, start, (x[:10],)), y[:10])
        slopes = torch.autograd.grad(loss, list(start.values()), create_graph=True)
        tuned_by = {name: p - 0.02 * g for (name, p), g in zip(start.items(), slopes, strict=True)}
        return F.mse_loss(functional_call(model, tuned_by, (x[10:],)), y[10:])

    def each(_: int) -> Tensor:
        return descend(optimizer, torch.stack([after_one_step(x, y) for x, y in zip(*sines(4), strict=True)]).mean())

    return go(setup, model, optimizer, each)


class Reverse(torch.autograd.Function):
    """Turns gradients round."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """Passes on."""
        return x.clone()

    @staticmethod
    def backward(context: Any, slope: Tensor) -> Tensor:
        """Turns round."""
        return -0.3 * slope


def two_domains(setup: Setup) -> Recording:
    """Learns digits so that nobody can tell whether they were dimmed and noisy (DANN)."""
    found = corpus_data.digits()
    model = nn.ModuleDict(
        {"trunk": models.mlp(64, 48, 64, 1), "kind": nn.Linear(48, 10), "side": models.mlp(48, 1, 24)}
    )
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def dimmed(x: Tensor) -> Tensor:
        return 0.7 * x + 0.2 + 0.1 * torch.randn_like(x)

    def each(_: int) -> Any:
        at, other = draw(), draw()
        hidden = torch.relu(model["trunk"](torch.cat([found.x[at], dimmed(found.x[other])])))
        kind = F.cross_entropy(model["kind"](hidden[: len(at)]), found.y[at])
        truth = torch.cat([torch.zeros(len(at), 1), torch.ones(len(other), 1)])
        side = F.binary_cross_entropy_with_logits(model["side"](Reverse.apply(hidden)), truth)
        return descend(optimizer, kind + side), {"kind_loss": kind, "domain_loss": side}

    def check() -> dict[str, Any]:
        output = model["kind"](torch.relu(model["trunk"](dimmed(found.val_x))))
        right = float((output.argmax(1) == found.val_y).float().mean())
        return {"loss": float(F.cross_entropy(output, found.val_y)), "accuracy": right}

    return go(setup, model, optimizer, each, check)


def attacked(setup: Setup, cleared: bool = True) -> Recording:
    """Learns from digits that were changed a little to be as hard as possible (PGD), with a backward of its own."""
    found, model = setup.data(), setup.model()
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def worse(x: Tensor, y: Tensor) -> Tensor:
        shift = torch.zeros_like(x)
        for _ in range(3):
            shift.requires_grad_()
            setup.loss(model(x + shift), y).backward()
            shift = (shift.detach() + 0.04 * shift.grad.sign()).clamp(-0.08, 0.08)
        return x + shift

    def each(_: int) -> Tensor:
        at = draw()
        optimizer.zero_grad()
        x = worse(found.x[at], found.y[at])
        if cleared:
            optimizer.zero_grad()
        loss = setup.loss(model(x), found.y[at])
        loss.backward()
        optimizer.step()
        return loss

    return go(setup, model, optimizer, each, lambda: seen(model, found, setup.loss))
