"""Keeps what is told, on which channel, and what became of it: a queue whose rows are leased to one server at a time.

Not for: deciding what is told (telling.py), or when it is tried again (server.alerts).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, literal_column, select, update

from server.domain.alerts import Channel, Delivery, DeliveryState, Due, News
from server.domain.findings import Severity
from server.store import schema
from server.store.channels import channel_of
from server.store.engine import Database
from server.store.telling import new_row, settle
from server.store.writer import Writer

LEASE_MS = 120_000  # longer than any try takes
TEST = "test"

_a = schema.alerts.c
_WAITS = _a.state == literal_column("'waiting'")  # written out, so that SQLite uses the index of those that wait


class Alerts:
    """The repository of deliveries."""

    def __init__(self, database: Database, writer: Writer, clock: Callable[[], int]) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock

    def test(self, channel_id: int) -> int | None:
        """Puts a test in line and gives its number; None if there is no such channel."""
        now = self._clock()

        def put(connection: Connection) -> int | None:
            if connection.execute(select(schema.channels.c.id).where(schema.channels.c.id == channel_id)).first():
                row = new_row(channel_id, TEST, f"{TEST}/{uuid.uuid4().hex}", now, 0)
                news = News(TEST, Severity.INFO, at_ms=now).dump()
                put = insert(schema.alerts).values(**row, news=news).returning(_a.id)
                return int(connection.execute(put).scalar_one())
            return None

        return self._writer.run(put)

    def claim(self, owner: str, limit: int, without: Collection[int] = ()) -> list[Due]:
        """Leases what is due, the oldest of each channel but those `without`, to `owner`; what is no news any more is
        taken away.

        A lease runs out by itself when its owner dies; then another process tries, with the same mark.
        """
        now = self._clock()
        due = and_(_WAITS, _a.due_ms <= now, _a.lease_until_ms <= now, _a.channel.not_in(list(without)))
        with self._database.read() as connection:
            if connection.execute(select(_a.id).where(due).limit(1)).first() is None:
                return []
        first = select(func.min(_a.id)).where(due).group_by(_a.channel)
        wanted = (
            select(schema.alerts)
            .where(_a.id.in_(first), due)
            .order_by(_a.due_ms, _a.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )

        def take(connection: Connection) -> list[Due]:
            rows = connection.execute(wanted).all()
            return [taken for row in rows if (taken := _take(connection, row, owner, now)) is not None]

        return self._writer.run(take)

    def sent(self, due: Due, owner: str) -> None:
        """Notes that it was taken by its receiver."""
        self._end(due, owner, state=DeliveryState.SENT.value, sent_ms=self._clock(), reason="")

    def again(self, due: Due, owner: str, after_ms: int, reason: str) -> None:
        """Notes why it could not be sent, and when it is tried again: what waits on the channel waits as long."""
        until = self._clock() + after_ms
        others = and_(_a.channel == due.channel.id, _WAITS, _a.due_ms < until)
        self._end(due, owner, due_ms=until, reason=reason)
        wait = update(schema.alerts).where(others, _a.event != TEST).values(due_ms=until)
        self._writer.run(lambda connection: connection.execute(wait).rowcount)

    def give_up(self, due: Due, owner: str, reason: str) -> None:
        """Notes why it will not be sent."""
        self._end(due, owner, state=DeliveryState.GIVEN_UP.value, reason=reason)

    def latest(self, limit: int) -> list[Delivery]:
        """Lists the newest deliveries, the newest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(schema.alerts).order_by(_a.id.desc()).limit(limit))
            return [_delivery(row) for row in rows]

    def get(self, alert_id: int) -> Delivery | None:
        """Gives one delivery; None if it is not known."""
        with self._database.read() as connection:
            row = connection.execute(select(schema.alerts).where(_a.id == alert_id)).one_or_none()
        return None if row is None else _delivery(row)

    def _end(self, due: Due, owner: str, **values: Any) -> None:
        mine = and_(_a.id == due.id, _a.lease_owner == owner, _a.state == DeliveryState.WAITING.value)
        change = update(schema.alerts).where(mine).values(lease_owner="", lease_until_ms=0, **values)
        self._writer.run(lambda connection: connection.execute(change).rowcount)


def _take(connection: Connection, row: Row[Any], owner: str, now_ms: int) -> Due | None:
    known = connection.execute(select(schema.channels).where(schema.channels.c.id == row.channel)).one_or_none()
    channel = None if known is None else channel_of(known)
    settled = _settled(connection, row, channel, now_ms)
    this = _a.id == row.id
    if channel is None or settled is None:
        connection.execute(delete(schema.alerts).where(this))
        return None
    news, key = settled
    values = {"news": news.dump(), "key": key, "tries": row.tries + 1}
    lease = {"lease_owner": owner, "lease_until_ms": now_ms + LEASE_MS}
    connection.execute(update(schema.alerts).where(this).values(**values, **lease))
    return Due(row.id, channel, news, row.mark, row.tries + 1, row.created_ms)


def _settled(connection: Connection, row: Row[Any], channel: Channel | None, now_ms: int) -> tuple[News, str] | None:
    if channel is None or not (channel.active or row.event == TEST):
        return None
    return (News.load(row.news), row.key) if row.news else settle(connection, row, channel, now_ms)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        channel=row.channel,
        event=row.event,
        run_id=row.run,
        state=DeliveryState(row.state),
        tries=row.tries,
        reason=row.reason,
        created_ms=row.created_ms,
        due_ms=row.due_ms,
        sent_ms=row.sent_ms,
        news=News.load(row.news) if row.news else None,
    )
