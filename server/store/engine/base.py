"""What the store needs of a database, whichever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Table, Text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from server.errors import Busy, StoreError

Heard = Callable[[str, str, int], None]


class Database(ABC):
    """Holds the writing engine and the reading engine of one database. `shared`: other processes may write too."""

    name: str
    shared: bool
    writing: Engine
    reading: Engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Gives a connection whose statements all see the same commit."""
        try:
            with self.reading.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise self.translate(error) from error
        except PoolTimeout as error:
            raise Busy("Every connection to the database is in use; try again in a second.") from error

    def many(self, connection: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """Runs a statement for each of these rows."""
        connection.execute(statement, rows)

    @abstractmethod
    def describe(self) -> str:
        """Names the database and its version, for the start-up message; no password is in it."""

    @abstractmethod
    def translate(self, error: DBAPIError) -> StoreError:
        """Turns an error of the driver into a sentence."""

    @abstractmethod
    def transaction_lost(self, connection: Connection) -> bool:
        """Tells whether an error has ended the whole transaction, so that no savepoint of it is left."""

    @abstractmethod
    def worth_retrying(self, error: DBAPIError) -> bool:
        """Tells whether a job failed only because another process was quicker."""

    @abstractmethod
    def migration_lock(self, connection: Connection) -> None:
        """Waits until no other process migrates; held until the transaction ends."""

    @abstractmethod
    def mark_as_ours(self, connection: Connection) -> None:
        """Marks a new database."""

    @abstractmethod
    def is_ours(self, connection: Connection) -> bool:
        """Tells whether the database carries our mark."""

    @abstractmethod
    def close(self) -> None:
        """Closes every connection."""

    def notice(self) -> str:
        """Says what the administrator should know of the database's place; empty if nothing."""
        return ""

    def check_in_place(self) -> None:
        """Raises StoreError when what is written now would be lost with a database that is gone."""
        return

    def refuse_company(self) -> None:
        """Raises StoreError when another process of Gradwatch uses the database."""
        return

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Waits until no other process imports, and lets none while it is entered."""
        yield  # where no other process may write

    def ahead_ms(self) -> int:
        """By how much the clock that counts is ahead of this machine's: that of the database, where several use it."""
        return 0

    def shrink(self, *, busy: bool = False) -> bool:
        """Gives some free space back, in an idle moment or, where much is free, in a `busy` one; tells whether there is
        more to give.
        """
        return False

    def notify(self, run_id: str, kind: str, step: int) -> None:
        """Tells the other processes that a run changed; may be called from any thread."""
        return

    def listen(self, heard: Heard, missed: Callable[[], None]) -> None:
        """Lets `heard` be called, from a thread, for each change that another process tells of, and `missed` where
        some may have been lost.
        """
        return


def upsert(table: Table) -> Any:
    """Begins an INSERT that may say what to do on a conflict (`on_conflict_do_update`, `on_conflict_do_nothing`).

    Both databases have the same words for it, and both compilers understand this construct.
    """
    return insert(table)


class in_bytes(FunctionElement[str]):  # noqa: N801 - it reads as the SQL function that it stands for
    """Compares a text by its bytes, so that both databases sort alike and know the same small letters."""

    type = Text()
    inherit_cache = True


@compiles(in_bytes, "sqlite")
def _binary(element: in_bytes, compiler: Any, **more: Any) -> str:
    return f"({compiler.process(element.clauses, **more)} COLLATE BINARY)"


@compiles(in_bytes, "postgresql")
def _c(element: in_bytes, compiler: Any, **more: Any) -> str:
    return f'({compiler.process(element.clauses, **more)} COLLATE "C")'
