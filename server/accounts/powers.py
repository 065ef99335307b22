"""What a role or a scope may do, and who asks: the four powers, and the caller that has some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from server.domain.accounts import EVERY_PROJECT, Person, Role, Scope, Sight, Token


class Power(StrEnum):
    """What may be allowed. Sending is what a training does; managing is people, tokens and settings."""

    SEND = "send runs"
    READ = "read"
    CHANGE = "change runs"
    MANAGE = "manage the server"


EVERYTHING = frozenset(Power)
OF_THE_SERVER = frozenset({Power.MANAGE})  # which nobody has who may see some projects alone
OF_ROLE: Mapping[Role, frozenset[Power]] = {
    Role.VIEWER: frozenset({Power.READ}),
    Role.EDITOR: frozenset({Power.SEND, Power.READ, Power.CHANGE}),
    Role.ADMIN: EVERYTHING,
}
OF_SCOPE: Mapping[Scope, frozenset[Power]] = {
    Scope.INGEST: frozenset({Power.SEND}),
    Scope.READ: frozenset({Power.READ}),
    Scope.WRITE: frozenset({Power.SEND, Power.READ, Power.CHANGE}),
    Scope.ADMIN: EVERYTHING,
}


@dataclass(frozen=True)
class Caller:
    """Whoever makes a request. `name` is empty where nobody is known: at an open server, and at its sign-in form.

    `rights` holds the powers in each project of somebody who may see those alone; all of them together are `powers`.
    """

    name: str = ""
    powers: frozenset[Power] = frozenset()
    person: Person | None = None
    token: Token | None = None
    signed_in: bool = False
    rights: Mapping[str, frozenset[Power]] | None = None

    def may(self, *any_of: Power) -> bool:
        """Whether one of these powers is there, in some project at least."""
        return not self.powers.isdisjoint(any_of)

    def may_in(self, project: str, *any_of: Power) -> bool:
        """Whether one of these powers is there for the runs of a project."""
        powers = self.powers if self.rights is None else self.rights.get(project, frozenset())
        return not powers.isdisjoint(any_of)

    def sight(self, *any_of: Power) -> Sight:
        """Gives the projects in which one of these powers is there; without any, those of which anything is."""
        if self.rights is None:
            return EVERY_PROJECT
        return Sight(frozenset(name for name, own in self.rights.items() if not own.isdisjoint(any_of or Power)))

    def lacks(self, *any_of: Power, project: str | None = None) -> str:
        """Says what is missing, where one of these powers is needed."""
        if self.person is not None:
            roles = [role for role in Role if not OF_ROLE[role].isdisjoint(any_of)]
            own = (self.person.projects or {}).get(project or "", self.person.role)
            there = "" if project is None or self.rights is None else f" of the project {project!r}"
            return f"{self.name} is {_a(own)}{there}; this needs the role {_or(roles)}"
        scope = "" if self.token is None else f" has the scope {self.token.scope};"
        scopes = [scope for scope in Scope if not OF_SCOPE[scope].isdisjoint(any_of)]
        return f"{self.name}{scope} this needs the scope {_or(scopes)}"


NOBODY = Caller(rights={})
EVERYBODY = Caller(powers=EVERYTHING)  # at a server on loopback that has neither a token nor people
WITH_SERVER_TOKEN = Caller("who knows the server's token", EVERYTHING, signed_in=True)


def of_person(person: Person) -> Caller:
    """Makes the caller of a person who has signed in."""
    if person.projects is None:
        return Caller(person.name, OF_ROLE[person.role], person=person, signed_in=True)
    rights = {project: OF_ROLE[role] - OF_THE_SERVER for project, role in person.projects.items()}
    # whoever sees no project may still look: there is nothing
    powers = frozenset({Power.READ}).union(*rights.values())
    return Caller(person.name, powers, person=person, signed_in=True, rights=rights)


def of_token(token: Token) -> Caller:
    """Makes the caller of a program that sent a token which is valid."""
    name, powers = f"the token {token.name!r}", OF_SCOPE[token.scope]
    if token.projects is None:
        return Caller(name, powers, token=token)
    powers -= OF_THE_SERVER
    return Caller(name, powers, token=token, rights=dict.fromkeys(token.projects, powers))


def _a(role: Role) -> str:
    return f"an {role}" if role[0] in "ae" else f"a {role}"


def _or(words: list[Role] | list[Scope]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else str(last)
