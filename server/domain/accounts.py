"""Who may use a shared server: people with a role, programs with a token of a scope, and who did what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

BY_COMMAND = "the command line"  # who did what no page has done
BY_AGE = "the server, by --keep-days"
RUNS_NAMED = 20  # in a line of the log
MOST_PROJECTS = 200  # of one person or token
LONGEST_PROJECT = 200


class Role(StrEnum):
    """What a person may do: read; change and send runs too; or everything."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"


class Scope(StrEnum):
    """What a token opens: sending runs alone, reading alone, both with changes, or everything."""

    INGEST = "ingest"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True)
class Sight:
    """The projects whose runs somebody may see: those that are named, or every one where `projects` is None.

    Whatever lists, counts, searches or completes runs takes it, so that nothing else comes out.
    """

    projects: frozenset[str] | None = None

    def sees(self, project: str) -> bool:
        """Whether the runs of a project may be seen."""
        return self.projects is None or project in self.projects


EVERY_PROJECT = Sight()


@dataclass(frozen=True)
class Person:
    """Somebody with an account; the name has small letters alone.

    `projects` holds the role in each project of somebody who may see those alone; it is None for the whole server, of
    which `role` is then the role.
    Whoever signs in at an OpenID Connect provider is that `subject` of that `issuer`, whatever the name; both are empty
    where a password is asked for.
    """

    id: int
    name: str
    role: Role
    created_ms: int
    signed_in_ms: int | None = None
    issuer: str = ""
    subject: str = ""
    projects: Mapping[str, Role] | None = None


@dataclass(frozen=True)
class Arrival:
    """Who a provider says has come: `role` is for somebody new, and for everybody where it is `settled` there.

    None is no role: this person sees no project until an admin names one.
    """

    issuer: str
    subject: str
    name: str
    role: Role | None
    settled: bool = False


@dataclass(frozen=True)
class Token:
    """A token of a program, for the named `projects` or, where that is None, for the whole server.

    The token itself is known to nobody here: a hash of it is kept.
    """

    id: int
    name: str
    scope: Scope
    made_by: str
    created_ms: int
    expires_ms: int | None = None
    used_ms: int | None = None
    revoked_ms: int | None = None
    projects: frozenset[str] | None = None

    def state(self, now_ms: int) -> str:
        """Says whether it opens anything now: valid, expired or revoked."""
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms is not None and self.expires_ms <= now_ms else "valid"


@dataclass(frozen=True)
class Deed:
    """A line of the audit log: who did what, to whom or what."""

    at_ms: int
    who: str
    action: str
    about: str

    @classmethod
    def deletion(cls, at_ms: int, who: str, run_ids: Sequence[str]) -> Deed:
        """Tells that somebody deleted runs, and names the first of them."""
        count, more = len(run_ids), len(run_ids) - RUNS_NAMED
        about = ", ".join(run_ids[:RUNS_NAMED]) + (f" and {more:,} more" if more > 0 else "")
        return cls(at_ms, who, f"deleted {count:,} run{'' if count == 1 else 's'}", about)


def role_text(role: Role, projects: Mapping[str, Role] | None) -> str:
    """Says what somebody may do: a role, or the role in each project."""
    if projects is None:
        return role.value
    return ", ".join(f"{own} of {project!r}" for project, own in sorted(projects.items())) or "of no project"


def scope_text(scope: Scope, projects: frozenset[str] | None) -> str:
    """Says what a token opens, and of which projects."""
    return scope.value if projects is None else f"{scope} of {', '.join(map(repr, sorted(projects)))}"
