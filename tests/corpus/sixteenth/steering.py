"""Scripts of the sixteenth held-out set that steer a puck on ice: a soft actor with two critics, and guesses alone."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import made
from tests.corpus.probe import Probe, Recording


def _slid(state: Tensor, push: Tensor) -> tuple[Tensor, Tensor]:
    """Where the puck slides, and what that is worth."""
    place, speed = state.unbind(1)
    speed = 0.95 * speed + 0.3 * push.squeeze(1)
    place = (place + 0.3 * speed).clamp(-3, 3)
    return torch.stack((place, speed), 1), -(place**2 + 0.05 * push.squeeze(1) ** 2)


def _net(inputs: int, width: int, outputs: int, turn: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), turn(), nn.Linear(width, width), turn(), nn.Linear(width, outputs))


class Actor(nn.Module):
    """Pushes to the left or to the right, more or less surely."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = _net(2, width, 2)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, spread = self.net(state).chunk(2, 1)
        spread = spread.clamp(-5, 1)
        raw = mean + spread.exp() * torch.randn_like(mean)
        push = raw.tanh()
        sure = -0.5 * ((raw - mean) / spread.exp()) ** 2 - spread - torch.log(1 - push**2 + 1e-6)
        return push, sure, mean.tanh()


def _return(act: nn.Module, steps: int = 30) -> Tensor:
    """What is earned from the same places."""
    state = torch.stack((torch.linspace(-2, 2, 64), torch.zeros(64)), 1)
    earned = torch.zeros(64)
    with torch.no_grad():
        for _ in range(steps):
            out = act(state)
            state, worth = _slid(state, out[2] if isinstance(out, tuple) else out.tanh())
            earned += worth
    return earned.mean() / steps


def puck(
    rate: float = 3e-3, actor_rate: float = 3e-3, heat: float = 0.05, later: float = 0.9, width: int = 48,
    batch: int = 96, steps: int = 450, slow: float = 0.02, pay: float = 1.0, clear: str = "both", own: bool = True,
    critics_trained: str = "both", named: bool = True, name: str = "adam",
) -> Recording:  # fmt: skip
    """Soft actor and critic; `later` is what tomorrow is worth, `pay` the unit of the reward."""
    actor = Actor(width)
    critics = nn.ModuleList(_net(3, width, 1) for _ in range(2))
    slower = copy.deepcopy(critics) if own else critics
    opt_a = made(name, actor.parameters(), actor_rate)
    opt_c = made(name, critics.parameters() if critics_trained == "both" else critics[0].parameters(), rate)
    probe = Probe({"actor": actor, "critics": critics}, {"actor": opt_a, "critics": opt_c})
    state, kept = torch.rand(32, 2) * 4 - 2, []
    for step in range(steps):
        with torch.no_grad():
            push = actor(state)[0] if step > 10 else torch.rand(32, 1) * 2 - 1
        after, worth = _slid(state, push)
        kept.append((state, push, worth.unsqueeze(1) * pay, after))
        fresh = torch.rand(32, 1) < 0.05
        state = torch.where(fresh, torch.rand(32, 2) * 4 - 2, after)
        many = [torch.cat(part) for part in zip(*kept[-150:], strict=True)]
        rows = torch.randint(len(many[0]), (batch,))
        then, pushed, paid, next_state = (part[rows] for part in many)
        with torch.no_grad():
            push, sure, _ = actor(next_state)
            both = torch.cat((next_state, push), 1)
            target = paid + later * (torch.minimum(slower[0](both), slower[1](both)) - heat * sure)
        asked = torch.cat((then, pushed), 1)
        lost_c = F.mse_loss(critics[0](asked), target) + F.mse_loss(critics[1](asked), target)
        if clear != "actor":
            opt_c.zero_grad()
        lost_c.backward()
        opt_c.step()
        push, sure, _ = actor(then)
        both = torch.cat((then, push), 1)
        lost_a = (heat * sure - torch.minimum(critics[0](both), critics[1](both))).mean()
        if clear != "critics":
            opt_a.zero_grad()
        lost_a.backward()
        opt_a.step()
        with torch.no_grad():
            for old, new in zip(slower.parameters(), critics.parameters(), strict=True):
                old.lerp_(new, slow)
        probe.step(lost_a + lost_c, **({"actor": lost_a, "critics": lost_c} if named else {}))
        if step % 50 == 49:
            probe.log(earned=_return(actor))
    return probe.finish()


def guesses(
    rate: float = 0.05, name: str = "adam", spread: float = 0.1, pairs: int = 16, width: int = 16, steps: int = 150,
    decay: float = 0.0, momentum: float = 0.9, ranked: bool = True,
) -> Recording:  # fmt: skip
    """Steers by evolution: the slope is guessed from what small changes of all weights earn, and written into grad."""
    model = _net(2, width, 1, nn.Tanh)
    optimizer = made(name, model.parameters(), rate, momentum, decay)
    probe = Probe(model, optimizer)
    start = torch.stack((torch.linspace(-2, 2, 8), torch.zeros(8)), 1)

    def earned(weights: dict[str, Tensor]) -> Tensor:
        state, total = start, torch.zeros(())
        for _ in range(12):
            state, worth = _slid(state, torch.func.functional_call(model, weights, (state,)).tanh())
            total = total + worth.mean()
        return total / 12

    for step in range(steps):
        now = {key: value.detach() for key, value in model.named_parameters()}
        half = {key: torch.randn(pairs, *value.shape) for key, value in now.items()}
        change = {key: torch.cat((value, -value)) for key, value in half.items()}
        gains = torch.func.vmap(earned)({key: now[key] + spread * value for key, value in change.items()})
        better = (gains - gains.mean()) / (gains.std() + 1e-8) if ranked else gains / spread
        optimizer.zero_grad()
        for key, value in model.named_parameters():
            value.grad = -torch.einsum("p,p...->...", better, change[key]) / (2 * pairs)
        optimizer.step()
        probe.step(-gains.mean())
        if step % 25 == 24:
            probe.log(earned=_return(model))
    return probe.finish()
