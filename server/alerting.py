"""The command `gradwatch alert`: asks a running server for its channels, adds one, tests one, removes one.

Standard library alone. Not for: sending; the server does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.checking import CheckError, Server

PATH = "/alerts/channels"
COLUMNS = "{id:>4}  {kind:<8} {state:<4} {severity:<8} {name}  {address}{filters}\n"


def list_channels(server: Server) -> str:
    """Gives one line for each channel."""
    items = server.get(PATH)["items"]
    return "".join(_line(item) for item in items) or "Nobody is told of anything: gradwatch alert add KIND ADDRESS\n"


def add(server: Server, wanted: Mapping[str, Any]) -> str:
    """Adds a channel and says so."""
    item = server.send("POST", PATH, wanted)
    return f"Channel {item['id']} tells {item['address']}. Try it: gradwatch alert test {item['id']}\n"


def test(server: Server, number: int) -> str:
    """Sends a test; raises CheckError where it was not taken."""
    told = server.send("POST", f"{PATH}/{number}/test", {})
    if told["state"] == "sent":
        return f"The test was sent by channel {number}: look there\n"
    if told["state"] == "waiting" and not told["reason"]:
        raise CheckError("The test is on its way; the page Settings, Alerts shows what became of it")
    raise CheckError(f"The test was not sent: {told['reason']}")


def remove(server: Server, number: int) -> str:
    """Removes a channel and says so."""
    server.send("DELETE", f"{PATH}/{number}", None)
    return f"Channel {number} is gone\n"


def _line(item: Mapping[str, Any]) -> str:
    named = {"projects": item["projects"], "tags": item["tags"]}
    filters = "".join(f"  {what}: {', '.join(names)}" for what, names in named.items() if names)
    state = "on" if item["active"] else "off"
    known = {name: item[name] for name in ("id", "kind", "severity", "name", "address")}
    return COLUMNS.format(**known, state=state, filters=filters + ("  ends too" if item["ends"] else ""))
