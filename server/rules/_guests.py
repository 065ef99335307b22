"""Loads rules that others wrote, each in a room with a clock, and looks whether the diagnosis can work with them.

A file that throws, ends the program or hangs while it is loaded is told and left out. Not for: asking them
(server.diagnosis.rooms).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from server.domain.findings import Severity
from server.domain.kinds import Kind
from server.rules.base import Rule, Stage, relaxed
from server.rules.own import Problem, own_sources
from server.rules.room import STAYS, Job, Room

LOAD_S = 10.0  # for one file, what it imports included

Item = TypeVar("Item")


def load_guests(
    folder: Path | None, inspect: Callable[[ModuleType], Iterable[Item]], take: Callable[[Iterable[Item]], None],
    limit_s: float,
) -> list[Problem]:  # fmt: skip
    """Loads each source and hands what `inspect` makes of it to `take`; gives what is wrong with the others.

    `inspect` raises ValueError with a sentence that begins with the place.
    """
    problems: list[Problem] = []
    room: Room | None = None
    for source, load in own_sources(folder):
        room = room or Room()
        job = Job(partial(_inspected, load, inspect))
        if not room.ask(job, limit_s):
            left = "" if room.leave() else f"; {STAYS}"
            room = None
            problems.append(Problem(source, f"it cannot be loaded (it did not end within {limit_s:g} s{left})"))
        elif isinstance(job.caught.error, Incomplete):
            problems.append(Problem(source, str(job.caught.error)))
        elif job.caught.error is not None:
            problems.append(Problem(source, f"it cannot be loaded ({job.caught.words})"))
        else:
            take(job.made or ())
    if room is not None:
        room.close()
    return problems


def _inspected(load: Callable[[], ModuleType], inspect: Callable[[ModuleType], Iterable[Item]]) -> tuple[Item, ...]:
    return tuple(inspect(load()))


class Incomplete(ValueError):
    """Says which rule file is not complete, where, and what is missing."""


def check_guest(kind: type[Rule], place: str) -> None:
    """Raises Incomplete where an attribute is not what the diagnosis reckons with, which is not the rule's to find
    out while a run is judged."""
    for name, (fits, words) in _FITTING.items():
        value = getattr(kind, name, None)
        if not fits(value):
            raise Incomplete(f"{place}: `{name}` is {value!r:.80}; it must be {words}")
    relaxed(kind.Params())


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _persists(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_counts, value)) and value[0] <= value[1]


def _tuple_of(kind: type[Any]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(isinstance(item, kind) for item in value)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _words(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(item, str) for pair in value.items() for item in pair)


_FITTING: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "severity": (lambda value: isinstance(value, Severity), "a Severity"),
    "since": (_text, "a text"),
    "version": (_counts, "a whole number from 1 on"),
    "needs": (_tuple_of(Kind), "a tuple of Kind"),
    "chart": (_text, "a text"),
    "tier": (lambda value: value in ("scalars", "layers", "facts"), '"scalars", "layers" or "facts"'),
    "clock": (lambda value: value in ("step", "sample"), '"step" or "sample"'),
    "every": (_counts, "a whole number from 1 on"),
    "whole_run": (_truth, "True or False"),
    "across_ranks": (_truth, "True or False"),
    "persistence": (_persists, "two whole numbers, n of the last m, from 1 on"),
    "clears_after": (lambda value: value is None or _counts(value), "None or a whole number from 1 on"),
    "gates": (_tuple_of(str), "a tuple of texts"),
    "stage": (lambda value: isinstance(value, Stage), "a Stage"),
    "exact": (_truth, "True or False"),
    "aside": (_truth, "True or False"),
    "levels": (_words, "a mapping of texts to texts"),
}
