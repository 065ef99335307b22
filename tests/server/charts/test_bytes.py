"""Lines travel as bytes: shorter than digits, and nothing that a reader sees is lost."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest

from server.charts.base import Request
from server.charts.catalogue import CHARTS, to_json
from tests.server.charts.kit import cut, series


def sent(values: list[float], points: int = 1_000) -> dict[str, np.ndarray]:
    drawing = CHARTS["series"].draw(Request([cut(series("mine", values), points)]))
    trace = json.loads(to_json(drawing, ""))["figure"]["data"][0]
    return {
        key: np.frombuffer(base64.b64decode(packed["bdata"]), "<" + packed["dtype"])
        for key, packed in trace.items()
        if isinstance(packed, dict) and "bdata" in packed
    }


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.1, -2.5, math.nan], "f4"),
        ([1.0, 0.0, -3.0], "i4"),
        ([1.0, math.nan], "f4"),  # no whole number stands for NaN
        ([2.0**24 + 1, math.nan], "f8"),
        ([2.0**40, 1.0], "f8"),
        ([1e-40, 1.0], "f8"),
        ([1e300, 1.0], "f8"),
        ([math.nan], "f4"),
    ],
)
def test_values_keep_what_a_reader_sees(values: list[float], kind: str) -> None:
    told = sent(values)
    assert told["y"].dtype.str == "<" + kind
    np.testing.assert_allclose(told["y"].astype(float), values, rtol=1e-7)
    assert told["x"].tolist() == list(range(len(values)))
    assert told["x"].dtype.kind == "i"


def test_the_number_of_points_behind_each_place_comes_along() -> None:
    told = sent(np.arange(10_000.0).tolist(), points=20)
    assert told["customdata"].tolist() == [1_000] * 20
