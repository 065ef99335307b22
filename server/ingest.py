"""Takes what hooks send: checks it value by value, stores it, and answers once it is committed.

A frame whose bytes are wrong is refused with a sentence. One bad value, name or record in a good frame is counted and
left out, and everything beside it is kept. Not for: HTTP (server.web.ingest_api) or the bytes (client_hook.wire).
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from client_hook import wire
from client_hook.decoding import FrameTooLarge, decode
from server.domain.findings import Finding
from server.domain.runs import ENDED, NewRun
from server.errors import Busy, InvalidFrame, TooLarge
from server.live import Live
from server.store import Store
from server.store.accepted import AcceptedFrame, AcceptedGroup, AcceptedRecord
from server.store.frames import FrameReceipt

MAX_SERIES_NAME = 500
MAX_RECORD_NAME = 100
MAX_RECORD_CHARACTERS = 2_000_000
MAX_STEP = 2**53
MAX_TIME_MS = 253_402_300_800_000  # the year 10000
RUNS_REMEMBERED = 512

MAX_COLUMNS_OF_A_FRAME = 200_000
MAX_DEPTH = 32
MAX_BODIES_BYTES = 256 * 1024 * 1024

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_ENDINGS = frozenset(state.value for state in ENDED)
_ID_WORDS = "1 to 100 letters, digits, dots, dashes or underscores, a letter or digit first"
_SHORT = ("id", "code", "name", "severity", "state", "first_step", "message", "advice")

Drops = dict[tuple[str, str], int]


@dataclass(frozen=True)
class HandedIn:
    """A frame that was checked and waits for its commit; `receipt` holds the outcome then."""

    run_id: str
    drops: Drops
    receipt: Future[FrameReceipt]


class Ingest:
    """Stores frames and opens runs; safe from any thread."""

    def __init__(self, store: Store, live: Live, clock: Callable[[], int]) -> None:
        self._store = store
        self._live = live
        self._clock = clock
        self._lock = threading.Lock()
        self._findings: OrderedDict[str, tuple[int, list[dict[str, Any]]]] = OrderedDict()
        self._held = 0

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Counts the bytes of a body while it is in memory; raises Busy where too many are already."""
        with self._lock:
            if self._held and self._held + size > MAX_BODIES_BYTES:
                raise Busy(f"{self._held} bytes of frames wait here already; try again in a second.")
            self._held += size
        try:
            yield
        finally:
            with self._lock:
                self._held -= size

    def accept(self, run_id: str, body: bytes) -> dict[str, Any]:
        """Stores one frame and gives the answer of WIRE.md; it is committed when this returns.

        Raises InvalidFrame (TooLarge beyond a limit), UnknownRun, FrameConflict, Busy or StoreError.
        """
        return self.acknowledge(self.hand_in(run_id, body))

    def hand_in(self, run_id: str, body: bytes) -> HandedIn:
        """Checks one frame and puts it in line for the next commit, without waiting for it.

        Raises InvalidFrame (TooLarge beyond a limit) and Busy; the rest that `accept` names is in the receipt.
        """
        try:
            frame = decode(body)
        except FrameTooLarge as error:
            raise TooLarge("frame", str(error)) from None
        except wire.FrameError as error:
            raise InvalidFrame("frame", str(error)) from None
        if frame.run != run_id:
            raise InvalidFrame(
                "run", f"run: the frame says {frame.run!r}, the address {run_id!r}; both must be the same"
            )
        if not _ID.fullmatch(frame.attempt):
            raise _wrong("attempt", frame.attempt, _ID_WORDS)
        columns = sum(len(group.columns) for group in frame.groups)
        if columns > MAX_COLUMNS_OF_A_FRAME:
            raise TooLarge("groups", f"groups: {columns} columns, at most {MAX_COLUMNS_OF_A_FRAME} are accepted")
        now = self._clock()
        drops: Drops = defaultdict(int)
        groups = [_checked_group(group, now, drops) for group in frame.groups]
        records = [_checked_record(record, index, now, drops) for index, record in enumerate(frame.records)]
        receipt = self._store.frames.submit(
            AcceptedFrame(
                run_id=frame.run,
                attempt=frame.attempt,
                rank=frame.rank,
                seq=frame.seq,
                crc=frame.crc,
                complete=frame.complete,
                received_ms=now,
                groups=tuple(group for group in groups if group is not None),
                records=tuple(record for record in records if record is not None),
            )
        )
        return HandedIn(run_id, drops, receipt)

    def acknowledge(self, handed: HandedIn) -> dict[str, Any]:
        """Waits for the commit and gives the answer; raises what the receipt holds."""
        receipt, run_id = handed.receipt.result(), handed.run_id
        if not receipt.duplicate:
            self._live.publish(run_id, "data", receipt.last_step)
            if receipt.state_changed:
                self._live.publish(run_id, "state", receipt.last_step)
        dropped = [{"reason": reason, "what": what, "count": count} for (reason, what), count in handed.drops.items()]
        dropped += [{"reason": reason, "what": "series", "count": count} for reason, count in receipt.dropped]
        return {
            "seq": receipt.seq,
            "duplicate": receipt.duplicate,
            "contiguous": receipt.contiguous,
            "dropped": dropped,
            "findings": self._short_findings(run_id, receipt.findings_version),
        }

    def open_run(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Opens a run or an attempt of it, or hears of one that is open; raises InvalidFrame naming the wrong field."""
        new = read_opening(payload)
        run, attempt, created = self._store.runs.open(new, self._clock())
        self._live.publish(run.id, "state", run.last_step)
        return {"id": run.id, "attempt": attempt, "url": f"/runs/{run.id}", "created": created}

    def needs_findings(self, handed: HandedIn) -> bool:
        """Says whether the answer to a committed frame has to ask the store, because findings changed."""
        version = handed.receipt.result().findings_version
        with self._lock:
            known = self._findings.get(handed.run_id)
        return version != 0 and (known is None or known[0] != version)

    def _short_findings(self, run_id: str, version: int) -> list[dict[str, Any]]:
        """Gives the open findings that nobody muted, read again only when they changed; 0: there never were any."""
        if version == 0:
            return []
        with self._lock:
            known = self._findings.get(run_id)
            if known is not None and known[0] == version:
                self._findings.move_to_end(run_id)
                return known[1]
        found = [
            _short(finding)
            for finding in self._store.findings.list(run_id)
            if finding.state == "open" and not finding.muted
        ]
        with self._lock:
            self._findings[run_id] = (version, found)
            self._findings.move_to_end(run_id)
            while len(self._findings) > RUNS_REMEMBERED:
                self._findings.popitem(last=False)
        return found


def read_opening(payload: Mapping[str, Any]) -> NewRun:
    """Reads what a hook says when it opens a run; raises InvalidFrame naming the field that is wrong."""
    config = payload.get("config") or {}
    if not isinstance(config, Mapping) or _too_deep(config):
        raise _wrong("config", config, f"an object, nested at most {MAX_DEPTH} deep")
    tags = payload.get("tags") or []
    if not isinstance(tags, list) or len(tags) > 100 or not all(isinstance(tag, str) for tag in tags):
        raise _wrong("tags", tags, "a list of at most 100 texts")
    return NewRun(
        id=_identity(payload, "id"),
        attempt=_identity(payload, "attempt"),
        rank=_whole(payload, "rank", 0),
        project=_text(payload, "project", 200) or "default",
        name=_text(payload, "name", 200) or None,
        tags=tuple(_clean(tag)[:100] for tag in tags if tag),
        config=_sound(dict(config)),
        started_ms=_whole(payload, "started_ms", 0, MAX_TIME_MS),
        first_step=_whole(payload, "first_step", 0),
        hook_version=_text(payload, "hook_version", 100),
        host=_text(payload, "host", 300),
        preflight=_flag(payload, "preflight"),
    )


def _checked_group(group: wire.Group, now: int, drops: Drops) -> AcceptedGroup | None:
    steps = np.frombuffer(group.steps, "<i8")
    times = np.frombuffer(group.times_ms, "<i8")
    values = np.frombuffer(group.values, "<f4" if group.dtype == "f4" else "<f8").reshape(len(group.columns), -1)
    kept = _checked_columns(group.columns, group.count, drops)
    if len(kept) < len(group.columns):
        values = values[kept]
    good = (steps >= -1) & (steps < MAX_STEP)
    if not good.all():
        wrong = int(steps[~good][0])
        drops[f"step {wrong} is not one from -1 to 2^53", "values"] += int((~good).sum()) * len(kept)
        steps, times, values = steps[good], times[good], values[:, good]
    if not len(steps) or not kept:
        return None
    if int(times.min()) < 0 or int(times.max()) > MAX_TIME_MS:
        times = np.where((times < 0) | (times > MAX_TIME_MS), now, times)
    return AcceptedGroup(tuple(group.columns[index] for index in kept), steps, times, values)


def _checked_columns(columns: tuple[str, ...], count: int, drops: Drops) -> list[int]:
    kept: list[int] = []
    seen: set[str] = set()
    for index, name in enumerate(columns):
        if not 1 <= len(name) <= MAX_SERIES_NAME or _CONTROL.search(name):
            reason = f"the series name {name[:60]!a} is empty, longer than {MAX_SERIES_NAME} or has control characters"
            drops[reason, "values"] += count
        elif name in seen:
            drops[f"the series {name[:60]!a} stands twice in one group", "values"] += count
        else:
            seen.add(name)
            kept.append(index)
    return kept


def _checked_record(record: dict[str, Any], index: int, now: int, drops: Drops) -> AcceptedRecord | None:
    kind, name, step = record["kind"], record.get("name"), record.get("step", -1)
    where = f"records[{index}]"
    if kind not in ("fact", "event", "status"):
        drops[f"{where}.kind is {kind[:40]!a}, expected fact, event or status", "records"] += 1
    elif not isinstance(name, str) or not 1 <= len(name) <= MAX_RECORD_NAME or _CONTROL.search(name):
        drops[
            f"{where}.name is {str(name)[:40]!a}, expected a text of 1 to {MAX_RECORD_NAME} characters", "records"
        ] += 1
    elif kind == "status" and name not in _ENDINGS:
        drops[f"{where}.name is {name[:40]!a}, expected one of {', '.join(sorted(_ENDINGS))}", "records"] += 1
    elif not isinstance(step, int) or isinstance(step, bool) or not -1 <= step < MAX_STEP:
        drops[f"{where}.step is {step!r:.40}, expected an integer from -1", "records"] += 1
    elif _too_deep(record.get("value")):
        drops[f"{where}.value is nested more than {MAX_DEPTH} deep", "records"] += 1
    else:
        value = _sound(record.get("value"))
        if kind == "status":
            value = {**value, "state": name} if isinstance(value, dict) else {"state": name}
        elif kind == "event" and not isinstance(value, dict):
            value = {"value": value}
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        if len(text) <= MAX_RECORD_CHARACTERS:
            time_ms = record.get("time_ms")
            known = isinstance(time_ms, int) and 0 <= time_ms <= MAX_TIME_MS
            return AcceptedRecord(kind, name, step, time_ms if known else now, value, text)  # type: ignore[arg-type]
        drops[f"{where}: {len(text)} characters, at most {MAX_RECORD_CHARACTERS} are kept", "records"] += 1
    return None


def _short(finding: Finding) -> dict[str, Any]:
    short = {name: getattr(finding, name) for name in _SHORT}
    return {**short, "severity": finding.severity.value}


def _identity(payload: Mapping[str, Any], key: str) -> str:
    value = payload.get(key)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise _wrong(key, value, _ID_WORDS)
    return value


def _whole(payload: Mapping[str, Any], key: str, default: int, limit: int = MAX_STEP) -> int:
    value = payload.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise _wrong(key, value, f"an integer from 0, below {limit}")
    return value


def _flag(payload: Mapping[str, Any], key: str) -> bool:
    value = payload.get(key)
    if value is not None and not isinstance(value, bool):
        raise _wrong(key, value, "true or false")
    return bool(value)


def _text(payload: Mapping[str, Any], key: str, limit: int) -> str:
    value = payload.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(key, value, f"a text of at most {limit} characters")
    return _clean(value)[:limit]


def _too_deep(value: Any, depth: int = 0) -> bool:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return depth > MAX_DEPTH or any(_too_deep(item, depth + 1) for item in inner)


def _sound(value: Any) -> Any:
    """Copies a JSON value so that every database and browser can hold it: no lone surrogates, no giant numbers."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_sound(key): _sound(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_sound(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return wire.json_safe(value)


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()


def _wrong(key: str, value: Any, right: str) -> InvalidFrame:
    return InvalidFrame(key, f"{key}: got {value!r:.80}, expected {right}")
