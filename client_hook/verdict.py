"""Says at the end of a training what was found, in at most three lines.

Not for: judging: the findings come from the server.
"""

from __future__ import annotations

from typing import Any

from client_hook.guard import say

_ORDER = {"error": 0, "warning": 1, "info": 2}


def lines(findings: list[dict[str, Any]], url: str, *, delivered: bool) -> list[str]:
    """Makes the lines: how many findings, the worst one, where to read on."""
    where = url if delivered else "not everything could be delivered; deliver it later with: gradwatch sync"
    worst = sorted(
        (item for item in findings if item.get("state") == "open"),
        key=lambda item: (_ORDER.get(str(item.get("severity")), 3), item.get("first_step") or 0),
    )
    if not worst:
        return [f"Gradwatch: {where}"]
    counts = [
        f"{count} {severity}{'s' if count > 1 and severity != 'info' else ''}"
        for severity in _ORDER
        if (count := sum(item.get("severity") == severity for item in worst))
    ]
    first = worst[0]
    return [
        f"Gradwatch found {', '.join(counts)}.",
        f"  {first.get('code')} {first.get('name')}: {first.get('message')}"[:300],
        f"  {where}",
    ]


def tell(findings: list[dict[str, Any]], url: str, *, delivered: bool) -> None:
    """Prints them on stderr."""
    for line in lines(findings, url, delivered=delivered):
        say(line)
