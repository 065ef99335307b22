"""What is told of an exception that leaves a training: by finish, a block, a thread or the end of the process."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import inspect
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from client_hook.monitor import Monitor
from tests.client_hook.ends_kit import our_threads, small, train, wait_for
from tests.client_hook.tape import taped


def ending_of(train_and_end: Callable[[Any], None]) -> tuple[str, dict[str, Any]]:
    """Watches a small training, lets `train_and_end` end it, and gives the state and details that were told."""
    model, optimizer = small()
    monitor, _ = taped(model, optimizer)
    told: list[tuple[str, dict[str, Any]]] = []
    finish = monitor._parts.outbox.finish
    monitor._parts.outbox.finish = lambda state, timeout, extra: told.append((state, extra or {})) or finish(state, 0.0)
    train(monitor, model, optimizer)
    with contextlib.suppress(BaseException):
        train_and_end(monitor)
    monitor.finish("finished", timeout=0.1)
    return told[0]


def raising(monitor: Any, error: BaseException) -> None:
    try:
        raise error
    finally:
        monitor.finish(timeout=0.1)


@pytest.mark.parametrize(
    ("error", "state", "key", "text"),
    [
        (ValueError("the data ran out"), "failed", "exception", "ValueError: the data ran out"),
        (KeyboardInterrupt(), "stopped", "signal", "SIGINT"),
        (SystemExit(3), "failed", "exception", "SystemExit: 3"),
        (SystemExit(0), "finished", "exit_code", 0),
        (StopIteration(), "finished", "exception", None),
        (asyncio.CancelledError(), "stopped", "exception", "CancelledError"),
    ],
)
def test_finish_while_an_exception_flies_tells_it(error: BaseException, state: str, key: str, text: Any) -> None:
    ended, extra = ending_of(lambda monitor: raising(monitor, error))
    assert (ended, extra.get(key)) == (state, text)


def test_finish_of_who_caught_the_exception_tells_it_unless_a_state_is_given() -> None:
    def caught(*status: str) -> Callable[[Any], None]:
        def end(monitor: Any) -> None:
            try:
                raise ValueError("the data ran out")
            except ValueError:
                monitor.finish(*status, timeout=0.1)

        return end

    ended, extra = ending_of(caught())
    assert (ended, extra["exception"]) == ("failed", "ValueError: the data ran out")
    assert "raise ValueError" in extra["traceback"]
    assert ending_of(caught("finished")) == ("finished", {})
    assert inspect.signature(Monitor.finish).parameters["status"].default == "finished"


def test_another_watch_of_the_model_where_an_exception_is_handled_tells_what_ended_the_first() -> None:
    def again(monitor: Any) -> None:  # as who trains once more, with a smaller batch
        model, optimizer = monitor._parts.context.models[""], monitor._parts.context.optimizers["0"]
        try:
            raise MemoryError("too large")
        except MemoryError:
            second, _ = taped(model, optimizer)
        assert wait_for(lambda: monitor.ended)
        monitor._last_words.join()
        second.finish(timeout=0.1)

    ended, extra = ending_of(again)
    assert (ended, extra["exception"]) == ("failed", "MemoryError: too large")


def test_an_exception_that_cannot_be_written_is_told_by_its_name() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise TypeError("not a word")

    ended, extra = ending_of(lambda monitor: raising(monitor, Odd()))
    assert (ended, extra["exception"]) == ("failed", "Odd: (no text)")


class WithoutTraceback(Exception):
    @property
    def __traceback__(self) -> Any:
        raise TypeError("not here")


class WithoutCause(Exception):
    @property
    def __cause__(self) -> Any:
        raise TypeError("not here")


class WithoutName(type):
    @property
    def __name__(cls) -> str:
        raise TypeError("not here")


@pytest.mark.parametrize(
    "make",
    [
        WithoutTraceback,
        WithoutCause,
        lambda: WithoutName("Nameless", (Exception,), {})(),
        lambda: SyntaxError("wrong", ("config", 1, 1, b"a = ")),
        lambda: SystemExit(torch.zeros(2)),
    ],
    ids=["traceback", "cause", "name", "syntax", "code"],
)
def test_an_exception_that_cannot_be_described_goes_on_as_it_was(make: Callable[[], BaseException]) -> None:
    for leave in (raising, in_a_block, by_exit):
        error = make()
        seen: list[BaseException] = []

        def end(monitor: Any, leave: Any = leave, error: Any = error, seen: Any = seen) -> None:
            try:
                leave(monitor, error)
            except BaseException as came:  # noqa: BLE001 - it may be of any kind
                seen.append(came)

        assert ending_of(end)[0] == "failed"
        assert seen == [error] or (leave is by_exit and getattr(seen[0], "code", None) == 4)


def in_a_block(monitor: Any, error: BaseException) -> None:
    with monitor:
        raise error


def by_exit(monitor: Any, error: BaseException) -> None:
    try:
        raise error
    except BaseException:  # noqa: BLE001 - it may be of any kind
        sys.exit(4)


@pytest.mark.parametrize("part", ["finish", "detach"])
def test_last_words_that_fail_cost_neither_the_end_of_the_run_nor_what_was_sent_before(part: str) -> None:
    def end(monitor: Any) -> None:
        def fails() -> None:
            raise MemoryError("too large")

        recorder = monitor._parts.recorder
        setattr(recorder, part, fails)
        monitor.guard.strict = False
        monitor.finish(timeout=0.1)
        if part == "detach":
            delattr(recorder, part)
            recorder.detach()

    ended, extra = ending_of(end)
    assert (ended, extra) == ("finished", {})
    assert wait_for(lambda: not our_threads())


def test_exit_takes_its_code_by_name_too() -> None:
    def end(monitor: Any) -> None:
        with pytest.raises(SystemExit) as raised:
            builtins.exit(code=3)
        assert raised.value.code == 3
        monitor.finish(timeout=0.1)

    ended, extra = ending_of(end)
    assert (ended, extra["exception"]) == ("failed", "SystemExit: 3")


def test_an_exception_after_one_that_a_step_handled_is_another() -> None:
    def end(monitor: Any) -> None:
        try:
            raise ValueError("too large")
        except ValueError:
            monitor.step(1.0)
        raising(monitor, ValueError("too large again"))

    ended, extra = ending_of(end)
    assert (ended, extra.get("exception")) == ("failed", "ValueError: too large again")


def test_a_thread_that_dies_with_the_number_of_one_that_trained_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    model, optimizer = small()
    monitor, _ = taped(model, optimizer)
    first = threading.Thread(target=train, args=(monitor, model, optimizer))
    first.start()
    first.join()
    for _ in range(20):  # one of them gets the number that is free
        other = threading.Thread(target=lambda: [][0])
        other.start()
        other.join()
    assert not monitor.ended
    monitor.finish("finished", timeout=0.1)


def test_a_training_that_ends_well_while_an_older_exception_is_handled_is_finished() -> None:
    def goes_on(monitor: Any) -> None:  # a step after the exception says that it ended nothing
        try:
            raise ValueError("no validation set")
        except ValueError:
            monitor.step(1.0)
            monitor.finish(timeout=0.1)

    assert ending_of(goes_on)[0] == "finished"
    try:
        raise ImportError("no such logger")
    except ImportError:
        assert ending_of(lambda monitor: monitor.finish(timeout=0.1))[0] == "finished"
        assert ending_of(lambda monitor: raising(monitor, OSError("disk full")))[0] == "failed"


def test_an_exception_that_ends_the_thread_of_a_training_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: heard.append(args.exc_value))
    other_model, other_optimizer = small()
    other, _ = taped(other_model, other_optimizer)

    def in_a_thread(monitor: Any) -> None:
        def work() -> None:
            monitor.step(1.0)
            raise ValueError("the data ran out")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert wait_for(lambda: monitor.ended)
        if monitor._last_words is not None:
            monitor._last_words.join()

    ended, extra = ending_of(in_a_thread)
    assert (ended, extra["exception"]) == ("failed", "ValueError: the data ran out")
    assert [str(error) for error in heard] == ["the data ran out"], "the user's own hook hears it, once"
    assert not other.ended, "that of another thread goes on"
    other.finish(timeout=0.1)
    assert threading.excepthook is not None
