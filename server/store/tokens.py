"""Keeps the tokens of programs: of each a hash, so that nobody can read one out of the database or a backup.

Not for: making them, and what a scope may do (server.accounts).
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update

from server.domain.accounts import Deed, Scope, Token, scope_text
from server.errors import WrongAccount
from server.store import audit, schema
from server.store.engine import Database
from server.store.writer import Writer

NOTED_EVERY_MS = 60_000  # that a token is used; each time would be a write for each frame
FRESH_S = 1.0  # how long another process may have revoked a token before this one knows
MOST_REMEMBERED = 1_000

_t = schema.tokens.c
_TOKEN = (_t.id, _t.name, _t.scope, _t.made_by, _t.created_ms, _t.expires_ms, _t.used_ms, _t.revoked_ms, _t.projects)


class Tokens:
    """The repository of tokens. What was read is remembered: a hook sends its token with every frame."""

    def __init__(self, database: Database, writer: Writer, clock: Callable[[], int]) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[Token, float]] = OrderedDict()  # hash → token, when it was read
        self._noted: dict[int, int] = {}  # id → when its use was noted
        self.changes = 0  # that this process made

    def add(
        self,
        hashed: str,
        name: str,
        scope: Scope,
        expires_ms: int | None,
        projects: frozenset[str] | None = None,
        *,
        who: str,
    ) -> Token:
        """Keeps the hash of a new token; raises WrongAccount where one of this name is not revoked yet."""

        def put(connection: Connection) -> Token:
            if connection.execute(_named(name)).first():
                raise WrongAccount(f"There is a token called {name!r} already; revoke it, or choose another name.")
            now = self._clock()
            kept = None if projects is None else json.dumps(sorted(projects), ensure_ascii=False)
            values = {"hash": hashed, "name": name, "scope": scope.value, "made_by": who, "created_ms": now}
            new = insert(schema.tokens).values(**values, expires_ms=expires_ms, projects=kept).returning(_t.id)
            made = connection.execute(new).scalar_one()
            audit.put(connection, Deed(now, who, "made a token", f"{name}, {scope_text(scope, projects)}"))
            return Token(made, name, scope, who, now, expires_ms, projects=projects)

        return self._writer.run(put)

    def list(self) -> Sequence[Token]:
        """Lists all tokens, the newest first; those that are revoked too."""
        with self._database.read() as connection:
            return [_token(row) for row in connection.execute(select(*_TOKEN).order_by(_t.id.desc()))]

    def revoke(self, name: str, *, who: str) -> None:
        """Ends a token at once; raises WrongAccount where none is called so."""

        def put(connection: Connection) -> None:
            row = connection.execute(_named(name).with_for_update()).one_or_none()
            if row is None:
                valid = connection.execute(select(_t.name).where(_t.revoked_ms.is_(None)).order_by(_t.name)).scalars()
                raise WrongAccount(f"No token is called {name!r}; there is {', '.join(valid) or 'none yet'}.")
            now = self._clock()
            connection.execute(update(schema.tokens).where(_t.id == row.id).values(revoked_ms=now))
            audit.put(connection, Deed(now, who, "revoked a token", f"{name}, {row.scope}"))

        try:
            self._writer.run(put)
        finally:
            with self._lock:
                self.changes += 1
                self._known.clear()

    def known(self, hashed: str) -> Token | None:
        """Gives a token that was read before; None where it has to be found."""
        with self._lock:
            token, read_at = self._known.get(hashed, (None, 0.0))
        stale = self._database.shared and time.monotonic() - read_at > FRESH_S
        return None if stale else token

    def find(self, hashed: str) -> Token | None:
        """Reads a token, whether or not it opens anything any more."""
        changes, read_at = self.changes, time.monotonic()
        with self._database.read() as connection:
            row = connection.execute(select(*_TOKEN).where(_t.hash == hashed)).one_or_none()
        if row is None:
            return None
        token = _token(row)
        with self._lock:
            if changes == self.changes:  # else it may have been revoked meanwhile
                self._known[hashed] = token, read_at
                while len(self._known) > MOST_REMEMBERED:
                    self._known.popitem(last=False)
        return token

    def used(self, token: Token) -> None:
        """Notes that a token is used, at most once a minute, without waiting for it."""
        now = self._clock()
        with self._lock:
            if now - max(self._noted.get(token.id, 0), token.used_ms or 0) < NOTED_EVERY_MS:
                return
            self._noted[token.id] = now
        note = update(schema.tokens).where(_t.id == token.id).values(used_ms=now)
        self._writer.submit(lambda connection: connection.execute(note).rowcount, lambda count: count)


def _named(name: str) -> Select[tuple[int, str]]:
    return select(_t.id, _t.scope).where(_t.name == name, _t.revoked_ms.is_(None))


def _token(row: Row[*tuple[Any, ...]]) -> Token:
    token = Token(row.id, row.name, Scope(row.scope), *row[3:8])
    return replace(token, projects=None if row.projects is None else frozenset(json.loads(row.projects)))
