"""Loops with torch.compile: the hook may not break a graph, add one, or make Dynamo compile again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tests import dynamo
from tests.trainings.loops.kit import Loop, Run, batch, mlp

STEPS = 20  # all of them are sampled


class Own(nn.Module):
    """A module of the user's own: Dynamo does not compile torch's `Sequential` where it is called by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def counted(run: Run, body: Callable[[], None]) -> None:
    """Keeps what Dynamo counted, which must be the same in the two runs."""
    dynamo.forget()
    body()
    run.extra = dynamo.compilations()


def compiled_model(run: Run, *, first: str, **options: Any) -> None:
    """`first` says whether `watch` or `torch.compile` came first."""

    def body() -> None:
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if first == "watch":
            run.watch(model, optimizer)
        forward = torch.compile(model, **options)
        if first == "compile":
            run.watch(forward, optimizer)
        for _ in range(STEPS):
            x, y = batch()
            optimizer.zero_grad()
            loss = F.cross_entropy(forward(x), y)
            loss.backward()
            run.before_update(model)
            optimizer.step()
            run.step(loss)

    counted(run, body)


def default_backend(run: Run) -> None:
    compiled_model(run, first="compile")


def compiled_then_watched(run: Run) -> None:
    compiled_model(run, first="compile", backend="aot_eager")


def watched_then_compiled(run: Run) -> None:
    compiled_model(run, first="watch", backend="aot_eager")


def one_graph(run: Run) -> None:
    compiled_model(run, first="compile", backend="aot_eager", fullgraph=True)


def compiled_in_place(run: Run) -> None:
    def body() -> None:
        model = Own()
        model.compile(backend="aot_eager")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run.watch(model, optimizer)
        for _ in range(STEPS):
            x, y = batch()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            run.before_update(model)
            optimizer.step()
            run.step(loss)

    counted(run, body)


def compiled_loss(run: Run) -> None:
    """The forward pass and the loss in one compiled function, as large trainings have it."""

    def body() -> None:
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run.watch(model, optimizer)

        @torch.compile(backend="aot_eager", fullgraph=True)
        def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(model(x), y)

        for _ in range(STEPS):
            x, y = batch()
            optimizer.zero_grad()
            loss = loss_of(x, y)
            loss.backward()
            run.before_update(model)
            optimizer.step()
            run.step(loss)

    counted(run, body)


def compiled_step(run: Run) -> None:
    """The whole step in one compiled function: Dynamo breaks it at backward, and compiles the optimizer too."""

    def body() -> None:
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run.watch(model, optimizer)

        @torch.compile(backend="aot_eager")
        def whole(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        for _ in range(STEPS):
            run.step(whole(*batch()))

    counted(run, body)


LOOPS = [
    Loop("`torch.compile`, the default backend, then `watch`", default_backend),
    Loop("`torch.compile`, then `watch`", compiled_then_watched),
    Loop("`watch`, then `torch.compile`", watched_then_compiled),
    Loop("`torch.compile(fullgraph=True)`", one_graph),
    Loop("`model.compile()`", compiled_in_place),
    Loop("forward and loss in one compiled function", compiled_loss),
    Loop("the whole step in one compiled function", compiled_step),
]
