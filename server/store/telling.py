"""Decides what is told, in the transaction that changes a run: incidents that open, and how a run ended or fell silent.

A row of `alerts` is one piece of news on one channel; its key lets it be told once in an attempt, and once more when it
grows to an error. The words are settled later, when it is first sent (`settle`): what was muted, absorbed or resolved
by then is not told.
Not for: sending (server.alerts) or the rows' way through it (alerts.py).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, select

from server.domain.alerts import SILENCE_CODES, TURNS, Channel, DeliveryState, News, Turn
from server.domain.findings import Finding, Severity
from server.domain.runs import ENDED, RunState
from server.domain.told import Place, places
from server.store import schema
from server.store.channels import channel_of
from server.store.engine import upsert

HOLD_MS = 10_000  # a cause may follow its symptom, a mute its finding, and a restart its crash
DAY_MS = 86_400_000
OLD_MS = DAY_MS  # of what is older nobody is told
FIRST_CLOCK_MS = 1_577_836_800_000  # the year 2020; a machine that says less does not know the time
BEFORE_ALL = -1  # the rank of what was not there

_r, _f, _a = schema.runs.c, schema.findings.c, schema.alerts.c
_WANTED = select(schema.channels).where(schema.channels.c.active == 1)
_ANYBODY = select(schema.channels.c.id).where(schema.channels.c.active == 1).limit(1)
_STORED = select(_f.number, _f.state, _f.severity, _f.cause).where(
    _f.run_id == bindparam("b_run"), _f.number.in_(bindparam("b_numbers", expanding=True))
)
_ITEMS = select(*(_f[name] for name in ("number", "code", "attempt", "cause", "severity", "state", "muted"))).where(
    _f.run_id == bindparam("b_run")
)
_ABOUT = (
    select(
        *(_r[name] for name in ("id", "name", "tags", "state", "verdict", "latest_attempt", "last_step")),
        *(_r[name] for name in ("heard_ms", "ended_ms", "deleted_ms", "came_ms")),
        schema.projects.c.name.label("project"),
    )
    .join_from(schema.runs, schema.projects, schema.projects.c.id == _r.project_id)
    .where(_r.id == bindparam("b_run"))
)


class _Item(NamedTuple):
    number: int
    code: str
    attempt: int
    cause: int | None
    severity: Severity
    state: str
    muted: bool


@dataclass(frozen=True)
class Before:
    """How the findings of a run stood before they changed, and who listens."""

    channels: tuple[Channel, ...]
    places: Mapping[int, Place]


class Telling:
    """Notes news in the writer's transactions; `clock` is the store's, in milliseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    def before(self, connection: Connection, run_id: str, coming: Sequence[Finding]) -> Before | None:
        """Remembers how the findings of a run stand before these `coming` ones are stored; None where nobody listens,
        or nothing of it can be news.
        """
        if connection.execute(_ANYBODY).first() is None:
            return None
        numbers = {"b_run": run_id, "b_numbers": [finding.number for finding in coming]}
        stored: dict[int, Any] = {row.number: row for row in connection.execute(_STORED, numbers)}
        if not any(_may_be_news(stored.get(finding.number), finding) for finding in coming):
            return None
        return Before(_channels(connection), places(_items(connection, run_id)))

    def findings(self, connection: Connection, run_id: str, before: Before | None) -> None:
        """Notes the incidents that are more severe now than anything of them was before."""
        run = _about(connection, run_id) if before else None
        if before is None or run is None or not self._is_news(run):
            return
        items = {item.number: item for item in _items(connection, run_id)}
        now = places(items.values())
        known: dict[int, int] = {}
        for number in now:
            was = before.places.get(number)
            top = _top(number, now)
            if was is not None:
                was = before.places[_top(number, before.places)]
            known[top] = max(known.get(top, BEFORE_ALL), was.severity.rank if was else BEFORE_ALL)
        rows = []
        for top, rank in known.items():
            item, severity = items[top], now[top].severity
            if severity.rank <= rank or item.code in SILENCE_CODES:
                continue
            channels = [channel for channel in before.channels if severity.rank >= channel.severity.rank]
            what = {"attempt": item.attempt, "finding": top}
            rows += self._rows(run, channels, "finding", _finding_key(run_id, item, severity), what)
        _note(connection, rows)

    def state(self, connection: Connection, run_id: str, state: str, attempt: int | None = None) -> None:
        """Notes that a run broke, fell silent or ended."""
        turn = TURNS.get(RunState(state))
        channels = _channels(connection) if turn is not None else ()
        run = _about(connection, run_id) if channels else None
        if turn is None or run is None or not (attempt or self._is_news(run)):
            return
        number = attempt or run.latest_attempt
        if number < 1:
            return  # a preflight, in front of its user
        listening = [channel for channel in channels if turn is not Turn.ENDED or channel.ends]
        key = f"{run_id}/{number}/{turn.value}"
        _note(connection, self._rows(run, listening, state, key, {"attempt": number}))

    def _is_news(self, run: Row[Any]) -> bool:
        """Whether the run is heard of here and now: it did not come with an import, and is not from another day."""
        heard: int = run.heard_ms
        return heard > (run.came_ms or 0) and heard >= self._clock() - OLD_MS

    def _rows(
        self, run: Row[Any], channels: Sequence[Channel], event: str, key: str, what: Mapping[str, int]
    ) -> list[Mapping[str, Any]]:
        if run.deleted_ms is not None:
            return []
        tags = tuple(json.loads(run.tags))
        wanting = [channel for channel in channels if channel.wants(run.project, tags)]
        now = self._clock()
        return [{**new_row(channel.id, event, key, now, HOLD_MS), "run": run.id, **what} for channel in wanting]


