"""Checks a frame value by value: one bad value, name or record is counted and left out, and the rest is kept."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from client_hook import wire
from server.domain.runs import ENDED
from server.ingest.values import CONTROL, MAX_DEPTH, MAX_STEP, MAX_TIME_MS, letters, sound, too_deep
from server.store.accepted import AcceptedGroup, AcceptedRecord

MAX_SERIES_NAME = 500
MAX_RECORD_NAME = 100
MAX_RECORD_CHARACTERS = 2_000_000

_ENDINGS = frozenset(state.value for state in ENDED)

Drops = dict[tuple[str, str], int]


def checked_group(group: wire.Group, now: int, drops: Drops) -> AcceptedGroup | None:
    """Gives what is good of a group; None where nothing is."""
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
        if not 1 <= len(name) <= MAX_SERIES_NAME or CONTROL.search(name):
            reason = f"the series name {name[:60]!a} is empty, longer than {MAX_SERIES_NAME} or has control characters"
            drops[reason, "values"] += count
        elif name in seen:
            drops[f"the series {name[:60]!a} stands twice in one group", "values"] += count
        else:
            seen.add(name)
            kept.append(index)
    return kept


def checked_record(record: dict[str, Any], index: int, now: int, drops: Drops) -> AcceptedRecord | None:
    """Gives a record that can be stored; None where it cannot."""
    kind, name, step = record["kind"], record.get("name"), record.get("step", -1)
    where = f"records[{index}]"
    if kind not in ("fact", "event", "status"):
        drops[f"{where}.kind is {kind[:40]!a}, expected fact, event or status", "records"] += 1
    elif not isinstance(name, str) or not 1 <= len(name) <= MAX_RECORD_NAME or CONTROL.search(name):
        drops[
            f"{where}.name is {str(name)[:40]!a}, expected a text of 1 to {MAX_RECORD_NAME} characters", "records"
        ] += 1
    elif kind == "status" and name not in _ENDINGS:
        drops[f"{where}.name is {name[:40]!a}, expected one of {', '.join(sorted(_ENDINGS))}", "records"] += 1
    elif not isinstance(step, int) or isinstance(step, bool) or not -1 <= step < MAX_STEP:
        drops[f"{where}.step is {step!r:.40}, expected an integer from -1", "records"] += 1
    elif too_deep(record.get("value")):
        drops[f"{where}.value is nested more than {MAX_DEPTH} deep", "records"] += 1
    elif (least := letters(record.get("value"))) > MAX_RECORD_CHARACTERS:  # before it is copied
        drops[f"{where}: {least} characters, at most {MAX_RECORD_CHARACTERS} are kept", "records"] += 1
    else:
        value = sound(record.get("value"))
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


def summed(drops: Drops, most: int) -> Drops:
    """Keeps the first reasons, and counts what the others left out: an answer is not larger than its frame."""
    told = dict(list(drops.items())[:most])
    for (_, what), count in list(drops.items())[most:]:
        other = (f"further reasons, as those of the first {most}", what)
        told[other] = told.get(other, 0) + count
    return told
