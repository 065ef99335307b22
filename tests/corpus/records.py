"""Trainings about which something is wrong that is no matter of the model: what was recorded of them, and how they went
on.

Not for: what takes hours or several processes (hours, ranks).
"""

from __future__ import annotations

import copy
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.pace import Pace, at_pace
from tests.corpus.probe import Probe, Recording
from tests.corpus.setup import batches, usual

if TYPE_CHECKING:
    from tests.corpus.setup import Setup

GIT = ("git", "-c", "user.name=somebody", "-c", "user.email=somebody@example.org")


def from_a_folder(setup: Setup, *, committed: bool) -> Recording:
    """Trains as a script that lies in a folder of its own, which may be a repository where it is committed."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "train.py"
        script.write_text("import torch\n", encoding="utf-8")
        for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "Train")) if committed else ():
            subprocess.run([*GIT, *command], cwd=folder, check=True, capture_output=True)
        with patch.object(sys, "argv", [str(script)]):
            return usual(replace(setup, loop=None))


def validated_by_the_batch(setup: Setup, *, averages: bool = False) -> Recording:
    """Reports every batch of an evaluation, where the mean of all of them is meant."""
    data, model = setup.data(), setup.model()
    optimizer = setup.optimizer(model)
    probe = Probe(model, optimizer, total_steps=setup.steps)
    source = batches(setup, data)
    for step in range(setup.steps):
        x, y, _ = next(source)
        optimizer.zero_grad()
        loss = setup.loss(model(x), y)
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if (step + 1) % setup.evaluate == 0:
            model.eval()
            with torch.no_grad():
                held_out = DataLoader(TensorDataset(data.val_x, data.val_y), 200)
                losses = [float(setup.loss(model(x), y)) for x, y in held_out]
            for value in [sum(losses) / len(losses)] if averages else losses:
                probe.validation(value)
            model.train()
    return probe.finish()


def resumed(setup: Setup, *, restores: bool) -> Recording:
    """Trains, stops, and goes on from a checkpoint; may forget what is not in the model."""
    data, model = setup.data(), setup.model()
    source = batches(setup, data)
    kept: Any = None
    recording: Recording | None = None
    for _ in range(2):
        optimizer = setup.optimizer(model)
        scheduler = setup.scheduler(optimizer) if setup.scheduler else None
        if kept is not None and restores:
            optimizer.load_state_dict(kept[0])
            if scheduler is not None:
                scheduler.load_state_dict(kept[1])
        probe = Probe(model, optimizer, total_steps=2 * setup.steps)
        for _ in range(setup.steps):
            x, y, _ = next(source)
            optimizer.zero_grad()
            loss = setup.loss(model(x), y)
            loss.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            probe.step(loss)
        kept = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict() if scheduler else None))
        newest = probe.finish()
        newest.before, recording = recording, newest
    assert recording is not None
    return recording


class PicturesAndNames(nn.Module):
    """Draws a digit again, and names it, from one trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.picture, self.name = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        between = self.trunk(x)
        return self.picture(between), self.name(between)


def two_parts(setup: Setup, *, reduction: str) -> Recording:
    """Adds the error of a picture to that of its name."""
    data, model = setup.data(), PicturesAndNames()
    optimizer = setup.optimizer(model)
    probe = Probe(model, optimizer, total_steps=setup.steps)
    source = batches(setup, data)
    for _ in range(setup.steps):
        x, y, _ = next(source)
        optimizer.zero_grad()
        picture, name = model(x)
        pixels, classes = F.mse_loss(picture, x, reduction=reduction), F.cross_entropy(name, y)
        loss = pixels + classes
        loss.backward()
        optimizer.step()
        probe.step(loss, pixels=pixels, classes=classes)
    return probe.finish()


def on_a_busy_machine(setup: Setup) -> Recording:
    """Trains where others keep the processor busy: the hook waits for its turn half as long as the step lasts."""
    with at_pace(Pace(step_s=0.02, sample_s=0.2, plain_s=0.01)):
        return usual(replace(setup, loop=None))
