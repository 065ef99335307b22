"""The journal on disk: what is written comes back, a torn tail costs only what was torn, and it has one owner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from client_hook.recordfile import SpoolBusy
from client_hook.spool import Parcel, Spool, SpoolDamaged, files_of, folder_bytes
from tests.serving import ROOT

OPENING = {"id": "01920000-0000-7000-8000-000000000001", "attempt": "a", "rank": 0, "url": "http://127.0.0.1:9"}


def filled(folder: Path, count: int = 5) -> Spool:
    spool = Spool.create(folder, OPENING)
    for seq in range(count):
        spool.append(Parcel(f"frame {seq}".encode() * 20, seq, 10), complete=seq)
    return spool


def read_all(spool: Spool) -> list[Parcel]:
    found = []
    while (parcel := spool.peek()) is not None:
        found.append(parcel)
        spool.acknowledge(parcel.seq)
    return found


def test_frames_come_back_in_order_after_a_restart(tmp_path: Path) -> None:
    spool = filled(tmp_path)
    path = spool.path
    spool.close()
    again = Spool.open(path)
    assert again.opening == OPENING
    assert again.next_seq == 5
    assert [(parcel.seq, parcel.values) for parcel in read_all(again)] == [(seq, 10) for seq in range(5)]
    again.close()


def test_what_is_acknowledged_is_not_offered_again(tmp_path: Path) -> None:
    spool = filled(tmp_path)
    for seq in (0, 1, 3):
        assert spool.acknowledge(seq)
    assert not spool.acknowledge(3)
    spool.close()
    again = Spool.open(spool.path)
    assert [parcel.seq for parcel in read_all(again)] == [2, 4]
    again.close()


def test_a_torn_tail_costs_the_torn_frame_alone_at_every_byte(tmp_path: Path) -> None:
    spool = filled(tmp_path, 3)
    path = spool.path
    spool.close()
    whole = path.read_bytes()
    last = len(whole) - 140 - 20
    for length in range(last + 1, len(whole)):
        path.write_bytes(whole[:length])
        again = Spool.open(path)
        assert [parcel.seq for parcel in read_all(again)] == [0, 1]
        again.append(Parcel(b"after the crash", again.next_seq, 1), complete=9)
        again.abandon()
        path.with_suffix(".acked").unlink(missing_ok=True)


def test_a_damaged_frame_in_the_middle_costs_that_frame_alone(tmp_path: Path) -> None:
    spool = filled(tmp_path, 3)
    spool.close()
    content = bytearray(spool.path.read_bytes())
    at = content.index(b"frame 1")
    content[at] ^= 0xFF
    spool.path.write_bytes(content)
    again = Spool.open(spool.path)
    assert again.missing() == [1]
    assert [parcel.seq for parcel in read_all(again)] == [0, 2]
    again.close()


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.spool"
    path.write_bytes(b"a text that nobody meant as a spool")
    with pytest.raises(SpoolDamaged, match="does not begin with the opening of a run; it is left as it is"):
        Spool.open(path)
    assert path.read_bytes() == b"a text that nobody meant as a spool"


def test_a_second_process_cannot_open_it(tmp_path: Path) -> None:
    spool = filled(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from client_hook.recordfile import SpoolBusy; from client_hook.spool import Spool\n"
        "try: Spool.open(Path(sys.argv[1]))\n"
        "except SpoolBusy as busy: print(busy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(spool.path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{spool.path} is in use by another process"
    with pytest.raises(SpoolBusy):
        Spool.open(spool.path)
    spool.close()


def test_it_is_deleted_when_everything_with_the_status_is_acknowledged(tmp_path: Path) -> None:
    spool = filled(tmp_path, 2)
    spool.append(Parcel(b"the end", 2, 0, final=True), complete=2)
    read_all(spool)
    spool.close()
    assert list(tmp_path.rglob("*.spool")) == []


def test_it_stays_while_the_status_is_missing(tmp_path: Path) -> None:
    spool = filled(tmp_path, 2)
    read_all(spool)
    spool.close()
    assert spool.path.exists()


def test_it_takes_no_more_than_its_quota(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, OPENING, quota_bytes=10_000)
    refused = 0
    for seq in range(200):
        try:
            spool.append(Parcel(b"x" * 500, seq, 1), complete=seq)
        except OSError:
            refused += 1
    assert refused > 150
    assert spool.path.stat().st_size <= 11_000
    spool.close()


def test_it_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    spool = filled(tmp_path / "home")
    assert spool.path.stat().st_mode & 0o077 == 0
    assert spool.path.parent.stat().st_mode & 0o077 == 0
    spool.close()


def test_listing_survives_a_run_that_is_delivered_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stays, goes = filled(tmp_path), Spool.create(tmp_path, {**OPENING, "id": "goes"})
    real = os.scandir

    def scandir(folder: Path) -> object:
        if Path(folder).name == "goes":
            goes.close()  # everything of it was acknowledged: it takes its folder away
            assert not goes.path.parent.exists()
        return real(folder)

    goes.append(Parcel(b"frame", 0, 1, final=True), complete=0)
    goes.acknowledge(0)
    monkeypatch.setattr(os, "scandir", scandir)
    assert files_of(tmp_path) == [stays.path]
    assert folder_bytes(tmp_path) == stays.path.stat().st_size
    stays.close()
