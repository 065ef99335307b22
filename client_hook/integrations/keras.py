"""For Keras 3 on the torch backend: `model.fit(…, callbacks=[GradwatchCallback()])`."""

from __future__ import annotations

from typing import Any

import keras
import torch

from client_hook.integrations.backward_loss import BackwardLoss, plain_numbers
from client_hook.monitor import Monitor, watch


class _Stand(torch.optim.Optimizer):
    """Stands for Keras's own optimizer, which is none of torch's: its step does what that one was about to do."""

    work = grad_scale = None  # type: Any

    def step(self) -> Any:  # type: ignore[override]
        """Does the work between the hooks."""
        return self.work()


def _as_modules(model: Any) -> torch.nn.Module:
    """Makes the layers visible, which Keras does not register as torch's children."""
    found = torch.nn.ModuleDict({x.name.replace(".", "_"): x for x in model._flatten_layers(include_self=False)})
    return found if {id(x) for x in model.parameters()} == {id(x) for x in found.parameters()} else model


class GradwatchCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Watches `fit`; keyword arguments are those of `watch`."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        if (backend := keras.backend.backend()) != "torch":
            raise RuntimeError(f"Keras runs on {backend!r}; Gradwatch needs KERAS_BACKEND=torch")
        self.monitor: Monitor | None = None
        self._options = options
        self._loss = BackwardLoss()
        self._stand: _Stand | None = None
        self._watched: torch.nn.Module | None = None  # a monitor holds what it watches weakly

    def on_train_begin(self, logs: Any = None) -> None:
        """Begins to watch."""
        optimizer = self.model.optimizer
        weights = [item for item in self.model.parameters() if item.requires_grad]
        self._stand = stand = _Stand(weights, {"lr": float(optimizer.learning_rate)})
        original, inner = optimizer.apply, getattr(optimizer, "inner_optimizer", optimizer)

        def apply(*args: Any, **kwargs: Any) -> Any:
            scaled = optimizer.scale_loss(one := torch.ones(()))
            stand.grad_scale = None if scaled is one else scaled.detach()
            stand.param_groups[0]["lr"] = float(optimizer.learning_rate)
            stand.work = lambda: original(*args, **kwargs)
            held = (int(inner._iterations) + 1) % (inner.gradient_accumulation_steps or 1)
            return stand.work() if held else stand.step()

        optimizer.apply = apply
        self._watched = _as_modules(self.model)
        self.monitor = watch(self._watched, stand, **self._options)
        self._loss.start(self.monitor)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Tells the loss of this batch: Keras's own log has the mean of the epoch."""
        if self.monitor is not None:
            self.monitor.step(self._loss.take(getattr(self._stand, "grad_scale", None)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Passes on the validation."""
        found = {k.removeprefix("val_"): v for k, v in plain_numbers(logs or {}).items() if k.startswith("val_")}
        if self.monitor is not None and found:
            self.monitor.validation(found.pop("loss", None), **found)

    def on_train_end(self, logs: Any = None) -> None:
        """Ends the run; Keras has its optimizer back."""
        self._loss.stop()
        self.model.optimizer.__dict__.pop("apply", None)
        if self.monitor is not None:
            self.monitor.finish()
