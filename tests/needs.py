"""Finds the Chromium that the browser tests drive, and says how to get one where there is none.

Started as a program it looks for PostgreSQL's binaries too, so that one call tells what the suite lacks.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.postgres import Missing, binaries

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MEND = "The browser tests need Chromium. Mend it:  sudo apt-get install chromium"


def find() -> str | None:
    """Gives the path of a Chromium: GRADWATCH_CHROMIUM, one on the PATH, or one that Playwright has downloaded."""
    named = os.environ.get("GRADWATCH_CHROMIUM")
    if named:
        return named if Path(named).exists() else None
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    downloaded = sorted(Path.home().glob(".cache/ms-playwright/chromium-*/chrome-linux*/chrome"))
    return str(downloaded[-1]) if downloaded else None


if __name__ == "__main__":
    if find() is None:
        sys.exit(MEND)
    try:
        binaries()
    except Missing as missing:
        sys.exit(str(missing))
