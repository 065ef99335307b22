"""For Keras 3 on the torch backend: `model.fit(…, callbacks=[GradwatchCallback()])`."""

from __future__ import annotations

from typing import Any

import keras
import torch

from client_hook.integrations.backward_loss import BackwardLoss, plain_numbers
from client_hook.integrations.keras_optimizers import Stand, stands_of
from client_hook.monitor import Monitor, watch


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
        self._stands: dict[str, Stand] = {}
        self._watched: torch.nn.Module | None = None  # a monitor holds what it watches weakly

    def on_train_begin(self, logs: Any = None) -> None:
        """Begins to watch."""
        self._stands = stands = stands_of(self.model)
        if len(stands) > 1:  # one against the other: neither loss need fall
            self._options.setdefault("moving_target", True)
        self._watched = _as_modules(self.model)
        self.monitor = watch(self._watched, stands if len(stands) > 1 else list(stands.values()), **self._options)
        self._loss.start(self.monitor)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Tells the loss of this batch: Keras's own log has the mean of the epoch."""
        if self.monitor is not None:
            scales = (stand.grad_scale for stand in self._stands.values())
            self._loss.tell(scale=next((scale for scale in scales if scale is not None), None))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Passes on the validation."""
        found = {k.removeprefix("val_"): v for k, v in plain_numbers(logs or {}).items() if k.startswith("val_")}
        if self.monitor is not None and found:
            self.monitor.validation(found.pop("loss", None), **found)

    def on_train_end(self, logs: Any = None) -> None:
        """Ends the run; Keras has its optimizers back."""
        self._loss.stop()
        for stand in self._stands.values():
            vars(stand.optimizer).pop("apply", None)
        if self.monitor is not None:
            self.monitor.finish()
