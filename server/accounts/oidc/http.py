"""Asks the provider for JSON: no redirect, a limit of time and of size. Not for: what the answers mean."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from server.accounts.oidc.errors import ProviderAway

TIMEOUT_S = 5.0  # of each wait
DEADLINE_S = 10.0  # of the whole answer
MOST_BYTES = 1_024 * 1_024

Json = dict[str, Any]


class Http:
    """A client; `transport` is what a test puts in the place of the network."""

    def __init__(self, transport: httpx2.BaseTransport | None = None) -> None:
        self._client = httpx2.Client(
            timeout=TIMEOUT_S,
            follow_redirects=False,
            transport=transport,
            headers={"Accept": "application/json", "User-Agent": "Gradwatch"},
        )

    def close(self) -> None:
        """Ends its connections."""
        self._client.close()

    def get(self, address: str, token: str = "") -> Json:
        """Reads an object; raises ProviderAway for every other answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        status, found = self._ask("GET", address, headers)
        if status != 200:
            raise ProviderAway(f"{_place(address)} answered {status} and not 200.")
        return found

    def post(self, address: str, fields: Mapping[str, str], authorization: str) -> tuple[int, Json]:
        """Sends a form and gives the status with the object that came."""
        return self._ask("POST", address, {"Authorization": authorization} if authorization else {}, fields)

    def _ask(
        self, method: str, address: str, headers: Mapping[str, str], fields: Mapping[str, str] | None = None
    ) -> tuple[int, Json]:
        body, until = b"", time.monotonic() + DEADLINE_S
        data = None if fields is None else dict(fields)
        try:
            with self._client.stream(method, address, headers=dict(headers), data=data, auth=None) as answer:
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > MOST_BYTES or time.monotonic() > until:
                        raise ProviderAway(f"{_place(address)} answered too much, or too slowly.")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            raise ProviderAway(f"{_place(address)} cannot be reached ({type(error).__name__}).") from None
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ProviderAway(f"{_place(address)} answered {answer.status_code} with what is no JSON object.")
        return answer.status_code, found


def _place(address: str) -> str:
    parts = urlsplit(address)
    return f"The provider's address {parts.netloc}{parts.path}"
