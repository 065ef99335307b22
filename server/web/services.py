"""What every route may use, joined by `server.app` and found at `app.state.services`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from server.accounts.book import Accounts
from server.config import Settings
from server.diagnosis.replays import Replays
from server.diagnosis.rooms import Rooms
from server.ingest import Ingest
from server.live import Live
from server.rules.registry import Registry
from server.store import Store


@dataclass(frozen=True)
class Services:
    """Holds the parts of the running server; `clock` gives UTC milliseconds since 1970."""

    settings: Settings
    store: Store
    live: Live
    ingest: Ingest
    registry: Registry
    clock: Callable[[], int]
    rooms: Rooms  # in which the rules of others are asked
    replays: Replays
    accounts: Accounts


def services_of(request: Request) -> Services:
    """Gives the services of the application that handles the request."""
    services = request.app.state.services
    assert isinstance(services, Services)  # noqa: S101 - narrows the type; create_app always sets it
    return services


Parts = Annotated[Services, Depends(services_of)]
