"""The governor keeps the hook's share under its budget, whatever a measurement costs; no clock runs in these tests."""

from __future__ import annotations

import itertools

import pytest

from client_hook.governor import BURST_STEPS, MOST_PLAIN, Governor


@pytest.fixture(autouse=True)
def measure_all_of_the_first_steps() -> None:
    """Leaves the limit as it is: here it is the subject."""


def drive(
    governor: Governor, steps: int, *, step_s: float, sample_s: float, plain_s: float = 5e-6, plain: bool = False
) -> list[bool]:
    """Plays a training: every step takes `step_s`, a measured one `sample_s` more."""
    sampled = True
    history = []
    waiting = 0
    for _ in range(steps):
        history.append(sampled)
        spent = plain_s + (sample_s if sampled else 0.0)
        if plain and not sampled and governor.steps > 100:
            waiting += 1
            if waiting >= governor.look_after:
                sampled = governor.plain_steps(waiting, waiting * (step_s + spent), waiting * spent)
                waiting = 0
        else:
            sampled = governor.after_step(step_s + spent, spent, sampled)
    return history


def test_the_first_twenty_steps_are_all_measured() -> None:
    assert all(drive(Governor(), 20, step_s=0.01, sample_s=0.004))


def test_the_first_steps_take_at_most_two_seconds_in_all() -> None:
    governor = Governor()
    history = drive(governor, 20, step_s=5.0, sample_s=0.5)
    assert 2 <= sum(history) < 20
    assert governor.first_spent_s <= 2.0


@pytest.mark.parametrize("step_s", [0.002, 0.02, 0.2])
@pytest.mark.parametrize("sample_s", [0.0002, 0.002, 0.02, 0.2])
@pytest.mark.parametrize("plain", [False, True])
def test_the_share_stays_under_the_budget(step_s: float, sample_s: float, plain: bool) -> None:
    governor = Governor(0.01)
    drive(governor, 5_000, step_s=step_s, sample_s=sample_s, plain=plain)
    summary = governor.summary()
    assert summary["share"] <= 0.01
    assert summary["steps_20_100_share"] <= 0.10


def test_the_time_that_it_took_after_step_100_is_told_apart_from_that_of_the_first_steps() -> None:
    governor = Governor(0.01)
    drive(governor, 100, step_s=0.02, sample_s=0.02)
    assert governor.summary()["after_100_s"] == 0.0
    governor.plain_steps(10, 10 * 0.02, 0.003)
    assert governor.summary()["after_100_s"] == pytest.approx(0.003)


def test_a_cheap_measurement_uses_most_of_its_budget() -> None:
    governor = Governor(0.01)
    history = drive(governor, 2_000, step_s=0.05, sample_s=0.004)
    assert 0.006 < governor.share <= 0.01
    gaps = [late - early for early, late in zip(_measured(history), _measured(history)[1:], strict=False)]
    assert max(gaps[-50:]) <= 2 * min(gaps[-50:]), "an even rhythm"


@pytest.mark.parametrize("sample_s", [0.0002, 0.002, 0.02])
def test_plain_steps_lead_to_about_as_many_measurements(sample_s: float) -> None:
    closely, seldom = Governor(0.01), Governor(0.01)
    often = sum(drive(closely, 5_000, step_s=0.02, sample_s=sample_s)[100:])
    plain = sum(drive(seldom, 5_000, step_s=0.02, sample_s=sample_s, plain=True)[100:])
    assert often * 0.8 <= plain <= often * 1.05
    assert 5_000 - MOST_PLAIN <= seldom.steps <= closely.steps == 5_000
    assert seldom.share <= 0.01


@pytest.mark.parametrize("sample_s", [0.0003, 0.003, 0.02])
@pytest.mark.parametrize("plain", [False, True])
def test_ranks_whose_clocks_differ_measure_the_same_steps(sample_s: float, plain: bool) -> None:
    fast, slow = Governor(0.01, together=True), Governor(0.01, together=True)
    one = _measured(drive(fast, 10_000, step_s=0.02, sample_s=sample_s, plain_s=10e-6, plain=plain))
    other = _measured(drive(slow, 10_000, step_s=0.02, sample_s=1.7 * sample_s, plain_s=14e-6, plain=plain))
    late = [step for step in one if step > 100]
    assert len(set(late) & set(other)) >= 0.4 * len(late) > 12
    assert max(fast.share, slow.share) <= 0.01
    gaps = {after - before for before, after in itertools.pairwise(late)}
    assert len(gaps) > 2, "no even rhythm, with which a period of the training could fall in"


