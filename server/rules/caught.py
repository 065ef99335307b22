"""Keeps what a foreign piece of code raises, so that it can be told and the server goes on.

The one place that meets every exception of rules which others wrote. Where the server wants to end such code itself,
it raises `Stopped` in it, which nobody keeps.
"""

from __future__ import annotations

from types import TracebackType

LONGEST_WORDS = 300


class Stopped(SystemExit):
    """Ends a thread whose work did not come back; no `except Exception` of the work holds it."""


class Caught:
    """A context that ends quietly; `error` holds what was raised inside, None where nothing was, `words` says it.

    An exit and an interrupt count as well: code in a room of its own has no right to either.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.words = ""

    def __enter__(self) -> Caught:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or isinstance(error, Stopped):
            return False
        self.error = error
        with Silence():
            said = str(error)
            self.words = f"{type(error).__name__}: {said}"[:LONGEST_WORDS] if said else type(error).__name__
        self.words = self.words or type(error).__name__
        return True


class Silence:
    """A context that ends quietly whatever an exception does when it is asked for its words."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return error is not None and not isinstance(error, Stopped)
