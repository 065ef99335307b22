"""Remembers what was read from a fact, because every rule reads the same one again: a model's table can be long.

A reading depends on the fact alone, so remembering it changes no answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Read = TypeVar("Read")
MOST = 256

# the fact is kept beside its reading: as long as it is here its id belongs to nobody else
_known: OrderedDict[tuple[int, str], tuple[Mapping[str, Any], Any]] = OrderedDict()


def read_once(fact: Mapping[str, Any], what: str, read: Callable[[Mapping[str, Any]], Read]) -> Read:
    """Gives a reading of a fact, made once for each fact object."""
    key = (id(fact), what)
    found = _known.get(key)
    if found is not None and found[0] is fact:
        reading: Read = found[1]
        return reading
    reading = read(fact)
    if fact:
        _known[key] = (fact, reading)
        while len(_known) > MOST:
            _known.popitem(last=False)
    return reading
