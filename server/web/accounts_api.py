"""The JSON routes of people and tokens, for those who may do everything.

Not for: the pages (accounts_pages), and what is checked (server.accounts).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Response

from server.domain.accounts import Person, Token
from server.errors import WrongAccount
from server.web.accounts_pages import added, removed
from server.web.caller import Asking, who_is
from server.web.models.accounts import (
    MadeToken,
    NewPerson,
    NewToken,
    PersonChange,
    PersonItem,
    PersonList,
    RemovedPerson,
    TokenItem,
    TokenList,
)
from server.web.problems import Problem
from server.web.services import Parts, Services

MAX_BODY_BYTES = 512 * 1024  # as many projects as fit, each letter escaped
MOST_NUMBER = 2**31

_SENTENCES: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "not known"},
    413: {"model": Problem, "description": "the body is larger than what is accepted"},
    422: {"model": Problem, "description": "a parameter or field is wrong"},
}

router = APIRouter(prefix="/api/v1", tags=["people and tokens"], responses=_SENTENCES, max_body_size=MAX_BODY_BYTES)
Name = Annotated[str, Path(min_length=1, max_length=64, description="the name of a person")]
TokenId = Annotated[int, Path(ge=1, lt=MOST_NUMBER, description="the number of a token")]


@contextmanager
def _said() -> Iterator[None]:
    """Answers what is wrong with a person or a token with its sentence."""
    try:
        yield
    except WrongAccount as error:
        raise HTTPException(422, str(error)) from None


@router.get("/people")
def list_people(parts: Parts) -> PersonList:
    """Lists everybody who has an account."""
    return PersonList(items=[PersonItem.of(one) for one in parts.store.people.list()])


@router.post("/people", status_code=201)
def add_person(wanted: NewPerson, parts: Parts, caller: Asking) -> PersonItem:
    """Lets somebody sign in with a password."""
    with _said():
        called = added(parts, wanted.name, wanted.role, wanted.password, caller, wanted.projects)
    return PersonItem.of(_person(parts, called))


@router.patch("/people/{name}")
def change_person(name: Name, wanted: PersonChange, parts: Parts, caller: Asking) -> PersonItem:
    """Gives somebody another role, other projects or another password, which ends all sessions of that person."""
    called = _person(parts, name).name
    with _said():
        if wanted.role is not None:
            parts.accounts.set_role(called, wanted.role, who=who_is(caller))
        if wanted.projects is not None:
            parts.accounts.set_projects(called, wanted.projects, who=who_is(caller))
        if wanted.password is not None:
            parts.accounts.set_password(called, wanted.password, who=who_is(caller))
    return PersonItem.of(_person(parts, called))


@router.delete("/people/{name}")
def remove_person(name: Name, parts: Parts, caller: Asking) -> RemovedPerson:
    """Removes somebody and ends all sessions; tokens that this person made are named, and go on."""
    called = _person(parts, name).name
    with _said():
        return RemovedPerson(tokens=[token.name for token in removed(parts, called, caller)])


@router.get("/tokens")
def list_tokens(parts: Parts) -> TokenList:
    """Lists the tokens of programs, without what they are."""
    now = parts.store.now_ms()
    return TokenList(items=[TokenItem.of(one, now) for one in parts.store.tokens.list()])


@router.post("/tokens", status_code=201)
def add_token(wanted: NewToken, parts: Parts, caller: Asking, response: Response) -> MadeToken:
    """Makes a token; this answer alone holds it."""
    with _said():
        made, text = parts.accounts.make_token(
            wanted.name, wanted.scope, wanted.days, wanted.projects, who=who_is(caller)
        )
    response.headers["Cache-Control"] = "no-store"
    return MadeToken(token=text, **TokenItem.of(made, parts.store.now_ms()).model_dump())


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(token_id: TokenId, parts: Parts, caller: Asking) -> None:
    """Ends a token at once; one that was revoked stays so."""
    found = _token(parts, token_id)
    if found.revoked_ms is None:
        with _said():
            parts.accounts.revoke_token(found.name, who=who_is(caller))


def _person(parts: Services, name: str) -> Person:
    called = name.strip().lower()
    found = parts.store.people.find(called)
    if found is None:
        raise HTTPException(404, f"Nobody is called {called!a}")
    return found[0]


def _token(parts: Services, token_id: int) -> Token:
    found = next((one for one in parts.store.tokens.list() if one.id == token_id), None)
    if found is None:
        raise HTTPException(404, f"No token has the number {token_id}")
    return found
