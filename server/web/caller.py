"""Who makes a request, as the gate has left it there."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from server.accounts import powers
from server.accounts.powers import Caller

CALLER = "gradwatch.caller"  # the place in the scope of a request
PROJECT = "gradwatch.project"  # there too: the project of the run that the request is about
SOMEBODY = "somebody on this machine"  # at a server that nobody has to sign in to


def caller_of(request: Request) -> Caller:
    """Gives who makes a request; nobody where that was not asked."""
    caller = request.scope.get(CALLER, powers.NOBODY)
    assert isinstance(caller, Caller)  # noqa: S101 - narrows the type; the gate alone sets it
    return caller


Asking = Annotated[Caller, Depends(caller_of)]


def signed(caller: Caller, typed: str) -> str:
    """Gives who makes a change: the person who has signed in, else whatever was typed."""
    return caller.person.name if caller.person else typed


def who_is(caller: Caller) -> str:
    """Names who does something, for the audit log."""
    return caller.name or SOMEBODY
