"""Treats the weights in unusual ways: averages, a second look for sharpness, an optimizer for each kind of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import SWALR, AveragedModel

from tests.corpus.probe import Recording
from tests.corpus.second.loops import descend, go, some
from tests.corpus.second.optimizers import muon_and_adam
from tests.corpus.setup import Setup


def averaged(setup: Setup) -> Recording:
    """Averages the weights of the last third at a constant rate, and validates the average."""
    found = setup.data()
    model = setup.model()
    optimizer = setup.optimizer(model)
    mean = AveragedModel(model)
    falls = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, setup.steps)
    stays = SWALR(optimizer, 0.02, anneal_epochs=20)
    draw, begin = some(setup, len(found.x)), setup.steps * 2 // 3

    def each(step: int) -> Tensor:
        at = draw()
        loss = descend(optimizer, setup.loss(model(found.x[at]), found.y[at]))
        if step >= begin:
            stays.step()
            if step % 10 == 0:
                mean.update_parameters(model)
        else:
            falls.step()
        return loss

    def check() -> dict[str, Any]:
        output = mean(found.val_x)
        right = float((output.argmax(1) == found.val_y).float().mean())
        return {"loss": float(setup.loss(output, found.val_y)), "accuracy": right}

    return go(setup, model, optimizer, each, check)


def sharpness(setup: Setup) -> Recording:
    """Steps with the gradient of a point nearby that is worse (SAM): two passes a step."""
    found = setup.data()
    model = setup.model()
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        at = draw()
        loss = setup.loss(model(found.x[at]), found.y[at])
        loss.backward()
        with torch.no_grad():
            grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
            length = torch.stack([g.norm() for g in grads]).norm() + 1e-12
            for p, g in zip(model.parameters(), grads, strict=True):
                p.add_(g, alpha=float(0.05 / length))
        optimizer.zero_grad()
        setup.loss(model(found.x[at]), found.y[at]).backward()
        with torch.no_grad():
            for p, g in zip(model.parameters(), grads, strict=True):
                p.sub_(g, alpha=float(0.05 / length))
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return go(setup, model, optimizer, each, lambda: {"loss": float(setup.loss(model(found.val_x), found.val_y))})


def two_optimizers(setup: Setup) -> Recording:
    """Trains one network with Muon and AdamW together."""
    found = setup.data()
    model = setup.model()
    optimizers = muon_and_adam(model)
    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        at = draw()
        loss = setup.loss(model(found.x[at]), found.y[at])
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers.values():
            optimizer.step()
        return loss

    return go(setup, model, optimizers, each, lambda: {"loss": float(setup.loss(model(found.val_x), found.val_y))})
