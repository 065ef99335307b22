"""Cuts a series into the buckets that a chart can draw: extremes, first, last and every non-finite value are kept.

A bucket holds about as many neighbouring samples as any other, so that a burst of samples is drawn as finely as a
sparse stretch. What is cut are *spans*: single samples, or sealed stretches of which only the summary is known; the
result says the same of both. Not for: means (server.smoothing) or drawing (server.charts).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from server.domain.series import Floats, Steps

KINDS = ("nan", "inf", "-inf")


@dataclass(frozen=True)
class NonFinite:
    """Counts the values of one kind ("nan", "inf", "-inf") in the bucket of this index; `step` and `last_step` are
    theirs.
    """

    step: int
    last_step: int
    count: int
    kind: str
    bucket: int


@dataclass(frozen=True)
class Buckets:
    """Holds one entry a bucket, oldest first. `min`, `max`, `first` and `last` are over the finite values of a bucket,
    NaN where it has none; `steps`, `times_ms` and `x` are those of its first sample, `last_steps` are the steps of its
    last one; `count` counts all of its samples.
    """

    steps: Steps
    last_steps: Steps
    times_ms: Steps
    x: Floats
    min: Floats
    max: Floats
    first: Floats
    last: Floats
    count: Steps
    nonfinite: tuple[NonFinite, ...]


@dataclass(frozen=True)
class Cut:
    """Holds one series of one attempt and rank as a chart can draw it. `smooth` is the smoothed value at the last
    finite sample of each bucket, where it was asked for.
    """

    name: str
    attempt: int
    rank: int
    buckets: Buckets
    smooth: Floats | None = None


@dataclass(frozen=True)
class Spans:
    """Holds neighbouring stretches of samples, ordered by step: one entry each, shape (n,); `nonfinite` is (3, n), in
    the order of KINDS. The extremes and ends are over finite values, NaN where there is none.
    """

    first_step: Steps
    last_step: Steps
    times_ms: Steps
    count: Steps
    min: Floats
    max: Floats
    first: Floats
    last: Floats
    nonfinite: Steps

    @classmethod
    def of_samples(cls, steps: Steps, times_ms: Steps, values: Floats) -> Spans:
        """Makes a span of each sample."""
        finite = np.where(np.isfinite(values), values, np.nan)
        bad = np.stack((np.isnan(values), values == np.inf, values == -np.inf)).astype(np.int64)
        return cls(steps, steps, times_ms, np.ones(len(steps), np.int64), finite, finite, finite, finite, bad)

    @classmethod
    def joined(cls, parts: list[Spans]) -> Spans | None:
        """Puts spans into the order of their steps; None where spans of two parts overlap or touch, so that only the
        samples can tell the order.
        """
        whole = cls(*(np.concatenate([getattr(part, item.name) for part in parts], axis=-1) for item in fields(cls)))
        order = np.lexsort((whole.last_step, whole.first_step))
        part = np.repeat(np.arange(len(parts)), [len(one.count) for one in parts])[order]
        whole = cls(*(getattr(whole, item.name)[..., order] for item in fields(cls)))
        apart = whole.last_step[:-1] < whole.first_step[1:]
        touching = (whole.last_step[:-1] == whole.first_step[1:]) & (part[1:] == part[:-1])
        return whole if bool((apart | touching).all()) else None


def buckets(steps: Steps, times_ms: Steps, values: Floats, points: int) -> Buckets:
    """Cuts samples, ordered by step, into at most `points` // 2 buckets: each draws two points, its extremes.

    A series that fits is not cut: one bucket a sample. Shapes: (n,) each. Raises ValueError for fewer than two points.
    """
    starts = edges(len(steps), points)
    if not len(starts):
        return _nothing()
    finite = np.isfinite(values)
    if finite.all():
        count = np.diff(starts, append=len(steps))
        ends = starts + count - 1
        low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        x = steps[starts].astype(np.float64)
        return Buckets(
            steps[starts], steps[ends], times_ms[starts], x, low, high, values[starts], values[ends], count, ()
        )
    return _reduce(Spans.of_samples(steps, times_ms, values), starts)


def merge(spans: Spans, points: int) -> Buckets:
    """Cuts spans into at most `points` // 2 buckets of about equally many samples; a span is never divided."""
    if points < 2:
        raise ValueError(f"points is {points}; at least 2 are needed, a bucket draws two")
    if not len(spans.count):
        return _nothing()
    wanted = min(len(spans.count), points // 2)
    middle = np.cumsum(spans.count) - spans.count / 2
    bucket = np.minimum((middle * wanted / spans.count.sum()).astype(np.int64), wanted - 1)
    return _reduce(spans, np.flatnonzero(np.diff(bucket, prepend=-1)))


def edges(total: int, points: int) -> Steps:
    """Gives the index of the first sample of each bucket of `total` samples."""
    if points < 2:
        raise ValueError(f"points is {points}; at least 2 are needed, a bucket draws two")
    wanted = total if total <= points // 2 else points // 2
    return np.arange(wanted, dtype=np.int64) * total // max(1, wanted)


def last_finite(values: Floats, starts: Steps) -> Floats:
    """Gives the last finite value of each bucket; NaN where there is none."""
    if not len(starts):
        return np.empty(0)
    index = np.arange(len(values), dtype=np.int64)
    latest = np.maximum.reduceat(np.where(np.isfinite(values), index, -1), starts)
    found: Floats = np.append(values, np.nan)[latest]
    return found


def _nothing() -> Buckets:
    nothing, none = np.empty(0), np.empty(0, np.int64)
    return Buckets(none, none, none, nothing, nothing, nothing, nothing, nothing, none, ())


def _reduce(spans: Spans, starts: Steps) -> Buckets:
    steps = spans.first_step[starts]
    return Buckets(
        steps=steps,
        last_steps=spans.last_step[np.append(starts[1:], len(spans.count)) - 1],
        times_ms=spans.times_ms[starts],
        x=steps.astype(np.float64),
        min=np.fmin.reduceat(spans.min, starts),
        max=np.fmax.reduceat(spans.max, starts),
        first=_first_finite(spans.first, starts),
        last=last_finite(spans.last, starts),
        count=np.add.reduceat(spans.count, starts),
        nonfinite=_nonfinite(spans, starts),
    )


def _first_finite(values: Floats, starts: Steps) -> Floats:
    total = len(values)
    index = np.arange(total, dtype=np.int64)
    earliest = np.minimum.reduceat(np.where(np.isfinite(values), index, total), starts)
    found: Floats = np.append(values, np.nan)[earliest]
    return found


def _nonfinite(spans: Spans, starts: Steps) -> tuple[NonFinite, ...]:
    """Gives one entry for each bucket and kind that has any, oldest first."""
    found: list[NonFinite] = []
    for kind, counts in zip(KINDS, spans.nonfinite, strict=True):
        where = np.flatnonzero(counts)
        if not len(where):
            continue
        bucket = np.searchsorted(starts, where, side="right") - 1
        begin = np.flatnonzero(np.diff(bucket, prepend=-1))
        end = np.append(begin[1:], len(where)) - 1
        totals = np.add.reduceat(counts[where], begin)
        for at, first, last, total in zip(bucket[begin], where[begin], where[end], totals, strict=True):
            step, last_step = int(spans.first_step[first]), int(spans.last_step[last])
            found.append(NonFinite(step, last_step, int(total), kind, int(at)))
    return tuple(sorted(found, key=lambda entry: entry.bucket))
