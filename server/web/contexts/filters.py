"""What the address of the runs table asks for, and how it is written. Not for: the rows (runs.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from server.store.columns import Condition
from server.web.formats import shortened

LONGEST_CONDITION = 600
LONGEST_CHIP = 80


@dataclass(frozen=True)
class Filters:
    """What the address asks for; an empty text asks for everything."""

    project: str = ""
    state: str = ""
    severity: str = ""
    search: str = ""
    tag: str = ""
    sort: str = "started"
    reverse: bool = False
    shelf: str = ""
    columns: tuple[str, ...] = ()
    cursor: str = ""
    where: tuple[str, ...] = ()  # conditions on columns

    def query(self, *, path: str = "/", where: Sequence[str] | None = None, **changes: str) -> str:
        """Writes the address of this view with some fields changed; what is default is left out."""
        kept = self.fields(where=where, **changes)
        return f"{path}?{urlencode(kept)}" if kept else path

    def fields(self, *, where: Sequence[str] | None = None, **changes: str) -> list[tuple[str, str]]:
        """Gives the fields of the address, with some changed; what is default is left out."""
        values = {
            "project": self.project,
            "state": self.state,
            "severity": self.severity,
            "search": self.search,
            "tag": self.tag,
            "sort": "" if self.sort == "started" else self.sort,
            "reverse": "1" if self.reverse else "",
            "shelf": self.shelf,
            "cursor": self.cursor,
            **changes,
        }
        kept = [(key, value) for key, value in values.items() if value]
        kept += [("where", one) for one in (self.where if where is None else where)]
        return kept + [("col", name) for name in self.columns]

    @property
    def narrow(self) -> bool:
        """Whether anything is filtered away."""
        return bool(self.project or self.state or self.severity or self.search or self.tag or self.shelf or self.where)

    @property
    def words(self) -> str:
        """The search, where it is no condition."""
        return "" if Condition.parse(self.search) else self.search

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions on columns; one may stand in the field of the search."""
        return (*self.where, self.search) if Condition.parse(self.search) else self.where


@dataclass(frozen=True)
class Chip:
    """One condition that narrows the table, and the address without it."""

    text: str
    without_url: str


def chips(filters: Filters) -> tuple[Chip, ...]:
    """Makes what says which tag and which conditions the table keeps to."""
    found = [Chip(f"tag {filters.tag}", filters.query(tag="", cursor=""))] if filters.tag else []
    for one in filters.where:
        rest = [other for other in filters.where if other != one]
        found.append(Chip(shortened(condition_words(one), LONGEST_CHIP), filters.query(where=rest, cursor="")))
    return tuple(found)


def words_of(filters: Filters) -> tuple[str, ...]:
    """Says everything that narrows the table."""
    named = (("project", filters.project), ("state", filters.state), ("severity", filters.severity))
    found = [f"{name} {value}" for name, value in named if value]
    found += [f"search {shortened(filters.words, LONGEST_CHIP)}"] if filters.words else []
    found += [f"tag {filters.tag}"] if filters.tag else []
    found += [filters.shelf] if filters.shelf else []
    return (*found, *(shortened(condition_words(one), LONGEST_CHIP) for one in filters.conditions))


def condition_words(text: str) -> str:
    """Writes a condition as a person reads it: lr = 0.1."""
    found = Condition.parse(text)
    if found is None:
        return text
    kind, name = found.column.kind, found.column.name
    shown = name if kind == "config" else f"{kind} {name}"
    return f"{shown} {found.sign} {found.value}"


def equal(column: str, value: float | str | None) -> str | None:
    """Writes the condition that a column holds a value; None where none could be read back."""
    text = f"{column}={value}"
    found = Condition.parse(text)
    fits = found is not None and found.sign == "=" and f"{found.column.kind}.{found.column.name}" == column
    return text if fits and value is not None and len(text) <= LONGEST_CONDITION else None
