"""The wrappers of torch's globals: installed once, shared by all monitors, and gone with the last."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from client_hook import watch

PLACES = (
    (torch.autograd, "backward"),
    (torch._C._nn, "cross_entropy_loss"),
    (torch._C._nn, "mse_loss"),
    (torch, "binary_cross_entropy_with_logits"),
    (torch.optim.lr_scheduler.LRScheduler, "step"),
    (DataLoader, "__iter__"),
    (torch.optim.Optimizer, "zero_grad"),
)


def now() -> list[object]:
    return [getattr(owner, name) for owner, name in PLACES]


def monitor():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return watch(model, optimizer, url="http://127.0.0.1:9"), model, optimizer


def test_they_come_with_the_first_monitor_and_go_with_the_last() -> None:
    before = now()
    first, *held = monitor()
    during = now()
    assert [one is other for one, other in zip(before, during, strict=True)] == [False] * len(PLACES)
    second, *more = monitor()
    assert now() == during, "installed once"
    first.finish(timeout=0.1)
    assert now() == during, "somebody still listens"
    second.finish(timeout=0.1)
    assert now() == before
    del held, more


def test_a_wrapper_that_somebody_put_on_top_stays_where_it_is() -> None:
    original = torch.autograd.backward
    first, *held = monitor()
    ours = torch.autograd.backward

    def theirs(*args, **kwargs):
        return ours(*args, **kwargs)

    torch.autograd.backward = theirs
    try:
        first.finish(timeout=0.1)
        assert torch.autograd.backward is theirs
        weight = torch.ones(2, requires_grad=True)
        weight.sum().backward()
        assert weight.grad is not None
    finally:
        torch.autograd.backward = original
    del held
