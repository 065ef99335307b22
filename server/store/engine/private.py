"""Makes files that only their owner may read, as the database itself: copies of it hold hashes of passwords too."""

from __future__ import annotations

import os
from pathlib import Path


def make_private(path: Path) -> None:
    """Makes an empty file, or empties what an interrupted copy has left; raises OSError."""
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    try:
        path.chmod(0o600)  # what was left may have been made otherwise
    finally:
        os.close(descriptor)
