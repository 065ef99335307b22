"""A sign-in counts at every server process on the database, and after a restart, until it is over."""

from __future__ import annotations

import http.client
import subprocess
import sys
from pathlib import Path

from server.store import Store
from server.web.sessions import IDLE_S, LONGEST_S, StoredSessions
from tests.postgres import Cluster
from tests.server.house import Clock
from tests.server.store.kit import url_in
from tests.serving import ROOT, Server, wait_until

TOKEN = "k" * 32


def ask(server: Server, method: str, path: str, cookie: str, body: str = "") -> tuple[int, str]:
    """Asks as a browser; gives the status and the cookies that are set."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    connection.close()
    return answer.status, "; ".join(answer.headers.get_all("Set-Cookie") or ())


def with_token(server: Server, token: str) -> int:
    """Asks as a program."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/api/v1/runs", headers={"Authorization": f"Bearer {token}"})
    status = connection.getresponse().status
    connection.close()
    return status


def sign_in(server: Server) -> str:
    """Signs in and gives the cookie."""
    status, cookies = ask(server, "POST", "/sign-in", "", f"token={TOKEN}")
    assert status == 303
    return cookies.partition(";")[0]


def test_who_signs_in_at_one_server_is_known_to_the_others_and_signs_out_of_all(
    tmp_path: Path, postgres_cluster: Cluster
) -> None:
    url = postgres_cluster.new_database()
    one, other = (Server(tmp_path / name, "--database", url, "--token", TOKEN) for name in ("one", "other"))
    try:
        cookie = sign_in(one)
        assert ask(other, "GET", "/", cookie)[0] == 200
        status, cookies = ask(other, "POST", "/sign-out", f"{cookie}; gradwatch_session_1=of-another-server")
        assert status == 303
        assert cookies.startswith(cookie.partition("=")[0]), "its cookie is taken away, that of another server stays"
        assert "gradwatch_session_1=" not in cookies
        assert [ask(server, "GET", "/", cookie)[0] for server in (one, other)] == [303, 303]
    finally:
        one.stop()
        other.stop()


def test_people_and_tokens_are_known_to_every_server_on_the_database(tmp_path: Path, postgres_cluster: Cluster) -> None:
    url = postgres_cluster.new_database()

    def command(*words: str, given: str = "") -> str:
        program = [sys.executable, "-m", "client_hook.cli", *words, "--database", url]
        done = subprocess.run(program, cwd=ROOT, input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    one, other = (Server(tmp_path / name, "--database", url) for name in ("one", "other"))
    try:
        assert ask(one, "GET", "/", "")[0] == ask(other, "GET", "/", "")[0] == 200
        command("user", "add", "ada", "--role", "admin", given="seven green bicycles\n")
        for server in (one, other):  # which had nobody, and look again once a second
            wait_until(lambda server=server: ask(server, "GET", "/", "")[0] == 303, "a closed door", 10)
        command("user", "add", "eve", "--role", "editor", given="seven green bicycles\n")
        status, cookies = ask(one, "POST", "/sign-in", "", "name=eve&password=seven+green+bicycles")
        assert status == 303
        cookie = cookies.partition(";")[0]
        assert ask(other, "GET", "/", cookie)[0] == 200
        command("user", "role", "eve", "viewer")
        assert [ask(server, "GET", "/", cookie)[0] for server in (one, other)] == [303, 303], "at once"
        token = command("token", "add", "nightly", "--scope", "read")
        assert [with_token(server, token) for server in (one, other)] == [200, 200]
        command("token", "revoke", "nightly")
        for server in (one, other):
            wait_until(lambda server=server: with_token(server, token) == 401, "an end of the token", 10)
    finally:
        one.stop()
        other.stop()


def test_a_restart_signs_nobody_out_and_another_token_everybody(tmp_path: Path) -> None:
    server = Server(tmp_path, "--token", TOKEN)
    port, cookie = server.port, sign_in(server)
    server.stop()
    assert cookie.partition("=")[2].encode() not in b"".join(
        path.read_bytes() for path in tmp_path.glob("gradwatch.db*")
    )
    for token, status in ((TOKEN, 200), ("n" * 32, 303), (TOKEN, 200)):
        server = Server(tmp_path, "--token", token, port=port)
        assert ask(server, "GET", "/", cookie)[0] == status
        server.stop()


def test_a_stored_session_ends_after_idle_hours_and_after_its_longest_life(tmp_path: Path) -> None:
    clock = Clock()
    store = Store.open(url_in(tmp_path), clock)
    sessions = StoredSessions(store.sign_ins, TOKEN)
    key = str(sessions.open())
    clock.now_ms += (IDLE_S - 1) * 1_000
    assert bool(sessions.caller(key))
    clock.now_ms += IDLE_S * 1_000
    assert not bool(sessions.caller(key))
    key = str(sessions.open())
    clock.now_ms += (IDLE_S - 1) * 1_000
    assert sessions.caller(key, seen=False)
    clock.now_ms += 1_000
    assert not sessions.caller(key), "a page that only listens puts nothing off"
    key = str(sessions.open())
    for hours in range(6, LONGEST_S // 3_600 + 6, 6):
        clock.now_ms += 6 * 3_600_000
        assert bool(sessions.caller(key)) == (hours < LONGEST_S // 3_600)
    sessions.open()
    with store._database.read() as connection:
        (kept,) = connection.exec_driver_sql("SELECT count(*) FROM sign_ins").one()
    assert kept == 1, "those that are over are forgotten"
    store.close()
