"""A server at which people of a real small provider sign in, and the browsers in which they do."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import FastAPI
from starlette.testclient import TestClient

from server.app import create_app
from server.config import Settings
from server.live import Live
from server.store import Store
from tests.oidc_provider import CLIENT, SECRET, Provider, provider
from tests.server.empty import put_database, rules
from tests.server.house import ADDRESS

CALLBACK = "/sign-in/oidc/callback"


@dataclass
class Scene:
    """A server and its provider."""

    app: FastAPI
    store: Store
    provider: Provider

    def browser(self, address: str = "10.0.0.1") -> TestClient:
        return TestClient(self.app, base_url=ADDRESS, follow_redirects=False, client=(address, 50_000))

    def begin(self, browser: TestClient, target: str = "/") -> str:
        """Follows the link of the form; gives where it leads."""
        answer = browser.get("/sign-in/oidc", params={"next": target})
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def back(self, browser: TestClient, login: str = "ada", target: str = "/") -> str:
        """Begins, and signs in at the provider; gives where that leads back to."""
        return answer_of(self.begin(browser, target), login)

    def sign_in(self, browser: TestClient, login: str = "ada", target: str = "/") -> Any:
        """Does all of it; gives the last answer."""
        return browser.get(place(self.back(browser, login, target)))

    def roles(self) -> dict[str, str]:
        return {one.name: one.role.value for one in self.store.people.list()}

    def log(self) -> list[tuple[str, str, str]]:
        return [(deed.who, deed.action, deed.about) for deed in self.store.audit.newest(20)]


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def answer_of(address: str, login: str) -> str:
    """Asks the provider as a browser does; gives where it leads."""
    try:
        answer = urllib.request.build_opener(_Stay).open(f"{address}&{urlencode({'login': login})}", timeout=10)
    except urllib.error.HTTPError as redirect:
        said, address = redirect.read(), redirect.headers["Location"]
    else:
        said, address = answer.read(), None
    assert address is not None, said
    return str(address)


def place(address: str) -> str:
    """Gives path and query of an address."""
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"


def asked_in(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


@contextmanager
def oidc_scene(folder: Path, token: str | None = None, public: str = ADDRESS, **options: str) -> Iterator[Scene]:
    """Opens a server; `options` are its settings of OpenID Connect, those of the lab where there are none."""
    with provider(public + CALLBACK) as found:
        wanted = {
            "oidc_issuer": found.issuer,
            "oidc_client_id": CLIENT,
            "oidc_domains": "lab.example",
            "home": str(folder),
            "public_url": public,
            **options,
        }
        settings = Settings.read(
            {"token": token, **wanted}, {"GRADWATCH_OIDC_CLIENT_SECRET": SECRET, "GRADWATCH_PASSWORDS": ""}
        )
        put_database(folder / "gradwatch.db")
        store = Store.open(settings.database)
        app = create_app(settings, store, Live(), registry=rules(), diagnose=False)
        try:
            with TestClient(app, base_url=ADDRESS):
                yield Scene(app, store, found)
        finally:
            store.close()
