"""The one thread that writes: it takes what waits, runs the jobs in one transaction, commits, then answers everyone.

Many small jobs share one fsync this way, and statements that they leave for later. When one fails, all are rolled back
and run again, a savepoint each, so that it fails alone.
Not for: what the jobs do (the repositories).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from server.errors import Busy, GradwatchError, StoreError
from server.store.engine import Database
from server.store.later import Later

Result = TypeVar("Result")
Told = TypeVar("Told")
Job = Callable[[Connection], Any]
LookAhead = Callable[[Connection, Sequence[Any]], None]

MAX_WAITING_JOBS = 1_024
MAX_WAITING_BYTES = 256 * 1024 * 1024
MAX_JOBS_PER_COMMIT = 128
MAX_BYTES_PER_COMMIT = 32 * 1024 * 1024
IDLE_BEFORE_SHRINK_S = 5.0
IDLE_SHRINK_S = 0.1  # between two steps of an idle moment
BUSY_SHRINK_S = 1.0
TRIES = 3  # where other processes write too

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


@dataclass(frozen=True)
class _Waiting:
    """A job in line, and who waits for it."""

    job: Job
    then: Callable[[Any], Any]
    size: int = 0
    ahead: LookAhead | None = None
    item: Any = None
    answer: Future[Any] = field(default_factory=Future)

    def done(self, result: Any) -> None:
        """Tells the caller after the commit."""
        self.answer.set_result(self.then(result))


class Writer:
    """Runs jobs on the writing connection, one after another; `on_rollback` hears of work that was undone."""

    def __init__(self, database: Database, on_rollback: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._on_rollback = on_rollback
        self.later = Later(database.many)  # for jobs, in the writer's thread
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="gradwatch-writer", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[Connection], Result], size: int = 0) -> Result:
        """Runs a job in the next transaction and returns its result after the commit; raises Busy if too many wait."""
        answer: Future[Result] = self._put(_Waiting(job, _same, size))
        return answer.result()

    def submit(
        self,
        job: Callable[[Connection], Result],
        then: Callable[[Result], Told],
        *,
        size: int = 0,
        ahead: LookAhead | None = None,
        item: Any = None,
    ) -> Future[Told]:
        """Puts a job in line as `run` does, and gives at once what will hold the answer of `then` to its result, which
        the writer's thread asks for after the commit.

        `ahead` is given the items of all jobs of this kind that come one after another, before the first of them
        begins. Such a job settles `later` itself for the run that it reads; before any other job, all of it is run.
        """
        return self._put(_Waiting(job, then, size, ahead, item))

    def _put(self, waiting: _Waiting) -> Future[Any]:
        with self._wake:
            if self._closed:
                raise StoreError("The store is closed.")
            over = self._waiting_bytes + waiting.size > MAX_WAITING_BYTES and self._waiting
            if len(self._waiting) >= MAX_WAITING_JOBS or over:
                raise Busy(f"{len(self._waiting)} writes wait for the database already; try again in a second.")
            self._waiting.append(waiting)
            self._waiting_bytes += waiting.size
            self._wake.notify()
        return waiting.answer

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
                left = list(self._waiting)
                self._waiting.clear()
            gone = StoreError("The store stopped writing; its log says why. Start the server again.")
            for one in left:
                one.answer.set_exception(gone)

    def _work_until_closed(self) -> None:
        rest: float | None = None  # until space is given back; None where there is none to give
        shrunk_at = 0.0
        while True:
            with self._wake:
                if not self._waiting and not self._closed:
                    self._wake.wait(rest)
                batch = self._take()
                closed = self._closed
            if batch:
                self._commit(batch)
                rest = IDLE_BEFORE_SHRINK_S
                if time.monotonic() - shrunk_at > BUSY_SHRINK_S:
                    shrunk_at = time.monotonic()
                    self._database.shrink(busy=True)
            elif closed:
                return
            elif rest is not None:
                rest = IDLE_SHRINK_S if self._database.shrink() else None

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        taken_bytes = 0
        while self._waiting and len(batch) < MAX_JOBS_PER_COMMIT and taken_bytes <= MAX_BYTES_PER_COMMIT:
            one = self._waiting.popleft()
            batch.append(one)
            taken_bytes += one.size
            self._waiting_bytes -= one.size
        return batch

    def _commit(self, batch: list[_Waiting]) -> None:
        """Runs the jobs of one transaction; whatever happens, every caller gets an answer."""
        try:
            if not self._all_went_well(batch):
                self._settle(batch, TRIES)
        except BaseException:
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(StoreError("The write was broken off; nothing of it was stored."))
            raise

    def _all_went_well(self, batch: list[_Waiting]) -> bool:
        """Runs the jobs without savepoints, each of which costs as much as a small job; False when one fails: then
        nothing is stored.
        """
        try:
            self._database.check_in_place()
            with self._database.writing.connect() as connection, connection.begin():
                results: list[Any] = []
                for ahead, stretch in groupby(batch, key=lambda one: one.ahead):
                    jobs = list(stretch)
                    if ahead is not None:
                        ahead(connection, [one.item for one in jobs])
                    for one in jobs:
                        if ahead is None:
                            self.later.settle(connection)
                        results.append(one.job(connection))
                self.later.settle(connection)
        except FAULTS:
            self._undone()
            return False
        for one, result in zip(batch, results, strict=True):
            one.done(result)
        return True

    def _settle(self, batch: list[_Waiting], tries: int) -> None:
        """Runs jobs in one transaction, a savepoint each; when it is lost to another process, runs each again in one of
        its own.
        """
        outcomes: list[tuple[Any, Exception | None]] = []
        try:
            self._database.check_in_place()
            with self._database.writing.connect() as connection, connection.begin():
                for one in batch:
                    attempt = self._attempt(connection, one.job, alone=len(batch) == 1)
                    outcomes.append(attempt)  # kept when a later one fails
        except FAULTS as error:
            self._undone()
            if tries > 1 and isinstance(error, DBAPIError) and self._database.worth_retrying(error):
                for one in batch:
                    self._settle([one], tries - 1)
                return
            lost = self._explain(error)
            refused = [reason for _, reason in outcomes] + [None] * (len(batch) - len(outcomes))
            outcomes = [(None, reason or lost) for reason in refused]
        for one, (result, reason) in zip(batch, outcomes, strict=True):
            if reason is None:
                one.done(result)
            else:
                one.answer.set_exception(reason)

    def _attempt(self, connection: Connection, job: Job, *, alone: bool) -> tuple[Any, Exception | None]:
        """Runs a job in a savepoint; one that another process came before is run again and sees what that one did.

        Where that does not help, the jobs before it hold what the other one waits for: the whole transaction is lost.
        """
        tries = TRIES
        while True:
            tries -= 1
            try:
                with connection.begin_nested():
                    result = job(connection)
                    self.later.settle(connection)
                    return result, None
            except FAULTS as error:
                if isinstance(error, DBAPIError) and self._database.transaction_lost(connection):
                    raise
                self._undone()
                again = isinstance(error, DBAPIError) and self._database.worth_retrying(error)
                if again and not tries and not alone:
                    raise
                if not again or not tries:
                    return None, self._explain(error)

    def _undone(self) -> None:
        self.later.forget()
        self._on_rollback()

    def _explain(self, error: Exception) -> Exception:
        if isinstance(error, GradwatchError) or not isinstance(error, DBAPIError):
            return error
        explained = self._database.translate(error)
        explained.__cause__ = error
        return explained


def _same(result: Any) -> Any:
    return result
