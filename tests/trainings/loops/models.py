"""Loops that differ in what is trained: shared, sparse, frozen, rebuilt, checkpointed, recurrent, nested, scripted."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.trainings.loops.kit import STEPS, Loop, Run, batch, mlp


def fit(run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, loss_of, steps: int = STEPS) -> None:
    """The usual loop around a loss."""
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        run.before_update(model)
        optimizer.step()
        run.step(loss)


def simple(run: Run, model: nn.Module, loss_of) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.watch(model, optimizer)
    fit(run, model, optimizer, loss_of)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.mix, self.head = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 20, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.mix(self.tokens(ids)))))


def tied(run: Run) -> None:
    simple(run, Tied(), lambda model: F.cross_entropy(model(torch.randint(0, 20, (16,))), torch.randint(0, 20, (16,))))


def sparse(run: Run) -> None:
    model = nn.Sequential(nn.Embedding(50, 6, sparse=True), nn.Flatten(), nn.Linear(18, 3))
    optimizers = [
        torch.optim.SparseAdam(model[0].parameters(), lr=0.01),
        torch.optim.Adam(model[2].parameters(), lr=0.01),
    ]
    run.watch(model, optimizers)
    for _ in range(STEPS):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.randint(0, 50, (16, 3))), torch.randint(0, 3, (16,)))
        loss.backward()
        run.before_update(model)
        for optimizer in optimizers:
            optimizer.step()
        run.step(loss)


def frozen_then_free(run: Run) -> None:
    """The first layer is trained from step 4 on, in a group that is added then."""
    model = mlp()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    run.watch(model, optimizer)
    for step in range(STEPS):
        if step == 4:
            model[0].requires_grad_(True)
            optimizer.add_param_group({"params": model[0].parameters(), "lr": 0.01})
        fit(run, model, optimizer, lambda item: F.cross_entropy(item(batch(16)[0]), torch.arange(16) % 3), 1)


def rebuilt(run: Run) -> None:
    """The head is replaced and both are watched again, as in a notebook."""
    model = mlp()
    for _ in range(2):
        model[2] = nn.Linear(16, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run.watch(model, optimizer)
        fit(run, model, optimizer, lambda item: F.cross_entropy(item(batch()[0]), torch.arange(16) % 3), 4)


def grown(run: Run) -> None:
    """A layer is added while the same monitor goes on."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.watch(model, optimizer)
    for step in range(STEPS):
        if step == 4:
            model.append(nn.Linear(3, 3))
            optimizer.add_param_group({"params": model[3].parameters()})
        fit(run, model, optimizer, lambda item: F.cross_entropy(item(batch()[0]), torch.arange(16) % 3), 1)


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.first, self.second, self.reentrant = nn.Linear(8, 16), nn.Linear(16, 16), reentrant
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = checkpoint(
            lambda h: torch.relu(self.drop(self.second(h))), self.first(x), use_reentrant=self.reentrant
        )
        return self.head(hidden)


def checkpointed(run: Run) -> None:
    simple(run, Checkpointed(reentrant=False), lambda model: F.cross_entropy(model(batch()[0]), torch.arange(16) % 3))


def checkpointed_reentrant(run: Run) -> None:
    simple(run, Checkpointed(reentrant=True), lambda model: F.cross_entropy(model(batch()[0]), torch.arange(16) % 3))


def penalty(model: nn.Module) -> Tensor:
    x = torch.randn(16, 8, requires_grad=True)
    out = model(x)
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    return out.square().mean() + 10 * (slope.norm(dim=1) - 1).square().mean()


def double_backward(run: Run) -> None:
    simple(run, mlp(8, 1), penalty)


class Partly(nn.Module):
    """Calls one layer three times and another one never."""

    def __init__(self) -> None:
        super().__init__()
        self.often, self.never, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = torch.relu(self.often(x))
        return self.head(x)


def often_and_never(run: Run) -> None:
    simple(run, Partly(), lambda model: F.cross_entropy(model(batch()[0]), torch.arange(16) % 3))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 12, num_layers=2, batch_first=True), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x)
        return self.head(states[:, -1])


def recurrent(run: Run) -> None:
    simple(run, Recurrent(), lambda model: F.cross_entropy(model(torch.randn(16, 5, 8)), torch.arange(16) % 3))


@dataclass
class Answer:
    logits: Tensor
    extra: dict[str, Tensor]


