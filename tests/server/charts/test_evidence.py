"""Pictures of evidence: nothing that is a number is left out, and what is none is marked."""

from __future__ import annotations

import math
import re

import numpy as np

from server import downsample
from server.charts.evidence import HEIGHT, WIDTH, Picture, draw, levels_of, span_of
from server.domain.findings import Evidence, Finding, Severity


def finding(first: int = 10, last: int = 20, **numbers: float) -> Finding:
    return Finding("r", 1, "GW205", "loss-spike", 1, Severity.WARNING, "open", first, last, last, "m", "a",
                   evidence=Evidence(numbers, {}, ("loss",), 0.5))  # fmt: skip


def picture(values: list[float], found: Finding, words: dict[str, str] | None = None, series: str = "loss") -> Picture:
    steps = np.arange(len(values))
    cut = downsample.buckets(steps, steps, np.array(values), 40)
    drawn = draw(found, series, cut, words or {})
    assert drawn is not None
    return drawn


def test_the_span_begins_before_the_evidence_and_ends_after_it() -> None:
    assert span_of(finding(100, 100)) == (60, 140)
    assert span_of(finding(1_000, 1_500)) == (500, 1_500)
    assert span_of(finding(-1, -1)) == (0, 40)


def test_the_only_spike_of_many_samples_reaches_the_top_of_the_picture() -> None:
    values = [1.0] * 1_000
    values[613] = 2.0
    drawn = picture(values, finding())
    heights = [float(y) for y in re.findall(r" ([0-9.]+)", drawn.area)]
    # 6 of margin, and 6 % of room within the 76 that are left: 6 + 76 * 0.06 / 1.12
    assert math.isclose(min(heights), 10.1, abs_tol=0.1)
    assert (drawn.bottom, drawn.top) == ("1", "2")


def test_what_is_no_number_breaks_the_area_and_is_marked() -> None:
    drawn = picture([1.0, 2.0, math.nan, 1.5, math.inf, 1.0], finding(2, 4))
    assert drawn.area.count("M") == 3
    assert [mark.words for mark in drawn.marks] == ["1 × nan at step 2", "1 × inf at step 4"]
    assert all(0 <= float(mark.x) <= WIDTH for mark in drawn.marks)


def test_levels_are_those_that_the_rule_names_and_that_are_numbers() -> None:
    words = {"before": "baseline", "the limit": "limit", "absent": "absent", "bad": "bad"}
    assert levels_of(finding(before=0.25, bad=math.nan, other=3.0), words) == [("baseline", 0.25), ("limit", 0.5)]
    drawn = picture([1.0, 1.0], finding(before=0.25), words)
    assert [level.kind for level in drawn.levels] == ["baseline", "limit"]
    assert all(0 <= float(level.y) <= HEIGHT for level in drawn.levels)


def test_times_and_memory_have_their_unit() -> None:
    drawn = picture([0.25, 0.75], finding(), {"the limit": "limit"}, "time/step")
    assert (drawn.bottom, drawn.top, drawn.levels[0].value) == ("0.25 s", "0.75 s", "0.5 s")
    assert drawn.summary == "time/step from step 0 to 1: lowest 0.25 s, highest 0.75 s; limit 0.5 s"
    assert picture([1e9, 2e9], finding(), {}, "system/process_memory").top == "2 GB"


def test_values_over_many_decades_are_drawn_by_their_logarithm_unless_one_is_zero() -> None:
    assert picture([1e-3, 1.0, 1e3], finding()).scale == "logarithmic"
    assert picture([0.0, 1.0, 1e3], finding()).scale == ""


def test_a_series_without_a_number_is_a_picture_of_marks() -> None:
    drawn = picture([math.nan, math.nan], finding(0, 1))
    assert drawn.area == ""
    assert drawn.summary == "loss from step 0 to 1: no number; 2 places not finite"
