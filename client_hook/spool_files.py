"""Makes and lists the folders of a home in which spools lie: one a run, a file for each attempt and rank.

Not for: what is in a file (client_hook.spool).
"""

from __future__ import annotations

import os
from pathlib import Path


def make_private(folder: Path) -> None:
    """Makes a folder that only its owner can read; raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def folder_bytes(folder: Path) -> int:
    """Counts the bytes of all spools of a home."""
    total = 0
    for path in files_of(folder):
        try:
            total += path.stat().st_size
        except OSError:
            continue  # just delivered by another process
    return total


def files_of(folder: Path) -> list[Path]:
    """Lists the files of all spools of a home; a run's folder may be taken away by its own process meanwhile."""
    found: list[Path] = []
    for of_run in _listed(folder):
        found += _listed(of_run)
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries]
    except OSError:
        return []
