"""Says whether this process is one of several ranks, without asking the others.

Not for: which rank it is, and of which job (client_hook.identity).
"""

from __future__ import annotations

import os

from torch import distributed


def several() -> bool:
    """Says whether other processes train the same model."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size() > 1
    return os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1")
