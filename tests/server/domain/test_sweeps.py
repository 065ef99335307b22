"""Runs grouped by a setting, and the share of their differences that goes along with it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from server.domain.sweeps import BINS, MOST_GROUPS, groups, mean_and_spread, share


def test_each_value_is_a_group_in_the_order_of_numbers_and_those_without_come_last() -> None:
    made = groups([0.1, 10.0, None, 2, 0.1])
    assert made is not None
    assert [(one.low, one.members) for one in made] == [(0.1, (0, 4)), (2, (3,)), (10.0, (1,)), (None, (2,))]


def test_many_numbers_become_ranges_of_about_as_many_runs_each() -> None:
    values = [float(value) for value in np.random.default_rng(0).permutation(40)]
    made = groups(values)
    assert made is not None
    assert len(made) == BINS
    assert sorted(place for one in made for place in one.members) == list(range(40))
    assert all(8 <= len(one.members) <= 12 for one in made)
    assert made[0].low == 0.0
    assert made[-1].high == 39.0


def test_numbers_of_which_one_is_very_frequent_are_in_one_range_each() -> None:
    made = groups([1.0] * 30 + [float(value) for value in range(2, 20)])
    assert made is not None
    assert sorted(place for one in made for place in one.members) == list(range(48))


def test_settings_that_are_no_number_are_a_group() -> None:
    made = groups([math.nan, 0.1, math.nan, math.inf])
    assert made is not None
    assert sorted((str(one.low), one.members) for one in made) == [("0.1", (1,)), ("NaN", (0, 2)), ("inf", (3,))]


def test_texts_that_nearly_every_run_has_to_itself_are_no_groups() -> None:
    assert groups([f"run-{number}" for number in range(MOST_GROUPS + 1)]) is None
    often = groups([f"set-{number % (MOST_GROUPS + 1)}" for number in range(60)])
    assert often is not None
    assert len(often) == MOST_GROUPS


def test_a_setting_that_decides_everything_has_nearly_all_and_one_that_decides_nothing_has_none() -> None:
    assert share([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]) == pytest.approx(1 - (10 / 42) * 7 / 6)
    assert share([[1.0, 4.0, 5.0, 8.0], [2.0, 3.0, 6.0, 7.0]]) == 0.0


def test_values_by_chance_have_no_share_however_many_groups_they_make() -> None:
    noise = np.random.default_rng(1)
    found = [share(noise.standard_normal((10, 4)).tolist()) or 0.0 for _ in range(200)]
    assert float(np.median(found)) < 0.03


def test_runs_that_diverged_are_the_worst_and_alike() -> None:
    assert share([[1.0, 2.0, 3.0, 4.0], [math.inf] * 4]) == pytest.approx(1 - (5 / 37) * 7 / 6)


@pytest.mark.parametrize("grouped", [[[1.0, 2.0], [3.0, 4.0]], [[1.0] * 5, [1.0] * 5], [[1.0] * 20], []])
def test_nothing_is_said_of_few_runs_or_of_equal_ones(grouped: list[list[float]]) -> None:
    assert share(grouped) is None


def test_a_mean_of_the_largest_numbers_is_infinite_and_one_number_has_no_spread() -> None:
    assert mean_and_spread([1.0, 3.0]) == (2.0, pytest.approx(math.sqrt(2)))
    assert mean_and_spread([5.0]) == (5.0, None)
    assert mean_and_spread([1.7e308, 1.7e308])[0] == math.inf
