"""Looks up which series the groups of a run hold, for readers; remembers them by the group's digest.

The digest names the content, so that nothing here can grow stale. Not for: giving numbers (catalogue.py).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection

import numpy as np
from sqlalchemy import Connection, bindparam, select

from server.store import schema

GROUPS_REMEMBERED = 4_096

Members = tuple[tuple[str, ...], str]  # names of the columns, dtype


_g = schema.groups.c
_GROUPS = select(_g.number, _g.digest, _g.dtype).where(_g.run_id == bindparam("b_run"))


class GroupNames:
    """Gives the columns and the dtype of groups; may be used from any thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Members] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, digest: bytes | None) -> Members | None:
        """Gives the members of the groups with this digest, if any run's were read before."""
        with self._lock:
            return None if digest is None else self._known.get(digest)

    def of(self, connection: Connection, run_id: str, numbers: Collection[int]) -> dict[int, Members]:
        """Gives the members of groups of one run by the group's number."""
        if not numbers:
            return {}
        rows = connection.execute(_GROUPS, {"b_run": run_id}).all()
        found: dict[int, Members] = {}
        missing: dict[int, tuple[bytes, str]] = {}
        with self._lock:
            for number, digest, dtype in rows:
                if number not in numbers:
                    continue
                known = self._known.get(digest)
                if known is None:
                    missing[number] = (digest, dtype)
                else:
                    found[number] = known
        if missing:
            found.update(self._load(connection, run_id, missing))
        return found

    def _load(self, connection: Connection, run_id: str, missing: dict[int, tuple[bytes, str]]) -> dict[int, Members]:
        series, groups = schema.series.c, schema.groups.c
        names: dict[int, str] = dict(
            connection.execute(select(series.number, series.name).where(series.run_id == run_id)).all()
        )
        loaded: dict[int, Members] = {}
        for number, (digest, dtype) in missing.items():
            packed = connection.execute(
                select(groups.columns).where(groups.run_id == run_id, groups.number == number)
            ).scalar_one()
            members = tuple(names[int(member)] for member in np.frombuffer(packed, "<u4"))
            loaded[number] = (members, dtype)
            with self._lock:
                self._known[digest] = loaded[number]
                while len(self._known) > GROUPS_REMEMBERED:
                    self._known.popitem(last=False)
        return loaded
