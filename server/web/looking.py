"""How the charts of a page are looked at, read from its address."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from server.web.contexts.look import Look

GROUP = r"^(all|config\..+)?$"


def look_of(
    x: Annotated[str, Query(max_length=500)] = "step",
    smooth: Annotated[str, Query(pattern="^([0-9]{1,9})?$")] = "",
    scale: Annotated[str, Query(pattern="^(linear|log)?$")] = "",
    order: Annotated[str, Query(pattern="^(sent)?$")] = "",
    find: Annotated[str, Query(max_length=200)] = "",
    rank: Annotated[str, Query(pattern="^([0-9]{1,7})?$")] = "",
    group: Annotated[str, Query(pattern=GROUP, max_length=300)] = "",
    pin: Annotated[list[str] | None, Query(max_length=100)] = None,
) -> Look:
    """Reads from the address how the charts are to be shown."""
    return Look(x or "step", smooth, scale, order, find, tuple(dict.fromkeys(pin or ())), rank.lstrip("0"), group)
