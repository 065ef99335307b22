"""H4: a disk that takes nothing for a while. The training goes on, the ledger tells what is on disk and what is not,
and when there is room again all of it is written.

The faults are the system's own answers, given in its place; a small file system is mounted where this user may.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from client_hook import watch
from client_hook.decoding import decode
from client_hook.journal import NEVER_WRITTEN
from client_hook.monitor import Monitor
from client_hook.spool import Spool
from tests.faults.kit import losses, sync
from tests.serving import Server, wait_until

REFUSALS = {
    "no space left": errno.ENOSPC,
    "read-only": errno.EROFS,
    "no permission": errno.EACCES,
    "not permitted": errno.EPERM,
    "file too large": errno.EFBIG,
    "quota": errno.EDQUOT,
}
NOWHERE = "http://127.0.0.1:9"


class Refusing:
    """Stands before `os` for the spool's file: while `error` is set, no file is opened, longer or cut."""

    def __init__(self) -> None:
        self.error = 0
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _ask(self) -> None:
        if self.error:
            self.refused += 1
            raise OSError(self.error, os.strerror(self.error))

    def open(self, *arguments: Any) -> int:
        self._ask()
        return os.open(*arguments)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Takes half a record before it refuses, as a disk does that fills up."""
        if self.error and len(data) > 40:
            return os.write(descriptor, data[: len(data) // 2]) if not self.refused else self._ask() or 0
        self._ask()
        return os.write(descriptor, data)

    def ftruncate(self, descriptor: int, size: int) -> None:
        if self.error in (errno.EROFS, errno.EACCES, errno.EPERM):
            self._ask()
        os.ftruncate(descriptor, size)


class Loop:
    """A training of one layer that keeps its losses."""

    def __init__(self, url: str = NOWHERE) -> None:
        self.model = nn.Linear(4, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.monitor: Monitor = watch(self.model, self.optimizer, url=url, strict=False)
        self.own: list[float] = []

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.zero_grad()
            loss = self.model(torch.randn(8, 4)).square().mean()
            loss.backward()
            self.optimizer.step()
            self.monitor.step(loss)
            self.own.append(loss.item())

    def on_disk(self) -> int:
        """Counts the values in the spool's file, by reading it."""
        spool = self.monitor._parts.outbox._journal._spool  # type: ignore[union-attr]
        records = () if spool is None else spool._file.walk(spool._start)
        return sum(record.values for record, _ in records if record is not None)

    def settled(self) -> bool:
        ledger = self.monitor.ledger
        return ledger["queued"] == 0 and ledger["spooled"] == ledger["produced"]


def told(path: Path) -> dict[int, float]:
    """Reads the losses from a spool's file; each step may be there once."""
    spool, found = Spool.open(path), {}
    for record, _ in spool._file.walk(spool._start):
        assert record is not None, "the file is whole"
        for group in decode(record.payload).groups:
            if "loss" in group.columns:
                at = group.columns.index("loss") * group.count
                values = memoryview(bytes(group.values)).cast("f" if group.dtype == "f4" else "d")
                for row, step in enumerate(memoryview(bytes(group.steps)).cast("q")):
                    assert step not in found
                    found[step] = values[at + row]
    spool.close()
    return found


def exact(ledger: dict[str, Any]) -> bool:
    fates = ledger["delivered"] + ledger["spooled"] + ledger["queued"] + sum(ledger["dropped"].values())
    return bool(ledger["produced"] == fates)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Refusing:
    made = Refusing()
    monkeypatch.setattr("client_hook.recordfile.os", made)
    monkeypatch.setattr("client_hook.journal.RETRY_SPOOL_S", 0.02)
    monkeypatch.setattr("client_hook.outbox.FLUSH_INTERVAL_S", 0.02)
    return made


