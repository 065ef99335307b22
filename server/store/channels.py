"""Keeps the channels that people are told by.

Not for: what is told on them (telling.py) or which addresses may be called (server.alerts).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from server.domain.alerts import Channel, ChannelKind, DeliveryState, Draft
from server.domain.findings import Severity
from server.store import schema
from server.store.engine import Database
from server.store.writer import Writer

_c = schema.channels.c


class Channels:
    """The repository of channels."""

    def __init__(self, database: Database, writer: Writer, clock: Callable[[], int]) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock

    def list(self) -> list[Channel]:
        """Lists all channels, the oldest first."""
        with self._database.read() as connection:
            return [channel_of(row) for row in connection.execute(select(schema.channels).order_by(_c.id))]

    def get(self, channel_id: int) -> Channel | None:
        """Gives one channel; None if there is none of this number."""
        with self._database.read() as connection:
            row = connection.execute(select(schema.channels).where(_c.id == channel_id)).one_or_none()
        return None if row is None else channel_of(row)

    def add(self, draft: Draft) -> int:
        """Adds a channel and gives its number."""
        values = {**_values(draft), "created_ms": self._clock()}
        put = insert(schema.channels).values(**values).returning(_c.id)
        return self._writer.run(lambda connection: int(connection.execute(put).scalar_one()))

    def change(self, channel_id: int, draft: Draft) -> bool:
        """Changes a channel; False if there is none of this number."""
        change = update(schema.channels).where(_c.id == channel_id).values(**_values(draft))
        return self._writer.run(lambda connection: connection.execute(change).rowcount > 0)

    def switch(self, channel_id: int, *, active: bool) -> bool:
        """Switches a channel on or off. What waits on it is dropped, and so is what happens while it is off."""
        values: dict[str, Any] = {"active": int(active)}
        alerts = schema.alerts.c
        dropped = delete(schema.alerts).where(alerts.channel == channel_id, alerts.state == DeliveryState.WAITING.value)

        def change(connection: Connection) -> bool:
            if not active:
                connection.execute(dropped)
            return connection.execute(update(schema.channels).where(_c.id == channel_id).values(**values)).rowcount > 0

        return self._writer.run(change)

    def remove(self, channel_id: int) -> bool:
        """Removes a channel with all that was told on it; False if there is none of this number."""

        def remove(connection: Connection) -> bool:
            connection.execute(delete(schema.alerts).where(schema.alerts.c.channel == channel_id))
            return connection.execute(delete(schema.channels).where(_c.id == channel_id)).rowcount > 0

        return self._writer.run(remove)


def channel_of(row: Row[Any]) -> Channel:
    """Makes a channel of its row."""
    return Channel(
        name=row.name,
        kind=ChannelKind(row.kind),
        address=row.address,
        secret=row.secret,
        severity=Severity(row.severity),
        projects=tuple(json.loads(row.projects)),
        tags=tuple(json.loads(row.tags)),
        ends=bool(row.ends),
        id=row.id,
        active=bool(row.active),
        created_ms=row.created_ms,
    )


def _values(draft: Draft) -> dict[str, Any]:
    return {
        "name": draft.name,
        "kind": draft.kind.value,
        "address": draft.address,
        "secret": draft.secret,
        "severity": draft.severity.value,
        "projects": json.dumps(list(draft.projects)),
        "tags": json.dumps(list(draft.tags)),
        "ends": int(draft.ends),
    }
