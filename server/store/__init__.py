"""Keeps the runs: one object, `Store`, with a repository for each noun. Synchronous and safe from any thread.

Readers do not wait for the writer; whatever writes returns after its commit.
Not for: HTTP, wire format or judging.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from server.store.ahead import Ahead
from server.store.alerts import Alerts
from server.store.audit import Audit
from server.store.catalogue import Catalogue
from server.store.channels import Channels
from server.store.columns import Columns
from server.store.diagnosis_queue import DiagnosisQueue
from server.store.engine import Database, open_database
from server.store.findings import Findings
from server.store.frames import Frames
from server.store.heatmap import Heatmaps
from server.store.migrations import head, upgrade
from server.store.notes import NotesOnRuns
from server.store.overview import Overview
from server.store.people import People
from server.store.records import Records
from server.store.runs import Runs
from server.store.sealing import Sealer
from server.store.series import SeriesReader
from server.store.sign_ins import SignIns
from server.store.telling import Telling
from server.store.tokens import Tokens
from server.store.wishes import Wishes
from server.store.writer import Writer

__all__ = ["Store"]


def now_ms() -> int:
    """Gives the time, UTC, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Store:
    """Holds an open database and its repositories; open it with `Store.open`."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        catalogue = Catalogue(shared=database.shared)
        self._database = database
        self._clock = clock
        ahead = Ahead(catalogue)

        def forget() -> None:
            catalogue.forget()
            ahead.forget()

        self._writer = Writer(database, forget)
        telling = Telling(self.now_ms)
        self.sealer = Sealer(database, self._writer, self.now_ms)
        self.runs = Runs(database, self._writer, catalogue, self.sealer)
        self.queue = DiagnosisQueue(database, self._writer, self.sealer, telling)
        self.frames = Frames(database, self._writer, catalogue, ahead, self.sealer, telling)
        self.series = SeriesReader(database)
        self.columns = Columns(database)
        self.overview = Overview(database)
        self.heatmaps = Heatmaps(database)
        self.records = Records(database)
        self.findings = Findings(database, self._writer, telling)
        self.sign_ins = SignIns(database, self._writer, self.now_ms)
        self.people = People(database, self._writer, self.now_ms)
        self.tokens = Tokens(database, self._writer, self.now_ms)
        self.notes = NotesOnRuns(database, self._writer)
        self.audit = Audit(database, self._writer)
        self.wishes = Wishes(database, self._writer, self.findings.speech)
        self.channels = Channels(database, self._writer, self.now_ms)
        self.alerts = Alerts(database, self._writer, self.now_ms)

    @classmethod
    def open(cls, url: str, clock: Callable[[], int] = now_ms) -> Store:
        """Opens and migrates the database of a URL such as `sqlite:////path/gradwatch.db` or
        `postgresql+psycopg://host/gradwatch`; raises StoreError with a sentence.
        """
        database = open_database(url)
        try:
            upgrade(database)
        except BaseException:
            database.close()
            raise
        store = cls(database, clock)
        store.sealer.look_around()
        return store

    def now_ms(self) -> int:
        """Gives the time that counts for all server processes on the database."""
        return self._clock() + self._database.ahead_ms()

    def importing(self) -> AbstractContextManager[None]:
        """Waits until no other process imports, and lets none while it is entered."""
        return self._database.importing()

    def notify(self, run_id: str, kind: str, step: int) -> None:
        """Tells the other server processes on this database that a run changed; never waits."""
        self._database.notify(run_id, kind, step)

    def listen(self, heard: Callable[[str, str, int], None], missed: Callable[[], None]) -> None:
        """Lets `heard` be called for each change that another server process tells of, and `missed` where some may have
        been lost.
        """
        self._database.listen(heard, missed)

    def notice(self) -> str:
        """Says what the administrator should know of the database's place; empty if nothing."""
        return self._database.notice()

    @property
    def schema(self) -> str:
        """Names the schema that the database has."""
        return head() or ""

    def describe(self) -> str:
        """Names the database and its version, for the start-up message."""
        return self._database.describe()

    def close(self) -> None:
        """Finishes what waits to be written, then closes the database."""
        self._writer.close()
        self._database.close()
