"""Says where files are: pages and scripts (in place in a checkout, carried by the wheel) and the home folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_PACKED = _PACKAGE / "_assets"
_ROOT = _PACKED if _PACKED.is_dir() else _PACKAGE.parent

TEMPLATES = _ROOT / "templates"
STATIC = _ROOT / "static"
EXAMPLES = _ROOT / "examples"


def home(environment: Mapping[str, str]) -> Path:
    """Gives the folder of the database and the spool: GRADWATCH_HOME, else ~/.gradwatch."""
    return Path(environment.get("GRADWATCH_HOME") or "~/.gradwatch").expanduser().absolute()
