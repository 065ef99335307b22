"""The policy for garbage: what lasts is looked at once, and what dies later is collected all the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from server import garbage
from server.garbage import Garbage


class Ring:
    """Holds itself: only the collector can free it."""

    def __init__(self) -> None:
        self.me = self


class Asked:
    """Counts requests and the time, as a test wants them."""

    def __init__(self) -> None:
        self.requests = 0
        self.seconds = 0.0


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def policy(asked: Asked) -> Iterator[Garbage]:
    with Garbage(lambda: asked.requests, lambda: asked.seconds) as found:
        yield found


def frozen_ring() -> weakref.ref[Ring]:
    """Makes a cycle that dies after it was frozen."""
    ring = Ring()
    gc.collect()
    return weakref.ref(ring)


def test_what_outlived_a_full_collection_is_not_looked_at_in_the_next(policy: Garbage) -> None:
    lasting = [Ring() for _ in range(1_000)]
    gc.collect()
    assert not any(item is lasting[0] for item in gc.get_objects())
    assert gc.get_freeze_count() > len(lasting)


def test_a_cycle_that_dies_young_is_collected_at_once(policy: Garbage) -> None:
    ring = weakref.ref(Ring())
    gc.collect()
    assert ring() is None


def test_a_cycle_that_dies_late_is_collected_in_a_quiet_moment(policy: Garbage, asked: Asked) -> None:
    ring = frozen_ring()
    gc.collect()
    assert ring() is not None
    asked.seconds = garbage.BETWEEN_S
    asked.requests = 1
    assert not policy.look(), "somebody has just asked for something"
    assert policy.look()
    assert ring() is None


def test_a_quiet_moment_is_not_used_again_before_something_was_frozen(policy: Garbage, asked: Asked) -> None:
    frozen_ring()
    policy.look()
    asked.seconds = garbage.BETWEEN_S
    assert policy.look()
    asked.seconds *= 3
    assert not policy.look(), "nothing was made since"
    gc.collect()
    asked.seconds += garbage.BETWEEN_S - 1
    assert policy.look()
    gc.collect()
    assert not policy.look(), "the last one was just now"


def test_garbage_is_bounded_where_no_moment_is_quiet(
    policy: Garbage, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "MOST_MADE", 3 * garbage.A_FREEZE)
    monkeypatch.setattr(garbage, "TIMES_KEPT", 0)
    ring = frozen_ring()
    looks = []
    for _ in range(4):
        asked.requests += 1
        looks.append(policy.look())
        gc.collect()
    assert looks == [False, False, True, False]
    assert ring() is None


def test_it_leaves_the_collector_as_it_was() -> None:
    callbacks, thresholds = list(gc.callbacks), gc.get_threshold()
    with Garbage(lambda: 0) as policy:
        policy.start()
        gc.collect()
    assert gc.callbacks == callbacks
    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() == 0
