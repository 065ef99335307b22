"""What the outage of H2 is made of: a training that tells 120,000 numbers, and the count of those that arrived.

For tests/faults/test_outage and benchmarks.faults.
"""

from __future__ import annotations

import csv
import socket
import urllib.request
from collections import Counter
from urllib.parse import urlencode

from tests.serving import Server

POINTS = 120_000  # ten minutes of 200 a second
A_STEP = 60
STEPS = POINTS // A_STEP
_NAMES = [f"mine{number:02}" for number in range(A_STEP)]


def free_port() -> int:
    """Finds a port that nobody listens on yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def numbers_of(step: int) -> dict[str, float]:
    """Gives what the training tells at a step: numbers that are exact in binary."""
    return {name: step + number / 64 for number, name in enumerate(_NAMES)}


def count(server: Server, run_id: str, steps: int, *, first: int = 0) -> dict[str, int]:
    """Counts the points that are lost, there more than once, or of another value than was told."""
    url = f"{server.url}/api/v1/runs/{run_id}/series/export?" + urlencode([("name", name) for name in _NAMES])
    with urllib.request.urlopen(url, timeout=100) as answer:
        rows = list(csv.DictReader(line.decode() for line in answer))
    there = Counter((row["series"], int(row["step"])) for row in rows)
    told = {(name, step): value for step in range(first, first + steps) for name, value in numbers_of(step).items()}
    return {
        "lost": len(told.keys() - there.keys()),
        "twice": sum(times > 1 for times in there.values()),
        "wrong": sum(told.get((row["series"], int(row["step"]))) != float(row["value"]) for row in rows),
    }
