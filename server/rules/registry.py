"""Finds the rules: every module of this package holds exactly one, and one that is not complete is refused with
its place.

There is no list to edit. Modules that begin with an underscore are helpers. Teams add rules of their own as files in
the folder `rules` of the server's home, other distributions through the entry point group `gradwatch.rules` (own.py).
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import server.rules
from server.domain.evidence import Gates
from server.domain.findings import Severity
from server.rules._guests import LOAD_S, Incomplete, check_guest, load_guests
from server.rules.base import ParamInfo, Rule, describe_params
from server.rules.own import Problem

SECTIONS = (
    "What it does",
    "Why it matters",
    "What you see in the chart",
    "What to try",
    "Example",
    "References",
)
LONGEST_SUMMARY = 80
_NOT_RULES = ("base", "caught", "own", "registry", "room")
_CODE = re.compile(r"GW\d{3}")
_GUEST_CODE = re.compile(r"[A-Z]{2,6}\d{3}")


RuleError = Incomplete


@dataclass(frozen=True)
class RuleInfo:
    """One rule with all that its page shows."""

    rule: Rule
    code: str
    name: str
    severity: Severity
    since: str
    version: int
    summary: str
    sections: Mapping[str, str]
    params: tuple[ParamInfo, ...]
    source: str
    guest: bool = False  # written by others; runs in a room of its own

    @property
    def chart(self) -> str:
        """The name of the chart that shows its evidence."""
        return self.rule.chart


class Registry:
    """Holds the rules by code, in the order of their codes."""

    def __init__(self, items: Iterable[RuleInfo], problems: Iterable[Problem] = ()) -> None:
        self.problems = tuple(problems)  # rules of others that could not be loaded
        self.items = tuple(sorted(items, key=lambda item: item.code))
        self._by_code = {item.code: item for item in self.items}
        self._by_name = {item.name: item for item in self.items}

    def __iter__(self) -> Iterator[RuleInfo]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def get(self, code_or_name: str) -> RuleInfo | None:
        """Finds a rule by its code or its name."""
        return self._by_code.get(code_or_name) or self._by_name.get(code_or_name)


def load_rules(own: Path | None = None, *, limit_s: float = LOAD_S) -> Registry:
    """Loads and checks every rule; raises RuleError with the file, the line and what is wrong with one of ours.

    `own` is a folder with rules that a team wrote itself. What is wrong with one of those, or with one that another
    distribution brings, is told in `problems`, and the rest is loaded; each may take `limit_s` seconds.
    """
    ours = registry_of(
        import_module(f"{server.rules.__name__}.{found.name}")
        for found in pkgutil.iter_modules(server.rules.__path__)
        if found.name not in _NOT_RULES and not found.name.startswith("_")
    )
    items = list(ours.items)
    problems = load_guests(
        own, lambda module: registry_of([module], taken=tuple(items), guest=True), items.extend, limit_s
    )
    return Registry(items, problems)


def registry_of(modules: Iterable[ModuleType], *, taken: Iterable[RuleInfo] = (), guest: bool = False) -> Registry:
    """Makes a registry of these modules, each with exactly one rule, whose codes and names nobody has taken."""
    known = {key: item for item in taken for key in (item.code, item.name)}
    found: list[RuleInfo] = []
    for module in modules:
        item = _inspect(module, guest=guest)
        for key in (item.code, item.name):
            if key in known:
                raise RuleError(
                    f"{item.source}: {key} is taken by {known[key].source}; codes and names are never reused"
                )
            known[key] = item
        found.append(item)
    return Registry(found)


def split_sections(docstring: str) -> tuple[str, dict[str, str]]:
    """Splits a rule's docstring into its first line and its sections (`## Title`), in the order written."""
    lines = inspect.cleandoc(docstring).splitlines()
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines[1:]:
        if line.startswith("## "):
            current = sections.setdefault(line[3:].strip(), [])
        else:
            current.append(line)
    return lines[0].strip(), {title: "\n".join(text).strip() for title, text in sections.items()}


def _line(module: ModuleType, kind: type) -> int:
    """Finds the line of a class by its text: parsing the file is slow, and in CPython 3.11 two threads cannot."""
    lines = Path(str(module.__file__)).read_text(encoding="utf-8").splitlines()
    return next((at for at, line in enumerate(lines, 1) if line.startswith(f"class {kind.__name__}(")), 1)


def _inspect(module: ModuleType, *, guest: bool = False) -> RuleInfo:
    own = [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing) and issubclass(thing, Rule) and thing.__module__ == module.__name__
    ]
    stem = module.__name__.rpartition(".")[2]
    if len(own) != 1:
        raise RuleError(f"{module.__file__}:1: a rule file holds exactly one Rule class, this one holds {len(own)}")
    kind = own[0]
    place = f"{module.__file__ if guest else f'server/rules/{stem}.py'}:{_line(module, kind)}"
    for attribute in ("code", "name", "severity", "since"):
        if not hasattr(kind, attribute):
            raise RuleError(f"{place}: {kind.__name__} has no `{attribute}`")
    if guest and (not _GUEST_CODE.fullmatch(kind.code) or _CODE.fullmatch(kind.code)):
        raise RuleError(f"{place}: the code is {kind.code!r}; it must be 2 to 6 capitals, not GW, and three digits")
    if not guest and not _CODE.fullmatch(kind.code):
        raise RuleError(f"{place}: the code is {kind.code!r}; it must be GW and three digits")
    if kind.name.replace("-", "_") != stem:
        raise RuleError(f"{place}: the name is {kind.name!r}; the file must be called {kind.name.replace('-', '_')}.py")
    unknown = [gate for gate in kind.gates if gate not in Gates.__dataclass_fields__]
    if unknown:
        raise RuleError(f"{place}: no gate is called {unknown[0]!r}; they are {', '.join(Gates.__dataclass_fields__)}")
    summary, sections = split_sections(kind.__doc__ or "")
    if not summary or len(summary) > LONGEST_SUMMARY:
        raise RuleError(
            f"{place}: the docstring's first line has {len(summary)} characters; 1 to {LONGEST_SUMMARY} fit"
        )
    missing = [title for title in SECTIONS if not sections.get(title)]
    if missing:
        raise RuleError(f"{place}: the docstring has no section '## {missing[0]}'")
    if guest:
        check_guest(kind, place)
    try:
        params = describe_params(kind.Params)
    except ValueError as error:
        raise RuleError(f"{place}: {error}") from error
    return RuleInfo(
        kind(), kind.code, kind.name, kind.severity, kind.since, kind.version, summary, sections, params, place, guest
    )
