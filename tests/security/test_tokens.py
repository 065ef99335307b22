"""Tokens of programs: hashes alone are kept, they end when they should, and one that ended says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.accounts.book import Accounts, digest
from server.store import Store
from server.web.throttle import GUESSES
from tests.security.people_kit import PASSWORD, TOKEN, browser, sign_in
from tests.server.house import House, house

pytestmark = pytest.mark.usefixtures("quick")


def test_only_hashes_are_kept(home: House, tmp_path: Path) -> None:
    ada = browser(home, "ada")
    token = Accounts(home.store).add_token("nightly", "ingest", None, who="the test")
    home.client.get("/api/v1/runs", headers={"Authorization": f"Bearer {token}"})
    home.store.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("gradwatch.db*"))
    assert digest(token).encode() in stored
    for secret in (token, PASSWORD, *ada.cookies.values()):
        assert secret.encode() not in stored


def test_a_token_that_ended_says_so(home: House) -> None:
    accounts = Accounts(home.store)
    token = accounts.add_token("short", "read", 1.0, who="the test")
    headers = {"Authorization": f"Bearer {token}"}
    assert home.client.get("/api/v1/runs", headers=headers).status_code == 200
    now = home.store._clock()
    home.store._clock = lambda: now + 2 * 86_400_000
    answer = home.client.get("/api/v1/runs", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (401, "Authorization: the token 'short' has expired")
    accounts.revoke_token("short", who="the test")
    answer = home.client.get("/api/v1/runs", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (401, "Authorization: the token 'short' was revoked")


def test_who_guesses_tokens_keeps_no_training_of_the_same_address_out(tmp_path: Path) -> None:
    with house(tmp_path, TOKEN) as home:
        token = Accounts(home.store).add_token("trainings", "read", None, who="the test")
        client = browser(home)

        def status(text: str) -> int:
            return client.get("/api/v1/runs", headers={"Authorization": f"Bearer {text}"}).status_code

        assert [status(f"guess-{number}") for number in range(GUESSES)] == [401] * GUESSES
        assert [status("gw_guess"), status("another guess")] == [429, 429]
        assert status(token) == 200, "it has 256 random bits: whoever brings it does not guess"
        assert status(TOKEN) == 429, "that of the server may be short"


def test_trainings_whose_tokens_ended_are_no_guesses(home: House) -> None:
    accounts, client = Accounts(home.store), browser(home)
    for number in range(GUESSES + 1):
        token = accounts.add_token(f"old-{number}", "ingest", None, who="the test")
        accounts.revoke_token(f"old-{number}", who="the test")
        answer = client.get("/api/v1/runs", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["detail"].endswith("was revoked")) == (401, True)
    assert sign_in(client, "ada").status_code == 303


def test_when_a_token_was_used_is_noted_once_a_minute(home: House) -> None:
    token = Accounts(home.store).add_token("nightly", "read", None, who="the test")
    headers = {"Authorization": f"Bearer {token}"}
    start = home.store._clock()

    def used_at(later_ms: int) -> int | None:
        home.store._clock = lambda: start + later_ms
        assert home.client.get("/api/v1/runs", headers=headers).status_code == 200
        home.store._writer.run(lambda _: None)  # behind the note
        return next(one.used_ms for one in home.store.tokens.list())

    assert used_at(0) == start
    assert used_at(59_000) == start
    assert used_at(60_000) == start + 60_000


def test_a_store_of_two_servers_knows_a_revoked_token_within_a_second(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'gradwatch.db'}")
    try:
        store._database.shared = True
        token = Accounts(store).add_token("nightly", "read", None, who="the test")
        assert store.tokens.find(digest(token)) is not None
        (kept, read_at) = store.tokens._known[digest(token)]
        assert store.tokens.known(digest(token)) == kept
        store.tokens._known[digest(token)] = kept, read_at - 1.1
        assert store.tokens.known(digest(token)) is None, "read again"
    finally:
        store.close()
