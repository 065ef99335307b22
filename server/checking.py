"""Asks a running server for the diagnosis of one run, waits until it is final, and says how bad it is.

Standard library alone: it works wherever the hook works. Not for: diagnosing; the server does that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

LEVELS = ("info", "warning", "error")
REQUEST_TIMEOUT_S = 10
NO_CONTENT = 204
POLL_S = 0.25
PAGE = 500
LONGEST_SEARCH, MOST_NAMED = 200, 5

Json = dict[str, Any]


class CheckError(Exception):
    """Says why a run could not be checked, and what would help."""


class NotThere(CheckError):
    """The server knows nothing of that name."""


class Unreachable(CheckError):
    """No server answers at the address."""


@dataclass(frozen=True)
class Server:
    """A server to ask, and the token that it wants; `place` is what people call it, where that is not its address."""

    url: str
    token: str | None = None
    place: str = ""

    def get(self, path: str, **query: str | int) -> Json:
        """Asks for one JSON object below /api/v1; raises CheckError with the server's own sentence."""
        return self.send("GET", path + (f"?{urlencode(query)}" if query else ""), None)

    def send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Json:
        """Sends a request below /api/v1 and gives the JSON object that is answered, an empty one where there is none;
        raises CheckError with the server's own sentence.
        """
        address = f"{self.url.rstrip('/')}/api/v1{path}"
        parts = _split(address)
        if parts is None or parts.scheme not in ("http", "https"):
            raise CheckError(f"The address {self.url!r} is not right: one such as http://127.0.0.1:8777 is needed")
        if self.token and not (self.token.isascii() and self.token.isprintable()):
            raise CheckError("The token holds characters that no header can carry; --token or GRADWATCH_TOKEN")
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        # A server on this machine is asked directly, whatever proxy the environment names.
        local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        opener = build_opener(ProxyHandler({})) if local else build_opener()
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = Request(address, data, headers, method=method)  # noqa: S310 - scheme checked above
        try:
            with opener.open(request, timeout=REQUEST_TIMEOUT_S) as answer:
                content = {} if answer.status == NO_CONTENT else json.load(answer)
        except HTTPError as error:
            with error:
                raise _refused(self, error) from None
        except (URLError, TimeoutError, ConnectionError) as error:
            raise Unreachable(f"No server answers at {self.url} ({getattr(error, 'reason', error)})") from None
        except ValueError:
            raise CheckError(f"What answers at {self.url} is not a Gradwatch server: it sent no JSON") from None
        if not isinstance(content, dict):
            raise CheckError(f"What answers at {self.url} is not a Gradwatch server: it sent no JSON object")
        return content

    def items(self, path: str) -> list[Json]:
        """Asks for every page of a list."""
        found: list[Json] = []
        query: dict[str, str | int] = {"limit": PAGE}
        while True:
            page = self.get(path, **query)
            found += page["items"]
            if page["next"] is None:
                return found
            query["cursor"] = page["next"]


@dataclass(frozen=True)
class Report:
    """What was found out about a run."""

    run: Json
    findings: Sequence[Json]

    def reaches(self, level: str) -> bool:
        """Whether an open finding that nobody muted is at least this bad."""
        limit = LEVELS.index(level)
        return any(_counts(one) and LEVELS.index(one["severity"]) >= limit for one in self.findings)

    def as_json(self) -> str:
        """Gives the run and its findings as the server sent them."""
        return json.dumps({"run": self.run, "findings": list(self.findings)}, indent=2, allow_nan=False) + "\n"

    def as_text(self) -> str:
        """Says it in lines for a person."""
        run = self.run
        lines = [
            f"{run['name']} ({run['id']}): {run['state']} at step {run['last_step']:,}, diagnosis {run['diagnosis']}",
            "",
        ]
        counted = [one for one in self.findings if _counts(one)]
        names = {one["id"]: f"{one['code']} {one['name']}" for one in counted}
        worst_first = sorted(counted, key=lambda one: -LEVELS.index(one["severity"]))  # else in the server's order
        for one in worst_first:
            because = f", because of {names[one['cause']]}" if one["cause"] in names else ""
            lines += [
                f"  {one['severity']:<8}{one['code']} {one['name']}, since step {one['first_step']:,}{because}",
                f"          {one['message']}",
                f"          → {one['advice']}",
                "",
            ]
        lines.append(_summary(self.findings, counted))
        return "\n".join(lines) + "\n"


