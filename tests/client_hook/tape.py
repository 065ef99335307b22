"""What the capture tests share: an outbox that keeps everything in lists, and monitors that write to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from client_hook.capture.base import Context, Options, Signal
from client_hook.identity import Identity
from client_hook.monitor import Monitor, watch
from client_hook.outbox import Outbox
from client_hook.patches import patches
from client_hook.plain_rows import Bundle, Stretch, rows_of
from client_hook.readback import Readback
from client_hook.recorder import Recorder
from client_hook.settings import Settings


class Tape:
    """Takes the place of an outbox; `series(name)` gives {step: value}."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, tuple[str, ...], list[float]]] = []
        self.records: list[tuple[str, str, int, Any]] = []
        self.completed = -1

    def row(self, step: int, time_ms: int, names: tuple[str, ...], values: Sequence[float], exact: bool = True) -> None:
        assert len(names) == len(values)
        assert all(isinstance(value, float) for value in values), values
        self.rows.append((step, names, list(values)))

    def put_parts(self, bundle: Bundle) -> None:
        for row in rows_of(bundle[0], *bundle[2:]):
            self.row(*row)
        if bundle[1]:
            self.complete(bundle[0])

    def check_room(self) -> None:
        """Needs no room."""

    def record(self, kind: str, name: str, step: int, value: Any) -> None:
        self.records.append((kind, name, step, value))

    def complete(self, step: int) -> None:
        self.completed = step

    def series(self, name: str) -> dict[int, float]:
        return {
            step: values[names.index(name)]
            for step, names, values in self.rows
            if name in names
        }  # fmt: skip

    def names(self) -> set[str]:
        return {name for _, names, _ in self.rows for name in names}

    def facts(self, name: str) -> list[Any]:
        return [value for kind, named, _, value in self.records if (kind, named) == ("fact", name)]

    def events(self, name: str) -> list[tuple[int, Any]]:
        return [(step, value) for kind, named, step, value in self.records if (kind, named) == ("event", name)]


class _Copied(list[Any]):
    """Holds a stretch's steps, and writes the rows of each to a tape when it comes."""

    def __init__(self, stretch: Stretch, tape: Tape) -> None:
        self._twin = Stretch(stretch.first, stretch._before, stretch._parts_of)
        self._tape = tape

    def append(self, step: tuple[Any, ...]) -> None:
        super().append(step)
        self._twin.steps.append(step)
        for row in self._twin.take(1):
            self._tape.row(*row)
        self._tape.complete(self._twin.complete)


def recorder_of(
    model: nn.Module | dict[str, nn.Module],
    optimizer: torch.optim.Optimizer | dict[str, torch.optim.Optimizer],
    *types: type[Signal],
    options: Options | None = None,
) -> tuple[Recorder, Tape]:
    """Makes an attached recorder with these signals only, that writes to a tape."""
    tape = Tape()
    models = model if isinstance(model, dict) else {"": model}
    optimizers = optimizer if isinstance(optimizer, dict) else {"0": optimizer}
    settings = Settings.read(strict=True)
    context = Context(models, optimizers, tape, settings, options or Options(), patches, Readback(tape))
    recorder = Recorder(context, context.guard, list(types) or None)
    recorder.attach()
    return recorder, tape


def _watch_taped(tape: Tape, *args: Any, **kwargs: Any) -> Monitor:
    """Calls `watch`; what is told at once is copied too."""
    record = Outbox.record

    def record_too(self: Outbox, kind: str, name: str, step: int, value: Any) -> None:
        tape.record(kind, name, step, value)
        record(self, kind, name, step, value)

    Outbox.record = record_too  # type: ignore[method-assign]
    try:
        return watch(*args, **{"url": "http://127.0.0.1:9", **kwargs})
    finally:
        Outbox.record = record  # type: ignore[method-assign]


def taped(*args: Any, **kwargs: Any) -> tuple[Monitor, Tape]:
    """Calls `watch`, and keeps a copy of what reaches the outbox; no server is there."""
    tape = Tape()
    monitor = _watch_taped(tape, *args, **kwargs)
    parts = monitor._parts
    assert parts is not None
    outbox = parts.outbox
    row, put_parts, record, finish = outbox.row, outbox.put_parts, outbox.record, outbox.finish
    put_stretch = outbox.put_stretch

    def finish_at_once(state: str, timeout: float, extra: dict[str, Any] | None = None) -> bool:
        return finish(state, 0.0, extra)  # nobody will answer, however long we wait

    def row_too(step: int, time_ms: int, names: Any, values: Any, exact: bool = True) -> None:
        tape.row(step, time_ms, names, values, exact)
        row(step, time_ms, names, values, exact)

    def parts_too(bundle: Bundle) -> None:
        tape.put_parts(bundle)
        put_parts(bundle)

    def stretch_too(stretch: Stretch) -> None:
        stretch.steps = _Copied(stretch, tape)
        put_stretch(stretch)

    def record_too(kind: str, name: str, step: int, value: Any) -> None:
        tape.record(kind, name, step, value)
        record(kind, name, step, value)

    outbox.row, outbox.put_parts, outbox.record = row_too, parts_too, record_too  # type: ignore[method-assign]
    outbox.put_stretch = stretch_too
    outbox.finish = finish_at_once  # type: ignore[method-assign]
    return monitor, tape


def identity() -> Identity:
    return Identity.make(None, environ={})
