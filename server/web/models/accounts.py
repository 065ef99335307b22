"""Shapes what is said and asked about people and tokens; no password goes out, and a token once, when it is made."""

from __future__ import annotations

from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.accounts.book import LONGEST_TOKEN_NAME, MOST_DAYS
from server.accounts.passwords import MOST
from server.domain.accounts import LONGEST_PROJECT, MOST_PROJECTS, Person, Token

RoleName = Literal["viewer", "editor", "admin"]
ProjectName = Annotated[str, Field(min_length=1, max_length=LONGEST_PROJECT)]
RoleOfProject = Literal["viewer", "editor"]
RolesOfProjects = Annotated[dict[ProjectName, RoleOfProject], Field(max_length=MOST_PROJECTS)]
ScopeName = Literal["ingest", "read", "write", "admin"]
StateName = Literal["valid", "expired", "revoked"]
Password = Annotated[str, Field(max_length=MOST)]


class NewPerson(BaseModel):
    """Somebody who shall sign in with a password; a name is kept in small letters.

    With `projects` this person sees those alone, with a role in each, and `role` counts for nothing.
    """

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(max_length=64)]
    role: RoleName = "viewer"
    projects: RolesOfProjects | None = None
    password: Password


class PersonChange(BaseModel):
    """Another role of the whole server, other `projects` (which are all that this person sees then), or another
    password, one at a time; each signs the person out everywhere.
    """

    model_config = ConfigDict(extra="forbid")
    role: RoleName | None = None
    projects: RolesOfProjects | None = None
    password: Password | None = None

    @model_validator(mode="after")
    def _one(self) -> PersonChange:
        if [self.role, self.projects, self.password].count(None) != 2:
            raise ValueError("it holds a role, projects or a password, one of them")
        return self


class PersonItem(BaseModel):
    """One person; `issuer` is the OpenID Connect provider at which this person signs in, null where by a password.

    `projects` holds the role in each project of somebody who sees those alone, and `role` is the strongest of them;
    it is null for somebody of the whole server.
    """

    name: str
    role: RoleName
    projects: dict[str, RoleName] | None
    issuer: str | None
    created_ms: int
    signed_in_ms: int | None

    @classmethod
    def of(cls, item: Person) -> PersonItem:
        """Makes it of the domain's."""
        return cls(
            name=item.name,
            role=item.role.value,
            projects=None if item.projects is None else {name: role.value for name, role in item.projects.items()},
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
    """A token that somebody wishes for; without `days` it has no end, without `projects` it is for all of them."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(max_length=LONGEST_TOKEN_NAME)]
    scope: ScopeName = "ingest"
    projects: Annotated[list[ProjectName], Field(min_length=1, max_length=MOST_PROJECTS)] | None = None
    days: Annotated[float, Field(gt=0, le=MOST_DAYS, allow_inf_nan=False)] | None = None


class TokenItem(BaseModel):
    """One token, without what it is; `projects` is null where it is for all of them."""

    id: int
    name: str
    scope: ScopeName
    projects: list[str] | None
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
            projects=None if item.projects is None else sorted(item.projects),
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
