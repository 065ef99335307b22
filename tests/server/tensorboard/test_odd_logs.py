"""Logs as nobody should have written them: what can be stored comes, the rest is told, and no run stays half."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.proto.tensor_pb2 import TensorProto

from server.errors import StorageFull, StoreError
from server.ingest import Ingest
from server.moving import import_runs
from server.tensorboard.events import EventFile, read
from tests.server.tensorboard.test_events import record
from tests.server.tensorboard.test_taking import database, logs, runs, series, taken

__all__ = ["logs"]


def write(folder: Path, *values: tuple[str, int], began: float = 1.7e9) -> Path:
    """Writes an event file with a value of 1.5 for each tag and step."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "events.out.tfevents.1"
    events = [
        Event(wall_time=began + index, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=1.5)]))
        for index, (tag, step) in enumerate(values)
    ]
    path.write_bytes(b"".join(record(event.SerializeToString()) for event in events))
    return path


def steady(tag: str = "loss", amount: int = 5) -> list[tuple[str, int]]:
    return [(tag, step) for step in range(amount)]


def test_values_at_steps_that_no_series_has_are_left_out_and_that_is_said(tmp_path: Path, logs: Path) -> None:
    write(logs / "a", ("loss", -5), ("loss", -1), ("loss", 0), ("loss", 2**60))
    write(logs / "b", ("loss", -7), ("loss", 2**62))
    write(logs / "c", *steady())
    with taken(tmp_path, logs) as (home, said):
        assert said.startswith("2 runs with 7 values came from")
        assert "; 4 values were left out (first: a step of -5, expected one from -1 to 2^53)" in said
        assert series(home, runs(home)["a"], "loss") == [(-1, 1.5), (0, 1.5)]


def test_tags_that_no_series_can_be_called_come_under_a_name_that_it_can(tmp_path: Path, logs: Path) -> None:
    write(logs / "a", *steady("x" * 1_000), *steady("x" * 1_001), *steady("a\x00b\n"), *steady("\x01"))
    with taken(tmp_path, logs) as (home, said):
        assert said == f"1 run with 20 values came from {logs}"
        run = runs(home)["a"]
        names = {info.name for info in home.store.series.names(run["id"])}
        assert len(names) == 4
        assert "a b" in names
        assert all(len(series(home, run, name)) == 5 for name in names)


def test_more_tags_than_a_frame_holds_come_all(tmp_path: Path, logs: Path) -> None:
    write(logs / "a", *((f"t{number}", step) for step in range(2) for number in range(4_200)))
    with taken(tmp_path, logs) as (home, _):
        run = runs(home)["a"]
        assert len(home.store.series.names(run["id"])) == 4_200
        assert series(home, run, "t4199") == [(0, 1.5), (1, 1.5)]


def test_a_folder_whose_name_is_no_text_and_a_deep_config_come(tmp_path: Path, logs: Path) -> None:
    path = write(logs / "r\udcff", *steady())
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    text = TensorProto(dtype=7, string_val=[json.dumps({"seed": 3, "deep": deep}).encode()])
    config = Event(wall_time=1.7e9, summary=Summary(value=[Summary.Value(tag="args/text_summary", tensor=text)]))
    path.write_bytes(record(config.SerializeToString()) + path.read_bytes())
    with taken(tmp_path, logs) as (home, _):
        (run,) = runs(home).values()
        assert run["name"] == r"r\xff"
        assert run["config"] == {"seed": 3}


def lock(monkeypatch: pytest.MonkeyPatch, locked: Path) -> None:
    """Lets nobody read a file, root neither."""

    def refuse(path: Path) -> EventFile:
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr("server.tensorboard.folders.read", refuse)