@pytest.mark.timeout(240)
@pytest.mark.parametrize("when", ["from the start", "meanwhile"])
@pytest.mark.parametrize("error", REFUSALS.values(), ids=REFUSALS)
def test_h4_what_a_disk_refuses_is_counted_and_written_later(error: int, when: str, disk: Refusing) -> None:
    if when == "from the start":
        disk.error = error
    loop = Loop()
    loop.train(60)
    if when == "meanwhile":
        wait_until(loop.settled, "what came before is on disk")
        disk.error = error
    check(loop, lambda: disk.refused >= 3, os.strerror(error), lambda: setattr(disk, "error", 0))
    (path,) = Path(os.environ["GRADWATCH_HOME"]).rglob("*.spool")
    assert told(path) == pytest.approx(dict(enumerate(loop.own)))


def check(loop: Loop, refused: Callable[[], bool], words: str, mend: Callable[[], object]) -> None:
    """Trains on a disk that takes nothing, mends it and trains on."""
    loop.train(100)
    wait_until(refused, "a disk that says no")
    full = loop.monitor.ledger
    assert exact(full)
    assert full["queued"] > 0, "what is in memory alone is not called kept"
    assert full["spooled"] == loop.on_disk()
    assert full["dropped"] == {}
    assert f"The spool could not be written ({words}); frames wait in memory meanwhile." in full["notes"]
    mend()
    loop.train(60)
    wait_until(loop.settled, "what waited is on disk")
    loop.monitor.finish(timeout=0.1)
    end = loop.monitor.ledger
    assert exact(end)
    assert (end["delivered"], end["queued"], end["dropped"]) == (0, 0, {})


def test_h4_what_neither_disk_nor_server_took_is_lost_and_counted_so(disk: Refusing) -> None:
    loop = Loop()
    loop.train(60)
    wait_until(loop.settled, "what came before is on disk")
    before = loop.monitor.ledger["spooled"]
    disk.error = errno.ENOSPC
    loop.train(60)
    loop.monitor.finish(timeout=0.3)
    end = loop.monitor.ledger
    assert exact(end)
    assert end["spooled"] == before
    assert end["queued"] == 0
    assert end["dropped"] == {NEVER_WRITTEN: end["produced"] - before}


def test_h4_a_server_that_answers_makes_up_for_the_disk(disk: Refusing, server: Server) -> None:
    disk.error = errno.EROFS
    loop = Loop(server.url)
    loop.train(200)
    assert loop.monitor.finish(timeout=60)
    end = loop.monitor.ledger
    assert (end["delivered"], end["spooled"], end["queued"], end["dropped"]) == (end["produced"], 0, 0, {})
    assert losses(server, loop.monitor.run_id) == pytest.approx(dict(enumerate(loop.own)))


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mounts a file system of 64 KiB; says whether this user may."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "gradwatch-test", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_h4_a_real_disk_that_takes_nothing_and_then_does(
    fault: str, server: Server, tmp_path: Path, disk: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file system may be mounted, the disk's answers are given in its place, as above."""
    error = errno.ENOSPC if fault == "full" else errno.EROFS
    with small_disk(tmp_path / "disk") as mounted:
        home = tmp_path / "disk" / "home"
        monkeypatch.setenv("GRADWATCH_HOME", str(home))
        mend: Callable[[], object] = lambda: setattr(disk, "error", 0)  # noqa: E731
        if not mounted:
            disk.error = error
        elif fault == "full":
            mend = fill(tmp_path / "disk" / "ballast")
        else:
            mend = read_only(tmp_path / "disk")
        loop = Loop()
        check(loop, lambda: bool(loop.monitor.ledger["notes"]), os.strerror(error), mend)
        done = sync(home, server.url)
        assert done.returncode == 0, done.stdout + done.stderr
    assert losses(server, loop.monitor.run_id) == pytest.approx(dict(enumerate(loop.own)))


def fill(ballast: Path) -> Callable[[], object]:
    """Writes until the disk is full; gives what makes room again."""
    with ballast.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return ballast.unlink


def read_only(folder: Path) -> Callable[[], object]:
    """Mounts it again as one that cannot be written; gives what undoes that."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    return lambda: subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
