"""The token of the demo's trainings, at a home where people sign in: made before the server starts, ended after it.

Not for: what is wrong with the settings or the database, which the server itself says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from server.config import Settings
from server.errors import GradwatchError, SettingsError

if TYPE_CHECKING:
    from server.store import Store

WHO = "the demo"
DAYS = 1.0  # should the demo be killed, and never end it
SQLITE = "sqlite:///"


@contextmanager
def taken(home: str | None, environment: Mapping[str, str]) -> Iterator[str | None]:
    """Gives what the server will ask a training for; None where it asks for nothing."""
    try:
        settings = Settings.read({"home": home}, environment)
    except SettingsError:
        yield None
        return
    if settings.token:
        yield settings.token
        return
    name, text = _made(settings)
    try:
        yield text
    finally:
        if text:
            _end(settings, name)


def _made(settings: Settings) -> tuple[str, str | None]:
    file = settings.database.removeprefix(SQLITE)
    if settings.provider is None and file != settings.database and not Path(file).exists():
        return "", None  # nobody has an account in what is not there
    try:
        # Imported here: these need the packages of the extra `server`.
        from server.accounts.book import Accounts
        from server.store import Store

        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(Store.open(settings.database)) as store:
            if settings.provider is None and not store.people.any():
                return "", None
            name = _free_name(store)
            return name, Accounts(store).add_token(name, "ingest", DAYS, who=WHO)
    except (ModuleNotFoundError, GradwatchError, OSError):
        return "", None


def _free_name(store: Store) -> str:
    taken_names = {token.name for token in store.tokens.list() if token.revoked_ms is None}
    names = (f"demo {number}" if number > 1 else "demo" for number in range(1, len(taken_names) + 2))
    return next(name for name in names if name not in taken_names)


def _end(settings: Settings, name: str) -> None:
    from server.accounts.book import Accounts
    from server.store import Store

    with suppress(GradwatchError), closing(Store.open(settings.database)) as store:
        Accounts(store).revoke_token(name, who=WHO)
