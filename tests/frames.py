"""Packs plain numbers into the groups of a frame, for tests that write frames by hand."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

from client_hook.wire import Group


def pack_group(columns: Iterable[str], steps: Sequence[int], times_ms: Sequence[int], rows: Any, dtype: str) -> Group:
    """Packs plain numbers into a group; `rows` is one sequence of values a step, shape (steps, columns)."""
    names = tuple(columns)
    count = len(steps)
    letter = "f" if dtype == "f4" else "d"
    by_column = [row[index] for index in range(len(names)) for row in rows]
    return Group(
        names,
        dtype,
        count,
        struct.pack(f"<{count}q", *steps),
        struct.pack(f"<{count}q", *times_ms),
        struct.pack(f"<{len(by_column)}{letter}", *by_column),
    )
