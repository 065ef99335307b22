"""Keeps the hook's own errors away from the training: counted, said once, never raised unless strict.

The one file with `except Exception`, but for the step of client_hook.plain. Not for: faults of network and disk, which
have their own answers.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

MAX_KINDS_SAID = 5


class Guard:
    """Counts absorbed errors and says each kind once; `strict` re-raises all but faults of network and disk."""

    def __init__(self, *, strict: bool = False, quiet: bool = False) -> None:
        self.strict = strict
        self.quiet = quiet
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def absorb(self, error: Exception, where: str) -> None:
        """Counts an error and says it once; re-raises it when strict and it is no fault of network or disk."""
        if self.strict and not isinstance(error, OSError):
            raise error
        kind = f"{where}: {type(error).__name__}"
        self.counts[kind] += 1
        if kind in self.first:
            return
        self.first[kind] = f"{kind}: {quietly(str, error, default='(no text)')}"[:500]
        if not self.quiet and len(self.first) <= MAX_KINDS_SAID:
            say(
                f"Gradwatch: {self.first[kind]}. The training goes on, with less recorded "
                "(GRADWATCH_STRICT=1 raises it instead)."
            )

    @property
    def notes(self) -> list[str]:
        """Lists what was absorbed, one sentence a kind."""
        return [f"{text} ({self.counts[kind]} times)" for kind, text in list(self.first.items())]


_fallback = Guard()


def guarded(default: R) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a function answer `default` instead of raising.

    A method's object may carry its own `guard`; otherwise GRADWATCH_STRICT decides.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        where = function.__qualname__

        @functools.wraps(function)
        def safe(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                _or_fallback(getattr(args[0], "guard", None) if args else None).absorb(error, where)
                return default

        return safe

    return decorate


def shielded(method: Callable[..., Any], guard: Guard | None, account: Any = None) -> Callable[..., None]:
    """Makes a method of ours that torch's wrappers call: an error in it stays with the guard, and its time is added to
    the `spent_s` of an account."""
    where = getattr(method, "__qualname__", type(method).__name__)

    def safe(*arguments: Any) -> None:
        began = perf_counter() if account else 0.0
        try:
            method(*arguments)
        except Exception as error:
            _or_fallback(guard).absorb(error, where)
        if account:
            account.spent_s += perf_counter() - began

    return safe


def _or_fallback(guard: object) -> Guard:
    if isinstance(guard, Guard):
        return guard
    _fallback.strict = os.environ.get("GRADWATCH_STRICT") == "1"
    return _fallback


def quietly(function: Callable[..., Any], *args: Any, default: Any = None) -> Any:
    """Calls code that is not ours (`__repr__`, `__float__`, a user's callback) and answers `default` if it raises."""
    try:
        return function(*args)
    except Exception:
        return default


def attempted(function: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
    """Calls code that is not ours and answers what it returned, and what it raised."""
    try:
        return function(*args), None
    except Exception as error:
        return None, error


def run_thread(name: str, guard: Guard, body: Callable[[], None]) -> threading.Thread:
    """Makes a daemon thread whose errors go to the guard instead of the console."""

    def safe_body() -> None:
        try:
            body()
        except Exception as error:
            strict, guard.strict = guard.strict, False  # a thread has nobody to raise to
            try:
                guard.absorb(error, name)
            finally:
                guard.strict = strict

    return threading.Thread(target=safe_body, name=name, daemon=True)


def say(line: str) -> None:
    """Prints one line on stderr; a closed or broken stderr is not the training's problem."""
    if sys.stderr is None:  # closed before Python began; print would take stdout, which is the training's
        return
    try:
        # the one place where the hook talks; in one piece, because other processes write there too
        print(f"{line}\n", end="", file=sys.stderr, flush=True)  # noqa: T201
    except (OSError, ValueError, AttributeError):
        return
