"""Brings the frames of one source to the server and reacts to each answer as WIRE.md says.

One frame at a time; it never sleeps, but says how long to wait. Not for: threads (client_hook.outbox), HTTP
(transport).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from client_hook import wire
from client_hook.ledger import REFUSED, Ledger
from client_hook.spool import Parcel
from client_hook.transport import JSON_TYPE, Answer, Backoff, HttpTransport

if TYPE_CHECKING:
    from client_hook.backlog import LeftSpool
    from client_hook.journal import Journal

HEARTBEAT_S = 10.0
REFUSED_WAIT_S = 30.0
_SET_ASIDE = (400, 413, 422)
_BUSY = (429, 503, 507)
_OPENING_KEYS = (
    "id", "attempt", "rank", "project", "name", "tags", "config", "started_ms", "first_step", "hook_version", "host",
    "preflight",
)  # fmt: skip
_LEAST_KEYS = ("id", "attempt", "rank", "project", "started_ms", "preflight")


class Courier:
    """Delivers one attempt of one run: opens the run, sends frames in order, keeps the last findings."""

    def __init__(
        self,
        source: Journal | LeftSpool,
        transport: HttpTransport,
        opening: dict[str, Any],
        *,
        ledger: Ledger | None = None,
        say: Callable[[str], object] = len,  # nobody listens
        backoff: Backoff | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._transport = transport
        self._opening = {key: opening[key] for key in _OPENING_KEYS if key in opening}
        self._ledger = ledger or Ledger()
        self._say_line = say
        self._backoff = backoff or Backoff()
        self._monotonic = monotonic
        self._opened = False
        self._unknown = 0  # "run not known" in a row; from the second on it is a failure like another
        self._filler: Parcel | None = None
        self._said: set[str] = set()
        self._last_answer_at = monotonic()
        self._retry_at = 0.0
        self.url: str | None = None
        self.answered = False
        self.problem = ""
        self.turned_away = False  # the server refused this run, and may take others
        self.findings: list[dict[str, Any]] = []
        self.kept = 0
        self.refused = 0
        self.delivered_frames = 0

    @property
    def failures(self) -> int:
        """Counts the attempts in a row that did not get through."""
        return self._backoff.failures

    def wait_s(self) -> float:
        """Gives the seconds until it makes sense to call `work` again."""
        return max(self._retry_at - self._monotonic(), 0.0)

    def hurry(self) -> None:
        """Forgets the waiting: somebody wants to finish."""
        self._retry_at = 0.0
        self._backoff.succeeded()

    def work(self) -> bool:
        """Makes one call if there is something to say and it is time; tells whether a call got through."""
        if self.wait_s() > 0:
            return False
        parcel = self._filler or self._source.peek()
        if not self._opened:
            return self._open()
        if parcel is None:
            if self._monotonic() - self._last_answer_at >= HEARTBEAT_S:
                return self._open()
            return False
        path = f"/api/v1/runs/{self._opening['id']}/frames"
        answer = self._transport.post(path, parcel.data, wire.CONTENT_TYPE)
        return self._react(parcel, answer)

    def _open(self) -> bool:
        body = json.dumps(self._opening, separators=(",", ":")).encode()
        answer = self._transport.post("/api/v1/runs", body, JSON_TYPE)
        if 200 <= answer.status < 300 and "id" in answer.body:
            self._opened = True
            self._success()
            if isinstance(answer.body.get("url"), str):
                self.url = answer.body["url"]
            return True
        if answer.status in _SET_ASIDE and "project" in self._opening:
            # better a run without its config than no run
            self._note("opening", f"The server refused the run's description ({answer.detail}); sent without it.")
            least = {key: self._opening[key] for key in _LEAST_KEYS if key in self._opening}
            if least == self._opening:
                del least["project"]
            self._opening = least
            return True
        self._failure(answer)
        return False

    def _react(self, parcel: Parcel, answer: Answer) -> bool:
        status = answer.status
        if status == 200 and answer.body.get("seq") == parcel.seq:
            self._success()
            self._committed(parcel, answer.body)
            return True
        if status == 404:
            self._opened = False
            self._unknown += 1
            if self._unknown == 1:
                return True
        elif status == 409:
            self._success()
            self._conflict(parcel)
            return True
        elif status in _SET_ASIDE:
            self._success()
            self._set_aside(parcel, answer)
            return True
        self._failure(answer)
        return False

    def _committed(self, parcel: Parcel, body: dict[str, Any]) -> None:
        self._filler = None
        self._unknown = 0
        new = self._source.acknowledge(parcel.seq)
        self.delivered_frames += 1
        if new and not parcel.filler:
            dropped = _dropped(body)
            self._ledger.deliver(max(parcel.values - sum(dropped.values()), 0))
            for reason, count in dropped.items():
                self._ledger.drop(f"{REFUSED}{reason}", count)
        findings = body.get("findings")
        if isinstance(findings, list):
            self.findings = [finding for finding in findings if isinstance(finding, dict)]

    def _conflict(self, parcel: Parcel) -> None:
        if parcel.filler:
            self._committed(parcel, {})  # the server has the place filled, which is all that a filler wants
            return
        self.kept += 1
        self._source.keep(parcel.seq)
        self._note(
            "conflict",
            f"The server holds another frame under the identity of frame {parcel.seq} of this attempt; ours stays in "
            "the spool. Two processes probably share one GRADWATCH_ATTEMPT and rank.",
        )

    def _set_aside(self, parcel: Parcel, answer: Answer) -> None:
        if parcel.filler:
            self._committed(parcel, {})
            return
        self.refused += 1
        self._source.set_aside(parcel, answer.detail)
        self._ledger.drop(f"{REFUSED}{answer.detail[:200]}", parcel.values)
        self._note("refused", f"The server refused frame {parcel.seq}: {answer.detail}")
        # its place is filled, because everything behind a gap would wait for ever
        self._filler = filler_for(parcel)
        if self._filler is None:
            self._source.acknowledge(parcel.seq)

    def _success(self) -> None:
        self._backoff.succeeded()
        self._last_answer_at = self._monotonic()
        self.answered = True
        self.problem = ""
        self.turned_away = False

    def _failure(self, answer: Answer) -> None:
        self.problem = answer.detail or f"HTTP {answer.status}"
        self.turned_away = answer.status in _SET_ASIDE or (answer.status == 404 and self.answered)
        told: float | None = None
        if answer.status in (401, 403):
            told = REFUSED_WAIT_S
            self._note(
                "token",
                f"The server wants a token ({answer.detail}). Everything is kept; set GRADWATCH_TOKEN and run "
                "`gradwatch sync`.",
            )
        elif answer.status in _BUSY:
            told = answer.retry_after_s
        elif 300 <= answer.status < 400:
            self._note(
                "redirect", f"The server answered {answer.status}: redirects are not followed; set GRADWATCH_URL"
            )
        elif 400 <= answer.status < 500 and answer.status not in (404, 408, 425):
            self._note("answer", f"The server answered {answer.status}: {answer.detail}. Everything is kept.")
        self._retry_at = self._monotonic() + self._backoff.failed(told)

    def _note(self, kind: str, sentence: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self._ledger.note(sentence)
            self._say_line(sentence)


def filler_for(parcel: Parcel) -> Parcel | None:
    """Makes an empty frame with the identity of one that cannot be sent; the same one every time."""
    header = wire.header_of(parcel.data)
    if not header:
        return None
    # how the run ended stays, without the words that may be what the server did not like
    kept = tuple({**record, "value": {}} for record in header["records"] if record["kind"] == "status")
    empty = wire.encode(wire.Frame(**{**header, "groups": (), "records": kept}))
    return Parcel(empty, parcel.seq, 0, parcel.final, filler=True)


def _dropped(body: dict[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    dropped = body.get("dropped")
    for item in dropped if isinstance(dropped, list) else []:
        count = item.get("count") if isinstance(item, dict) else None
        if isinstance(count, int) and count > 0:
            reason = f"{item.get('reason', 'unknown')}"[:200]
            counts[reason] = counts.get(reason, 0) + count
    return counts
