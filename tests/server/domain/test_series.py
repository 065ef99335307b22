"""Views of a track: how many samples they hold, whatever was guessed, and their newest values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.series import EMPTY, Track

steps = st.lists(st.integers(0, 30), max_size=20).map(sorted)


def track_of(at: np.ndarray, values: np.ndarray) -> Track:
    track = Track()
    track.extend(at, values)
    return track


@given(steps, st.integers(-1, 31), st.integers(0, 25))
def test_a_view_holds_the_samples_up_to_its_step_whatever_is_guessed(at: list[int], upto: int, guess: int) -> None:
    track = track_of(np.array(at, np.int64), np.arange(len(at), dtype=float))
    view = track.upto(upto, guess)
    assert view.steps.tolist() == [step for step in at if step <= upto]
    assert view.values.tolist() == list(range(len(view)))


def test_a_view_stays_as_it_was_when_its_track_grows() -> None:
    track = track_of(np.arange(3), np.array([1.0, 2.0, 3.0]))
    view = track.upto(2)
    track.extend(np.arange(3, 40), np.arange(37.0))
    assert (view.last, view.last_step, len(view)) == (3.0, 2, 3)
    assert view.tail(2).tolist() == [2.0, 3.0]
    assert track.upto(39).last == 36.0


@pytest.mark.parametrize("what", ["last", "last_step"])
def test_an_empty_series_has_no_newest_value(what: str) -> None:
    with pytest.raises(IndexError, match="an empty series has no last"):
        getattr(EMPTY, what)


def test_an_empty_track_has_no_last_step() -> None:
    with pytest.raises(IndexError, match="an empty track has no last step"):
        _ = Track().last_step
