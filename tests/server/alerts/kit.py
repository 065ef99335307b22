"""What the tests of alerts share: news, a web server and a mail server that really listen, and a network that must not
be touched."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from server.domain.alerts import Channel, ChannelKind, Due, News
from server.domain.findings import Severity

TLS = Path(__file__).parent / "tls"
NOW_S = 1_790_000_000.0
BASE = "https://gradwatch.lab.example"

NEWS = News(
    event="finding", severity=Severity.ERROR, project="vision", run_id="run-1", run="night", step=120, code="GW308",
    name="dead-relu", number=4, message="Layer a: 94 % of units output 0", advice="Lower the learning rate.",
    first_step=1_000, last_step=2_000, symptoms=3, at_ms=int(NOW_S * 1_000),
)  # fmt: skip


def due(kind: str = "webhook", address: str = "https://hooks.example/T0K3N", *, secret: str = "", **news: Any) -> Due:
    """Makes a delivery that has to be tried."""
    channel = Channel("ours", ChannelKind(kind), address, secret, id=1)
    return Due(7, channel, replace(NEWS, **news), "0123abcd", 1, NEWS.at_ms)


@dataclass
class Heard:
    """One request that the web server got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What was posted."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """A web server that notes what it gets and answers as it is told, with the last answer again and again."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    body: bytes = b"ok"
    drip_s: float = 0.0  # between the bytes of its answer, all of it

    @property
    def host(self) -> str:
        """Names it as GRADWATCH_ALERT_HOSTS does."""
        return self.url.partition("://")[2]


@contextmanager
def receiver(*, secure: bool = False) -> Iterator[Receiver]:
    """Starts a web server on this machine."""
    got = Receiver()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            got.heard.append(Heard(self.path, dict(self.headers.items()), body))
            status, headers = got.answers.pop(0) if len(got.answers) > 1 else (got.answers or [(200, {})])[0]
            if got.drip_s:
                for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: yes\r\n" * 1_000:
                    try:
                        self.wfile.write(bytes([byte]))
                    except OSError:
                        return
                    if over.wait(got.drip_s):
                        return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(got.body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(got.body)
            except OSError:
                return  # whoever asked has gone

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    got.url = f"{'https' if secure else 'http'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield got
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def trusting() -> ssl.SSLContext:
    """Gives a context that trusts the certificate of the tests alone, and checks names."""
    return ssl.create_default_context(cafile=str(TLS / "certificate.pem"))


@dataclass
class Mailbox:
    """A mail server that keeps what it gets; `says` gives its answer to a command in place of the usual one."""

    port: int = 0
    mails: list[tuple[str, list[str], Message]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    says: dict[str, str] = field(default_factory=dict)
    features: Sequence[str] = ()


@contextmanager
def mailbox(*features: str, secure: bool = False) -> Iterator[Mailbox]:
    """Starts a mail server on this machine; `features` may name STARTTLS and AUTH PLAIN."""
    box = Mailbox(features=features)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            line = server_side.wrap_socket(self.request, server_side=True) if secure else self.request
            self.line = line
            try:
                self.talk()
            except OSError:
                return
            finally:
                self.line.close()

        def talk(self) -> None:
            line = self.line
            stream = line.makefile("rb")
            line.sendall(box.says.get("GREETING", "220 here").encode() + b"\r\n")
            sender, receivers = "", []
            while command := stream.readline().decode().strip():
                box.commands.append(command)
                verb = command.partition(" ")[0].upper()
                if verb in box.says:
                    line.sendall(box.says[verb].encode() + b"\r\n")
                    continue
                if verb == "EHLO":
                    said = ["here", *box.features]
                    text = "".join(f"250{'-' if row is not said[-1] else ' '}{row}\r\n" for row in said)
                    line.sendall(text.encode())
                    continue
                if verb == "STARTTLS":
                    line.sendall(b"220 go on\r\n")
                    stream.close()
                    line = self.line = server_side.wrap_socket(line, server_side=True)
                    stream = line.makefile("rb")
                    continue
                if verb == "DATA":
                    line.sendall(b"354 go on\r\n")
                    lines = []
                    while (row := stream.readline()) != b".\r\n":
                        lines.append(row.removeprefix(b".") if row.startswith(b"..") else row)
                    box.mails.append((sender, receivers, message_from_bytes(b"".join(lines), policy=default)))
                if verb == "MAIL":
                    sender, receivers = command, []
                if verb == "RCPT":
                    receivers.append(command)
                line.sendall({"AUTH": b"235 ok\r\n", "QUIT": b"221 bye\r\n"}.get(verb, b"250 ok\r\n"))
                if verb == "QUIT":
                    break
            stream.close()

    class Mail(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, *_: Any) -> None:
            return

    server = Mail(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    box.port = server.server_address[1]
    try:
        yield box
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Untouched:
    """A network that nobody may touch: it fails the test that opens a connection."""

    def __init__(self) -> None:
        self.opened: list[Any] = []

    def __call__(self, place: Any, timeout: float) -> Any:
        """Notes the connection, and fails."""
        self.opened.append(place)
        raise AssertionError(f"a connection to {place} was opened")


def now_s() -> float:
    """Gives the time of the tests."""
    return NOW_S
