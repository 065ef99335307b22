"""Real trainings with one disease each, and the healthy twin of each: the same code without the mistake.

`CAST` maps a rule's code to a function `(sick, url) -> run id`; every training takes a second or two on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.trainings.loop import CLASSES, INPUTS, Loop, Training, mlp, sgd


def initial_loss(sick: bool, url: str) -> str:
    model = mlp()
    if sick:
        nn.init.normal_(model[4].weight, std=10.0)
    return Loop(url, model, sgd(model.parameters(), 0.01 if sick else 0.1)).run()


def softmax_twice(sick: bool, url: str) -> str:
    model = mlp()
    if sick:
        model.append(nn.Softmax(dim=1))
    return Loop(url, model, sgd(model.parameters())).run()


def bad_shard(sick: bool, url: str) -> str:
    def data(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        return (x * 4, (y + 1) % CLASSES) if sick and 240 <= step < 262 else (x, y)

    model = mlp()
    return Loop(url, model, sgd(model.parameters(), 0.02), data=data).run()


def labels_of_other_inputs(sick: bool, url: str) -> str:
    def data(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        return (x, y.roll(1)) if sick else (x, y)

    model = mlp()
    return Loop(url, model, sgd(model.parameters(), 0.02), steps=500, data=data).run()


def climbing(sick: bool, url: str) -> str:
    model = mlp()
    optimizer = sgd(model.parameters(), 0.01)

    def after(step: int) -> None:
        if sick and step == 250:
            optimizer.param_groups[0]["maximize"] = True  # a sign lost in a merge
            optimizer.param_groups[0]["lr"] = 0.0004

    return Loop(url, model, optimizer, steps=700, after_step=after).run()


def dead_output(sick: bool, url: str) -> str:
    model = mlp()
    if sick:
        model.append(nn.ReLU())
        nn.init.constant_(model[4].bias, -100.0)
    return Loop(url, model, sgd(model.parameters())).run()


class Detached(nn.Module):
    """Loses the gradient of its first layer on the way, or not."""

    def __init__(self, sick: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.sick, self.trunk, self.head = sick, nn.Linear(INPUTS, 32), nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.trunk(x))
        return self.head(hidden.detach() if self.sick else hidden)


def detached(sick: bool, url: str) -> str:
    model = Detached(sick)
    return Loop(url, model, sgd(model.parameters())).run()


def forgotten_head(sick: bool, url: str) -> str:
    model = mlp()
    return Loop(url, model, sgd(model[:4].parameters() if sick else model.parameters())).run()


def rounded_away(sick: bool, url: str) -> str:
    """Updates below the resolution of bfloat16 are lost: the weights stay what they were."""
    model = mlp().to(torch.bfloat16 if sick else torch.float32)

    def compute(model: nn.Module, x: Tensor, y: Tensor, step: int) -> Tensor:
        return F.cross_entropy(model(x.to(torch.bfloat16) if sick else x).float(), y)

    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9 if sick else 0.2)
    return Loop(url, model, optimizer, compute=compute).run()


def no_zero_grad(sick: bool, url: str) -> str:
    model = mlp()
    return Loop(url, model, sgd(model.parameters(), 0.01), clear=not sick).run()


def clip_too_late(sick: bool, url: str) -> str:
    model = mlp()

    def clip(step: int) -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    place = {"after_step" if sick else "before_step": clip}
    return Loop(url, model, sgd(model.parameters()), **place).run()


def deep_sigmoids(sick: bool, url: str) -> str:
    torch.manual_seed(1)
    act = nn.Sigmoid if sick else nn.ReLU
    hidden = [layer for _ in range(10) for layer in (nn.Linear(32, 32), act())]
    model = nn.Sequential(nn.Linear(INPUTS, 32), act(), *hidden, nn.Linear(32, CLASSES))
    if not sick:
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.normal_(model[-1].weight, std=0.05)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Loop(url, model, optimizer, steps=500).run()


def exploding(sick: bool, url: str) -> str:
    def compute(model: nn.Module, x: Tensor, y: Tensor, step: int) -> Tensor:
        loss = F.cross_entropy(model(x), y)
        return loss * 1e4 if sick and step >= 250 and step % 10 == 0 else loss

    model = mlp()
    # a limit that clips nothing, as people use it to see the norm of every step
    norm = {"before_step": lambda step: nn.utils.clip_grad_norm_(model.parameters(), 1e9)}
    return Loop(url, model, sgd(model.parameters(), 0.01), compute=compute, **norm).run()


def dead_units(sick: bool, url: str) -> str:
    model = mlp()
    if sick:
        nn.init.constant_(model[0].bias, -20.0)
    return Loop(url, model, sgd(model.parameters())).run()


def rate_too_high(sick: bool, url: str) -> str:
    model = mlp()
    return Loop(url, model, sgd(model.parameters(), 20.0 if sick else 0.1)).run()


def rate_too_low(sick: bool, url: str) -> str:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6 if sick else 0.3)
    return Loop(url, model, optimizer, steps=400).run()


def log_of_zero(sick: bool, url: str) -> str:
    def compute(model: nn.Module, x: Tensor, y: Tensor, step: int) -> Tensor:
        chances = torch.softmax(model(x), 1)
        if sick and step == 200:
            chances = chances * 0
        return -(chances[torch.arange(len(y)), y] + (0 if sick else 1e-8)).log().mean()

    model = mlp()
    return Loop(url, model, sgd(model.parameters()), compute=compute).run()


class Rooted(nn.Module):
    """Takes the root of its input; of a negative one that is no number."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


def root_of_a_negative(sick: bool, url: str) -> str:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(INPUTS, 32),
        nn.ReLU() if not sick else nn.Identity(),
        nn.Linear(32, 32),
        nn.Softplus(),
        nn.Linear(32, CLASSES),
    )
    if sick:
        model.insert(2, Rooted())
    return Loop(url, model, sgd(model.parameters()), steps=120).run()


def root_at_zero(sick: bool, url: str) -> str:
    def compute(model: nn.Module, x: Tensor, y: Tensor, step: int) -> Tensor:
        loss = F.cross_entropy(model(x), y)
        if sick and step == 150:
            loss = loss + (model[0].weight * 0).sum().sqrt()  # the root has no slope at 0
        return loss

    model = mlp()
    return Loop(url, model, sgd(model.parameters()), compute=compute).run()


CAST: dict[str, Training] = {
    "GW201": initial_loss,
    "GW202": softmax_twice,
    "GW205": bad_shard,
    "GW206": labels_of_other_inputs,
    "GW208": climbing,
    "GW211": dead_output,
    "GW301": detached,
    "GW302": forgotten_head,
    "GW303": rounded_away,
    "GW304": no_zero_grad,
    "GW305": clip_too_late,
    "GW306": deep_sigmoids,
    "GW307": exploding,
    "GW308": dead_units,
    "GW411": rate_too_high,
    "GW412": rate_too_low,
    "GW601": log_of_zero,
    "GW602": root_of_a_negative,
    "GW603": root_at_zero,
}
