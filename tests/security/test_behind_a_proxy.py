"""A server behind a reverse proxy: whose address counts, and what the sign-in cookie says over https."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from server.web.throttle import GUESSES
from tests.serving import Server

TOKEN = "k" * 32


def ask(server: Server, token: str, came_from: str) -> int:
    """Asks as a proxy does that passes on where the request came from."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(
        "GET", "/api/v1/runs", headers={"Authorization": f"Bearer {token}", "X-Forwarded-For": came_from}
    )
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize(("settings", "locked_out"), [(["--proxies", "127.0.0.1"], False), ([], True)])
def test_who_guesses_behind_a_known_proxy_locks_out_nobody_else(
    tmp_path: Path, settings: list[str], locked_out: bool
) -> None:
    server = Server(tmp_path, "--token", TOKEN, *settings)
    try:
        for number in range(GUESSES):
            assert ask(server, f"guess-{number}", "203.0.113.9") == 401
        assert ask(server, TOKEN, "203.0.113.9") == 429
        assert ask(server, TOKEN, "198.51.100.7") == (429 if locked_out else 200)
        assert ask(server, TOKEN, "203.0.113.9, 198.51.100.7") == (429 if locked_out else 200), (
            "the last one is the proxy's"
        )
    finally:
        server.stop()


@pytest.mark.parametrize(("origin", "secure"), [("https", True), ("http", False)])
def test_the_cookie_of_a_page_over_https_stays_there(tmp_path: Path, origin: str, secure: bool) -> None:
    server = Server(tmp_path, "--token", TOKEN)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        headers = {"Origin": f"{origin}://127.0.0.1:{server.port}", "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/sign-in", f"token={TOKEN}", headers)
        answer = connection.getresponse()
        assert answer.status == 303
        assert ("; Secure" in (answer.getheader("Set-Cookie") or "")) == secure
        connection.close()
    finally:
        server.stop()
