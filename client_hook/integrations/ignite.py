"""For PyTorch-Ignite: `GradwatchHandler(model, optimizer).attach(trainer, validation=evaluator)`."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events

from client_hook.integrations.backward_loss import BackwardLoss, plain_numbers
from client_hook.monitor import Monitor, watch
from client_hook.steps import CALLS_WITHOUT_OPTIMIZER


class GradwatchHandler:
    """Watches an engine's run; keyword arguments are those of `watch`."""

    def __init__(self, model: Any, optimizer: Any, **options: Any) -> None:
        self.monitor: Monitor | None = None
        self._objects = (model, optimizer)
        self._options = options
        self._loss = BackwardLoss()
        self._held = 0  # iterations since an optimizer stepped

    def attach(self, trainer: Engine, validation: Engine | None = None) -> None:
        """Connects to the engine that trains, and to the one that validates, whose metrics are passed on."""
        trainer.add_event_handler(Events.STARTED, self._start)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        trainer.add_event_handler(Events.COMPLETED, self._end, None)
        trainer.add_event_handler(Events.EXCEPTION_RAISED, self._failed)
        if validation is not None:
            validation.add_event_handler(Events.COMPLETED, self._validate)

    def _start(self, _: Engine) -> None:
        self.monitor = watch(*self._objects, **self._options)
        self._loss.start(self.monitor)

    def _step(self, _: Engine) -> None:
        if self.monitor is None:
            return
        self._held = 0 if self.monitor.stepped else self._held + 1
        if not self._held or self._held >= CALLS_WITHOUT_OPTIMIZER:
            # the first time after none stepped it is the mean of all these
            self.monitor.step(self._loss.take(self._held if self._held == CALLS_WITHOUT_OPTIMIZER else None))

    def _validate(self, engine: Engine) -> None:
        if self.monitor is not None:
            found = plain_numbers(engine.state.metrics)
            self.monitor.validation(found.pop("loss", None), **found)

    def _failed(self, engine: Engine, error: BaseException) -> None:
        self._end(engine, error)
        heard = engine._event_handlers[Events.EXCEPTION_RAISED]
        if all(isinstance(getattr(handler, "__self__", None), GradwatchHandler) for handler, *_ in heard):
            raise error  # as the engine does where nobody listens

    def _end(self, _: Engine, error: BaseException | None) -> None:
        self._loss.stop()
        if self.monitor is not None:
            self.monitor.__exit__(None if error is None else type(error), error, None)
