"""In which unit a reader sees a series that is stored in bytes: sizes in GB, rates in MB/s; others as they are."""

from __future__ import annotations

from server.domain.kinds import Kind, parse

_RATES = ("disk_read", "disk_write", "network_sent", "network_received")


def unit_of(name: str) -> tuple[str, float]:
    """Gives the unit, and what a stored value is divided by."""
    kind, what = parse(name)
    if kind is Kind.SYSTEM and (what in ("memory", "process_memory") or what.endswith("/memory")):
        return "GB", 1e9
    return ("MB/s", 1e6) if kind is Kind.SYSTEM and what in _RATES else ("", 1.0)


def with_unit(name: str) -> str:
    """Writes the name of a series with its unit behind it."""
    unit, _ = unit_of(name)
    return f"{name} ({unit})" if unit else name
