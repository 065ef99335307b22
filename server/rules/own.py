"""Loads the rules that a team wrote itself: every Python file of a folder, and what other distributions bring.

A file that cannot be loaded is told and left out; the server starts all the same. Not for: running them
(server.diagnosis.rooms).
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from server.rules.caught import Caught

PLUGIN_GROUP = "gradwatch.rules"
PACKAGE = "gradwatch_own_rules"


@dataclass(frozen=True)
class Problem:
    """A rule that could not be loaded, and why."""

    source: str
    sentence: str


def own_modules(folder: Path | None) -> Iterator[tuple[str, ModuleType | Problem]]:
    """Loads each module, those of the folder first; gives where it came from, and the module or the problem."""
    for path in sorted(folder.glob("*.py")) if folder is not None and folder.is_dir() else ():
        if not path.name.startswith("_"):
            yield str(path), _from_file(path)
    for point in entry_points(group=PLUGIN_GROUP):
        source = f"entry point {point.name} = {point.value}"
        with Caught() as caught:
            yield source, point.load()
        if caught.error is not None:
            yield source, Problem(source, f"it cannot be loaded ({caught.words})")


def _from_file(path: Path) -> ModuleType | Problem:
    name = f"{PACKAGE}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        return Problem(str(path), "it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    with Caught() as caught:
        spec.loader.exec_module(module)
    if caught.error is not None:
        del sys.modules[name]
        return Problem(str(path), f"it cannot be loaded ({caught.words})")
    return module
