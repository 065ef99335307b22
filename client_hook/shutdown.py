"""Ends what is still open when the process ends: at exit, after an exception, on SIGTERM; and mutes forked children.

Handlers are installed with the first open outbox and taken back with the last; a user's handler is called, never
replaced. Each installation has handlers of its own: somebody may have wrapped those of an earlier one, and calls them.
Not for: deciding what a monitor does when it finishes.
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
from _sitebuiltins import Quitter
from collections.abc import Callable, Iterable
from multiprocessing import util
from types import FrameType, SimpleNamespace, TracebackType
from typing import Any

from client_hook.guard import quietly
from client_hook.patches.attributes import replace

DEADLINE_S = 5.0
MAX_TRACEBACK_CHARACTERS = 20_000
_STOPS = ("CancelledError",)  # asyncio's, also after Ctrl-C, by name: who does not use it need not load it

Finish = Callable[[str, float, dict[str, Any] | None], Any]


# open: id → what is to be finished, and how; outcome: state and details, as far as anybody told how the process ends
_registry = SimpleNamespace(open={}, lock=threading.RLock(), installed=False, at_fork=False, killed=False)


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
    """Finishes everything that is open, newest first, all within one deadline; then waits for what has ended before,
    and goes on by itself."""
    deadline = time.monotonic() + deadline_s
    targets = [entry for entry in reversed(list(_registry.open.values())) if entry[0]() is not None]
    targets.sort(key=lambda entry: getattr(entry[0](), "ended", False))
    for index, (alive, reference) in enumerate(targets):
        finish = reference()
        if finish is not None:
            left = deadline - time.monotonic()
            share = left if getattr(alive(), "ended", False) else left / (len(targets) - index)
            finish(state, max(share, 0.05), extra)


def outcome() -> tuple[str, dict[str, Any]]:
    """Gives how the process is ending, as far as anybody told: state and details."""
    how: tuple[str, dict[str, Any]] = _registry.outcome
    return how


def _install() -> None:
    _registry.installed, _registry.ending = True, False
    _registry.outcome = ("finished", {})
    atexit.register(_at_exit)
    _registry.replaced = replace(sys, "excepthook", _excepthook) + replace(sys, "exit", _exit)
    _registry.replaced += replace(threading, "excepthook", _thread_excepthook) + replace(Quitter, "__call__", _exit)
    _registry.finalizer = util.Finalize(None, _at_process_end, exitpriority=100)
    if not _registry.at_fork and hasattr(os, "register_at_fork"):
        _registry.at_fork = True
        os.register_at_fork(after_in_child=_in_child)
    _registry.previous_term = None
    if threading.current_thread() is threading.main_thread():
        previous = signal.getsignal(signal.SIGTERM)
        # None: set by C code, which we could not call; ignored: somebody wants it so
        if previous is not None and previous is not signal.SIG_IGN:
            _registry.previous_term, _registry.on_term = previous, _sigterm(previous)
            signal.signal(signal.SIGTERM, _registry.on_term)


def _uninstall() -> None:
    _registry.installed = False
    atexit.unregister(_at_exit)
    _registry.finalizer.cancel()
    for replacement in _registry.replaced:
        replacement.restore()
    if (
        _registry.previous_term is not None
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is _registry.on_term
    ):
        signal.signal(signal.SIGTERM, _registry.previous_term)
        _registry.previous_term = None


def _at_exit() -> None:
    _registry.ending = True
    state, extra = _registry.outcome
    try:
        finish_all(state, extra or None)
    except KeyboardInterrupt:
        return  # a second Ctrl-C: nobody wants to wait; the status is in the spool
    if _registry.killed:
        _die()


def _at_process_end() -> None:
    """Runs in a process of `multiprocessing`, whose end neither `atexit` nor the hook for exceptions hears of."""
    if (error := sys.exc_info()[1]) is not None:
        _registry.outcome = leaving(error)
    _at_exit()


def _excepthook(previous: Callable[..., Any]) -> Callable[..., Any]:
    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        interactive = hasattr(sys, "ps1") or bool(sys.flags.interactive)
        try:
            previous(kind, error, trace)
        finally:
            if not interactive and _registry.installed:
                _registry.outcome = leaving(error)
                _at_exit()

    return excepthook


def _thread_excepthook(previous: Callable[..., Any]) -> Callable[..., Any]:
    def excepthook(args: Any) -> None:
        try:
            previous(args)
        finally:
            for alive, _ in list(_registry.open.values()):
                monitor = alive()
                if getattr(monitor, "is_here", False):
                    monitor.left_by(args.exc_value)

    return excepthook


def _exit(previous: Callable[..., Any]) -> Callable[..., Any]:
    """Hears what the process is to answer, by `sys.exit` or `exit`: at its end nobody knows any more."""

    def leave(*status: Any, **named: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            error = SystemExit(*(code for code in (*status, *named.values()) if type(code) is not Quitter))
            error.__context__ = sys.exc_info()[1]
            leaving(error, traceback.walk_stack(sys._getframe(1)))
        return previous(*status, **named)

    return leave


def leaving(error: BaseException, walk: Iterable[tuple[FrameType, int]] = ()) -> tuple[str, dict[str, Any]]:
    """Tells what is open of an exception that leaves the code of its traceback, or is about to leave that of `walk`."""
    how = describe(error)
    frames = [frame for frame, _ in walk] or frames_of(error)
    for alive, _ in list(_registry.open.values()):
        hear = getattr(alive(), "leaves", None)
        if hear is not None:
            hear(frames, how)
    return how


def frames_of(error: BaseException) -> list[FrameType]:
    """Gives the frames of the code that an exception has left."""
    frames: list[FrameType] = quietly(lambda: [frame for frame, _ in traceback.walk_tb(error.__traceback__)])
    return frames or []


def describe(error: BaseException) -> tuple[str, dict[str, Any]]:
    """Says what an exception that left the loop means for the run: state, and details for the status record."""
    return quietly(_described, error) or ("failed", {"exception": object.__repr__(error)})


def _described(error: BaseException) -> tuple[str, dict[str, Any]]:
    if isinstance(error, SystemExit):
        if error.code is None or (isinstance(error.code, int) and not error.code):
            return "finished", {"exit_code": error.code}
        error = error.__context__ or error  # that of `except …: sys.exit(1)`
    if isinstance(error, KeyboardInterrupt):
        return "stopped", {"signal": "SIGINT"}
    lines = "".join(quietly(traceback.format_exception, error, default=()))
    kind = type(error).__name__
    return "stopped" if kind in _STOPS else "failed", {
        "exception": f"{kind}: {quietly(str, error, default='(no text)')}"[:2_000].rstrip(": "),
        "traceback": lines[-MAX_TRACEBACK_CHARACTERS:],
    }


def _die() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _sigterm(previous: Any) -> Callable[[int, FrameType | None], None]:
    def on_sigterm(number: int, frame: FrameType | None) -> None:
        _registry.outcome = ("stopped", {"signal": "SIGTERM"})
        if callable(previous):  # it decides what happens; if it ends the process, we are told at exit
            previous(number, frame)
            return
        if _registry.ending:  # a pool tells its workers to end, and then sends this: what is at it goes on
            _registry.killed = True
            return
        finish_all(*_registry.outcome)
        _die()

    return on_sigterm


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
