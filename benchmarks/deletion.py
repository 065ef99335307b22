"""Measures how long a deletion holds others up: `python -m benchmarks.deletion [--quick] [--database KIND]`.

A large run of a thousand is deleted while four others send; nobody writes longer than the longest transaction. Not for:
whether all of it goes and nothing else (tests).
"""

from __future__ import annotations

import argparse
import json
import time

from benchmarks.databases import add_option, database
from server.store import Store
from tests.server.reliability.one_of_many import LARGE, SERIES, STEPS, fill, sending, transactions

MANY = 1_000
TARGET_MS = 100


def main() -> None:
    """Prints one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes")
    add_option(parser)
    chosen = parser.parse_args()
    many, frames = (MANY // 10, 100) if chosen.quick else (MANY, 1_000)
    with database(chosen.database) as (name, url):
        store = Store.open(url)
        fill(store, many, frames)
        case = f"{name}, 1 of {many:,} runs, {frames * SERIES * STEPS:,} points"
        with transactions(store) as taken, sending(store):
            time.sleep(1)
            emit(f"{case}, before", "longest transaction", 1_000 * max(taken), "ms")
            taken.clear()
            began = time.perf_counter()
            store.runs.delete(LARGE)
            emit(case, "longest transaction", 1_000 * max(taken), "ms", TARGET_MS)
            emit(case, "deleted in", time.perf_counter() - began, "s")
        store.close()


def emit(case: str, metric: str, value: float, unit: str, target: float | None = None) -> None:
    """Prints one figure."""
    row = {"benchmark": "deletion", "case": case, "metric": metric, "value": round(value, 2), "unit": unit}
    print(json.dumps({**row, "target": target, "meets": None if target is None else value <= target}), flush=True)


if __name__ == "__main__":
    main()
