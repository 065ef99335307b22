"""Reads what the corpus said of each rule (`corpus.json`, written by `make corpus`): hits, faults and false alarms.

Not for: running the corpus (tests/corpus).
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("corpus.json")


@dataclass(frozen=True)
class Proof:
    """How one rule fared: faults of its kind, those that it named, and findings that were wrong."""

    faults: int
    hits: int
    false: int
    steps_to_finding: int | None

    @property
    def precision(self) -> float:
        """Gives the share of its findings that were right; careful where few were seen (Laplace's rule)."""
        return (self.hits + 1) / (self.hits + self.false + 2)


def example(code: str) -> Mapping[str, Any] | None:
    """Gives a finding of this rule on a sick training, drawn: one of the corpus, else one beside it; None without."""
    found = corpus().get("pictures", {}).get(code) or corpus().get("shown", {}).get(code)
    return found if isinstance(found, dict) else None


@cache
def corpus() -> Mapping[str, Any]:
    """Gives the whole file; empty where the corpus has not been run."""
    if not FILE.exists():
        return {}
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


@cache
def digest(rule: type) -> str:
    """Gives twelve hex digits of the file that a rule is written in: the corpus keeps which one it was run with."""
    return hashlib.sha256(Path(inspect.getfile(rule)).read_bytes()).hexdigest()[:12]


def proof(code: str) -> Proof | None:
    """Gives a rule's record; None where no training of the corpus concerns it."""
    item = corpus().get("rules", {}).get(code)
    if not isinstance(item, dict):
        return None
    return Proof(int(item["faults"]), int(item["hits"]), int(item["false"]), item.get("steps_to_finding"))