def test_a_run_of_which_a_file_cannot_be_read_is_left_out_and_the_others_come(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, *_ = [write(logs / name, *steady()) for name in ("b", "a", "c")]
    lock(monkeypatch, locked)
    with taken(tmp_path, logs) as (home, said):
        assert said == (
            f"2 runs with 10 values came from {logs}; 1 run was left out, because {locked} cannot be read "
            "(Permission denied)"
        )
        assert set(runs(home)) == {"a", "c"}


def test_a_folder_of_which_nothing_can_be_read_says_why(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock(monkeypatch, write(logs, *steady()))
    with pytest.raises(StoreError, match=r"tfevents\.1 cannot be read \(Permission denied\)\."):
        import_runs(logs, database(tmp_path), ())


def test_a_folder_that_nobody_may_enter_is_told(tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(logs / "a", *steady())
    write(logs / "b", *steady(), began=1.8e9)
    listed = os.scandir

    def refuse(path: str | Path) -> object:
        if Path(path) == logs / "b":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert import_runs(logs, database(tmp_path), ()) == (
        f"1 run with 5 values came from {logs}; 1 run was left out, because {logs / 'b'} cannot be read "
        "(Permission denied)"
    )


def test_linked_folders_come_once_and_a_loop_ends(tmp_path: Path, logs: Path) -> None:
    write(logs / "b", *steady())
    write(tmp_path / "elsewhere" / "run", *steady(), began=1.6e9)
    (logs / "a").symlink_to(logs / "b")
    (logs / "b" / "up").symlink_to(logs)
    (logs / "linked").symlink_to(tmp_path / "elsewhere")
    (logs / "gone").symlink_to(tmp_path / "nowhere")
    with taken(tmp_path, logs) as (home, said):
        assert said == f"2 runs with 10 values came from {logs}"
        assert set(runs(home)) == {"b", "linked/run"}


def broken_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, logs: Path) -> None:
    """Imports until the second frame, which the disk has no room for."""
    monkeypatch.setattr("server.tensorboard.taking.ROWS_A_FRAME", 10)
    accept = Ingest.accept

    def full(self: Ingest, run_id: str, body: bytes) -> dict[str, object]:
        if len(taken_in) == 1:
            raise StorageFull("The disk is full.")
        taken_in.append(body)
        return accept(self, run_id, body)

    taken_in: list[bytes] = []
    with monkeypatch.context() as patch:
        patch.setattr(Ingest, "accept", full)
        with pytest.raises(StorageFull):
            import_runs(logs, database(tmp_path), ())


def test_a_run_that_came_half_comes_whole_when_it_is_imported_again(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(logs / "a", *steady(amount=35))
    broken_off(monkeypatch, tmp_path, logs)
    with taken(tmp_path, logs) as (home, said):
        assert said == f"1 run with 35 values came from {logs}"
        run = runs(home)["a"]
        assert (run["state"], run["attempts"]) == ("finished", 1)
        assert series(home, run, "loss") == [(step, 1.5) for step in range(35)]


def test_a_run_that_came_half_and_whose_files_changed_comes_anew(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(logs / "a", *steady(amount=35))
    broken_off(monkeypatch, tmp_path, logs)
    write(logs / "a", *steady(amount=5))
    with taken(tmp_path, logs) as (home, said):
        assert said == f"1 run with 5 values came from {logs}"
        assert series(home, runs(home)["a"], "loss") == [(step, 1.5) for step in range(5)]


def test_a_run_that_was_deleted_a_moment_ago_is_not_said_to_be_there(tmp_path: Path, logs: Path) -> None:
    write(logs / "a", *steady())
    with taken(tmp_path, logs) as (home, _):
        run = runs(home)["a"]["id"]
        home.store.runs.update_many([run], home.clock(), deleted=True)
    with pytest.raises(StoreError, match=r"^Nothing came from .*because 'a' was deleted here; take it back, or import"):
        import_runs(logs, database(tmp_path), ())
    write(logs / "b", *steady(), began=1.8e9)
    with taken(tmp_path, logs) as (home, said):
        assert said.startswith("1 run with 5 values came from")
        assert "; 1 run was left out, because 'a' was deleted here; take it back, or import it after a day" in said
