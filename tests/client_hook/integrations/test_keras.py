"""Keras 3 on torch: its own optimizer and loop, the same numbers. In a process of its own that chooses the backend."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.serving import ROOT

SETUP = """
import json, math, warnings
warnings.simplefilter("ignore")
import keras, torch
from client_hook.integrations import keras as integration
from tests.client_hook.tape import taped
from tests.client_hook.integrations.kit import Rows
tapes = []
def watch(*arguments, **options):
    monitor, tape = taped(*arguments, strict=True, **options)
    tapes.append(tape)
    return monitor
integration.watch = watch
norms, losses = [], []
"""

ALONE = """
class Noting(keras.Sequential):
    def train_step(self, data):
        logs = super().train_step(data)
        return logs
model = Noting([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3)])
optimizer = keras.optimizers.Adam(1e-2, gradient_accumulation_steps=ACCUMULATED if ACCUMULATED > 1 else None)
if SCALE != 1.0:
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=SCALE)
apply, added, counted = type(optimizer).apply, [], []
def noting(self, gradients, variables=None):
    added[:] = [a + b for a, b in zip(added, gradients)] if added else [item.clone() for item in gradients]
    counted.append(1)
    if len(counted) % ACCUMULATED == 0:
        mean = [item.double() / SCALE / ACCUMULATED for item in added]
        norms.append(math.sqrt(sum(float(item.square().sum()) for item in mean)))
        added.clear()
    return apply(self, gradients, variables)
type(optimizer).apply = noting
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer, lambda y, p: note(loss(y, p)))
def note(value):
    if value.requires_grad:
        losses.append(float(value.detach()))
    return value
rows = Rows()
callback = integration.GradwatchCallback()
model.build((None, 4))
model.fit(rows.x, rows.labels, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[callback],
          validation_data=(rows.x, rows.labels))
(tape,) = tapes
print(json.dumps({"losses": losses, "norms": norms, "loss": tape.series("loss"), "norm": tape.series("grad_norm"),
    "val": tape.series("val/loss"), "names": sorted(tape.names()), "lr": tape.series("lr/0"),
    "apply": "apply" in vars(model.optimizer), "offences": tape.facts("loop")[-1]["offences"]}))
"""


def fitted_alone(home: Path, *, scale: float = 1.0, accumulated: int = 1) -> dict[str, Any]:
    return fitted(home, f"SCALE, ACCUMULATED = {scale}, {accumulated}\n{SETUP}{ALONE}")


PAIR = """
class Pair(keras.Model):
    def __init__(self):
        super().__init__()
        layer = keras.layers.Dense
        self.maker = keras.Sequential([keras.Input((4,)), layer(8, activation="relu"), layer(4)])
        norm = keras.layers.BatchNormalization(momentum=0.75)
        self.judge = keras.Sequential([keras.Input((4,)), layer(8, activation="relu"), norm, layer(1)])
        self.makers, self.judges = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(2e-3)
        self.told = keras.losses.BinaryCrossentropy(from_logits=True)
        self.built = True
    def turn(self, part, optimizer, labels, rows):
        self.zero_grad()
        loss = self.told(labels, self.judge(rows))
        loss.backward()
        gradients = [item.value.grad for item in part.trainable_weights]
        norms.append(math.sqrt(sum(float(item.double().square().sum()) for item in gradients)))
        with torch.no_grad():
            optimizer.apply(gradients, part.trainable_weights)
        return float(loss.detach())
    def train_step(self, data):
        real = data[0] if isinstance(data, tuple) else data
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        made = self.maker(torch.randn(len(real), 4))
        judging = self.turn(self.judge, self.judges, torch.cat([ones, zeros]), torch.cat([made.detach(), real]))
        making = self.turn(self.maker, self.makers, zeros, self.maker(torch.randn(len(real), 4)))
        losses.append(judging + making)
        return {"judging": judging, "making": making}
model = Pair()
model.compile()
callback = integration.GradwatchCallback()
model.fit(Rows().x, batch_size=8, epochs=2, verbose=0, callbacks=[callback])
(tape,) = tapes
print(json.dumps({"losses": losses, "norms": norms, "loss": tape.series("loss"), "norm": tape.series("grad_norm"),
    "judges": tape.series("lr/judges.0"), "makers": tape.series("lr/makers.0"), "plan": tape.facts("plan")[-1],
    "groups": [len(item["groups"]) for item in tape.facts("model")[-1]["parameters"] if item["trainable"]],
    "momentum": [item["arguments"]["momentum"] for item in tape.facts("model")[-1]["layers"]
                 if item["type"] == "BatchNormalization"],
    "offences": tape.facts("loop")[-1]["offences"], "notes": callback.monitor.ledger["notes"],
    "apply": [name for name in ("optimizer", "makers", "judges") if "apply" in vars(getattr(model, name))]}))
"""


def fitted(home: Path, script: str) -> dict[str, Any]:
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT), "KERAS_HOME": str(home),
                   "GRADWATCH_HOME": str(home), "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    done = warm.run([sys.executable, "-c", script], env=environment, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_every_step_arrives_with_its_numbers(tmp_path: Path, scale: float) -> None:
    seen = fitted_alone(tmp_path, scale=scale)
    assert len(seen["losses"]) == 8
    assert list(seen["loss"].values()) == pytest.approx(seen["losses"], rel=1e-6)
    assert list(seen["norm"].values()) == pytest.approx(seen["norms"], rel=1e-6)
    assert list(seen["val"]) == ["3", "7"]
    assert list(seen["lr"].values()) == pytest.approx([1e-2] * 8)
    assert any(name.startswith("update_ratio/") for name in seen["names"])
    assert {"act/std/dense", "act/std/dense_1"} <= set(seen["names"])
    assert not seen["apply"], "Keras has its optimizer back"


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_batches_whose_gradients_are_added_up_are_one_step(tmp_path: Path, scale: float) -> None:
    seen = fitted_alone(tmp_path, scale=scale, accumulated=4)
    losses = seen["losses"]
    assert list(seen["loss"].values()) == pytest.approx([sum(losses[:4]) / 4, sum(losses[4:]) / 4], rel=1e-6)
    assert list(seen["lr"]) == ["0", "1"]
    assert list(seen["norm"].values()) == pytest.approx(seen["norms"], rel=1e-6)
    assert not seen["offences"]


def test_a_pair_with_an_optimizer_each_has_both_rates(tmp_path: Path) -> None:
    seen = fitted(tmp_path, SETUP + PAIR)
    assert list(seen["loss"].values()) == pytest.approx(seen["losses"], rel=1e-6)
    norms = seen["norms"]
    both = [(one**2 + two**2) ** 0.5 for one, two in zip(norms[::2], norms[1::2], strict=True)]
    assert list(seen["norm"].values())[1:] == pytest.approx(both[1:], rel=1e-6)
    assert list(seen["judges"].values()) == pytest.approx([2e-3] * 8)
    assert list(seen["makers"].values()) == pytest.approx([1e-3] * 8)
    assert seen["plan"]["moving_target"] is True
    assert set(seen["groups"]) == {1}
    assert seen["momentum"] == [0.25], "as PyTorch counts it"
    assert (seen["offences"], seen["notes"], seen["apply"]) == ([], [], [])
