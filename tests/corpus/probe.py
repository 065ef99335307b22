"""Watches a training of the corpus with the real signals, and keeps what they send in memory instead of sending it.

So hundreds of trainings run in one process; what the engine is fed is what a server would have stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from torch import nn
from torch.optim import Optimizer

from client_hook.capture.base import Context, Options
from client_hook.patches import patches
from client_hook.plain_rows import Bundle, rows_of
from client_hook.readback import Readback
from client_hook.recorder import Recorder
from client_hook.settings import Settings
from client_hook.setup import read_models, read_optimizers
from client_hook.userlog import UserLog
from server.diagnosis.evidence import Evidence
from tests.corpus.pace import governor


@dataclass
class Recording:
    """Holds what one training sent."""

    rows: dict[tuple[str, ...], tuple[list[int], list[Sequence[float]]]] = field(default_factory=dict)
    facts: list[tuple[str, int, Any]] = field(default_factory=list)
    completed: int = -1
    failed: str = ""
    seconds: float = 0.0
    ended: str = "finished"  # or how a server would see that it ended
    before: Recording | None = None  # the attempt that it goes on from
    others: tuple[Recording, ...] = ()  # of the same training's other processes, from rank 1 on

    # what signals use of an outbox

    def row(self, step: int, time_ms: int, names: tuple[str, ...], values: Sequence[float], exact: bool = True) -> None:
        """Keeps the values of one step."""
        steps, table = self.rows.setdefault(names, ([], []))
        steps.append(step)
        table.append([float(value) for value in values] if exact else [float(np.float32(value)) for value in values])

    def put_parts(self, bundle: Bundle) -> None:
        """Keeps the values of a plain step."""
        for row in rows_of(bundle[0], *bundle[2:]):
            self.row(*row)

    def check_room(self) -> None:
        """Needs no room."""

    def record(self, kind: str, name: str, step: int, value: Any) -> None:
        """Keeps a fact."""
        if kind == "fact":
            self.facts.append((name, step, value))

    def complete(self, step: int) -> None:
        """Notes how far everything is in."""
        self.completed = max(self.completed, step)

    # what the doctor makes of it

    def feed(self, evidence: Evidence) -> None:
        """Hands everything over."""
        for names, (steps, table) in self.rows.items():
            evidence.add(names, np.asarray(steps), np.asarray(table, np.float64).T)
        for name, step, value in self.facts:
            evidence.add_fact(name, step, value)
        evidence.settle(self.completed)


class Probe:
    """Takes the place of a monitor: the same calls, the same signals, no outbox."""

    def __init__(
        self,
        model: nn.Module | dict[str, nn.Module],
        optimizer: Optimizer | list[Optimizer] | dict[str, Optimizer],
        **options: Any,
    ) -> None:
        self.recording = Recording()
        self._began = perf_counter()
        settings = Settings.read(strict=True)
        context = Context(
            read_models(model), read_optimizers(optimizer), self.recording, settings, Options(**options), patches,
            Readback(self.recording),
        )  # fmt: skip
        self._log = UserLog(context, context.guard)
        self._recorder = Recorder(context, context.guard)
        self._recorder.governor = governor(self._recorder.governor)
        self._recorder.attach()

    def step(self, loss: Any = None, **parts: Any) -> None:
        """Records a step."""
        self._recorder.step(loss, parts, perf_counter())

    def validation(self, loss: Any = None, **metrics: Any) -> None:
        """Records an evaluation."""
        self._log.validation(loss, metrics, None)

    def log(self, **scalars: Any) -> None:
        """Records other numbers."""
        self._log.scalars(scalars, None)

    def finish(self) -> Recording:
        """Ends the training."""
        self._recorder.finish()
        self._recorder.detach()
        self.recording.seconds = perf_counter() - self._began
        return self.recording
