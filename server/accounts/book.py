"""The accounts of a server: every way to make, change and end one, each with its checks, and who a secret belongs to.

The command line and the pages call the same functions. Not for: what a caller may do with them (server.web.access).
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Callable, Iterable, Mapping

from server.accounts import passwords, powers
from server.accounts.powers import Caller
from server.domain.accounts import LONGEST_PROJECT, MOST_PROJECTS, Arrival, Person, Role, Scope, Token
from server.errors import GradwatchError, WrongAccount
from server.store import Store
from server.store.people import strongest

PREFIX = "gw_"  # lets a scanner of secrets, and a person, recognise a token
TOKEN_BYTES = 32
LONGEST_TOKEN_NAME = 100
UNKNOWN = "the token is not one that this server knows"
DAY_MS = 86_400_000
MOST_DAYS = 3650.0

_NOT_IN_A_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")


class Accounts:
    """The people and tokens of a store; whatever is wrong raises WrongAccount with a sentence."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def anybody_known(self) -> bool | None:
        """Says without reading whether anybody has an account; None where that has to be read."""
        return self._store.people.any_known()

    def anybody(self) -> bool:
        """Whether anybody has an account."""
        return self._store.people.any()

    @property
    def changes(self) -> int:
        """Gives a number that grows whenever this process gives or takes rights."""
        return self._store.people.changes + self._store.tokens.changes

    # -- people --------------------------------------------------------------------------------------------------------

    def add_person(
        self, name: str, role: str, password: str, projects: Mapping[str, str] | None = None, *, who: str
    ) -> str:
        """Adds a person and gives the name as it is kept; one of `projects` has those roles instead of `role`."""
        called = checked_name(name)
        own = None if projects is None else checked_projects(projects)
        kept_role = checked_role(role) if own is None else strongest(own)
        kept = passwords.hashed(passwords.checked(password, called))
        self._store.people.add(called, kept_role, kept, own, who=who)
        return called

    def set_role(self, name: str, role: str, *, who: str) -> None:
        """Gives a person another role, of the whole server, and ends all sessions."""
        self._store.people.set_role(_possible(name), checked_role(role), who=who)

    def set_projects(self, name: str, projects: Mapping[str, str], *, who: str) -> None:
        """Lets a person see these projects alone, with a role in each, and ends all sessions."""
        self._store.people.set_projects(_possible(name), checked_projects(projects), who=who)

    def set_project(self, name: str, project: str, role: str | None, *, who: str) -> None:
        """Gives a person a role in one project, beside those that there are, or takes it away; ends all sessions."""
        called = _possible(name)
        if role is None:
            self._store.people.set_project(called, project, None, who=who)
        else:
            for checked, own in checked_projects({project: role}).items():
                self._store.people.set_project(called, checked, own, who=who)

    def set_password(self, name: str, password: str, *, who: str) -> None:
        """Gives a person another password, and ends all sessions."""
        called = _possible(name)
        self._store.people.set_password(called, passwords.hashed(passwords.checked(password, called)), who=who)

    def change_password(self, person: Person, old: str, new: str, when_wrong: Callable[[], None]) -> None:
        """Changes one's own password, for which the old one has to be known."""
        if person.issuer:
            raise WrongAccount(f"You sign in at {person.issuer}; your password is kept there.")
        found = self._store.people.find(person.name)
        if not passwords.fits(found[1] if found else None, old, person.name):
            when_wrong()
            raise WrongAccount("The old password is another one.")
        self.set_password(person.name, new, who=person.name)

    def remove_person(self, name: str, *, who: str) -> list[Token]:
        """Removes a person, ends all sessions, and gives the tokens that this person made and that still hold."""
        called = _possible(name)
        self._store.people.remove(called, who=who)
        now = self._store.now_ms()
        return [token for token in self._store.tokens.list() if token.made_by == called and token.state(now) == "valid"]

    def sign_in(self, name: str, password: str) -> tuple[Person, str] | None:
        """Gives the person and the hash of the password where both are right; a wrong name takes as long."""
        called = _folded(name)
        found = self._store.people.find(called) if _NAME.fullmatch(called) else None
        kept = found[1] if found and not found[0].issuer else None
        return found if passwords.fits(kept, password, called) else None

    def arrive(self, arrival: Arrival, *, who: str) -> Person:
        """Gives the person that somebody of a provider is here; raises WrongAccount where the name is taken."""
        return self._store.people.arrive(arrival, who=who)

    # -- tokens --------------------------------------------------------------------------------------------------------

    def add_token(
        self, name: str, scope: str, days: float | None, projects: Iterable[str] | None = None, *, who: str
    ) -> str:
        """Makes a token, for these projects alone where any are named, and gives it; nobody can read it again."""
        return self.make_token(name, scope, days, projects, who=who)[1]

    def make_token(
        self, name: str, scope: str, days: float | None, projects: Iterable[str] | None = None, *, who: str
    ) -> tuple[Token, str]:
        """Does so, and gives what is kept of it too."""
        called, opens = checked_token_name(name), checked_scope(scope)
        own = None if projects is None else frozenset(checked_project(project) for project in projects)
        if own is not None:
            _check_limits(own, admin=opens is Scope.ADMIN)
            if not own:
                raise WrongAccount("A token of no project opens nothing; name one, or leave the projects out.")
        if days is not None and not (math.isfinite(days) and 0 < days <= MOST_DAYS):
            raise WrongAccount(f"Days: got {days:g}, expected more than 0 and at most {MOST_DAYS:g}.")
        text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        expires = None if days is None else self._store.now_ms() + int(days * DAY_MS)
        return self._store.tokens.add(digest(text), called, opens, expires, own, who=who), text

    def revoke_token(self, name: str, *, who: str) -> None:
        """Ends a token at once."""
        called = name.strip()
        if not called.isprintable():  # which no database takes
            raise WrongAccount(f"No token is called {called[:80]!a}.")
        self._store.tokens.revoke(called, who=who)

    def known_token(self, text: str) -> Caller | str | None:
        """Does what `token` does without reading; None where the token has to be read."""
        token = self._store.tokens.known(digest(text))
        return None if token is None else self._opened(token)

    def token(self, text: str) -> Caller | str:
        """Gives whom a token makes of a request, or a sentence that says why it opens nothing."""
        token = self._store.tokens.find(digest(text)) if text.startswith(PREFIX) else None
        return UNKNOWN if token is None else self._opened(token)

    def _opened(self, token: Token) -> Caller | str:
        state = token.state(self._store.now_ms())
        if state != "valid":
            return f"the token {token.name!r} {'has expired' if state == 'expired' else 'was revoked'}"
        try:
            self._store.tokens.used(token)
        except GradwatchError:
            return powers.of_token(token)  # when it was last used is not worth a refusal
        return powers.of_token(token)


