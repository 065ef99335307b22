"""Keeps the people of a shared server: name, role, and a hash of the password or who they are at a provider; every
change ends what it has to end.

Not for: what a password must be like, and who may do what (server.accounts).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, delete, insert, select, update

from server.domain.accounts import MOST_PROJECTS, Arrival, Deed, Person, Role, role_text
from server.errors import WrongAccount
from server.store import audit, schema
from server.store.engine import Database
from server.store.writer import Writer

Made = TypeVar("Made")

FRESH_S = 1.0  # how long this process may not know that another one made the first person

_u = schema.users.c
PERSON = (_u.id, _u.name, _u.role, _u.created_ms, _u.signed_in_ms, _u.issuer, _u.subject, _u.projects)

Projects = Mapping[str, Role] | None


class People:
    """The repository of people. `who` is whoever makes the change, for the log."""

    def __init__(self, database: Database, writer: Writer, clock: Callable[[], int]) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock
        self._lock = threading.Lock()
        self._any: tuple[bool, float] | None = None  # whether there is anybody, and when that was read
        self.changes = 0  # that this process made

    def add(self, name: str, role: Role, password: str, projects: Projects = None, *, who: str) -> None:
        """Adds a person with the hash of a password; the first one must be an admin. Raises WrongAccount."""

        def put(connection: Connection) -> None:
            names = connection.execute(select(_u.name)).scalars().all()
            if name in names:
                raise WrongAccount(f"There is a person called {name!r} already.")
            if not names and role is not Role.ADMIN:
                raise WrongAccount("The first person must be an admin: nobody else could add the others.")
            now = self._clock()
            row = {"name": name, "password": password, "created_ms": now, **_kept(role, projects)}
            connection.execute(insert(schema.users), row)
            audit.put(connection, Deed(now, who, "added a person", f"{name}, {role_text(role, projects)}"))

        self._change(put)

    def arrive(self, arrival: Arrival, *, who: str) -> Person:
        """Gives the person that somebody of a provider is here, added or given another role where that is due; raises
        WrongAccount where somebody else has the name.
        """

        def put(connection: Connection) -> Person:
            at, now = (_u.issuer == arrival.issuer, _u.subject == arrival.subject), self._clock()
            found = connection.execute(select(*PERSON).where(*at).with_for_update()).one_or_none()
            if found is None:
                _add_arrival(connection, arrival, now, who)
            elif arrival.settled and found.projects is None and arrival.role != found.role:
                role, projects = _of_arrival(arrival)
                connection.execute(update(schema.users).where(_u.id == found.id).values(**_kept(role, projects)))
                _sign_out(connection, found.id)
                about = f"{found.name}: {found.role} to {role_text(role, projects)}"
                audit.put(connection, Deed(now, who, "changed a role", about))
            return person_of(connection.execute(select(*PERSON).where(*at)).one())

        return self._change(put)

    def list(self) -> Sequence[Person]:
        """Lists everybody by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(*PERSON)).all()
        return sorted((person_of(row) for row in rows), key=lambda person: person.name)

    def find(self, name: str) -> tuple[Person, str] | None:
        """Gives a person and the hash of the password; None where nobody is called so."""
        with self._database.read() as connection:
            row = connection.execute(select(*PERSON, _u.password).where(_u.name == name)).one_or_none()
        return None if row is None else (person_of(row), row.password)

    def set_role(self, name: str, role: Role, *, who: str) -> None:
        """Gives a person another role, of the whole server, and ends all sessions; raises WrongAccount."""
        self._set_rights(name, lambda _: (role, None), who=who)

    def set_projects(self, name: str, projects: Mapping[str, Role], *, who: str) -> None:
        """Lets a person see these projects alone, with a role in each, and ends all sessions; raises WrongAccount."""
        self._set_rights(name, lambda _: (strongest(projects), projects), who=who)

    def set_project(self, name: str, project: str, role: Role | None, *, who: str) -> None:
        """Gives a person a role in a project, beside the others that this person has, or takes the project away.

        Whoever was of the whole server sees this project alone then. Ends all sessions; raises WrongAccount.
        """

        def changed(person: Person) -> tuple[Role, Projects]:
            own = dict(person.projects or {})
            if role is not None:
                own[project] = role
                if len(own) > MOST_PROJECTS:
                    raise WrongAccount(f"{name!r} would have {len(own)} projects; at most {MOST_PROJECTS} fit.")
            elif project in own:
                del own[project]
            else:
                raise WrongAccount(f"{name!r} has no role of its own in the project {project[:80]!r}.")
            return strongest(own), own

        self._set_rights(name, changed, who=who)

    def _set_rights(self, name: str, change: Callable[[Person], tuple[Role, Projects]], *, who: str) -> None:
        def put(connection: Connection) -> None:
            person = person_of(_locked(connection, name))
            role, projects = change(person)
            if role is not Role.ADMIN and _last_admin(connection, person.id):
                raise WrongAccount(f"{name!r} is the only admin; make somebody else one first.")
            connection.execute(update(schema.users).where(_u.id == person.id).values(**_kept(role, projects)))
            _sign_out(connection, person.id)
            about = f"{name}: {role_text(person.role, person.projects)} to {role_text(role, projects)}"
            audit.put(connection, Deed(self._clock(), who, "changed a role", about))

        self._change(put)

    def set_password(self, name: str, password: str, *, who: str) -> None:
        """Puts the hash of another password there and ends all sessions; raises WrongAccount."""

        def put(connection: Connection) -> None:
            person = _locked(connection, name)
            if person.issuer:
                raise WrongAccount(f"{name!r} signs in at {person.issuer} and has no password here.")
            connection.execute(update(schema.users).where(_u.id == person.id).values(password=password))
            _sign_out(connection, person.id)
            audit.put(connection, Deed(self._clock(), who, "changed a password", name))

        self._change(put)

    def remove(self, name: str, *, who: str) -> None:
        """Removes a person and ends all sessions; raises WrongAccount for the only admin of several people."""

        def put(connection: Connection) -> None:
            person = _locked(connection, name)
            others = connection.execute(select(_u.id).where(_u.id != person.id).limit(1)).first()
            if others and _last_admin(connection, person.id):
                raise WrongAccount(f"{name!r} is the only admin; make somebody else one first.")
            _sign_out(connection, person.id)
            connection.execute(delete(schema.users).where(_u.id == person.id))
            gone = person_of(person)
            about = f"{name}, {role_text(gone.role, gone.projects)}"
            audit.put(connection, Deed(self._clock(), who, "removed a person", about))

        self._change(put)

    def any_known(self) -> bool | None:
        """Says without reading whether there is anybody; None where that has to be read."""
        known = self._any
        if known is None or (self._database.shared and time.monotonic() - known[1] > FRESH_S):
            return None
        return known[0]

    def any(self) -> bool:
        """Whether there is anybody."""
        known = self.any_known()
        if known is None:
            changes, read_at = self.changes, time.monotonic()
            with self._database.read() as connection:
                known = connection.execute(select(_u.id).limit(1)).first() is not None
            with self._lock:
                if changes == self.changes:  # else it may be otherwise by now
                    self._any = known, read_at
        return known

    def any_admin(self) -> bool:
        """Whether there is an admin."""
        with self._database.read() as connection:
            return connection.execute(select(_u.id).where(_u.role == Role.ADMIN.value).limit(1)).first() is not None

    def _change(self, put: Callable[[Connection], Made]) -> Made:
        try:
            return self._writer.run(put)
        finally:
            with self._lock:
                self.changes += 1
                self._any = None


