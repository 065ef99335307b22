"""Reads series and cases in the shorthand of the YAML files, so that the shape of a series is visible.

`0.1x50` repeats, `1..0x40` is a ramp, `2.3~0.1x200` is noise of that sigma around a level, `2..1~0.1x200` around a
ramp, `_x9` are steps without a value, `<3` goes three steps back, `nan`, `inf` and `-inf` are themselves. The first
value belongs to step 0.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from server.diagnosis.engine import Engine
from server.domain.evidence import Window
from server.rules.base import Rule

TIMES = re.compile(r"(.+?)x(\d+)")
BEFORE_START = -1


def read_series(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Gives the steps and values of a series in shorthand; the same text gives the same noise."""
    chance = np.random.default_rng(zlib.crc32(text.encode()))
    steps: list[int] = []
    values: list[float] = []
    step = 0
    for token in str(text).split():
        if token.startswith("<"):
            step -= int(token[1:])
            continue
        match = TIMES.fullmatch(token)
        shape, count = (match.group(1), int(match.group(2))) if match else (token, 1)
        if shape != "_":
            level, _, sigma = shape.partition("~")
            first, _, last = level.partition("..")
            line = np.linspace(float(first), float(last or first), count) if last else np.full(count, float(first))
            values += list(line + chance.normal(0, float(sigma), count) if sigma else line)
            steps += range(step, step + count)
        step += count
    return np.asarray(steps, np.int64), np.asarray(values)


@dataclass(frozen=True)
class Case:
    """One case: what a run sent, and what a rule should say.

    `at` is the step to judge at, by default the last one;
    `earlier` says that a quiet case had a finding before, which is still open.
    """

    name: str
    expect: Any
    why: str
    series: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    final: bool = False
    state: str = "finished"
    planned: int | None = None
    gates: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    at: int | None = None
    earlier: bool = False

    @classmethod
    def read(cls, name: str, content: Mapping[str, Any]) -> Case:
        """Makes a case of what the YAML file says."""
        lists = {key: tuple(content[key]) for key in ("gates", "open") if key in content}
        return cls(name=name, **{**content, **lists})

    @property
    def fires(self) -> bool:
        """Says whether a finding is expected."""
        return isinstance(self.expect, Mapping) and "message" in self.expect

    @property
    def numbers(self) -> list[float]:
        """All values of all series."""
        return [value for text in self.series.values() for value in read_series(text)[1]]

    def engine(self, rule: Rule) -> Engine:
        """Gives an engine with this rule alone that holds the evidence and has judged nothing yet."""
        engine = Engine(
            [rule],
            planned=self.planned,
            gates=dict.fromkeys(self.gates, True),
            open_codes=frozenset(self.open),
        )
        last = 0
        for name, text in self.series.items():
            steps, values = read_series(text)
            engine.evidence.add((name,), steps, values[None, :])
            last = max(last, int(steps[-1]) if len(steps) else 0)
        if "loss" not in self.series:
            engine.evidence.add(("time/step",), np.arange(last + 1), np.full((1, last + 1), 0.01))
        for name, value in self.facts.items():
            engine.evidence.add_fact(name, BEFORE_START, value)
        engine.evidence.settle_all()
        return engine

    def window(self, rule: Rule) -> Window:
        """Gives the window at the step of the case."""
        engine = self.engine(rule)
        closed = engine.evidence.closed.steps
        step = self.at if self.at is not None else max(engine.evidence.complete, 0)
        return engine.window(
            step,
            int(np.searchsorted(closed, step, side="right")),
            final=self.final,
            state=self.state if self.final else "",
        )