def digest(token: str) -> str:
    """Gives what is kept of a token; it has 256 random bits, so one round of a quick hash keeps it secret."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def checked_name(name: str) -> str:
    """Gives the name of a new person in small letters."""
    called = _folded(name)
    if not _NAME.fullmatch(called):
        raise WrongAccount(
            f"The name is {name[:80]!r}, expected 1 to 64 letters from a to z, digits and . _ - @ +, a letter or digit "
            "first, such as ada or ada@lab.example."
        )
    return called


def checked_role(role: str) -> Role:
    """Gives the role of this name."""
    if role not in list(Role):
        raise WrongAccount(f"The role is {role[:80]!r}, expected {', '.join(Role)}.")
    return Role(role)


def checked_project(project: str) -> str:
    """Gives the name of a project, whether or not it has a run yet, as a hook's is kept: one line, no spaces around."""
    called = project.strip()
    if not called or len(called) > LONGEST_PROJECT or _NOT_IN_A_LINE.search(called):
        raise WrongAccount(
            f"The project is {project[:80]!a}, expected a name of 1 to {LONGEST_PROJECT} characters in one line."
        )
    return called


def checked_projects(projects: Mapping[str, str]) -> dict[str, Role]:
    """Gives the role in each project; an admin is one of the whole server alone."""
    found = {checked_project(project): checked_role(role) for project, role in projects.items()}
    _check_limits(found, admin=Role.ADMIN in found.values())
    return found


def _check_limits(projects: Iterable[str], *, admin: bool) -> None:
    if admin:
        raise WrongAccount("An admin, a person or a token, is one of the whole server, never of some projects alone.")
    count = len(list(projects))
    if count > MOST_PROJECTS:
        raise WrongAccount(f"There are {count} projects; at most {MOST_PROJECTS} fit.")


def checked_scope(scope: str) -> Scope:
    """Gives the scope of this name."""
    if scope not in list(Scope):
        raise WrongAccount(f"The scope is {scope[:80]!r}, expected {', '.join(Scope)}.")
    return Scope(scope)


def checked_token_name(name: str) -> str:
    """Gives the name of a new token without the spaces around it."""
    called = name.strip()
    if not called or len(called) > LONGEST_TOKEN_NAME or not called.isprintable():
        raise WrongAccount(
            f"The token's name is {called[:80]!a}, expected 1 to {LONGEST_TOKEN_NAME} characters in one line, such as "
            "nightly trainings."
        )
    return called


def _possible(name: str) -> str:
    """Gives a name as somebody may have it; raises WrongAccount for what nobody can be called."""
    called = _folded(name)
    if not _NAME.fullmatch(called):
        raise WrongAccount(f"Nobody is called {name[:80]!a}.")
    return called


def _folded(name: str) -> str:
    return name.strip().lower()
