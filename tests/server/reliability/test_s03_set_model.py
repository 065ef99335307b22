"""S3: whatever is sent, however often, in any order, across seals, restarts and deletions: the store equals a set."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from server.errors import FrameConflict, UnknownRun
from server.store import Store, frame_packs, seals
from server.store.accepted import AcceptedFrame
from tests.postgres import Cluster
from tests.server.store.kit import frame, group, open_run, url_in

RUNS, ATTEMPTS, RANKS = ("run-a", "run-b"), ("first", "second"), (0, 1)
NAMES = ("loss", "x")
SAMPLES = st.lists(st.tuples(st.integers(-1, 12), st.floats(width=32)), min_size=1, max_size=5)
Key = tuple[str, str, int]


class Model(RuleBasedStateMachine):
    """Does to a store and to a dictionary of sent frames the same, and compares."""

    new_url: Callable[[], str]

    @initialize()
    def start(self) -> None:
        self.url = type(self).new_url()
        self.store = Store.open(self.url)
        self.numbers: dict[tuple[str, str], int] = {}
        self.sent: dict[Key, dict[int, AcceptedFrame]] = {}

    @rule(run=st.sampled_from(RUNS), attempt=st.sampled_from(ATTEMPTS))
    def open(self, run: str, attempt: str) -> None:
        """Opens an attempt, or hears of one that is open."""
        known = [number for (name, _), number in self.numbers.items() if name == run]
        number = open_run(self.store, run, attempt)
        assert number == self.numbers.setdefault((run, attempt), len(known) + 1)

    @rule(
        run=st.sampled_from(RUNS), attempt=st.sampled_from(ATTEMPTS), rank=st.sampled_from(RANKS),
        seq=st.integers(0, 9), width=st.integers(1, 2), content=SAMPLES, times=st.integers(1, 3),
    )  # fmt: skip
    def send(
        self, run: str, attempt: str, rank: int, seq: int, width: int, content: list[tuple[int, float]], times: int
    ) -> None:
        """Sends a frame, new or known, out of order, up to three times."""
        steps = [step for step, _ in content]
        values = [value for _, value in content]
        new = frame(seq, group(dict.fromkeys(NAMES[:width], values), steps), run_id=run, attempt=attempt, rank=rank)
        if (run, attempt) not in self.numbers:
            with pytest.raises(UnknownRun, match="open it with POST /api/v1/runs, then send the frame again"):
                self.store.frames.accept(new)
            return
        stream = self.sent.setdefault((run, attempt, rank), {})
        for _ in range(times):
            known = seq in stream
            receipt = self.store.frames.accept(stream.setdefault(seq, new))
            assert receipt.duplicate == known
            assert receipt.contiguous == next(number for number in range(-1, 10) if number + 1 not in stream)
            assert receipt.attempt == self.numbers[run, attempt]

    @precondition(lambda self: any(self.sent.values()))
    @rule(data=st.data())
    def send_another_of_the_same_identity(self, data: st.DataObject) -> None:
        """Is refused, and changes nothing."""
        run, attempt, rank = data.draw(st.sampled_from([key for key, stream in self.sent.items() if stream]))
        seq = data.draw(st.sampled_from(sorted(self.sent[run, attempt, rank])))
        other = frame(seq, group({"loss": [7.0]}, [0]), run_id=run, attempt=attempt, rank=rank, crc=12_345)
        with pytest.raises(FrameConflict, match=f"Another frame was accepted as seq {seq} of rank {rank}"):
            self.store.frames.accept(other)

    @rule()
    def seal(self) -> None:
        """Seals all that is open, and packs what can be packed."""
        self.store.sealer.run_once(everything=True)

    @rule()
    def restart(self) -> None:
        """Closes the store and opens it again."""
        self.store.close()
        self.store = Store.open(self.url)

    @rule(run=st.sampled_from(RUNS))
    def delete(self, run: str) -> None:
        """Deletes a run for good; it may come back as a new one."""
        known = [key for key in self.numbers if key[0] == run]
        assert self.store.runs.delete(run) == bool(known)
        for key in known:
            del self.numbers[key]
        self.sent = {key: stream for key, stream in self.sent.items() if key[0] != run}

    @rule()
    def compare(self) -> None:
        """Fails unless the store holds what was sent, each sample once, and says so in its summaries."""
        for (run, attempt), number in self.numbers.items():
            counts: Counter[str] = Counter()
            for rank in RANKS:
                counts += self._compare(run, number, rank, self.sent.get((run, attempt, rank), {}))
            assert {info.name: info.count for info in self.store.series.names(run, number)} == dict(counts)
        for run in set(RUNS) - {name for name, _ in self.numbers}:
            assert self.store.runs.get(run) is None
            assert self.store.series.names(run) == self.store.series.read(run, NAMES) == []

    def _compare(self, run: str, number: int, rank: int, stream: dict[int, AcceptedFrame]) -> Counter[str]:
        right: dict[str, list[str]] = {name: [] for name in NAMES}
        for one in stream.values():
            for part in one.groups:
                for name, row in zip(part.columns, part.values, strict=True):
                    right[name] += [repr(pair) for pair in zip(part.steps.tolist(), row.tolist(), strict=True)]
        read = {one.name: one for one in self.store.series.read(run, NAMES, attempt=number, rank=rank)}
        for name in NAMES:
            pairs = zip(read[name].steps.tolist(), read[name].values.tolist(), strict=True) if name in read else ()
            found = [repr(pair) for pair in pairs]
            assert Counter(found) == Counter(right[name])
            if name in read:
                assert read[name].steps.tolist() == sorted(read[name].steps.tolist())
        replayed = [one.seq for one in self.store.frames.since(run, number, rank, -1)]
        assert replayed == list(range(next(seq for seq in range(11) if seq not in stream)))
        return Counter({name: len(found) for name, found in right.items() if found})

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.compare()
            self.store.close()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_s03_the_store_equals_a_set_of_frames(
    database: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_packs, "LEAST_FRAMES", 2)
    monkeypatch.setattr(seals, "SAMPLES", 4)
    if database == "sqlite":

        def new_url() -> str:
            return url_in(Path(tempfile.mkdtemp(dir=tmp_path)))
    else:
        cluster: Cluster = request.getfixturevalue("postgres_cluster")
        new_url = cluster.new_database
    machine = type("Machine", (Model,), {"new_url": staticmethod(new_url)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25 if database == "sqlite" else 12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            database=None,
        ),
    )
