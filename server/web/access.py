"""What each address needs: a line for every route, which is closed without one.

Not for: who asks (server.web.auth), and which role or scope has which power (server.accounts.powers).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from server.accounts.powers import Power

SEND, READ, CHANGE, MANAGE = Power.SEND, Power.READ, Power.CHANGE, Power.MANAGE
Needs = tuple[Power, ...]  # one of these is enough
ANYBODY: Needs = ()
KNOWN: Needs = tuple(Power)

TABLE: Sequence[tuple[str, str, Needs]] = (
    ("GET", "/api/v1/health", ANYBODY),
    ("GET", "/sign-in", ANYBODY),
    ("POST", "/sign-in", ANYBODY),
    ("GET", "/sign-in/oidc", ANYBODY),
    ("GET", "/sign-in/oidc/callback", ANYBODY),
    ("GET", "/sign-in/oidc/out", ANYBODY),
    ("GET", "/static/{file}", ANYBODY),
    ("POST", "/sign-out", KNOWN),
    #
    ("POST", "/api/v1/runs", (SEND,)),
    ("POST", "/api/v1/runs/{run_id}/frames", (SEND,)),
    ("GET", "/api/v1/runs/{run_id}/verdict", (SEND, READ)),
    #
    ("GET", "/", (READ,)),
    ("GET", "/api/v1/compare/chart", (READ,)),
    ("GET", "/api/v1/compare/export", (READ,)),
    ("GET", "/api/v1/live", (READ,)),
    ("GET", "/api/v1/mutes", (READ,)),
    ("GET", "/api/v1/openapi.json", (READ,)),
    ("GET", "/api/v1/replays", (READ,)),
    ("GET", "/api/v1/replays/{replay_id}", (READ,)),
    ("GET", "/api/v1/rules", (READ,)),
    ("GET", "/api/v1/runs", (READ,)),
    ("GET", "/api/v1/runs.csv", (READ,)),
    ("GET", "/api/v1/runs/{run_id}", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/charts/{chart}", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/checklist", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/findings", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/incidents", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/inspections", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/inspections/{n}", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/live", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/notes", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/preflight", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/remarks", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/series", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/series/data", (READ,)),
    ("GET", "/api/v1/runs/{run_id}/series/export", (READ,)),
    ("GET", "/api/v1/thresholds", (READ,)),
    ("GET", "/compare", (READ,)),
    ("GET", "/favicon.ico", (READ,)),
    ("GET", "/fragments/columns", (READ,)),
    ("GET", "/fragments/runs", (READ,)),
    ("GET", "/rules", (READ,)),
    ("GET", "/rules/{code}", (READ,)),
    ("GET", "/runs/{run_id}", (READ,)),
    ("GET", "/runs/{run_id}/checklist", (READ,)),
    ("GET", "/runs/{run_id}/fragments/charts", (READ,)),
    ("GET", "/runs/{run_id}/fragments/checklist", (READ,)),
    ("GET", "/runs/{run_id}/fragments/details", (READ,)),
    ("GET", "/runs/{run_id}/fragments/findings", (READ,)),
    ("GET", "/runs/{run_id}/fragments/flight", (READ,)),
    ("GET", "/runs/{run_id}/fragments/head", (READ,)),
    ("GET", "/runs/{run_id}/fragments/inspect", (READ,)),
    ("GET", "/runs/{run_id}/fragments/layer", (READ,)),
    ("GET", "/runs/{run_id}/fragments/notes", (READ,)),
    ("GET", "/runs/{run_id}/fragments/preflight", (READ,)),
    ("GET", "/runs/{run_id}/inspect", (READ,)),
    ("GET", "/runs/{run_id}/layers", (READ,)),
    ("GET", "/runs/{run_id}/notes", (READ,)),
    ("GET", "/runs/{run_id}/preflight", (READ,)),
    ("GET", "/runs/{run_id}/report", (READ,)),
    ("GET", "/runs/{run_id}/summary.md", (READ,)),
    ("GET", "/schedule", (READ,)),
    ("GET", "/settings", (READ,)),
    ("GET", "/settings/account", (READ,)),
    ("POST", "/settings/account", (READ,)),  # one's own password
    ("GET", "/settings/replays/{replay_id}", (READ,)),
    ("GET", "/settings/replays/{replay_id}/fragment", (READ,)),
    ("GET", "/sweep", (READ,)),
    #
    ("DELETE", "/api/v1/replays/{replay_id}", (CHANGE,)),
    ("DELETE", "/api/v1/runs/{run_id}", (CHANGE,)),
    ("PATCH", "/api/v1/runs/{run_id}", (CHANGE,)),
    ("PATCH", "/api/v1/runs/{run_id}/findings/{finding_id}", (CHANGE,)),
    ("POST", "/api/v1/replays", (CHANGE,)),
    ("POST", "/api/v1/runs/changes", (CHANGE,)),
    ("POST", "/api/v1/runs/{run_id}/replay", (CHANGE,)),
    ("POST", "/runs/{run_id}/notes", (CHANGE,)),
    ("POST", "/settings/replays/{replay_id}/stop", (CHANGE,)),
    ("PUT", "/api/v1/runs/{run_id}/notes", (CHANGE,)),
    #
    ("DELETE", "/api/v1/mutes/{mute_id}", (MANAGE,)),
    ("POST", "/api/v1/mutes", (MANAGE,)),
    ("POST", "/api/v1/thresholds", (MANAGE,)),
    ("POST", "/settings/mutes", (MANAGE,)),
    ("POST", "/settings/mutes/{mute_id}/end", (MANAGE,)),
    ("POST", "/settings/thresholds", (MANAGE,)),
    ("GET", "/api/v1/alerts/channels", (MANAGE,)),
    ("POST", "/api/v1/alerts/channels", (MANAGE,)),
    ("DELETE", "/api/v1/alerts/channels/{channel_id}", (MANAGE,)),
    ("POST", "/api/v1/alerts/channels/{channel_id}/test", (MANAGE,)),
    ("GET", "/settings/alerts", (MANAGE,)),
    ("POST", "/settings/alerts", (MANAGE,)),
    ("POST", "/settings/alerts/{channel_id}", (MANAGE,)),
    ("GET", "/api/v1/people", (MANAGE,)),
    ("POST", "/api/v1/people", (MANAGE,)),
    ("DELETE", "/api/v1/people/{name}", (MANAGE,)),
    ("PATCH", "/api/v1/people/{name}", (MANAGE,)),
    ("GET", "/api/v1/tokens", (MANAGE,)),
    ("POST", "/api/v1/tokens", (MANAGE,)),
    ("DELETE", "/api/v1/tokens/{token_id}", (MANAGE,)),
    ("GET", "/settings/people", (MANAGE,)),
    ("POST", "/settings/people", (MANAGE,)),
    ("POST", "/settings/people/{name}/password", (MANAGE,)),
    ("POST", "/settings/people/{name}/remove", (MANAGE,)),
    ("POST", "/settings/people/{name}/role", (MANAGE,)),
    ("GET", "/settings/tokens", (MANAGE,)),
    ("POST", "/settings/tokens", (MANAGE,)),
    ("POST", "/settings/tokens/revoke", (MANAGE,)),
)
_FOLDER = "{file}"  # everything below


def needs(method: str, path: str) -> Needs | None:
    """Gives what an address needs; None where it has no line. Who may ask for an answer may ask for its head."""
    asked = "GET" if method == "HEAD" else method
    if (asked, path) in _EXACT:
        return _EXACT[asked, path]
    return next((needed for pattern, needed in _PATTERNS.get(asked, ()) if pattern.fullmatch(path)), None)


def _pattern(path: str) -> re.Pattern[str]:
    gaps = dict.fromkeys(re.findall(r"\{\w+\}", path), "[^/]+") | {_FOLDER: ".*"}
    return re.compile("".join(gaps.get(part, re.escape(part)) for part in re.split(r"(\{\w+\})", path)), re.DOTALL)


_EXACT = {(method, path): needed for method, path, needed in TABLE if "{" not in path}
_PATTERNS: dict[str, list[tuple[re.Pattern[str], Needs]]] = {}
for _method, _path, _needed in TABLE:
    if "{" in _path:
        _PATTERNS.setdefault(_method, []).append((_pattern(_path), _needed))
