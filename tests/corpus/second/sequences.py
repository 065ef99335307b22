"""Trains on sequences: translation, forecasts, gradients that are cut in time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus import data as corpus_data
from tests.corpus.probe import Recording
from tests.corpus.second import data
from tests.corpus.second.loops import go, some
from tests.corpus.second.models import Translator
from tests.corpus.setup import Setup


def translate(setup: Setup) -> Recording:
    """Says words backwards; `setup.loss` gets the scores and the words."""
    found = data.backwards()
    model = Translator()
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def each(step: int) -> Tensor:
        at = draw()
        loss = setup.loss(model(found.x[at], found.y[at]), found.y[at])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return go(
        setup, model, optimizer, each,
        lambda: {"loss": float(setup.loss(model(found.val_x[:200], found.val_y[:200]), found.val_y[:200]))},
    )  # fmt: skip


def forecast(setup: Setup) -> Recording:
    """Forecasts a load; the rate falls when the validation, or each batch, gets no better."""
    found = setup.data()
    model = setup.model()
    optimizer = setup.optimizer(model)
    patience = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
    draw, now = some(setup, len(found.x)), 0.0

    def each(_: int) -> Tensor:
        at = draw()
        loss = setup.loss(model(found.x[at]), found.y[at])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if setup.per_batch_scheduler:
            patience.step(float(loss))
        return loss

    def check() -> dict[str, Any]:
        nonlocal now
        now = float(setup.loss(model(found.val_x), found.val_y))
        if not setup.per_batch_scheduler:
            patience.step(now)
        return {"loss": now}

    return go(setup, model, optimizer, each, check)


def truncated(setup: Setup) -> Recording:
    """Reads letters in sixteen streams and carries the state over, cut off from its past."""
    raw = corpus_data.TEXT.read_text(encoding="utf-8")[:40_000]
    known = {letter: at for at, letter in enumerate(sorted(set(raw)))}
    codes = torch.tensor([known[letter] for letter in raw])
    streams = codes[: len(codes) // 16 * 16].reshape(16, -1)
    model = nn.ModuleDict(
        {
            "put": nn.Embedding(len(known), 32),
            "cells": nn.LSTM(32, 64, batch_first=True),
            "head": nn.Linear(64, len(known)),
        }
    )
    optimizer = setup.optimizer(model)
    state: Any = None

    def each(step: int) -> Tensor:
        nonlocal state
        at = step * 20 % (streams.shape[1] - 21)
        seen, state = model["cells"](model["put"](streams[:, at : at + 20]), state)
        state = tuple(item.detach() for item in state)
        loss = F.cross_entropy(model["head"](seen).flatten(0, 1), streams[:, at + 1 : at + 21].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()
        return loss

    return go(setup, model, optimizer, each)
