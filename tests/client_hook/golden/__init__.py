"""Frames as releases wrote them. A file here is never changed: every later version must read it for ever."""

from __future__ import annotations

import math
from pathlib import Path

from client_hook import wire
from tests.frames import pack_group

HERE = Path(__file__).parent
STEPS, TIMES = [3, 4, 9], [1_790_000_000_000, 1_790_000_000_250, 1_790_000_001_000]


def small() -> wire.Frame:
    """Gives a frame with two groups, numbers that are none, and records, as 0.1.0 wrote it."""
    exact = pack_group(("loss", "lr/0"), STEPS, TIMES, [[0.1, 1e-3], [math.nan, 1e-3], [math.inf, -math.inf]], "f8")
    rounded = pack_group(("grad_norm/fc.weight",), STEPS[:1], TIMES[:1], [[2.5]], "f4")
    return wire.Frame(
        run="01920000-0000-7000-8000-000000000001",
        attempt="01920000-0000-7000-8000-000000000002",
        rank=1,
        seq=7,
        created_ms=1_790_000_001_234,
        complete=9,
        groups=(exact, rounded),
        records=(
            {"kind": "fact", "name": "tags", "step": -1, "time_ms": 1_790_000_000_000, "value": ["größe", "名前"]},
            {"kind": "status", "name": "finished", "step": 9, "time_ms": 1_790_000_001_000, "value": {}},
        ),
    )


def large() -> wire.Frame:
    """Gives a frame that is compressed, as 0.1.0 wrote it."""
    names = tuple(f"act/std/layer{index}" for index in range(20))
    rows = [[step + index / 4 for index in range(20)] for step in range(40)]
    group = pack_group(names, list(range(40)), [1_790_000_000_000 + step for step in range(40)], rows, "f4")
    return wire.Frame("run", "attempt", 0, 0, 1_790_000_000_000, 39, (group,))


FRAMES = {"0.1.0-small": small, "0.1.0-compressed": large}
