"""X13: the token, a wrong one and the key of a session are in no file, log, answer, export, backup or process list."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from server import operations
from server.moving import export_runs
from tests.browser.kit import open_run, send
from tests.counts import patience
from tests.server.house import RUN
from tests.serving import Server

TOKEN = "the-right-token-3f9c1e77aa"
WRONG = "a-wrong-token-5b2d8844bb"


class Asked(Server):
    """A server that is given its token as the documentation says, and remembers all that it answered."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.answers = ""

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> http.client.HTTPResponse:
        """Asks, and keeps everything that came but the cookie, which is for the browser alone."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience(20))
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() != "set-cookie"]
        self.answers += f"{kept}{answer.read().decode('utf-8', 'replace')}"
        connection.close()
        return answer

    def ended(self) -> str:
        """Ends the server and gives all that it printed and logged."""
        self.process.terminate()
        assert self.process.stdout is not None
        printed = str(self.process.stdout.read())
        assert self.process.wait(timeout=patience(20)) == 0
        self.log.seek(0)
        logged = self.log.read()
        self.process.stdout.close()
        self.log.close()
        return printed + logged


def test_x13_no_secret_stands_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filling = Server(tmp_path)
    open_run(filling, name="baseline")
    send(filling, 0, {"loss": [2.0, 1.0]})
    filling.stop()
    monkeypatch.setenv("GRADWATCH_SERVER_TOKEN", TOKEN)
    server = Asked(tmp_path)
    form = "application/x-www-form-urlencoded"
    signed_in = server.ask("POST", "/sign-in", f"token={TOKEN}", Content_Type=form)
    assert signed_in.status == 303
    cookie = signed_in.headers["set-cookie"].partition(";")[0]
    key = cookie.partition("=")[2]
    assert len(key) > 30
    assert server.ask("POST", "/sign-in", f"token={WRONG}", Content_Type=form).status == 401
    assert server.ask("GET", "/api/v1/runs", Authorization=f"Bearer {WRONG}").status == 401
    assert server.ask("GET", f"/runs/{RUN}?token={TOKEN}", Accept="text/html").status == 303
    server.answers = ""  # the address that a browser asked for is what it comes back to
    known = {"Authorization": f"Bearer {TOKEN}", "Cookie": cookie}
    for method, path, status in (
        ("GET", "/", 200), ("GET", f"/runs/{RUN}", 200), ("GET", f"/runs/{RUN}/report", 200), ("GET", "/settings", 200),
        ("GET", "/api/v1/runs?limit=x", 422), ("GET", "/nothing", 404), ("PUT", "/api/v1/runs", 405),
        ("POST", "/api/v1/runs", 422), ("POST", f"/api/v1/runs/{RUN}/frames", 422), ("GET", "/%00", 400),
        ("POST", "/api/v1/runs/changes", 422), ("GET", "/api/v1/openapi.json", 200), ("GET", "/sign-in", 200),
    ):  # fmt: skip
        for accept in ("text/html", "application/json"):
            assert server.ask(method, path, Accept=accept, **known).status == status, path
    url = f"sqlite:///{tmp_path / 'gradwatch.db'}"
    operations.back_up(url, tmp_path / "backup.db")
    export_runs(tmp_path / "export.db", url, [])
    command = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
    places = {"answers": server.answers.encode(), "command": command, "log": server.ended().encode()}
    places |= {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert {"backup.db", "export.db", "gradwatch.db"} <= {Path(name).name for name in places}
    for secret in (TOKEN, WRONG, key):
        assert [name for name, content in places.items() if secret.encode() in content] == []
