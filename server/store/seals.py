"""Packs the samples of one group into a seal: a chunk for each series, its outline beside it, steps and times once.

Pure arithmetic on arrays; the layout is drawn in FORMAT.md. Not for: which samples are sealed when, or where the parts
are stored (sealing.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.domain.series import Steps
from server.store import chunks
from server.store.blocks import Values

SAMPLES = 1_024
PIECE_BYTES = 16_200  # with a run id of up to 100 bytes a row of this size fills one page of 16 KiB
AXES = 3  # steps, times, seqs
AXES_KEPT = 512  # unpacked, about 25 kB each
RUNG_SAMPLES = 64
LADDER_FROM_COLUMNS = 8  # narrower groups are drawn as lines, whose chunks are few

_OFFSET = np.dtype("<u4")
OFFSET_BYTES = _OFFSET.itemsize


def outline_dtype(dtype: str) -> np.dtype[Any]:
    """Gives the layout of one entry of an outline, for a group of f4 or f8."""
    fields = [(name, f"<{dtype}") for name in ("min", "max", "first", "last")]
    return np.dtype([*fields, ("mean", "<f8"), ("nan", "<u2"), ("inf", "<u2"), ("-inf", "<u2")])


@dataclass(frozen=True)
class Samples:
    """Holds samples of one group ordered by step, then by arrival; `seqs` are those of their frames, shape (count,),
    and values have the shape (columns, count).
    """

    steps: Steps
    times_ms: Steps
    seqs: Steps
    values: Values

    def parts(self) -> Iterator[Samples]:
        """Cuts into parts of about SAMPLES samples, of the same size to within one."""
        total = len(self.steps)
        number = max(1, round(total / SAMPLES))
        edges = np.arange(number + 1) * total // number
        for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            cut = slice(begin, end)
            yield Samples(self.steps[cut], self.times_ms[cut], self.seqs[cut], self.values[:, cut])


@dataclass(frozen=True)
class Seal:
    """Holds a packed seal. `directory` says where each chunk begins and ends in `body`, which is stored in pieces."""

    first_step: int
    last_step: int
    first_seq: int
    last_seq: int
    first_ms: int
    last_ms: int
    count: int
    axis: bytes
    directory: bytes
    outline: bytes
    ladder: bytes
    body: bytes

    def pieces(self) -> list[bytes]:
        """Cuts the body into pieces that fill a page each."""
        return [self.body[at : at + PIECE_BYTES] for at in range(0, len(self.body), PIECE_BYTES)]


def seal(samples: Samples) -> Seal:
    """Packs samples of at least one step; raises ValueError for more than a chunk can hold."""
    packed = chunks.pack(samples.values)
    offsets = np.zeros(len(packed) + 1, np.int64)
    np.cumsum([len(chunk) for chunk in packed], out=offsets[1:])
    return Seal(
        first_step=int(samples.steps[0]),
        last_step=int(samples.steps[-1]),
        first_seq=int(samples.seqs.min()),
        last_seq=int(samples.seqs.max()),
        first_ms=int(samples.times_ms[0]),
        last_ms=int(samples.times_ms[-1]),
        count=len(samples.steps),
        axis=chunks.pack_table(np.stack((samples.steps, samples.times_ms, samples.seqs))),
        directory=offsets.astype(_OFFSET).tobytes(),
        outline=outline(samples.values).tobytes(),
        ladder=ladder(samples.values),
        body=b"".join(packed),
    )


def outline(values: Values) -> NDArray[Any]:
    """Sums up each row of values, shape (columns, count): extremes, ends and mean of its finite values (NaN where there
    is none), and how many are NaN, +Inf and −Inf.
    """
    columns, count = values.shape
    entries = np.empty(columns, outline_dtype("f4" if values.dtype.itemsize == 4 else "f8"))
    finite = np.isfinite(values)
    if finite.all():
        entries["min"], entries["max"] = values.min(axis=1), values.max(axis=1)
        entries["first"], entries["last"] = values[:, 0], values[:, -1]
        entries["mean"] = (values / np.float64(count)).sum(axis=1)  # each is divided, so that no sum overflows
        entries["nan"] = entries["inf"] = entries["-inf"] = 0
        return entries
    some = finite.any(axis=1)
    rows = np.arange(columns)
    kept = finite.sum(axis=1)
    with np.errstate(invalid="ignore"):
        entries["min"] = np.where(some, np.where(finite, values, np.inf).min(axis=1), np.nan)
        entries["max"] = np.where(some, np.where(finite, values, -np.inf).max(axis=1), np.nan)
        entries["first"] = np.where(some, values[rows, finite.argmax(axis=1)], np.nan)
        entries["last"] = np.where(some, values[rows, count - 1 - finite[:, ::-1].argmax(axis=1)], np.nan)
        shares = np.where(finite, values, 0) / np.maximum(kept, 1).astype(np.float64)[:, None]
        entries["mean"] = np.where(some, shares.sum(axis=1), np.nan)
    entries["nan"] = np.isnan(values).sum(axis=1)
    entries["inf"] = np.isposinf(values).sum(axis=1)
    entries["-inf"] = np.isneginf(values).sum(axis=1)
    return entries


def ladder(values: Values) -> bytes:
    """Packs the extremes of each RUNG_SAMPLES neighbours of each row, shape (2, columns, rungs); NaN where none is
    finite. Empty for narrow groups.
    """
    columns, count = values.shape
    if columns < LADDER_FROM_COLUMNS:
        return b""
    starts = np.arange(0, count, RUNG_SAMPLES)
    finite = np.isfinite(values)
    every = bool(finite.all())
    low = np.minimum.reduceat(values if every else np.where(finite, values, np.inf), starts, axis=1)
    high = np.maximum.reduceat(values if every else np.where(finite, values, -np.inf), starts, axis=1)
    if not every:
        nothing = ~np.logical_or.reduceat(finite, starts, axis=1)
        low[nothing] = high[nothing] = np.nan
    return chunks.squeeze(np.stack((low, high)).astype(values.dtype, copy=False))


def unpack_ladder(packed: bytes, dtype: str, columns: int) -> tuple[Values, Values]:
    """Gives the smallest and the largest finite value of each rung, shape (columns, rungs) each."""
    both = chunks.unsqueeze(packed, np.dtype(f"<{dtype}")).reshape(2, columns, -1)
    return both[0], both[1]


@lru_cache(maxsize=AXES_KEPT)
def unpack_axis(axis: bytes, count: int) -> tuple[Steps, Steps, Steps]:
    """Gives steps, times and seqs of a seal, not to be written to: all series of a group share them, and a zoom asks
    for the same ones again.
    """
    steps, times_ms, seqs = chunks.unpack_table(axis, AXES, count)
    for one in (steps, times_ms, seqs):
        one.flags.writeable = False
    return steps, times_ms, seqs


def unpack_chunk(chunk: memoryview, kind: np.dtype[Any], count: int) -> Values:
    """Unpacks the chunk of one series, shape (count,)."""
    values: Values = chunks.unpack(chunk, kind, count)
    return values


def unpack_columns(body: memoryview, offsets: NDArray[Any], positions: Sequence[int], dtype: str, count: int) -> Values:
    """Unpacks chunks, shape (positions, count); `offsets` are the directory, `body` begins at offset 0."""
    kind = np.dtype(f"<{dtype}")
    values: Values = np.empty((len(positions), count), kind)
    ends = offsets.tolist()
    for row, position in enumerate(positions):
        values[row] = chunks.unpack(body[ends[position] : ends[position + 1]], kind, count)
    return values


def read_directory(directory: bytes) -> NDArray[Any]:
    """Gives the offsets of the chunks; the last one is the end of the body."""
    return np.frombuffer(directory, _OFFSET)
