"""Says at the end of a training what was found, in at most three lines.

Not for: judging: the findings come from the server.
"""

from __future__ import annotations

import threading
import time
from typing import Any
from urllib.parse import quote

from client_hook.guard import say
from client_hook.settings import Settings

WAIT_S = 3.0  # for the judgement of the whole run, which takes the server about half a second
ASK_EVERY_S = 0.05
_ORDER = {"error": 0, "warning": 1, "info": 2}


def wait_for(settings: Settings, run_id: str, seconds: float = WAIT_S) -> list[dict[str, Any]] | None:
    """Gives the open findings of a run that has ended, symptoms left out; None where the diagnosis takes longer."""
    # inside: it loads http and ssl, which the import of a training must not wait for
    from client_hook.transport import HttpTransport

    deadline = time.monotonic() + seconds
    patience = max(seconds, 0.05)
    transport = HttpTransport(settings.url, settings.token, answer_timeout_s=patience, connect_timeout_s=patience)
    path = f"/api/v1/runs/{quote(run_id, safe='')}/verdict"
    try:
        while time.monotonic() < deadline:
            run = transport.get(path)
            if run.status != 200:
                return None
            if run.body.get("diagnosis") == "final":
                found = run.body.get("findings")
                return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else None
            threading.Event().wait(ASK_EVERY_S)
    finally:
        transport.close()
    return None


def lines(
    findings: list[dict[str, Any]],
    url: str,
    *,
    delivered: bool,
    kept: bool = True,
    final: bool = False,
    stepped: bool = True,
    exception: str = "",
) -> list[str]:
    """Makes the lines: what ended the run if that was an exception, how many warnings and errors and the worst one,
    what to do first, where to read on. `kept` = what was not delivered lies on the disk.

    Muted findings and those that follow from another one do not count. Of those equally bad the first is told: the
    server has sorted them as on the run's page.
    """
    later = "deliver it later with: gradwatch sync" if kept else "neither server nor disk took the rest"
    where = url if delivered else f"not everything could be delivered; {later}"
    tops = [
        item
        for item in findings
        if item.get("state") == "open" and item.get("severity") != "info" and item.get("cause") is None
    ]
    worst = sorted(
        (item for item in tops if not item.get("muted")), key=lambda item: _ORDER.get(str(item.get("severity")), 3)
    )
    ended = f"The run was ended by {exception.splitlines()[0][:160].rstrip(' .:')}. " if exception.strip() else ""
    if not worst:
        muted = f" ({len(tops)} muted)" if tops else ""
        if final:
            seen = "found no problem" if stepped else "saw no step"
            return [f"{ended}Gradwatch {seen}{' before it' if ended else ''}{muted}.", f"  {where}"]
        judged = "not all is judged yet; see " if delivered else ""
        return [f"{ended}Gradwatch: {judged}{where}"]
    counts = [
        f"{count} {severity}{'s' if count > 1 else ''}"
        for severity in _ORDER
        if (count := sum(item.get("severity") == severity for item in worst))
    ]
    first = worst[0]
    told = (
        f"{ended}Gradwatch found {', '.join(counts)}. {first.get('code')} {first.get('name')}: {first.get('message')}"
    )
    advice = _one_line(first.get("advice"))
    return [told[:400], *([f"  First: {advice}"[:400]] if advice else []), f"  {where}"]


def _one_line(text: object) -> str:
    return " ".join(text.split()) if isinstance(text, str) else ""


def tell(findings: list[dict[str, Any]], url: str, **more: Any) -> None:
    """Prints them on stderr."""
    for line in lines(findings, url, **more):
        say(line)
