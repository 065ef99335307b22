"""Frames are the same whether their rows are taken the quick way of single scalars or one value after the other."""

from __future__ import annotations

import math
from typing import Any

from client_hook.framing import MAX_ROWS_A_FRAME, FrameCutter
from client_hook.identity import Identity
from client_hook.ledger import Ledger

LOSS, RATE = ("loss",), ("lr/0",)
ODD: list[tuple[Any, Any, Any]] = [  # step, time, values
    (7, 70, (math.nan,)), (8, 80, (-math.inf,)), (9, 90, (3,)), (10, 100, (True,)), (11, 110, ("much",)), (12, 120, ()),
    (13, 130, (1.0, 2.0)), (14.0, 140, (1.0,)), ("15", 150, (1.0,)), (2**53, 160, (1.0,)), (17, "soon", (1.0,)),
    (18, 180, [0.1]), (2**70, 190, (1.0,)), (-1, 200, (1e300,)),
]  # fmt: skip


def rows(count: int, *, shared: bool) -> list[Any]:
    def name(names: tuple[str, ...]) -> tuple[str, ...]:
        return names if shared else (*names, *())  # an equal one is looked at anew

    made: list[Any] = []
    for step in range(count):
        made.append((step, 10 * step, name(LOSS), (1.0 / (step + 1),), False))
        made.append((step, 10 * step, name(RATE), (0.1,), True))
    for step, time_ms, values in ODD:
        made.append((step, time_ms, name(LOSS), values, False))
        made.append((step, time_ms, name(RATE), values, True))
    return made


def cut(given: list[Any]) -> tuple[list[bytes], dict[str, Any]]:
    ledger = Ledger()
    cutter = FrameCutter(Identity("01920000-0000-7000-8000-000000000001", "a", 0), ledger)
    return [frame.data for frame in cutter.cut(given, [], 5, 1)], ledger.as_dict()


def test_single_scalars_are_cut_as_all_other_rows_are() -> None:
    for count in (0, 1, 300, MAX_ROWS_A_FRAME + 200):
        quick, slow = cut(rows(count, shared=True)), cut(rows(count, shared=False))
        assert quick == slow
        assert len(quick[0]) == 1 + (count > MAX_ROWS_A_FRAME)
        assert sum(quick[1]["dropped"].values()) > 0
