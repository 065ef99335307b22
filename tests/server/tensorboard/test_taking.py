"""Folders of event files become runs: their names, attempts and configs, and what the diagnosis says of them."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tensorboardX import SummaryWriter

from server.cli import import_
from server.errors import StoreError
from server.moving import import_runs
from server.tensorboard import taking
from tests.postgres import Cluster
from tests.server.house import House, house


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "experiments"
    folder.mkdir()
    return folder


def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'g.db'}"


@contextmanager
def taken(tmp_path: Path, logs: Path, *wanted: str, project: str | None = None) -> Iterator[tuple[House, str]]:
    """Imports the folder, and opens a server on the database."""
    said = import_runs(logs, database(tmp_path), wanted, project)
    with house(tmp_path, database=database(tmp_path)) as found:
        yield found, said


def log(folder: Path, values: dict[str, Callable[[int], float]], steps: range, suffix: str = "") -> None:
    with SummaryWriter(str(folder), filename_suffix=suffix) as writer:
        for step in steps:
            for tag, value in values.items():
                writer.add_scalar(tag, value(step), step)


def runs(home: House) -> dict[str, dict[str, Any]]:
    return {run["name"]: run for run in home.client.get("/api/v1/runs").json()["items"]}


def series(home: House, run: dict[str, Any], name: str, **more: Any) -> list[tuple[int, float]]:
    (found,) = home.store.series.read(run["id"], [name], **more)
    return list(zip(found.steps.tolist(), found.values.tolist(), strict=True))


def test_each_folder_is_a_run_of_the_project_that_the_parent_names(tmp_path: Path, logs: Path) -> None:
    for name in ("small", "wide/seed1", "wide/seed2"):
        log(logs / name, {"Loss/train": lambda step: 2.0 / (step + 1), "lr": lambda _: 0.1}, range(30))
    with taken(tmp_path, logs) as (home, said):
        assert said == f"3 runs with 180 values came from {logs}"
        found = runs(home)
        assert set(found) == {"small", "wide/seed1", "wide/seed2"}
        run = found["wide/seed1"]
        assert (run["project"], run["state"], run["last_step"], run["tags"]) == (
            "experiments", "finished", 29, ["tensorboard"],
        )  # fmt: skip
        assert series(home, run, "loss")[:2] == [(0, 2.0), (1, 1.0)]
        assert abs(run["started_ms"] / 1_000 - (logs / "small").stat().st_mtime) < 600
        assert home.client.get(f"/runs/{run['id']}").status_code == 200


def test_what_is_there_already_stays_as_before(tmp_path: Path, logs: Path) -> None:
    log(logs / "a", {"loss": float}, range(3))
    import_runs(logs, database(tmp_path), ())
    log(logs / "b", {"loss": float}, range(3))
    with taken(tmp_path, logs) as (home, said):
        assert said.endswith("; 1 run was there already and stayed as before")
        assert len(runs(home)) == 2


def test_what_a_log_has_grown_by_comes_to_what_is_there(tmp_path: Path, logs: Path) -> None:
    def write(part: str, number: int, steps: range, factor: float, *more: str) -> None:
        folder = logs / "cnn" / part
        log(folder, {name: lambda step: factor * step for name in ("epoch_loss", *more)}, steps, ".new")
        (new,) = folder.glob("*.new")
        new.rename(folder / f"events.out.tfevents.{number}")

    for part in ("train", "validation"):
        write(part, 0, range(1, 4), 1.0)
    with taken(tmp_path, logs) as (home, _):
        before = runs(home)["cnn"]["id"]
        home.store.notes.write(before, "what it was for", who="", now_ms=1)
    for part in ("train", "validation"):
        write(part, 1, range(4, 9), 1.0, "epoch_accuracy")
    for part in ("train", "validation"):
        write(part, 2, range(3, 6), 10.0)
    with taken(tmp_path, logs) as (home, said):
        assert said == f"0 runs with 0 values came from {logs}; 1 run had grown by 26 values"
        (run,) = runs(home).values()
        assert (run["id"], run["attempts"], run["state"]) == (before, 2, "finished")
        for name in ("loss", "val/loss"):
            assert series(home, run, name, attempt=1) == [(step, float(step)) for step in range(1, 9)]
            assert series(home, run, name, attempt=2) == [(step, 10.0 * step) for step in range(3, 6)]
        assert series(home, run, "epoch_accuracy", attempt=1) == [(step, float(step)) for step in range(4, 9)]
        assert home.store.notes.get(before).text == "what it was for"
    with taken(tmp_path, logs) as (_, said):
        assert said.endswith("; 1 run was there already and stayed as before")


def test_of_several_imports_at_once_each_value_comes_once(
    tmp_path: Path, logs: Path, postgres_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "ROWS_A_FRAME", 10)
    log(logs / "a", {"loss": lambda step: 1 / (1 + step), "accuracy": lambda step: step / 200}, range(200))
    url = postgres_cluster.new_database()
    with ThreadPoolExecutor(3) as pool:
        said = sorted(pool.map(lambda _: import_runs(logs, url, ()), range(3)))
    assert [sentence.partition(" came from ")[0] for sentence in said] == ["0 runs with 0 values"] * 2 + [
        "1 run with 400 values"
    ]
    with house(tmp_path, database=url) as home:
        (run,) = runs(home).values()
        assert {info.name: info.count for info in home.store.series.names(run["id"], 1)} == {
            "loss": 200,
            "accuracy": 200,
        }


def test_a_log_that_was_written_anew_changes_nothing_that_is_there(tmp_path: Path, logs: Path) -> None:
    log(logs / "a", {"loss": float}, range(9))
    (file,) = (logs / "a").iterdir()
    whole = file.read_bytes()
    import_runs(logs, database(tmp_path), ())
    file.write_bytes(whole[: len(whole) // 2])
    with taken(tmp_path, logs) as (home, said):
        assert "; 1 run was there already and stayed as before" in said
        assert len(series(home, runs(home)["a"], "loss")) == 9


def test_a_resumed_training_is_a_second_attempt_and_a_later_file_goes_on(tmp_path: Path, logs: Path) -> None:
    log(logs, {"loss": lambda step: 1.0 + step}, range(20), ".1")
    log(logs, {"loss": lambda step: 2.0 + step}, range(20, 30), ".2")
    log(logs, {"loss": lambda step: 100.0 + step}, range(25, 40), ".3")
    order = sorted(logs.glob("*tfevents*"), key=lambda path: path.suffix)
    for number, path in enumerate(order):
        path.rename(logs / f"events.out.tfevents.{number}")
    with taken(tmp_path, logs) as (home, _):
        run = runs(home)["experiments"]
        assert run["attempts"] == 2
        assert series(home, run, "loss", attempt="latest") == [(step, 100.0 + step) for step in range(25, 40)]
        first = series(home, run, "loss", attempt=1)
        assert first == [(step, (1.0 if step < 20 else 2.0) + step) for step in range(30)]


def test_an_evaluation_after_the_training_is_no_attempt_of_its_own(tmp_path: Path, logs: Path) -> None:
    log(logs, {"train/loss": float, "eval/loss": float}, range(1, 9))
    (trained,) = logs.glob("*tfevents*")
    trained.rename(logs / "events.out.tfevents.0")
    log(logs, {"eval/loss": float}, range(8, 9))
    with taken(tmp_path, logs) as (home, _):
        run = runs(home)["experiments"]
        assert run["attempts"] == 1
        assert len(series(home, run, "loss", attempt="latest")) == 8


def test_the_two_folders_of_keras_are_one_run(tmp_path: Path, logs: Path) -> None:
    for part in ("train", "validation"):
        log(logs / "cnn" / part, {"epoch_loss": float, "epoch_accuracy": float}, range(1, 4))
    with taken(tmp_path, logs) as (home, _):
        (run,) = runs(home).values()
        assert run["name"] == "cnn"
        names = {info.name for info in home.store.series.names(run["id"])}
        assert names == {"loss", "epoch_accuracy", "val/loss", "val/epoch_accuracy"}


def test_hyper_parameters_are_the_config_of_the_run_that_they_lie_in(tmp_path: Path, logs: Path) -> None:
    log(logs / "a", {"loss": float}, range(3))
    with SummaryWriter(str(logs / "a"), filename_suffix=".2") as writer:
        writer.add_hparams({"lr": 0.25, "depth": 4}, {"accuracy": 0.5}, name="trial")
    with taken(tmp_path, logs) as (home, _):
        (run,) = runs(home).values()
        assert (run["name"], run["config"]) == ("a", {"lr": 0.25, "depth": 4})


@pytest.mark.parametrize("trained", [False, True])
def test_several_hyper_parameters_in_a_folder_are_runs_of_their_own(tmp_path: Path, logs: Path, trained: bool) -> None:
    with SummaryWriter(str(logs / "search")) as writer:
        for trial in range(3):
            writer.add_hparams({"lr": trial / 10}, {"hparam/accuracy": trial / 5}, name=f"t{trial}")
        if trained:
            writer.add_scalar("loss", 1.0, 0)
    with taken(tmp_path, logs) as (home, _):
        found = {name: run["config"] for name, run in runs(home).items()}
        assert found == {
            "search/t0": {"lr": 0}, "search/t1": {"lr": 0.1}, "search/t2": {"lr": 0.2},
            **({"search": {}} if trained else {}),
        }  # fmt: skip
        assert [value for _, value in series(home, runs(home)["search/t2"], "hparam/accuracy")] == pytest.approx([0.4])


def test_only_the_named_runs_come_and_a_wrong_name_is_told(tmp_path: Path, logs: Path) -> None:
    for name in ("a", "b"):
        log(logs / name, {"loss": float}, range(3))
    with pytest.raises(StoreError, match=r"No run is called 'c'; there are a, b\."):
        import_runs(logs, database(tmp_path), ["c"])
    with taken(tmp_path, logs, "b", project="old") as (home, _):
        assert [(name, run["project"]) for name, run in runs(home).items()] == [("b", "old")]


@pytest.mark.parametrize("content", [None, b"", b"no events at all"])
def test_a_folder_without_scalars_is_told(tmp_path: Path, logs: Path, content: bytes | None) -> None:
    if content is not None:
        (logs / "events.out.tfevents.1").write_bytes(content)
    with pytest.raises(StoreError, match=r"There are no scalars of TensorBoard \(events\.out\.tfevents…\) under"):
        import_runs(logs, database(tmp_path), ())


def test_what_a_torn_file_still_holds_comes_and_that_is_said(
    tmp_path: Path, logs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log(logs / "a", {"loss": float}, range(50))
    (path,) = (logs / "a").glob("*tfevents*")
    os.truncate(path, path.stat().st_size - 5)
    monkeypatch.setenv("GRADWATCH_DATABASE", database(tmp_path))
    assert import_([str(path)]) == 0
    assert "1 run with 49 values came from" in (out := capsys.readouterr().out)
    assert "1 file had no end, and what stood before it was taken" in out


def test_a_long_training_comes_whole_in_several_frames(
    tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.tensorboard.taking.ROWS_A_FRAME", 100)
    log(logs, {"loss": float, "lr": lambda _: 0.5}, range(333))
    with taken(tmp_path, logs) as (home, _):
        run = runs(home)["experiments"]
        assert series(home, run, "loss") == [(step, float(step)) for step in range(333)]
        assert len(series(home, run, "lr/0")) == 333


def turning(step: int) -> float:
    return 2.2 + 0.3 * (-1) ** step + random.Random(step).gauss(0, 0.02)


def falling(step: int) -> float:
    return 0.4 + 2.0 * math.exp(-step / 150) + random.Random(step).gauss(0, 0.03)


@pytest.mark.parametrize("every", [1, 50])
def test_a_healthy_training_raises_nothing_and_a_broken_one_is_found(tmp_path: Path, logs: Path, every: int) -> None:
    steps = range(0, 2_000, every)
    rate: Callable[[int], float] = lambda step: 0.1 * min(1.0, max(step, 1) / 500)  # noqa: E731  tenfold between samples
    log(logs / "healthy", {"train/loss": falling, "train/learning_rate": rate}, steps)
    log(logs / "healthy", {"eval/loss": lambda step: falling(step) + 0.02}, range(99, 2_000, 100), ".eval")
    log(logs / "broken", {"train/loss": lambda step: falling(step) if step < 1_000 else math.nan}, steps)
    with taken(tmp_path, logs) as (home, _):
        home.diagnose()
        found = runs(home)
        said = {
            name: home.client.get(f"/api/v1/runs/{run['id']}/findings").json()["items"] for name, run in found.items()
        }
        assert {one["severity"] for one in said["healthy"]} <= {"info"}
        (broken,) = [one for one in said["broken"] if one["severity"] == "error"]
        assert (broken["code"], "The loss became NaN at step 1000" in broken["message"]) == ("GW601", True)


def test_curves_alone_are_no_ground_for_a_warning_that_an_adversary_would_raise_too(tmp_path: Path, logs: Path) -> None:
    log(logs / "gan", {"loss": turning, "lr": lambda _: 2e-4}, range(600))
    with taken(tmp_path, logs) as (home, _):
        home.diagnose()
        (run,) = runs(home).values()
        found = home.client.get(f"/api/v1/runs/{run['id']}/findings").json()["items"]
        assert {one["severity"] for one in found} <= {"info"}
        checks = {check.code: check for check in home.store.findings.checks(run["id"])}
        assert "another logger's curves" in checks["GW207"].reason
