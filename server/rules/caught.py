"""Keeps what a foreign piece of code raises, so that it can be told and the server goes on.

The one place that meets every exception of rules which others wrote.
"""

from __future__ import annotations

from types import TracebackType


class Caught:
    """A context that ends quietly; `error` holds what was raised inside, None where nothing was."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __enter__(self) -> Caught:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.error = error
        return True

    @property
    def words(self) -> str:
        """Says what was raised."""
        return f"{type(self.error).__name__}: {self.error}" if self.error is not None else ""
