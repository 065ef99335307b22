"""X7 and X10: what a real server makes of addresses that no client sends: foreign hosts, and paths that lead out."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

import pytest

from server import paths
from tests.counts import patience
from tests.server.house import ATTEMPT, RUN
from tests.serving import Server

SECRET = "only-in-a-file-beside-the-pages"
UP = (
    "..", "%2e%2e", "%2E%2E", ".%2e", "..%2f..", "..%5c..", "..\\..", "%252e%252e", "....//", "..;", "%c0%ae%c0%ae",
    "..%00", "%2e%2e%2f%2e%2e", "．．", "%ef%bc%8e%ef%bc%8e",
)  # fmt: skip
PLACES = ("/static/", "/static/js/", "/static/vendor/", "/runs/", "/rules/", f"/runs/{RUN}/", "/settings/replays/",
          f"/api/v1/runs/{RUN}/charts/", "/api/v1/replays/", f"/api/v1/runs/{RUN}/inspections/")  # fmt: skip
TARGETS = ("etc/passwd", "secret.txt", "pyproject.toml", "server/app.py", "gradwatch.db", "etc%2fpasswd")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one run and a secret beside its database."""
    home = tmp_path_factory.mktemp("addresses")
    (home / "secret.txt").write_text(SECRET)
    started = Server(home)
    opening = json.dumps({"id": RUN, "attempt": ATTEMPT, "name": "baseline"})
    assert ask(started, "POST", "/api/v1/runs", "Content-Type: application/json", body=opening)[0] == 201
    yield started
    assert started.stop() == 0


def ask(server: Server, method: str, target: str, *headers: str, host: str = "", body: str = "") -> tuple[int, str]:
    """Sends a request as it stands; gives the status and everything that came."""
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {host or f'127.0.0.1:{server.port}'}",
        "Connection: close",
        *headers,
    ]
    sent = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body])
    with socket.create_connection(("127.0.0.1", server.port), timeout=patience(20)) as line:
        line.sendall(sent.encode("utf-8"))
        received = b""
        while part := line.recv(65_536):
            received += part
    status = re.match(rb"HTTP/1\.1 (\d{3}) ", received)
    assert status, received[:100]
    return int(status[1]), received.decode("utf-8", "replace")


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/",
        "http://evil.example:80/api/v1/runs",
        "https://127.0.0.1@evil.example/",
        "//evil.example/",
    ],
)
def test_x7_an_absolute_address_names_no_other_host(server: Server, target: str) -> None:
    status, text = ask(server, "GET", target, "Accept: text/html")
    assert status in (200, 400, 404)
    assert "evil.example" not in text.partition("\r\n\r\n")[0]
    assert not re.search(r"(href|src|action|hx-get)=[\"']?(https?:)?//(?!127\.0\.0\.1)", text.replace(target, ""))


@pytest.mark.parametrize(
    "target", ["/", "/runs", f"/runs/{RUN}", "/api/v1/health", "/static/css/tokens.css", "http://127.0.0.1/"]
)
def test_x7_a_foreign_host_gets_nothing_on_any_address(server: Server, target: str) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example@127.0.0.1",
                 "127.0.0.1\\", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "127.1", "0", "localhost."):  # fmt: skip
        status, text = ask(server, "GET", target, host=host)
        assert status == 400, (target, host)
        assert "baseline" not in text


def test_x7_no_link_is_built_of_what_a_request_claims(server: Server) -> None:
    claims = ("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /evil",
              "Forwarded: host=evil.example;proto=https", "X-Original-URL: /evil", "X-Rewrite-URL: /evil",
              "X-Host: evil.example", "Referer: https://evil.example/")  # fmt: skip
    for target in (
        "/",
        f"/runs/{RUN}",
        f"/runs/{RUN}/report",
        f"/runs/{RUN}/summary.md",
        "/settings",
        "/api/v1/runs",
        "/no",
    ):
        _, text = ask(server, "GET", target, "Accept: text/html", *claims)
        assert "evil" not in text, target
    opening = json.dumps({"id": RUN, "attempt": ATTEMPT})
    _, text = ask(server, "POST", "/api/v1/runs", "Content-Type: application/json", *claims, body=opening)
    assert f'"url":"/runs/{RUN}"' in text


def test_x10_no_path_leads_out_of_its_folder(server: Server) -> None:
    assert (paths.STATIC / "css" / "tokens.css").exists()
    known = (SECRET, "root:", "[build-system]", "def create_app", "SQLite format 3")
    asked = 0
    for place in PLACES:
        for up in UP:
            for target in TARGETS:
                for depth in (1, 2, 6):
                    status, text = ask(server, "GET", place + f"{up}/" * depth + target)
                    assert not any(one in text for one in known), (place, up, target)
                    assert status in (303, 307, 400, 404, 422), (place, up, target, status)
                    asked += 1
    assert asked > 1_000
