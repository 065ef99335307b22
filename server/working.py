"""The command `gradwatch worker`: diagnoses the runs of a team's database beside the servers that answer requests.

Each server has such a worker of its own; more of them share the runs (a lease row says who has which). Not for: SQLite,
which belongs to one process, the server.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from functools import partial
from types import FrameType

from server.config import OWN_RULES, Settings
from server.diagnosis import Diagnosis, DiagnosisWorker
from server.diagnosis.urgency import verdict_of
from server.errors import StoreError
from server.live import Live
from server.rules.registry import load_rules
from server.store import Store
from server.store.engine import sqlite_path

log = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Diagnoses until SIGTERM or SIGINT and gives the exit code; raises StoreError where the database cannot be had."""
    if sqlite_path(settings.database) is not None:
        raise StoreError(
            "A worker needs PostgreSQL (--database postgresql+psycopg://…): a SQLite database belongs to one process, "
            "and `gradwatch serve` diagnoses by itself."
        )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    over = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    store = Store.open(settings.database)
    try:
        registry = load_rules(settings.home / OWN_RULES)
        for problem in registry.problems:
            log.warning("The rule %s is left out: %s", problem.source, problem.sentence)
        store.findings.speech.speaker = partial(verdict_of, registry=registry)
        worker = DiagnosisWorker(Diagnosis(store, Live(store.notify), registry, store.now_ms))
        worker.start()
        print(f"Gradwatch diagnoses the runs of {store.describe()}", flush=True)  # noqa: T201
        over.wait()
        worker.stop()
    finally:
        store.close()
    return 0
