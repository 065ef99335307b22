"""Finds the rules that a team wrote itself: every Python file of a folder, and what other distributions bring.

Not for: running what they hold, which the importing of a file does already (registry.py does it in a room with a
clock) and asking a rule does again (server.diagnosis.rooms).
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

PLUGIN_GROUP = "gradwatch.rules"
PACKAGE = "gradwatch_own_rules"


@dataclass(frozen=True)
class Problem:
    """A rule that could not be loaded, and why."""

    source: str
    sentence: str


def own_sources(folder: Path | None) -> Iterator[tuple[str, Callable[[], ModuleType]]]:
    """Finds each source, the files of the folder first; gives where it is, and what loads it."""
    for path in sorted(folder.glob("*.py")) if folder is not None and folder.is_dir() else ():
        if not path.name.startswith("_"):
            yield str(path), partial(_from_file, path)
    for point in entry_points(group=PLUGIN_GROUP):
        yield f"entry point {point.name} = {point.value}", point.load


def _from_file(path: Path) -> ModuleType:
    name = f"{PACKAGE}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
