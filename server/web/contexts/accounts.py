"""The pages of people, tokens and one's own account. Not for: changing them (accounts_pages)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from server.accounts.powers import Caller
from server.domain.accounts import Deed, Person, Role, Scope, Token, role_text
from server.domain.providers import Provider
from server.web import formats
from server.web.contexts.look import Choice
from server.web.contexts.settings import Moment

DEEDS = 100
ROLES = {
    Role.VIEWER: "viewer: reads",
    Role.EDITOR: "editor: reads, changes and deletes runs, sends data",
    Role.ADMIN: "admin: everything, with people, tokens and settings",
}
NONE = "none"  # takes a project away
OF_A_PROJECT = {
    Role.VIEWER: "viewer: reads",
    Role.EDITOR: "editor: changes too",
}
SCOPES = {
    Scope.INGEST: "ingest: a training sends its run",
    Scope.READ: "read: a script reads",
    Scope.WRITE: "write: reads, changes and sends runs",
    Scope.ADMIN: "admin: everything",
}


@dataclass(frozen=True)
class ProjectRow:
    """A project that a person sees, with the role there."""

    name: str
    role: str
    roles: tuple[Choice, ...]


@dataclass(frozen=True)
class PersonRow:
    """One person, with the addresses of the forms."""

    name: str
    role: str  # in words, with the project of each where it is not of the whole server
    roles: tuple[Choice, ...]
    limited: bool  # to the projects
    projects: tuple[ProjectRow, ...]
    since: Moment
    signed_in: Moment | None
    url: str
    you: bool
    way: str  # how this person signs in
    note: str  # what cannot be changed here
    settled: bool  # the provider gives the role


@dataclass(frozen=True)
class DeedRow:
    """One line of the log."""

    at: Moment
    who: str
    what: str


@dataclass(frozen=True)
class PeopleView:
    """The page of people. `problem` says what was wrong with the last change, `notice` what it leaves to be done."""

    people: tuple[PersonRow, ...]
    roles: tuple[Choice, ...]
    of_project: tuple[Choice, ...]
    known: tuple[str, ...]  # projects that have runs
    deeds: tuple[DeedRow, ...]
    name: str
    project: str
    problem: str
    notice: str
    open_until: bool  # nobody has to sign in yet
    provider: str
    passwords: bool


@dataclass(frozen=True)
class TokenRow:
    """One token."""

    name: str
    scope: str
    projects: str  # "" where it is for all
    made_by: str
    since: Moment
    until: Moment | None
    used: Moment | None
    state: str


@dataclass(frozen=True)
class TokensView:
    """The page of tokens; `made` is the new one, which is shown this once."""

    tokens: tuple[TokenRow, ...]
    over: tuple[TokenRow, ...]
    over_text: str
    scopes: tuple[Choice, ...]
    name: str
    projects: str
    days: str
    problem: str
    made: str


@dataclass(frozen=True)
class AccountView:
    """The page of one's own account; `name` is empty where nobody has signed in by name."""

    name: str
    role: str
    problem: str
    changed: bool
    provider: str  # "" where the password is ours


def people_view(
    people: Sequence[Person],
    deeds: Sequence[Deed],
    caller: Caller,
    known: Sequence[str] = (),
    *,
    provider: Provider | None = None,
    passwords: bool = True,
    problem: str = "",
    notice: str = "",
    draft: Mapping[str, str] | None = None,
) -> PeopleView:
    """Makes the page; the form keeps what was written into it."""
    wrote = draft or {}
    chosen = wrote.get("role", Role.VIEWER if people else Role.ADMIN)
    return PeopleView(
        people=tuple(_person(one, caller, provider) for one in people),
        roles=_choices(ROLES, chosen),
        of_project=_choices(OF_A_PROJECT, Role.VIEWER),
        known=tuple(known),
        deeds=tuple(_deed(one) for one in deeds),
        name=wrote.get("name", ""),
        project=wrote.get("project", ""),
        problem=problem,
        notice=notice,
        open_until=not people and provider is None,
        provider=provider.host if provider else "",
        passwords=passwords,
    )


def tokens_view(
    tokens: Sequence[Token],
    now_ms: int,
    *,
    problem: str = "",
    made: str = "",
    draft: Mapping[str, str] | None = None,
) -> TokensView:
    """Makes the page; the form keeps what was written into it."""
    wrote = draft or {}
    rows = [_token(one, now_ms) for one in tokens]
    over = tuple(row for row in rows if row.state == "revoked")
    return TokensView(
        tokens=tuple(row for row in rows if row.state != "revoked"),
        over=over,
        over_text=f"Those that were revoked ({formats.count(len(over))})",
        scopes=_choices(SCOPES, wrote.get("scope", Scope.INGEST)),
        name=wrote.get("name", ""),
        projects=wrote.get("projects", ""),
        days=wrote.get("days", ""),
        problem=problem,
        made=made,
    )


def _choices(words: Mapping[Role, str] | Mapping[Scope, str], chosen: str) -> tuple[Choice, ...]:
    return tuple(Choice(value, label, value == chosen) for value, label in words.items())


def provider_of(one: Person) -> str:
    """Names where a person signs in; "" where a password is asked for here."""
    return urlsplit(one.issuer).netloc


def _person(one: Person, caller: Caller, provider: Provider | None) -> PersonRow:
    settled = bool(provider and provider.roles and provider.issuer == one.issuer)
    return PersonRow(
        name=one.name,
        role=role_text(one.role, one.projects),
        roles=_choices(ROLES, one.role if one.projects is None else ""),
        limited=one.projects is not None,
        projects=tuple(
            ProjectRow(name, role, (*_choices(OF_A_PROJECT, role), Choice(NONE, "none: take it away", False)))
            for name, role in sorted((one.projects or {}).items())
        ),
        since=_moment(one.created_ms),
        signed_in=None if one.signed_in_ms is None else _moment(one.signed_in_ms),
        url=f"/settings/people/{quote(one.name, safe='')}",
        you=caller.person is not None and caller.person.id == one.id,
        way=provider_of(one) or "a password",
        note=_kept_there(one, settled=settled),
        settled=settled,
    )


def _kept_there(one: Person, *, settled: bool) -> str:
    if not one.issuer:
        return ""
    what = (
        "Who this is, the password and the role (by groups, at each sign-in)"
        if settled
        else "Who this is and the password"
    )
    return f"{what} are kept by {provider_of(one)}."


def _deed(one: Deed) -> DeedRow:
    return DeedRow(_moment(one.at_ms), one.who, f"{one.action}: {one.about}" if one.about else one.action)


def _token(one: Token, now_ms: int) -> TokenRow:
    return TokenRow(
        name=one.name,
        scope=one.scope,
        projects=", ".join(sorted(one.projects or ())),
        made_by=one.made_by,
        since=_moment(one.created_ms),
        until=None if one.expires_ms is None else _moment(one.expires_ms),
        used=None if one.used_ms is None else _moment(one.used_ms),
        state=one.state(now_ms),
    )


def _moment(milliseconds: int) -> Moment:
    return Moment(formats.utc(milliseconds), formats.iso(milliseconds))