class Nested(nn.Module):
    """Its parts return a tuple, a dict and a dataclass."""

    class AsTuple(nn.Linear):
        def forward(self, x: Tensor) -> tuple[Tensor, None]:
            return super().forward(x), None

    class AsDict(nn.Linear):
        def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
            return {"out": [super().forward(x)]}

    class AsDataclass(nn.Linear):
        def forward(self, x: Tensor) -> Answer:
            return Answer(super().forward(x), {})

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = self.AsTuple(8, 8), self.AsDict(8, 8), self.AsDataclass(8, 3)

    def forward(self, x: Tensor) -> Answer:
        return self.c(torch.relu(self.b(torch.relu(self.a(x)[0]))["out"][0]))


def nested(run: Run) -> None:
    simple(run, Nested(), lambda model: F.cross_entropy(model(batch()[0]).logits, torch.arange(16) % 3))
    if run.tapes:
        assert {"act/std/a", "act/std/b", "act/std/c"} <= run.tapes[0].names()


def inference_mode(run: Run) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.watch(model, optimizer)
    for _ in range(STEPS):
        fit(run, model, optimizer, lambda item: F.cross_entropy(item(batch()[0]), torch.arange(16) % 3), 1)
        model.eval()
        with torch.inference_mode():
            run.losses.append(float(F.cross_entropy(model(batch()[0]), torch.arange(16) % 3)))
        model.train()


def scripted(run: Run) -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        part = torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))
    model = nn.Sequential(part, nn.Linear(8, 3))
    simple(run, model, lambda item: F.cross_entropy(item(batch()[0]), torch.arange(16) % 3))


def scripted_whole(run: Run) -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        model = torch.jit.script(mlp())
    simple(run, model, lambda item: F.cross_entropy(item(batch()[0]), torch.arange(16) % 3))


def half_weights(run: Run) -> None:
    model = mlp().to(torch.bfloat16)
    labels = torch.arange(16) % 3
    simple(run, model, lambda item: F.cross_entropy(item(batch()[0].to(torch.bfloat16)).float(), labels))


def wide(run: Run) -> None:
    """Over a million elements in one gradient, where a sum in float32 loses digits."""
    model = nn.Sequential(nn.Linear(8, 1200), nn.ReLU(), nn.Linear(1200, 1200), nn.ReLU(), nn.Linear(1200, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.watch(model, optimizer)
    fit(run, model, optimizer, lambda item: F.cross_entropy(item(batch()[0]), torch.arange(16) % 3), 3)


CELL = """
model = mlp()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
run.watch(model, optimizer)
fit(run, model, optimizer, lambda item: F.cross_entropy(item(batch()[0]), torch.arange(16) % 3), 4)
"""


def cell_twice(run: Run) -> None:
    """A notebook's cell: it makes everything anew under the same names."""
    names = {"run": run, "mlp": mlp, "fit": fit, "batch": batch, "F": F, "torch": torch}
    for _ in range(2):
        exec(compile(CELL, "<cell>", "exec"), names)


def interrupted(run: Run) -> None:
    """Ctrl-C between backward and step, then the cell with the loop is run again."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.watch(model, optimizer)
    for stop in (True, False):
        try:
            for step in range(4):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(batch()[0]), torch.arange(16) % 3)
                loss.backward()
                if stop and step == 2:
                    signal.raise_signal(signal.SIGINT)
                run.before_update(model)
                optimizer.step()
                run.step(loss)
        except KeyboardInterrupt:
            continue


LOOPS = [
    Loop("tied weights, a shared module", tied),
    Loop("sparse embeddings", sparse),
    Loop("frozen, then unfrozen in a group that is added later", frozen_then_free),
    Loop("a model rebuilt and watched again", rebuilt),
    Loop("a model that grows under one monitor", grown),
    Loop("activation checkpointing, `use_reentrant=False`", checkpointed),
    Loop("activation checkpointing, `use_reentrant=True`", checkpointed_reentrant),
    Loop("double backward (gradient penalty)", double_backward),
    Loop("modules called often, and never", often_and_never),
    Loop("an LSTM", recurrent),
    Loop("outputs that are tuples, dicts, dataclasses, nested", nested),
    Loop("validation under `torch.inference_mode`", inference_mode),
    Loop("a ScriptModule inside the model", scripted),
    Loop("a model that is a ScriptModule", scripted_whole),
    Loop("bf16 weights", half_weights),
    Loop("gradients of a million elements", wide),
    Loop("a notebook cell run twice", cell_twice),
    Loop("a notebook cell interrupted and run again", interrupted),
]
