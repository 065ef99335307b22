"""For the Hugging Face Trainer: `Trainer(…, callbacks=[GradwatchCallback()])`.

Every optimizer step becomes a step, also between two `logging_steps`, and a loss that is NaN is not filtered away.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from client_hook.integrations.backward_loss import BackwardLoss, as_dict, plain_numbers
from client_hook.monitor import Monitor, watch

_OURS = ("loss", "grad_norm", "learning_rate", "epoch")


class GradwatchCallback(TrainerCallback):  # type: ignore[misc]
    """Watches the training of a Trainer; keyword arguments are those of `watch`.

    With `stop_on_error=True` an open finding of severity error ends the training after the step.
    """

    def __init__(self, *, stop_on_error: bool = False, **options: Any) -> None:
        self.monitor: Monitor | None = None
        self._loss = BackwardLoss()
        self._stop_on_error = stop_on_error
        self._options = options

    def on_train_begin(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Begins to watch, at the step that a checkpoint left, unless another of these callbacks does."""
        if hasattr(state, "gradwatch"):  # which is anew in each training
            return
        state.gradwatch = True
        own = as_dict(self._options.get("config"))
        config = {**args.to_sanitized_dict(), "first_step": state.global_step, **own}
        known = {"name": args.run_name, "total_steps": state.max_steps, "scheduler": objects.get("lr_scheduler")}
        self.monitor = watch(objects["model"], objects["optimizer"], **{**known, **self._options, "config": config})
        self._loss.start(self.monitor)

    def on_step_end(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Closes a step."""
        if self.monitor is not None:
            self._loss.tell()
            if self._stop_on_error and self.monitor.should_stop:
                control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **objects: Any) -> None:
        """Passes on what else the Trainer logs."""
        if self.monitor is not None and logs:
            others = {name: value for name, value in logs.items() if not name.startswith("eval_")}
            self.monitor.log(**plain_numbers({k: v for k, v in others.items() if k not in _OURS}))

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **objects: Any) -> None:
        """Passes on the validation."""
        if self.monitor is not None and metrics:
            found = {name.removeprefix("eval_"): value for name, value in plain_numbers(metrics).items()}
            self.monitor.validation(found.pop("loss", None), **found)

    def on_train_end(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Ends the run."""
        self._loss.stop()
        if self.monitor is not None:
            self.monitor.finish()
