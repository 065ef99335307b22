"""Why a piece of news was not sent, in a sentence that may be shown: no secret and no foreign text is in it."""

from __future__ import annotations

from server.errors import GradwatchError


class NotSent(GradwatchError):
    """It may work later; `after_s` is what the receiver asked to wait, where it did."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class Refused(NotSent):
    """It will not work another time either."""
