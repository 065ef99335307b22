"""S11: one run of many is deleted while others send: nobody waits long for the database, and the others are untouched.

What becomes of the space is in tests/server/store/test_deletion.py; `python -m benchmarks.deletion` prints how long the
longest transaction takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.store import Store
from tests.counts import count, patience
from tests.postgres import Cluster
from tests.server.reliability.one_of_many import LARGE, SENDERS, fill, sending, small, transactions
from tests.server.store.kit import url_in
from tests.serving import wait_until

MANY, FRAMES = count(60, 1_000), count(45, 600)
LONGEST_S = 1.0  # ten times the promise: this only catches a deletion in one go


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Opens an empty database of either kind."""
    cluster: Cluster | None = request.getfixturevalue("postgres_cluster") if request.param == "postgresql" else None
    opened = Store.open(cluster.new_database() if cluster else url_in(tmp_path))
    yield opened
    opened.close()


def test_s11_a_run_is_deleted_while_others_send_and_nobody_waits_or_changes(store: Store) -> None:
    fill(store, MANY, FRAMES)
    with transactions(store) as taken, sending(store) as sent:
        wait_until(lambda: min(sent) > 3, "every run is sending")
        before = list(sent)
        assert store.runs.delete(LARGE)
        assert all(now > then for now, then in zip(sent, before, strict=True)), "frames were stored meanwhile"
    assert max(taken) < patience(LONGEST_S)
    assert store.runs.get(LARGE) is None
    for number in range(MANY):
        more = [(seq, float(seq)) for seq in range(1, sent[number])] if number < SENDERS else []
        (read,) = store.series.read(small(number), ["loss"])
        stored = list(zip(read.steps.tolist(), read.values.tolist(), strict=True))
        assert stored == [(0, float(number)), *more]
