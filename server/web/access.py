"""What each address needs, and how far it reaches: a line for every route, which is closed without one.

Not for: who asks (server.web.auth), and which role or scope has which power (server.accounts.powers).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from server.accounts.powers import Power

SEND, READ, CHANGE, MANAGE = Power.SEND, Power.READ, Power.CHANGE, Power.MANAGE
Needs = tuple[Power, ...]  # one of these is enough
ANYBODY: Needs = ()
KNOWN: Needs = tuple(Power)


class Reach(StrEnum):
    """How a route keeps to the projects that its caller may see; tests hold each one to it."""

    RUN = "the run in the address, by lookup.existing_run"
    SEEN = "what the caller's sight lets through"
    PLAIN = "nothing of any run"
    WHOLE = "everything: closed to whoever may see some projects alone"


RUN, SEEN, PLAIN, WHOLE = Reach.RUN, Reach.SEEN, Reach.PLAIN, Reach.WHOLE

TABLE: Sequence[tuple[str, str, Needs, Reach]] = (
    ("GET", "/api/v1/health", ANYBODY, PLAIN),
    ("GET", "/sign-in", ANYBODY, PLAIN),
    ("POST", "/sign-in", ANYBODY, PLAIN),
    ("GET", "/sign-in/oidc", ANYBODY, PLAIN),
    ("GET", "/sign-in/oidc/callback", ANYBODY, PLAIN),
    ("GET", "/sign-in/oidc/out", ANYBODY, PLAIN),
    ("GET", "/static/{file}", ANYBODY, PLAIN),
    ("POST", "/sign-out", KNOWN, PLAIN),
    #
    ("POST", "/api/v1/runs", (SEND,), SEEN),
    ("POST", "/api/v1/runs/{run_id}/frames", (SEND,), RUN),
    ("GET", "/api/v1/runs/{run_id}/verdict", (SEND, READ), RUN),
    #
    ("GET", "/", (READ,), SEEN),
    ("GET", "/api/v1/compare/chart", (READ,), SEEN),
    ("GET", "/api/v1/compare/export", (READ,), SEEN),
    ("GET", "/api/v1/live", (READ,), SEEN),
    ("GET", "/api/v1/mutes", (READ,), SEEN),
    ("GET", "/api/v1/openapi.json", (READ,), PLAIN),
    ("GET", "/api/v1/replays", (READ,), SEEN),
    ("GET", "/api/v1/replays/{replay_id}", (READ,), SEEN),
    ("GET", "/api/v1/rules", (READ,), PLAIN),
    ("GET", "/api/v1/runs", (READ,), SEEN),
    ("GET", "/api/v1/runs.csv", (READ,), SEEN),
    ("GET", "/api/v1/runs/{run_id}", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/charts/{chart}", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/checklist", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/findings", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/incidents", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/inspections", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/inspections/{n}", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/live", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/notes", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/preflight", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/remarks", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/series", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/series/data", (READ,), RUN),
    ("GET", "/api/v1/runs/{run_id}/series/export", (READ,), RUN),
    ("GET", "/api/v1/thresholds", (READ,), SEEN),
    ("GET", "/compare", (READ,), SEEN),
    ("GET", "/favicon.ico", (READ,), PLAIN),
    ("GET", "/fragments/columns", (READ,), SEEN),
    ("GET", "/fragments/runs", (READ,), SEEN),
    ("GET", "/rules", (READ,), PLAIN),
    ("GET", "/rules/{code}", (READ,), PLAIN),
    ("GET", "/runs/{run_id}", (READ,), RUN),
    ("GET", "/runs/{run_id}/checklist", (READ,), RUN),
    ("GET", "/runs/{run_id}/fragments/charts", (READ,), RUN),
    ("GET", "/runs/{run_id}/fragments/checklist", (READ,), RUN),
    ("GET", "/runs/{run_id}/fragments/details", (READ,), RUN),
    ("GET", "/runs/{run_id}/fragments/findings", (READ,), RUN),
    ("GET", "/runs/{run_id}/fragments/flight", (READ,), RUN),
    ("GET", "/runs/{run_id}/fragments/head", (READ,), RUN),
    ("GET", "/runs/{run_id}/fragments/inspect", (READ,), RUN),
    ("GET", "/runs/{run_id}/fragments/layer", (READ,), RUN),
    ("GET", "/runs/{run_id}/fragments/notes", (READ,), RUN),
    ("GET", "/runs/{run_id}/fragments/preflight", (READ,), RUN),
    ("GET", "/runs/{run_id}/inspect", (READ,), RUN),
    ("GET", "/runs/{run_id}/layers", (READ,), RUN),
    ("GET", "/runs/{run_id}/notes", (READ,), RUN),
    ("GET", "/runs/{run_id}/preflight", (READ,), RUN),
    ("GET", "/runs/{run_id}/report", (READ,), RUN),
    ("GET", "/runs/{run_id}/summary.md", (READ,), RUN),
    ("GET", "/schedule", (READ,), SEEN),
    ("GET", "/settings", (READ,), SEEN),
    ("GET", "/settings/account", (READ,), PLAIN),
    ("POST", "/settings/account", (READ,), PLAIN),  # one's own password
    ("GET", "/settings/replays/{replay_id}", (READ,), SEEN),
    ("GET", "/settings/replays/{replay_id}/fragment", (READ,), SEEN),
    ("GET", "/sweep", (READ,), SEEN),
    #
    ("DELETE", "/api/v1/replays/{replay_id}", (CHANGE,), SEEN),
    ("DELETE", "/api/v1/runs/{run_id}", (CHANGE,), RUN),
    ("PATCH", "/api/v1/runs/{run_id}", (CHANGE,), RUN),
    ("PATCH", "/api/v1/runs/{run_id}/findings/{finding_id}", (CHANGE,), RUN),
    ("POST", "/api/v1/replays", (CHANGE,), SEEN),
    ("POST", "/api/v1/runs/changes", (CHANGE,), SEEN),
    ("POST", "/api/v1/runs/{run_id}/replay", (CHANGE,), RUN),
    ("POST", "/runs/{run_id}/notes", (CHANGE,), RUN),
    ("POST", "/settings/replays/{replay_id}/stop", (CHANGE,), SEEN),
    ("PUT", "/api/v1/runs/{run_id}/notes", (CHANGE,), RUN),
    #
    ("DELETE", "/api/v1/mutes/{mute_id}", (MANAGE,), WHOLE),
    ("POST", "/api/v1/mutes", (MANAGE,), WHOLE),
    ("POST", "/api/v1/thresholds", (MANAGE,), WHOLE),
    ("POST", "/settings/mutes", (MANAGE,), WHOLE),
    ("POST", "/settings/mutes/{mute_id}/end", (MANAGE,), WHOLE),
    ("POST", "/settings/thresholds", (MANAGE,), WHOLE),
    ("GET", "/api/v1/alerts/channels", (MANAGE,), WHOLE),
    ("POST", "/api/v1/alerts/channels", (MANAGE,), WHOLE),
    ("DELETE", "/api/v1/alerts/channels/{channel_id}", (MANAGE,), WHOLE),
    ("POST", "/api/v1/alerts/channels/{channel_id}/test", (MANAGE,), WHOLE),
    ("GET", "/settings/alerts", (MANAGE,), WHOLE),
    ("POST", "/settings/alerts", (MANAGE,), WHOLE),
    ("POST", "/settings/alerts/{channel_id}", (MANAGE,), WHOLE),
    ("GET", "/api/v1/people", (MANAGE,), WHOLE),
    ("POST", "/api/v1/people", (MANAGE,), WHOLE),
    ("DELETE", "/api/v1/people/{name}", (MANAGE,), WHOLE),
    ("PATCH", "/api/v1/people/{name}", (MANAGE,), WHOLE),
    ("GET", "/api/v1/tokens", (MANAGE,), WHOLE),
    ("POST", "/api/v1/tokens", (MANAGE,), WHOLE),
    ("DELETE", "/api/v1/tokens/{token_id}", (MANAGE,), WHOLE),
    ("GET", "/settings/people", (MANAGE,), WHOLE),
    ("POST", "/settings/people", (MANAGE,), WHOLE),
    ("POST", "/settings/people/{name}/password", (MANAGE,), WHOLE),
    ("POST", "/settings/people/{name}/remove", (MANAGE,), WHOLE),
    ("POST", "/settings/people/{name}/role", (MANAGE,), WHOLE),
    ("GET", "/settings/tokens", (MANAGE,), WHOLE),
    ("POST", "/settings/tokens", (MANAGE,), WHOLE),
    ("POST", "/settings/tokens/revoke", (MANAGE,), WHOLE),
)
_FOLDER = "{file}"  # everything below


Line = tuple[Needs, Reach]


def needs(method: str, path: str) -> Needs | None:
    """Gives what an address needs; None where it has no line. Who may ask for an answer may ask for its head."""
    found = _line(method, path)
    return None if found is None else found[0]


def is_scoped(method: str, path: str) -> bool:
    """Whether whoever may see some projects alone may come here."""
    found = _line(method, path)
    return found is not None and found[1] is not WHOLE


def _line(method: str, path: str) -> Line | None:
    asked = "GET" if method == "HEAD" else method
    if (asked, path) in _EXACT:
        return _EXACT[asked, path]
    return next((line for pattern, line in _PATTERNS.get(asked, ()) if pattern.fullmatch(path)), None)


def _pattern(path: str) -> re.Pattern[str]:
    gaps = dict.fromkeys(re.findall(r"\{\w+\}", path), "[^/]+") | {_FOLDER: ".*"}
    return re.compile("".join(gaps.get(part, re.escape(part)) for part in re.split(r"(\{\w+\})", path)), re.DOTALL)


_EXACT: dict[tuple[str, str], Line] = {(line[0], line[1]): line[2:] for line in TABLE if "{" not in line[1]}
_PATTERNS: dict[str, list[tuple[re.Pattern[str], Line]]] = {}
for _method, _path, _needed, _reach in TABLE:
    if "{" in _path:
        _PATTERNS.setdefault(_method, []).append((_pattern(_path), (_needed, _reach)))