def test_ranks_meet_also_where_plain_steps_take_the_budget() -> None:
    ranks = [Governor(0.01, together=True) for _ in range(2)]
    measured = [
        set(_measured(drive(rank, 20_000, step_s=0.003, sample_s=0.002, plain_s=plain_s, plain=True)))
        for rank, plain_s in zip(ranks, (25e-6, 40e-6), strict=True)
    ]
    assert sum(step > 5_000 for step in measured[0] & measured[1]) >= 5


def test_where_plain_steps_are_dear_a_long_run_is_measured_less_and_less() -> None:
    measured = _measured(drive(Governor(0.01), 40_000, step_s=0.001, sample_s=0.001, plain_s=20e-6, plain=True))
    assert sum(100 < at <= 5_000 for at in measured) == 19, "a short one as often as ever"
    assert 30 < sum(at > 5_000 for at in measured) < 60, "every 250 steps would be 140"


@pytest.mark.parametrize("plain_us", [12.0, 16.0, 18.0])
def test_measurements_take_no_more_than_plain_steps_leave_of_the_budget(plain_us: float) -> None:
    governor = Governor(0.01)
    measured = _measured(drive(governor, 20_000, step_s=0.0024, sample_s=0.004, plain_s=1e-6 * plain_us, plain=True))
    assert len(measured) >= 12, "it is measured all the same"
    assert governor.share <= 0.01


def test_where_plain_steps_take_all_of_the_budget_a_quarter_of_it_is_for_measurements() -> None:
    governor = Governor(0.01)
    drive(governor, 4_000, step_s=0.0025, sample_s=0.004, plain_s=25e-6, plain=True)
    plain_share = 25e-6 / (0.0025 + 25e-6)
    assert plain_share < governor.share <= plain_share + 0.0026


def test_an_alarm_is_heard_at_the_next_plain_steps() -> None:
    governor = Governor(0.01)
    drive(governor, 500, step_s=0.02, sample_s=0.01, plain=True)
    governor.alarm()
    assert governor.plain_steps(3, 0.06, 15e-6)


def test_steps_20_to_100_are_measured_more_densely() -> None:
    history = drive(Governor(0.01), 1_000, step_s=0.05, sample_s=0.01)
    assert sum(history[20:100]) / 80 > 4 * sum(history[200:]) / 800


def test_a_larger_budget_than_ten_percent_is_kept() -> None:
    governor = Governor(0.5)
    assert all(drive(governor, 500, step_s=0.01, sample_s=0.001))


def test_after_an_alarm_every_step_is_measured_for_a_while_and_paid_back() -> None:
    governor = Governor(0.01)
    drive(governor, 500, step_s=0.02, sample_s=0.01)
    assert governor.alarm()
    history = drive(governor, 190, step_s=0.02, sample_s=0.01)
    assert all(history[1:BURST_STEPS])
    assert not any(history[BURST_STEPS + 1 : 150]), "then it saves"
    assert not governor.alarm(), "not again at once"
    drive(governor, 3_000, step_s=0.02, sample_s=0.01)
    assert governor.share <= 0.01
    assert governor.alarm()


def test_a_pause_saves_up_only_a_little() -> None:
    governor = Governor(0.01)
    drive(governor, 300, step_s=0.02, sample_s=0.005)
    governor.after_step(600.0, 5e-6, False)  # a validation
    history = drive(governor, 40, step_s=0.02, sample_s=0.005)
    assert sum(history[1:]) <= 4


def test_the_report_is_the_share_since_the_last_one() -> None:
    governor = Governor()
    governor.after_step(1.0, 0.25, True)
    assert governor.report() == 0.25
    governor.after_step(1.0, 0.5, True)
    assert governor.report() == 0.5
    assert governor.report() == 0.0


def _measured(history: list[bool]) -> list[int]:
    return [index for index, sampled in enumerate(history) if sampled and index > 100]
