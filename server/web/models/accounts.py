"""Shapes what is said and asked about people and tokens; no password goes out, and a token once, when it is made."""

from __future__ import annotations

from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.accounts.book import LONGEST_TOKEN_NAME, MOST_DAYS
from server.accounts.passwords import MOST
from server.domain.accounts import Person, Token

RoleName = Literal["viewer", "editor", "admin"]
ScopeName = Literal["ingest", "read", "write", "admin"]
StateName = Literal["valid", "expired", "revoked"]
Password = Annotated[str, Field(max_length=MOST)]


class NewPerson(BaseModel):
    """Somebody who shall sign in with a password; a name is kept in small letters."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(max_length=64)]
    role: RoleName = "viewer"
    password: Password


class PersonChange(BaseModel):
    """Another role or another password, one at a time; either signs the person out everywhere."""

    model_config = ConfigDict(extra="forbid")
    role: RoleName | None = None
    password: Password | None = None

    @model_validator(mode="after")
    def _one(self) -> PersonChange:
        if (self.role is None) == (self.password is None):
            raise ValueError("it holds a role or a password, one of the two")
        return self


class PersonItem(BaseModel):
    """One person; `issuer` is the OpenID Connect provider at which this person signs in, null where by a password."""

    name: str
    role: RoleName
    issuer: str | None
    created_ms: int
    signed_in_ms: int | None

    @classmethod
    def of(cls, item: Person) -> PersonItem:
        """Makes it of the domain's."""
        return cls(
            name=item.name,
            role=item.role.value,
            issuer=item.issuer or None,
            created_ms=item.created_ms,
            signed_in_ms=item.signed_in_ms,
        )


class PersonList(BaseModel):
    """Everybody, by name."""

    items: list[PersonItem]


class RemovedPerson(BaseModel):
    """What is left of a removed person: the names of tokens that go on until they are revoked."""

    tokens: list[str]


class NewToken(BaseModel):
    """A token that somebody wishes for; without `days` it has no end."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(max_length=LONGEST_TOKEN_NAME)]
    scope: ScopeName = "ingest"
    days: Annotated[float, Field(gt=0, le=MOST_DAYS, allow_inf_nan=False)] | None = None


class TokenItem(BaseModel):
    """One token, without what it is."""

    id: int
    name: str
    scope: ScopeName
    state: StateName
    made_by: str
    created_ms: int
    expires_ms: int | None
    used_ms: int | None

    @classmethod
    def of(cls, item: Token, now_ms: int) -> TokenItem:
        """Makes it of the domain's."""
        return cls(
            id=item.id,
            name=item.name,
            scope=item.scope.value,
            state=cast("StateName", item.state(now_ms)),
            made_by=item.made_by,
            created_ms=item.created_ms,
            expires_ms=item.expires_ms,
            used_ms=item.used_ms,
        )


class MadeToken(TokenItem):
    """A new token, with the `token` itself: nobody can read it again."""

    token: str


class TokenList(BaseModel):
    """All tokens, the newest first; those that are revoked too."""

    items: list[TokenItem]
