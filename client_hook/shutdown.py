"""Ends what is still open when the process ends: at exit, after an exception, on SIGTERM; and mutes forked children.

Handlers are installed with the first open outbox and taken back with the last; a user's handler is called, never
replaced. Not for: deciding what a monitor does when it finishes.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

DEADLINE_S = 5.0
MAX_TRACEBACK_CHARACTERS = 20_000

Finish = Callable[[str, float, dict[str, Any] | None], Any]


class _Registry:
    def __init__(self) -> None:
        self.open: dict[int, tuple[weakref.ref[Any], Callable[[], Finish | None]]] = {}
        self.lock = threading.RLock()
        self.outcome: tuple[str, dict[str, Any]] = ("finished", {})
        self.installed = False
        self.at_fork = False
        self.pid = os.getpid
        self.previous_hook: Callable[..., Any] | None = None
        self.previous_term: Any = None


_registry = _Registry()


def register(target: Any, finish: Finish) -> None:
    """Adds something to finish when the process ends: `finish(state, timeout, extra)`, held weakly if it is a
    method."""
    bound = getattr(finish, "__self__", None)
    reference: Callable[[], Finish | None] = weakref.WeakMethod(finish) if bound is not None else lambda: finish
    with _registry.lock:
        _registry.open[id(target)] = (weakref.ref(target), reference)
        if not _registry.installed:
            _install()


def unregister(target: Any) -> None:
    """Takes something off the list; with the last one every handler goes back to what it was."""
    with _registry.lock:
        _registry.open.pop(id(target), None)
        for key in [key for key, (alive, _) in _registry.open.items() if alive() is None]:
            del _registry.open[key]
        if not _registry.open and _registry.installed:
            _uninstall()


def finish_all(state: str, extra: dict[str, Any] | None = None, *, deadline_s: float = DEADLINE_S) -> None:
    """Finishes everything that is open, newest first, all within one deadline."""
    deadline = time.monotonic() + deadline_s
    targets = [entry for entry in reversed(list(_registry.open.values())) if entry[0]() is not None]
    for index, (_, reference) in enumerate(targets):
        finish = reference()
        if finish is not None:
            share = (deadline - time.monotonic()) / (len(targets) - index)
            finish(state, max(share, 0.05), extra)


def outcome() -> tuple[str, dict[str, Any]]:
    """Gives how the process is ending, as far as anybody told: state and details."""
    return _registry.outcome


def _install() -> None:
    _registry.installed = True
    _registry.outcome = ("finished", {})
    atexit.register(_at_exit)
    _registry.previous_hook = sys.excepthook
    sys.excepthook = _on_exception
    if not _registry.at_fork and hasattr(os, "register_at_fork"):
        _registry.at_fork = True
        os.register_at_fork(after_in_child=_in_child)
    _registry.previous_term = None
    if threading.current_thread() is threading.main_thread():
        previous = signal.getsignal(signal.SIGTERM)
        # None: set by C code, which we could not call; ignored: somebody wants it so
        if previous is not None and previous is not signal.SIG_IGN:
            _registry.previous_term = previous
            signal.signal(signal.SIGTERM, _on_sigterm)


def _uninstall() -> None:
    _registry.installed = False
    atexit.unregister(_at_exit)
    if sys.excepthook is _on_exception and _registry.previous_hook is not None:
        sys.excepthook = _registry.previous_hook
    _give_sigterm_back()


def _give_sigterm_back() -> None:
    if (
        _registry.previous_term is not None
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is _on_sigterm
    ):
        signal.signal(signal.SIGTERM, _registry.previous_term)
        _registry.previous_term = None


def _at_exit() -> None:
    state, extra = _registry.outcome
    try:
        finish_all(state, extra or None)
    except KeyboardInterrupt:
        return  # a second Ctrl-C: nobody wants to wait; the status is in the spool


def _on_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    previous = _registry.previous_hook or sys.__excepthook__
    interactive = hasattr(sys, "ps1") or bool(sys.flags.interactive)
    try:
        previous(kind, error, trace)
    finally:
        if not interactive and _registry.installed:
            note_exception(error)
            _at_exit()


def note_exception(error: BaseException) -> None:
    """Remembers the exception that is ending the process."""
    _registry.outcome = describe(error)


def describe(error: BaseException) -> tuple[str, dict[str, Any]]:
    """Says what an exception that left the loop means for the run: state, and details for the status record."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped", {"signal": "SIGINT"}
    lines = "".join(traceback.format_exception(error))
    return "failed", {
        "exception": f"{type(error).__name__}: {error}"[:2_000],
        "traceback": lines[-MAX_TRACEBACK_CHARACTERS:],
    }


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    previous = _registry.previous_term
    _registry.outcome = ("stopped", {"signal": "SIGTERM"})
    if callable(previous):
        previous(number, frame)  # the user's handler decides what happens; if it ends the process, we are told at exit
        return
    finish_all("stopped", {"signal": "SIGTERM"})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _in_child() -> None:
    """Runs in every forked child, before anything else there: what was open stays the parent's."""
    from client_hook import identity  # inside: only a child that forked needs it

    _registry.lock = threading.RLock()
    opened, _registry.open = _registry.open, {}
    for alive, _ in opened.values():
        target = alive()
        if target is not None:
            target.abandon()
    identity.restart_counting()
    if _registry.installed:
        _uninstall()
