"""A server that is away, hangs, refuses or answers nonsense: the training does not notice, and nothing is lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client_hook.journal import NEVER_WRITTEN
from tests.faults.kit import losses, sync, train
from tests.serving import Server

STEPS = 150
LONGEST_FINISH_S = 100.0  # ten times the promise: this only catches a hang
_HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s"


def answer(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    return _HEAD % (status, len(body), headers, body)


ANSWERS: dict[str, bytes | None] = {
    "accepts and never answers": None,
    "answers garbage": b"\x00\xff SMTP ready\r\n\r\n",
    "answers a page of something else": answer(b"200 OK", b"<html>It works!</html>"),
    "answers JSON of something else": answer(b"200 OK", b'[1, 2, {"id": null}]'),
    "fails": answer(b"500 Internal Server Error", b"{}"),
    "is full": answer(b"507 Insufficient Storage", b'{"detail": "the disk is full"}', b"Retry-After: 1\r\n"),
    "redirects": answer(b"302 Found", b"", b"Location: http://127.0.0.1:9/\r\n"),
    "closes in the middle of an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
    "wants a token": answer(b"401 Unauthorized", b'{"detail": "a token is needed"}'),
}


@contextmanager
def sick_server(reply: bytes | None) -> Iterator[str]:
    """Listens, takes what comes, and gives always the same answer, or none."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                if reply is not None:
                    threading.Thread(target=respond, args=(connection, reply), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in held:
                connection.close()


def respond(connection: socket.socket, reply: bytes) -> None:
    """Reads a request and answers."""
    try:
        connection.settimeout(5)
        connection.recv(1_000_000)
        connection.sendall(reply)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1_000_000):
            pass
    except OSError:
        return


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """The losses of the same training without the hook."""
    home = tmp_path_factory.mktemp("alone")
    training = train(home, "http://127.0.0.1:9", steps=STEPS, GRADWATCH_DISABLED="1")
    training.end()
    return {step: loss for step, (_, loss) in training.written().items()}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", ANSWERS)
def test_the_training_is_unharmed_and_sync_delivers(
    fault: str, undisturbed: dict[int, float], server: Server, tmp_path: Path
) -> None:
    with sick_server(ANSWERS[fault]) as url:
        training = train(tmp_path / "hook", url, steps=STEPS)
        ended = training.end()
    own = {step: loss for step, (_, loss) in training.written().items()}
    assert own == undisturbed, "bit-identical with and without the hook"
    assert ended["delivered"] is False
    assert ended["finish_s"] < LONGEST_FINISH_S
    assert ended["ledger"]["dropped"] == {}
    check_sync(server, tmp_path / "hook", training.run_id, own)


@pytest.mark.timeout(240)
def test_a_server_that_is_away_loses_nothing(undisturbed: dict[int, float], server: Server, tmp_path: Path) -> None:
    training = train(tmp_path / "hook", "http://127.0.0.1:9", steps=STEPS)
    ended = training.end()
    own = {step: loss for step, (_, loss) in training.written().items()}
    assert own == undisturbed
    assert ended["delivered"] is False
    check_sync(server, tmp_path / "hook", training.run_id, own)


def check_sync(server: Server, home: Path, run_id: str, own: dict[int, float]) -> None:
    done = sync(home, server.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert losses(server, run_id) == own
    assert server.get(f"runs/{run_id}")["state"] == "finished"


@pytest.mark.timeout(240)
def test_a_home_that_cannot_be_written_costs_nothing_while_the_server_answers(
    undisturbed: dict[int, float], server: Server, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    training = train(tmp_path / "hook", server.url, steps=STEPS, GRADWATCH_HOME=str(tmp_path / "file" / "home"))
    ended = training.end()
    own = {step: loss for step, (_, loss) in training.written().items()}
    assert own == undisturbed
    assert ended["delivered"] is True
    assert losses(server, training.run_id) == own
    assert any("spool" in note for note in ended["ledger"]["notes"])


@pytest.mark.timeout(240)
def test_a_disk_that_is_full_harms_no_training(undisturbed: dict[int, float], tmp_path: Path) -> None:
    training = train(tmp_path / "hook", "http://127.0.0.1:9", steps=STEPS, TEST_DISK_FULL_AT_STEP=str(STEPS // 2))
    ended = training.end()
    assert ended["losses"] == list(undisturbed.values()), "bit-identical with and without the hook"
    assert ended["delivered"] is False
    ledger = ended["ledger"]
    assert 0 < ledger["spooled"] < ledger["produced"]
    assert ledger["dropped"] == {NEVER_WRITTEN: ledger["produced"] - ledger["spooled"]}
    assert any("The spool could not be written (File too large)" in note for note in ledger["notes"])
