"""Writes every point of series as text, a stretch at a time, so that a run of any length can be taken out.

CSV has one point a line, values with as many digits as tell them from their neighbours, `nan`, `inf` and `-inf` as they
are. JSON has an object a stretch; a value that is no number is null there and named beside it. Not for: reading.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from server.domain.series import SeriesData

HEADER = ("series", "attempt", "rank", "step", "time_ms", "value")
ROWS_A_PART = 4_096
# A spreadsheet takes a text that begins so for a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(stretches: Iterable[SeriesData]) -> Iterator[str]:
    """Gives the lines of a CSV file in parts; names that a spreadsheet would run get an apostrophe in front."""
    yield _lines([HEADER])
    yield from _points(stretches)


def runs_as_csv(runs: Iterable[tuple[str, str, Iterable[SeriesData]]]) -> Iterator[str]:
    """Gives the lines of a CSV file of several runs, each with its id and name before every point."""
    yield _lines([("run", "name", *HEADER)])
    for run_id, name, stretches in runs:
        yield from _points(stretches, (plain(run_id), plain(name)))


def table(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Gives the lines of a CSV file of any rows, with texts that a spreadsheet would run made plain."""
    left = iter(rows)
    while part := list(islice(left, ROWS_A_PART)):
        yield _lines([plain(value) if isinstance(value, str) else value for value in row] for row in part)


def plain(text: str) -> str:
    """Puts an apostrophe before a text that a spreadsheet would take for a formula."""
    return "'" + text if text.startswith(_FORMULA) else text


def _points(stretches: Iterable[SeriesData], before: tuple[str, ...] = ()) -> Iterator[str]:
    for data in stretches:
        name = plain(data.name)
        for at in range(0, len(data.steps), ROWS_A_PART):
            cut = slice(at, at + ROWS_A_PART)
            values = map(repr, data.values[cut].tolist())
            rows = zip(data.steps[cut].tolist(), data.times_ms[cut].tolist(), values, strict=True)
            yield _lines((*before, name, data.attempt, data.rank, *row) for row in rows)


def as_json(stretches: Iterable[SeriesData]) -> Iterator[str]:
    """Gives the parts of one JSON document: {"items": [{name, attempt, rank, steps, times_ms, values, nonfinite}]}.

    `nonfinite` maps the index of a null value to "nan", "inf" or "-inf". A series may have several items.
    """
    before = '{"items":['
    for data in stretches:
        yield before + json.dumps(_object(data), separators=(",", ":"), ensure_ascii=False)
        before = ","
    yield ("]}" if before == "," else before + "]}") + "\n"


def _lines(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _object(data: SeriesData) -> dict[str, object]:
    finite = np.isfinite(data.values)
    values: list[float | None] = data.values.tolist()
    bad = {}
    for index in np.flatnonzero(~finite).tolist():
        bad[str(index)] = repr(values[index])
        values[index] = None
    return {
        "name": data.name,
        "attempt": data.attempt,
        "rank": data.rank,
        "steps": data.steps.tolist(),
        "times_ms": data.times_ms.tolist(),
        "values": values,
        "nonfinite": bad,
    }
