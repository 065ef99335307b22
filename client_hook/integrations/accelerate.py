"""For Accelerate: a tracker for `Accelerator(log_with=…)` that also watches the training.

tracker = GradwatchTracker()
accelerator = Accelerator(log_with=tracker)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
accelerator.init_trackers("digits", config={…})
tracker.watch(model, optimizer)
"""

from __future__ import annotations

from typing import Any

from accelerate.tracking import GeneralTracker

from client_hook.integrations.backward_loss import BackwardLoss, plain_numbers
from client_hook.monitor import Monitor
from client_hook.monitor import watch as watch_training


class GradwatchTracker(GeneralTracker):  # type: ignore[misc]
    """Every step of the optimizer is a step of the run; what is logged is kept beside it. Each rank has its series."""

    name = "gradwatch"
    requires_logging_directory = False
    main_process_only = False

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.monitor: Monitor | None = None
        self._loss = BackwardLoss()
        self._options = options
        self._handle: Any = None
        self._optimizer: Any = None

    @property
    def tracker(self) -> Monitor | None:
        """Returns the monitor."""
        return self.monitor

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Keeps the config for `watch`."""
        self._options.setdefault("config", values)

    def watch(self, model: Any, optimizer: Any) -> Monitor:
        """Begins to watch what `accelerator.prepare` returned."""
        self.monitor = watch_training(model, optimizer, **self._options)
        inner = getattr(optimizer, "optimizer", optimizer)
        self._handle = inner.register_step_post_hook(self._stepped)
        if getattr(optimizer, "scaler", None) is not None:
            self._optimizer, step = optimizer, optimizer.step
            optimizer.step = lambda *arguments, **named: self._after(step(*arguments, **named))
        self._loss.start(self.monitor)
        return self.monitor

    def _stepped(self, *_: Any) -> None:
        if self.monitor is not None:
            self.monitor.step(self._loss.take())

    def _after(self, result: Any) -> Any:
        """Closes a step that the gradient scaler left out."""
        if self._optimizer.gradient_state.sync_gradients and self._optimizer.step_was_skipped:
            self._stepped()
        return result

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        """Keeps numbers for the last step, or for the one that is named."""
        if self.monitor is not None:
            self.monitor.log(step=step, **plain_numbers(values))

    def finish(self) -> None:
        """Ends the run."""
        self._loss.stop()
        if self._handle is not None:
            self._handle.remove()
        if self._optimizer is not None:
            vars(self._optimizer).pop("step", None)
        if self.monitor is not None:
            self.monitor.finish()
