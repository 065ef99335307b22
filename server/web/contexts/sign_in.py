"""The sign-in form: where to go on to, and what was wrong with the last try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SignInView:
    """The form; `message` is empty at the first try."""

    target: str
    message: str
