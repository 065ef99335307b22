"""For Lightning: `Trainer(callbacks=[GradwatchCallback()])`, with `pytorch_lightning` or `lightning`."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from client_hook.integrations.backward_loss import BackwardLoss, as_dict, plain_numbers
from client_hook.monitor import Monitor, watch

# the one that the program uses already; both may be installed
_PREFERRED = [name for name in ("pytorch_lightning", "lightning.pytorch") if name in sys.modules]
_NAME = [*_PREFERRED, "lightning.pytorch" if find_spec("lightning") else "pytorch_lightning"][0]
Callback: Any = import_module(_NAME).Callback


class GradwatchCallback(Callback):  # type: ignore[misc]
    """Watches what a Trainer fits; keyword arguments are those of `watch`. With `stop_on_error=True` an open finding
    of severity error ends the fit."""

    def __init__(self, *, stop_on_error: bool = False, **options: Any) -> None:
        self.monitor: Monitor | None = None
        self._stop_on_error = stop_on_error
        self._options = options
        self._loss = BackwardLoss()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begins to watch, at the step that a checkpoint left, unless another of these callbacks does; the strategy's
        model knows whether it is distributed."""
        first = next(item for item in trainer.callbacks if isinstance(item, GradwatchCallback))
        if first.monitor is not None and not first.monitor.ended:
            return
        own = as_dict(self._options.get("config"))
        config = {**as_dict(pl_module.hparams), "first_step": trainer.global_step, **own}
        steps = trainer.estimated_stepping_batches
        known = {"total_steps": int(steps) if steps != float("inf") else None}
        model = trainer.strategy.model if trainer.strategy.model is not None else pl_module
        self.monitor = watch(model, trainer.optimizers, **{**known, **self._options, "config": config})
        self._loss.start(self.monitor, first=pl_module.automatic_optimization)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Tells a batch; it closes a step if an optimizer stepped."""
        if self.monitor is None:
            return
        self._loss.tell(trainer.accumulate_grad_batches)
        if self._stop_on_error and self.monitor.should_stop:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Passes on what was logged under names that begin with val."""
        if self.monitor is None or trainer.sanity_checking:
            return
        logged = plain_numbers(dict(trainer.callback_metrics))
        found = {name[4:]: value for name, value in logged.items() if name.startswith(("val_", "val/"))}
        if found:
            self.monitor.validation(found.pop("loss", None), **found)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Ends the run."""
        self._end(None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Ends it as failed, or as stopped after Ctrl-C."""
        self._end(exception)

    def _end(self, error: BaseException | None) -> None:
        self._loss.stop()
        if self.monitor is not None:
            self.monitor.__exit__(None if error is None else type(error), error, None)