def check(server: Server, wanted: str, timeout_s: float, sleep: Callable[[float], None] = time.sleep) -> Report:
    """Waits until the diagnosis of the run is final; raises CheckError when that takes longer than `timeout_s`."""
    until = time.monotonic() + timeout_s
    run = find(server, wanted)
    run_id = run["id"]
    path = "/runs/" + quote(run_id, safe="")
    while True:
        if run["diagnosis"] == "final":
            return Report(run, server.items(path + "/findings"))
        if time.monotonic() >= until:
            raise CheckError(
                f"The diagnosis of {run_id} is still {run['diagnosis']} after {timeout_s:g} s "
                f"(the run is {run['state']} "
                f"at step {run['last_step']}, diagnosed up to {run['diagnosed_step']}). "
                f"A longer wait: --timeout {timeout_s * 4:g}"
            )
        sleep(POLL_S)
        run = server.get(path)


def find(server: Server, wanted: str) -> Json:
    """Gives the run of an id, of the beginning of one, of an address, or the newest of a name."""
    if "://" in wanted and (parts := _split(wanted)) is not None:
        wanted = parts.path.partition("/runs/")[2].partition("/")[0]
    try:
        return server.get("/runs/" + quote(wanted, safe=""))
    except NotThere as nothing:
        alike = server.get("/runs", search=wanted[:LONGEST_SEARCH], limit=PAGE)["items"] if wanted else []
        named = [run for run in alike if run["name"] == wanted]
        begun = [run for run in alike if run["id"].startswith(wanted)]
        if not named and len(begun) > 1:
            ids = ", ".join(run["id"] for run in begun[:MOST_NAMED])
            raise CheckError(f"The ids of {len(begun)} runs begin with {wanted!r}: {ids}") from None
        if not named and not begun:
            raise CheckError(f"{nothing}, and none is called so") from None
        return server.get("/runs/" + quote((named or begun)[0]["id"], safe=""))


def _split(address: str) -> SplitResult | None:
    """Takes an address apart; None where it is none."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # is looked at only here
    except ValueError:
        return None
    return parts


def _counts(finding: Mapping[str, Any]) -> bool:
    return finding["state"] == "open" and not finding["muted"]


def _summary(findings: Sequence[Json], counted: Sequence[Json]) -> str:
    """Counts as the run's page does: causes by severity, then what follows from them, muted and resolved ones apart."""
    causes = [one for one in counted if not one["cause"]]
    counts = [(sum(one["severity"] == level for one in causes), level) for level in reversed(LEVELS)]
    below = len(counted) - len(causes)
    counts.append((below, "symptom" if below == 1 else "symptoms"))
    told = ", ".join(f"{count} {word}" for count, word in counts if count)
    muted = sum(one["state"] == "open" and one["muted"] for one in findings)
    over = sum(one["state"] != "open" for one in findings)
    apart = [f"{count} {word}" for count, word in ((muted, "muted"), (over, "resolved")) if count]
    nothing = f"No {'other ' if muted else ''}open finding"
    return "; ".join((f"{len(counted)} open: {told}" if counted else nothing, *apart)) + "."


def _refused(server: Server, error: HTTPError) -> CheckError:
    if error.code == 401 and server.token:
        return CheckError(f"{server.url} does not know the token. Mend it: --token T, or set GRADWATCH_TOKEN")
    if error.code == 401:
        return CheckError(f"{server.url} asks for a token. Mend it: --token T, or set GRADWATCH_TOKEN")
    try:
        said = json.loads(error.read(10_000))["detail"]
    except (ValueError, KeyError, TypeError, OSError):
        said = f"HTTP {error.code}"
    return (NotThere if error.code == 404 else CheckError)(f"{server.place or server.url} answers: {said}")