def still(connection: Connection, person_id: int, password: str) -> bool:
    """Whether somebody still has this account and this password, which then cannot change before the commit."""
    this = select(_u.id).where(_u.id == person_id, _u.password == password).with_for_update()
    return connection.execute(this).first() is not None


def person_of(row: Row[*tuple[Any, ...]]) -> Person:
    """Makes a person of what PERSON reads."""
    told = None if row.projects is None else json.loads(row.projects)
    projects = None if told is None else {project: Role(role) for project, role in told.items()}
    return Person(row.id, row.name, Role(row.role), row.created_ms, row.signed_in_ms, row.issuer, row.subject, projects)


def strongest(projects: Mapping[str, Role]) -> Role:
    """Gives the strongest role in several projects."""
    return max(projects.values(), key=list(Role).index, default=Role.VIEWER)


def _kept(role: Role, projects: Projects) -> dict[str, str | None]:
    return {"role": role.value, "projects": None if projects is None else json.dumps(projects, ensure_ascii=False)}


def _add_arrival(connection: Connection, arrival: Arrival, now: int, who: str) -> None:
    taken = connection.execute(select(_u.issuer).where(_u.name == arrival.name)).scalar_one_or_none()
    if taken is not None:
        other = "another person of the provider" if taken == arrival.issuer else "a person who signs in another way"
        raise WrongAccount(
            f"The name {arrival.name!r} belongs to {other} here, so nobody was signed in. An admin can remove that "
            "person on the page Settings, People; then sign in again."
        )
    role, projects = _of_arrival(arrival)
    row = {"name": arrival.name, "password": "", "created_ms": now, **_kept(role, projects)}
    connection.execute(insert(schema.users), {**row, "issuer": arrival.issuer, "subject": arrival.subject})
    audit.put(connection, Deed(now, who, "added a person", f"{arrival.name}, {role_text(role, projects)}"))


def _of_arrival(arrival: Arrival) -> tuple[Role, Projects]:
    return (Role.VIEWER, {}) if arrival.role is None else (arrival.role, None)


def _locked(connection: Connection, name: str) -> Row[*tuple[Any, ...]]:
    """Reads a person whom no other process changes before the commit."""
    row = connection.execute(select(*PERSON).where(_u.name == name).with_for_update()).one_or_none()
    if row is None:
        known = ", ".join(sorted(connection.execute(select(_u.name)).scalars())) or "nobody yet"
        raise WrongAccount(f"Nobody is called {name!r}; there is {known}.")
    return row


def _last_admin(connection: Connection, person_id: int) -> bool:
    # locked, so that two admins cannot take the role from each other at once
    admins = connection.execute(select(_u.id).where(_u.role == Role.ADMIN.value).order_by(_u.id).with_for_update())
    return list(admins.scalars()) == [person_id]


def _sign_out(connection: Connection, person_id: int) -> None:
    connection.execute(delete(schema.sign_ins).where(schema.sign_ins.c.user_id == person_id))
