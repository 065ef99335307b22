"""Tells processes apart: is the one that wrote a spool still the one with that number?

Not for: starting or stopping processes (client_hook.child).
"""

from __future__ import annotations

import os
import socket
from pathlib import Path


def start_time(pid: int) -> str | None:
    """Reads when a process started (ticks since boot, with the boot's id); None where /proc does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # the command may hold spaces and parentheses, so the fields are counted after the last one
        fields = stat.rpartition(")")[2].split()
        if fields[0] in ("Z", "X"):
            return None
        return f"{boot}/{fields[19]}"
    except (OSError, IndexError, ValueError):
        return None


def is_alive(pid: int, started: str | None) -> bool:
    """Tells whether the process that had this number and start time still runs on this host."""
    if started is not None:
        return start_time(pid) == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def host_name() -> str:
    """Names this host."""
    return socket.gethostname()
