"""X11: guessing passwords is slowed down, tells nothing, and locks out nobody else."""

from __future__ import annotations

import pytest

from server.accounts import passwords
from server.accounts.book import Accounts
from server.web.auth import address_of
from server.web.throttle import GUESSES, GUESSES_AT_A_NAME
from tests.security.people_kit import OTHER, PASSWORD, browser, sign_in
from tests.server.house import House

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize(
    ("name", "password"), [("ada", OTHER), ("nobody", PASSWORD), ("a\0b", PASSWORD), ("ada", ""), ("ada", "x" * 5_000)]
)
def test_x11_a_wrong_name_and_a_wrong_password_are_told_alike(home: House, name: str, password: str) -> None:
    client = browser(home)
    answer = sign_in(client, name, password)
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert "set-cookie" not in answer.headers
    assert password not in answer.text or not password


def test_x11_an_unknown_name_costs_the_same_work(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []

    class Counted:
        def verify(self, kept: str, password: str) -> bool:
            checked.append(kept.rpartition("$")[0].rpartition("$")[0])
            return hasher.verify(kept, password)

    hasher = passwords._HASHER
    passwords._nobodys()
    monkeypatch.setattr(passwords, "_HASHER", Counted())
    for name in ("ada", "nobody", "no-other"):
        assert sign_in(browser(home), name, OTHER).status_code == 401
    assert len(checked) == 3
    assert checked[0] == checked[1] == checked[2], "with the same parameters"
    for name in ("ada", "nobody"):
        assert sign_in(browser(home), name, OTHER).status_code == 401
    assert len(checked) == 3, "the same again, which is no new guess, costs nothing"
    monkeypatch.setattr(passwords, "_HASHER", hasher)
    Accounts(home.store).set_password("ada", OTHER, who="the test")
    assert sign_in(browser(home), "ada", OTHER).status_code == 303


def test_x11_nobody_has_the_password_of_nobody(home: House) -> None:
    assert sign_in(browser(home), "nobody", "nobody's").status_code == 401


def test_x11_ones_old_password_cannot_be_guessed_there(home: House) -> None:
    eve = browser(home, "eve")
    for number in range(GUESSES_AT_A_NAME):
        assert (
            eve.post("/settings/account", data={"old": f"guess-{number}", "new": OTHER, "again": OTHER}).status_code
            == 422
        )
    answer = eve.post("/settings/account", data={"old": PASSWORD, "new": OTHER, "again": OTHER})
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)


def test_x11_guessing_is_slowed_down_for_an_address(home: House) -> None:
    client = browser(home)
    for number in range(GUESSES):
        assert sign_in(client, f"person-{number}", OTHER).status_code == 401
    answer = sign_in(client, "ada")
    assert answer.status_code == 429
    assert "Too many passwords were tried for this name or from this address." in answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert sign_in(browser(home, address="10.0.0.2"), "ada").status_code == 303


def test_x11_guessing_is_slowed_down_for_a_name_from_wherever_known_or_not(home: House) -> None:
    for name in ("eve", "nobody"):
        for number in range(GUESSES_AT_A_NAME):
            assert sign_in(browser(home, address=f"10.1.{number}.1"), name, f"guess-{number}").status_code == 401
        assert sign_in(browser(home, address="10.2.0.1"), name).status_code == 429
    assert sign_in(browser(home, address="10.2.0.1"), "ada").status_code == 303


def test_x11_a_stranger_cannot_lock_out_a_person_where_that_person_has_signed_in(home: House) -> None:
    at_home = browser(home, "eve", address="10.2.0.1")
    at_home.post("/sign-out")
    for number in range(GUESSES_AT_A_NAME):
        sign_in(browser(home, address=f"10.1.{number}.1"), "eve", f"guess-{number}")
    assert sign_in(browser(home, address="10.2.0.2"), "eve").status_code == 429
    assert sign_in(at_home, "eve").status_code == 303
    for number in range(GUESSES):
        assert sign_in(at_home, "eve", f"mistyped-{number}").status_code == 401
    assert sign_in(at_home, "eve").status_code == 429, "guesses from there are slowed down as any"


def test_x11_a_network_of_one_customer_is_one_address() -> None:
    def address(host: str) -> str:
        return address_of({"client": (host, 50_000)})

    assert address("2001:db8:1:2::5") == address("2001:db8:1:2:ffff::6") != address("2001:db8:1:3::5")
    assert address("::ffff:10.0.0.1") == address("10.0.0.1") != address("::ffff:10.0.0.2")
    assert address("fe80::1%eth0") == address("fe80::2%eth0")
    assert address("testclient") == "testclient"


def test_x11_the_same_wrong_password_again_is_no_new_guess(home: House) -> None:
    client = browser(home)
    for _ in range(3 * GUESSES):
        assert sign_in(client, "ada", "mistyped password").status_code == 401
    assert sign_in(client, "ada").status_code == 303
