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

SCRIPT = """
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
class Noting(keras.Sequential):
    def train_step(self, data):
        logs = super().train_step(data)
        return logs
model = Noting([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3)])
optimizer = keras.optimizers.Adam(1e-2, gradient_accumulation_steps=ACCUMULATED if ACCUMULATED > 1 else None)
if SCALE != 1.0:
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=SCALE)
apply = type(optimizer).apply
def noting(self, gradients, variables=None):
    norms.append(math.sqrt(sum(float(item.double().square().sum()) for item in gradients)) / SCALE)
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
    "apply": "apply" in vars(model.optimizer)}))
"""


def fitted(home: Path, *, scale: float = 1.0, accumulated: int = 1) -> dict[str, Any]:
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT), "KERAS_HOME": str(home),
                   "GRADWATCH_HOME": str(home), "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    script = f"SCALE, ACCUMULATED = {scale}, {accumulated}\n{SCRIPT}"
    done = warm.run([sys.executable, "-c", script], env=environment, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_every_step_arrives_with_its_numbers(tmp_path: Path, scale: float) -> None:
    seen = fitted(tmp_path, scale=scale)
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
    seen = fitted(tmp_path, scale=scale, accumulated=4)
    losses = seen["losses"]
    assert list(seen["loss"].values()) == pytest.approx([sum(losses[:4]) / 4, sum(losses[4:]) / 4], rel=1e-6)
    assert list(seen["lr"]) == ["0", "1"]