def _note(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Puts news in line, each once; all in one statement, because the writer has more to do."""
    if rows:
        once = upsert(schema.alerts).on_conflict_do_nothing(index_elements=["channel", "key"])
        connection.execute(once, rows)


def new_row(channel: int, event: str, key: str, now_ms: int, hold_ms: int) -> dict[str, Any]:
    """Makes the row of a piece of news."""
    return {
        "channel": channel,
        "event": event,
        "key": key,
        "mark": uuid.uuid4().hex,
        "state": DeliveryState.WAITING.value,
        "created_ms": now_ms,
        "due_ms": now_ms + hold_ms,
    }


def settle(connection: Connection, alert: Row[Any], channel: Channel, now_ms: int) -> tuple[News, str] | None:
    """Says what is told, and its key, which may be that of its cause by now; None where it is not news any more."""
    run = _about(connection, alert.run)
    if run is None or run.deleted_ms is not None or _came_too_late(alert, run):
        return None
    turn = TURNS.get(RunState(alert.event)) if alert.event != "finding" else None
    return _state(connection, alert, run, turn, now_ms) if turn else _finding(connection, alert, channel, run, now_ms)


def _came_too_late(alert: Row[Any], run: Row[Any]) -> bool:
    """Whether the run was over for a day when it was heard of, as one that waited in a spool."""
    over = run.ended_ms if run.state in ENDED else None
    return over is not None and FIRST_CLOCK_MS < over < alert.created_ms - OLD_MS


def _state(connection: Connection, alert: Row[Any], run: Row[Any], turn: Turn, now_ms: int) -> tuple[News, str] | None:
    gone_on = run.latest_attempt != alert.attempt
    if TURNS.get(RunState(run.state)) is not turn and not (gone_on and turn is not Turn.QUIET):
        return None
    event = alert.event if gone_on else run.state
    message, advice = run.verdict, ""
    if turn is Turn.QUIET:
        this = (_f.run_id == run.id) & (_f.attempt == alert.attempt) & _f.code.in_(SILENCE_CODES) & (_f.state == "open")
        found = connection.execute(select(schema.findings).where(this)).first()
        if found is not None:
            if found.muted or found.acknowledged:
                return None
            message, advice = found.message, found.advice
    severity = Severity.INFO if turn is Turn.ENDED else Severity.ERROR
    return News(event, severity, run.project, run.id, run.name, run.last_step, message=message, advice=advice,
                at_ms=now_ms), alert.key  # fmt: skip


def _finding(
    connection: Connection, alert: Row[Any], channel: Channel, run: Row[Any], now_ms: int
) -> tuple[News, str] | None:
    items = {item.number: item for item in _items(connection, run.id)}
    found = places(items.values())
    if alert.finding not in found:
        return None  # resolved or muted
    top = _top(alert.finding, found)
    key = _finding_key(run.id, items[top], found[top].severity)
    as_error = _finding_key(run.id, items[top], Severity.ERROR)
    row = connection.execute(select(schema.findings).where(_f.run_id == run.id, _f.number == top)).one()
    if row.acknowledged or items[top].code in SILENCE_CODES or found[top].severity.rank < channel.severity.rank:
        return None
    told = _a.channel == alert.channel, _a.key.in_({key, as_error} - {alert.key}), _a.id != alert.id
    if connection.execute(select(_a.id).where(*told)).first():
        return None  # on another row, or as an error before it was a warning again
    news = News(
        event="finding",
        severity=found[top].severity,
        project=run.project,
        run_id=run.id,
        run=run.name,
        step=run.last_step,
        code=row.code,
        name=row.name,
        number=top,
        message=row.message,
        advice=row.advice,
        first_step=row.first_step,
        last_step=row.last_step,
        symptoms=sum(number != top and _top(number, found) == top for number in found),
        at_ms=now_ms,
    )
    return news, key


def _may_be_news(stored: Row[Any] | None, coming: Finding) -> bool:
    if coming.state != "open":
        return False
    return (
        stored is None
        or stored.state != "open"
        or coming.severity.value != stored.severity
        or coming.cause != stored.cause
    )


def _finding_key(run_id: str, item: _Item, severity: Severity) -> str:
    """Makes the key of an incident; one that was told as a warning is news again as an error."""
    grown = "/error" if severity is Severity.ERROR else ""
    return f"{run_id}/{item.attempt}/{item.code}{grown}"


def _top(number: int, found: Mapping[int, Place]) -> int:
    """Gives the cause at the head of a finding's incident."""
    above = found[number].cause
    while above is not None:
        number, above = above, found[above].cause
    return number


def _channels(connection: Connection) -> tuple[Channel, ...]:
    return tuple(channel_of(row) for row in connection.execute(_WANTED))


def _about(connection: Connection, run_id: str) -> Any:
    found: Any = connection.execute(_ABOUT, {"b_run": run_id}).one_or_none()
    return found


def _items(connection: Connection, run_id: str) -> Sequence[_Item]:
    rows = connection.execute(_ITEMS, {"b_run": run_id})
    return [
        _Item(number, code, attempt, cause, Severity(severity), state, bool(muted))
        for number, code, attempt, cause, severity, state, muted in rows
    ]
