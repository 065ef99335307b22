"""The one thread that writes: it takes what waits, runs each job in a savepoint, commits once, then answers everyone.

Many small jobs share one fsync this way, and one that fails is rolled back alone.
Not for: what the jobs do (the repositories).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from server.errors import Busy, GradwatchError, StoreError
from server.store.engine import Database, translate

Result = TypeVar("Result")
Job = Callable[[Connection], Any]

MAX_WAITING_JOBS = 1_024
MAX_WAITING_BYTES = 256 * 1024 * 1024
MAX_JOBS_PER_COMMIT = 128
MAX_BYTES_PER_COMMIT = 32 * 1024 * 1024
IDLE_BEFORE_SHRINK_S = 5.0

# What a job may raise, a programming mistake included: its caller hears of it, the thread and the other jobs go on.
FAULTS = (
    GradwatchError,
    SQLAlchemyError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    Warning,
)


class Writer:
    """Runs jobs on the writing connection, one after another; `on_rollback` hears of work that was undone."""

    def __init__(self, database: Database, on_rollback: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._on_rollback = on_rollback
        self._waiting: deque[tuple[Job, int, Future[Any]]] = deque()
        self._waiting_bytes = 0
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="gradwatch-writer", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[Connection], Result], size: int = 0) -> Result:
        """Runs a job in the next transaction and returns its result after the commit; raises Busy if too many wait."""
        answer: Future[Result] = Future()
        with self._wake:
            if self._closed:
                raise StoreError("The store is closed.")
            over = self._waiting_bytes + size > MAX_WAITING_BYTES and self._waiting
            if len(self._waiting) >= MAX_WAITING_JOBS or over:
                raise Busy(f"{len(self._waiting)} writes wait for the database already; try again in a second.")
            self._waiting.append((job, size, answer))
            self._waiting_bytes += size
            self._wake.notify()
        return answer.result()

    def close(self) -> None:
        """Finishes what waits, then stops the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        try:
            self._work_until_closed()
        finally:
            with self._wake:
                self._closed = True
                left = [answer for _, _, answer in self._waiting]
                self._waiting.clear()
            for answer in left:
                answer.set_exception(StoreError("The store stopped writing; its log says why. Start the server again."))

    def _work_until_closed(self) -> None:
        wrote = False
        while True:
            with self._wake:
                if not self._waiting and not self._closed:
                    self._wake.wait(IDLE_BEFORE_SHRINK_S if wrote else None)
                batch = self._take()
                closed = self._closed
            if batch:
                self._commit(batch)
                wrote = True
            elif closed:
                return
            elif wrote:
                self._database.shrink()
                wrote = False

    def _take(self) -> list[tuple[Job, Future[Any]]]:
        batch: list[tuple[Job, Future[Any]]] = []
        taken_bytes = 0
        while self._waiting and len(batch) < MAX_JOBS_PER_COMMIT and taken_bytes <= MAX_BYTES_PER_COMMIT:
            job, size, answer = self._waiting.popleft()
            batch.append((job, answer))
            taken_bytes += size
            self._waiting_bytes -= size
        return batch

    def _commit(self, batch: list[tuple[Job, Future[Any]]]) -> None:
        """Runs the jobs of one transaction; whatever happens, every caller gets an answer."""
        results: list[tuple[Future[Any], Any]] = []
        failed: list[tuple[Future[Any], Exception]] = []
        try:
            self._database.check_in_place()
            with self._database.writing.connect() as connection, connection.begin():
                for job, answer in batch:
                    try:
                        with connection.begin_nested():
                            results.append((answer, job(connection)))
                    except FAULTS as error:
                        if isinstance(error, DBAPIError) and not self._alive(connection):
                            raise
                        self._on_rollback()
                        failed.append((answer, self._explain(error)))
        except FAULTS as error:
            self._on_rollback()
            explained = self._explain(error)
            answered = {id(answer) for answer, _ in failed}
            failed += [(answer, explained) for _, answer in batch if id(answer) not in answered]
            results = []
        except BaseException:
            for _, answer in batch:
                answer.set_exception(StoreError("The write was broken off; nothing of it was stored."))
            raise
        for answer, reason in failed:
            answer.set_exception(reason)
        for answer, result in results:
            if not answer.done():  # its savepoint may have failed after the job did not
                answer.set_result(result)

    def _alive(self, connection: Connection) -> bool:
        # SQLite rolls the whole transaction back by itself on a full disk or an I/O error.
        raw: Any = connection.connection.driver_connection
        return bool(raw.in_transaction)

    def _explain(self, error: Exception) -> Exception:
        if isinstance(error, GradwatchError) or not isinstance(error, DBAPIError):
            return error
        explained = translate(error, self._database.path)
        explained.__cause__ = error
        return explained
