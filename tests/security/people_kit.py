"""A server with an admin, an editor and a viewer, and browsers that come to it from some address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from server.accounts.book import Accounts
from tests.server.house import ADDRESS, House, house

PASSWORD = "seven green bicycles"
OTHER = "eleven blue umbrellas"
TOKEN = "a-token-of-enough-characters"
PAGE = {"Accept": "text/html"}


@contextmanager
def people(folder: Path) -> Iterator[House]:
    """Opens the house with one run in it; each of the three has the PASSWORD."""
    with house(folder) as found:
        found.open_run()
        accounts = Accounts(found.store)
        for name, role in (("ada", "admin"), ("eve", "editor"), ("vic", "viewer")):
            accounts.add_person(name, role, PASSWORD, who="the test")
        yield found


def browser(home: House, name: str = "", password: str = PASSWORD, address: str = "10.0.0.1") -> TestClient:
    client = TestClient(home.app, base_url=ADDRESS, follow_redirects=False, client=(address, 50_000))
    if name:
        assert sign_in(client, name, password).status_code == 303
    return client


def sign_in(client: TestClient, name: str, password: str = PASSWORD, target: str = "/") -> Any:
    return client.post("/sign-in", data={"name": name, "password": password, "next": target})


def inside(client: TestClient) -> bool:
    return client.get("/api/v1/runs").status_code == 200
