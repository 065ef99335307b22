"""Brings a database to the newest schema, and refuses one that is newer, foreign or damaged.

The steps lie in versions/, named by number and by what they do. Not for: the current shape (schema.py).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from server.errors import StoreError
from server.store.engine import Database

HEAD_TABLE = "alembic_version"


def upgrade(database: Database) -> None:
    """Brings the database to the newest schema in one transaction; raises StoreError with a sentence."""
    scripts = _scripts()
    try:
        with database.writing.begin() as connection:
            database.migration_lock(connection)
            current = _current(connection, database, scripts)
            if current == scripts.get_current_head():
                return
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            database.mark_as_ours(connection)
    except DBAPIError as error:
        raise database.translate(error) from error


def head() -> str | None:
    """Names the newest schema that this version knows."""
    return _scripts().get_current_head()


@lru_cache(maxsize=1)
def _scripts() -> ScriptDirectory:
    """Reads the steps once: they lie beside the code and do not change while it runs."""
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def _current(connection: Connection, database: Database, scripts: ScriptDirectory) -> str | None:
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if HEAD_TABLE not in tables or not database.is_ours(connection):
        raise StoreError(
            f"The database {database.name} belongs to another program (it has the table {sorted(tables)[0]!r}). "
            "Name another one with --database."
        )
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if current not in known:
        raise StoreError(
            f"The database {database.name} has schema {current}, this version knows up to "
            f"{scripts.get_current_head()}. Upgrade it: pip install --upgrade gradwatch."
        )
    return current
