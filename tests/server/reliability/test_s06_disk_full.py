"""S6: the server's disk fills up: reading goes on, frames are refused with a time to come back, nothing that was
acknowledged is lost, and the server recovers without a restart.

The disk is a limit of the process on the size of its files, and where this user may mount one, a small file system.
"""

from __future__ import annotations

import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.server.reliability.kit import Load, Sender, check_all
from tests.serving import Server, wait_until

MB = 1_000_000
SIZE = 12 * MB
REFUSALS = 50  # in a row: the disk is full and stays so


def _mount(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={2 * SIZE}", "gradwatch-test", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _can_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        mounted = _mount(Path(folder))
        if mounted:
            subprocess.run(["umount", folder], check=True)
        return mounted


class Disk(Protocol):
    """A disk that is full until it is made free."""

    def fill(self, server: Server) -> None: ...

    def free(self, server: Server) -> None: ...


class Limit:
    """No file of the process may grow beyond a size."""

    def fill(self, server: Server) -> None:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (SIZE, resource.RLIM_INFINITY))

    def free(self, server: Server) -> None:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, unlimited)


class Ballast:
    """A file takes half of a small file system."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ballast"

    def fill(self, server: Server) -> None:
        self._file.write_bytes(bytes(SIZE))

    def free(self, server: Server) -> None:
        self._file.unlink()


@contextmanager
def disk(kind: str, folder: Path) -> Iterator[Disk]:
    if kind == "limit of the process":
        yield Limit()
        return
    assert _mount(folder)
    try:
        yield Ballast(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_up(sender: Sender, load: Load) -> int:
    """Delivers until nothing more is taken, and gives how many frames were.

    A refusal may be followed by room once more: an idle server empties its write-ahead log into the database.
    """
    taken = refused = 0
    while refused < REFUSALS:
        status = sender.once(load, taken)
        if status == 200:
            taken, refused = taken + 1, 0
            assert taken < load.frames, "the disk has not filled up"
        else:
            assert status in (503, 507), "it says that it is full"
            refused += 1
    return taken


@pytest.mark.timeout(200)
@pytest.mark.parametrize("kind", ["limit of the process", *(["small file system"] if _can_mount() else [])])
def test_s06_a_full_disk_loses_nothing_and_the_server_recovers_by_itself(kind: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with disk(kind, home) as full:
        server = Server(home)
        load = Load(1, frames=200, steps=100, series=200)  # 160 kB a frame: more than twice what there is room for
        sender = Sender(server.port)
        sender.open(load)
        full.fill(server)
        taken = fill_up(sender, load)
        assert taken > 3
        assert sender.no_retry_after == []
        data = server.get(f"runs/{load.run}/series/data?name=user/series-0&points=2000")
        assert sum(data["items"][0]["count"]) == taken * load.steps, "what was acknowledged is there, and is read"
        assert server.get("runs")["items"][0]["id"] == load.run
        full.free(server)
        wait_until(lambda: sender.once(load, taken) == 200, "the server takes frames again", 30)
        few = Load(1, frames=taken + 10, steps=100, series=200)
        for seq in range(taken, few.frames):
            sender.send(few, seq)
        sender.close()
        assert server.stop() == 0
        check_all(home, [few])
