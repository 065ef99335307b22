"""The sign-in form: where to go on to, and what was wrong with the last try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SignInView:
    """The form; `message` and `name` are empty at the first try. It asks for a name, for the token, or for either,
    or leads to a provider.
    """

    target: str
    message: str
    name: str
    people: bool
    token: bool
    provider: str = ""
    provider_url: str = ""
    signed_out: bool = False  # here, and perhaps not at the provider
