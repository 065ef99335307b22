"""What is posted arrives; what a receiver answers decides whether it is tried again; nothing of its answer is shown."""

from __future__ import annotations

import socket
import threading
from email.utils import formatdate
from typing import Any

import pytest

from server.alerts.errors import NotSent, Refused
from server.alerts.guard import Guard
from server.alerts.http import Post, Poster
from tests.server.alerts.kit import NOW_S, Receiver, due, now_s, receiver, trusting


def poster(got: Receiver, **more: Any) -> Poster:
    return Poster(Guard([got.host]), now_s, **more)


def post_to(got: Receiver, path: str = "/T0K3N?q=1") -> Post:
    return Post(f"{got.url}{path}", b'{"a": 1}', {"Content-Type": "application/json", "Idempotency-Key": "k"})


def test_a_post_arrives_with_its_headers() -> None:
    with receiver() as got:
        poster(got).post(post_to(got))
    (heard,) = got.heard
    assert (heard.path, heard.body) == ("/T0K3N?q=1", b'{"a": 1}')
    assert heard.headers["Host"] == got.host
    assert heard.headers["Idempotency-Key"] == "k"
    assert heard.headers["User-Agent"] == "Gradwatch"


def test_a_redirect_is_not_followed() -> None:
    with receiver() as other, receiver() as got:
        got.answers = [(307, {"Location": f"{other.url}/elsewhere"})]
        with pytest.raises(Refused, match="answered 307 and leads elsewhere"):
            poster(got).post(post_to(got))
    assert other.heard == []


@pytest.mark.parametrize(("status", "again"), [(400, False), (401, False), (404, False), (410, False), (408, True),
                                              (425, True), (429, True), (500, True), (503, True)])  # fmt: skip
def test_an_answer_says_whether_it_is_tried_again(status: int, again: bool) -> None:
    with receiver() as got:
        got.answers = [(status, {})]
        got.body = b"<html>secret words of a receiver</html>"
        with pytest.raises(NotSent) as caught:
            poster(got).post(post_to(got))
    assert isinstance(caught.value, Refused) is not again
    assert str(caught.value) == f"127.0.0.1 answered {status}"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        (formatdate(NOW_S + 90, usegmt=True), 90.0),
        (formatdate(NOW_S - 90, usegmt=True), 0.0),
        ("999999999", 86_400.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_what_a_busy_receiver_asks_to_wait_is_kept(said: str, seconds: float | None) -> None:
    with receiver() as got:
        got.answers = [(429, {"Retry-After": said})]
        with pytest.raises(NotSent) as caught:
            poster(got).post(post_to(got))
    assert caught.value.after_s == seconds


def test_a_long_answer_is_not_read_to_its_end() -> None:
    with receiver() as got:
        got.body = b"x" * (32 * 1_024 * 1_024)
        poster(got).post(post_to(got))
    assert len(got.heard) == 1


def test_a_receiver_that_drips_its_answer_is_left() -> None:
    with receiver() as got:
        got.drip_s = 0.05  # its first line alone takes most of a second
        with pytest.raises(NotSent, match=r"127\.0\.0\.1 did not answer as a web server does"):
            poster(got, deadline_s=0.3).post(post_to(got))


def test_a_port_where_nobody_listens_may_have_a_listener_later() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NotSent, match="ConnectionRefusedError") as caught:
            Poster(Guard([host]), now_s).post(Post(f"http://{host}/T0K3N", b"", {}))
    assert not isinstance(caught.value, Refused)
    assert "T0K3N" not in str(caught.value)


def test_what_is_no_web_server_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"

        def answer() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(65_536)
                line.sendall(b"SSH-2.0-secret\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(NotSent, match="BadStatusLine") as caught:
            Poster(Guard([host]), now_s).post(Post(f"http://{host}/", b"", {}))
        thread.join()
    assert "secret" not in str(caught.value)


def to_localhost(port: int) -> Any:
    """Connects to this machine whatever the address is; the name is what TLS checks."""

    def connect(place: Any, timeout: float) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout)

    return connect


def looked_up(host: str, port: int, **_: Any) -> list[Any]:
    return [(0, 0, 0, "", ("93.184.216.34", port))]


def test_tls_checks_the_name_though_a_number_is_connected_to() -> None:
    with receiver(secure=True) as got:
        port = int(got.host.rpartition(":")[2])

        def send(host: str, **more: Any) -> None:
            guard = Guard(resolve=looked_up)
            Poster(guard, now_s, to_localhost(port), **more).post(Post(f"https://{host}/T0K3N", b"{}", {}))

        send("hooks.example", context=trusting)
        assert [heard.headers["Host"] for heard in got.heard] == ["hooks.example"]
        with pytest.raises(NotSent, match=r"The certificate of other\.example was not accepted: Hostname mismatch"):
            send("other.example", context=trusting)
        with pytest.raises(NotSent, match=r"The certificate of hooks\.example was not accepted: self-signed"):
            send("hooks.example")
    assert len(got.heard) == 1


def test_nothing_that_is_sent_is_written_out() -> None:
    post = Post("https://hooks.example/T0K3N", b"s3cret", {"Authorization": "Bearer s3cret"})
    target = Guard(resolve=looked_up).check(post.address)
    for text in (repr(post), repr(target), repr(due(secret="s3cret"))):
        assert "T0K3N" not in text
        assert "s3cret" not in text
