"""The HTTP client against real sockets: what it keeps open, what it follows, and how long it waits."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from client_hook.transport import HttpTransport

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"seq": 1}'
Handler = Callable[[socket.socket, list[bytes]], None]


@contextmanager
def listening(handle: Handler) -> Iterator[tuple[str, list[bytes]]]:
    """Gives the address of a socket whose connections `handle` serves, and the requests that came."""
    requests: list[bytes] = []
    opened: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                opened.append(connection)
                threading.Thread(target=_quietly, args=(handle, connection, requests), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        listener.shutdown(socket.SHUT_RDWR)
    for connection in opened:
        connection.close()


def _quietly(handle: Handler, connection: socket.socket, requests: list[bytes]) -> None:
    try:
        handle(connection, requests)
    except OSError:
        return


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65_536)
        if not part:
            raise ConnectionResetError
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def answering(reply: bytes, times: int = 100) -> Handler:
    def handle(connection: socket.socket, requests: list[bytes]) -> None:
        for _ in range(times):
            requests.append(read_request(connection))
            connection.sendall(reply)
        connection.close()

    return handle


def test_many_calls_use_one_connection() -> None:
    ports = set()

    def handle(connection: socket.socket, requests: list[bytes]) -> None:
        ports.add(connection.getpeername())
        answering(OK)(connection, requests)

    with listening(handle) as (url, requests):
        transport = HttpTransport(url, "secret")
        for _ in range(5):
            assert transport.post("/x", b"body", "text/plain").body == {"seq": 1}
        transport.close()
    assert len(ports) == 1
    assert len(requests) == 5
    assert b"Authorization: Bearer secret" in requests[0]


def test_a_connection_that_the_server_closed_is_opened_again() -> None:
    with listening(answering(OK, times=1)) as (url, requests):
        transport = HttpTransport(url)
        assert [transport.post("/x", b"", "text/plain").status for _ in range(4)] == [200] * 4
        transport.close()
    assert len(requests) == 4


def test_a_redirect_is_not_followed() -> None:
    away = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    with listening(answering(away)) as (url, requests):
        transport = HttpTransport(url, "secret")
        assert transport.post("/x", b"", "text/plain").status == 302
        transport.close()
    assert len(requests) == 1


def test_the_certificates_of_the_machine_are_read_once_however_often_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []
    make = ssl.create_default_context

    def counted() -> ssl.SSLContext:
        made.append(make())
        return made[-1]

    def in_clear(connection: socket.socket, _: list[bytes]) -> None:
        connection.recv(65_536)
        connection.sendall(OK)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    with listening(in_clear) as (url, _):
        transport = HttpTransport(url.replace("http://", "https://"))
        answers = [transport.post("/x", b"", "text/plain") for _ in range(3)]
    assert {answer.status for answer in answers} == {0}
    assert all(answer.problem.startswith("SSLError") for answer in answers), answers
    assert len(made) == 1


def test_a_server_that_never_answers_is_given_up() -> None:
    with listening(lambda connection, requests: requests.append(connection.recv(9))) as (url, _):
        transport = HttpTransport(url, answer_timeout_s=0.2)
        answer = transport.post("/x", b"", "text/plain")
        transport.close()
    assert answer.status == 0
    assert "timed out" in answer.detail


def test_something_else_that_answers_200_has_committed_nothing() -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nIt works!"
    with listening(answering(page)) as (url, _):
        transport = HttpTransport(url)
        answer = transport.post("/x", b"", "text/plain")
        transport.close()
    assert (answer.status, answer.detail) == (0, "answered 200 with something that is not Gradwatch's JSON")


def test_an_endless_answer_is_cut_off() -> None:
    def handle(connection: socket.socket, requests: list[bytes]) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65_536)

    with listening(handle) as (url, _):
        transport = HttpTransport(url)
        answer = transport.post("/x", b"", "text/plain")
        transport.close()
    assert answer.status == 0
    assert "longer than" in answer.detail


def test_a_call_that_waits_is_woken_by_abort() -> None:
    arrived = threading.Event()

    def handle(connection: socket.socket, requests: list[bytes]) -> None:
        read_request(connection)
        arrived.set()

    with listening(handle) as (url, _):
        transport = HttpTransport(url, answer_timeout_s=60)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(transport.post("/x", b"", "text/plain")))
        thread.start()
        assert arrived.wait(10)
        transport.abort()
        thread.join(10)
        assert not thread.is_alive()
        assert answers[0].status == 0
        assert transport.post("/x", b"", "text/plain").detail == "stopped"
        transport.close()


def test_an_address_that_is_none_is_a_sentence() -> None:
    answer = HttpTransport("ftp://somewhere").get("/")
    assert answer.detail == "ValueError: url: got 'ftp://somewhere', expected http:// or https:// and a host"


def test_a_retry_after_is_read_in_both_forms() -> None:
    for value in (b"7", b"Wed, 21 Oct 2099 07:28:00 GMT"):
        busy = b"HTTP/1.1 503 Busy\r\nRetry-After: " + value + b"\r\nContent-Length: 2\r\n\r\n{}"
        with listening(answering(busy)) as (url, _):
            transport = HttpTransport(url)
            assert (transport.get("/").retry_after_s or 0) >= 7
            transport.close()
