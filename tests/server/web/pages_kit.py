"""What the tests of the pages share: a house with one run in it, a reader of HTML, and findings to put there."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from typing import Any

import numpy as np

from server.domain.findings import CheckResult, Evidence, Finding, Severity
from server.domain.runs import DiagnosisState
from tests.server.house import RUN, House

PAGE = {"Accept": "text/html"}
EVIL = "<script>alert(1)</script>{{ 7 * 7 }}\"'><img src=x onerror=alert(1)>"


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keeps a text."""
        self.texts.append(data)

    def values(self, attribute: str) -> list[str]:
        """Lists the values of an attribute, in the order of the page."""
        return [found for _, attributes in self.tags if (found := attributes.get(attribute)) is not None]

    @property
    def text(self) -> str:
        """Everything that is read out."""
        return " ".join(" ".join(self.texts).split())


def look(house: House, path: str, status: int = 200) -> Reader:
    """Asks for a page as a browser does."""
    answer = house.client.get(path, headers=PAGE)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    return Reader(answer.text)


def numbers_of(packed: dict[str, str]) -> list[float]:
    """Reads the numbers of a line as the script of a chart does."""
    return np.frombuffer(base64.b64decode(packed["bdata"]), "<" + packed["dtype"]).tolist()  # type: ignore[no-any-return]


def finding(number: int = 1, **more: Any) -> Finding:
    """Makes a finding."""
    values: dict[str, Any] = {
        "run_id": RUN, "number": number, "code": "GW308", "name": "dead-relu", "rule_version": 1,
        "severity": Severity.WARNING, "state": "open", "first_step": 2, "raised_step": 5, "last_step": 5,
        "message": "Layer relu: 61 % of the units are 0.", "advice": "Lower the learning rate.",
        "layers": ("relu",), "evidence": Evidence({"dead_share": 0.61}, {}, ("act/zeros/relu",), 0.5),
    }  # fmt: skip
    return Finding(**{**values, **more})


def diagnose(house: House, *findings: Finding, checks: tuple[CheckResult, ...] = (), verdict: str = "") -> None:
    """Stores a diagnosis as the worker does."""
    house.store.findings.save(
        RUN,
        findings=findings,
        checks=checks,
        diagnosed_step=5,
        diagnosis=DiagnosisState.LIVE,
        seen_version=house.store.runs.frame_version(RUN),
        verdict=verdict,
    )


def fact(name: str, value: Any) -> dict[str, Any]:
    """Makes a record of a fact."""
    return {"kind": "fact", "name": name, "step": 0, "time_ms": 1_790_000_000_000, "value": value}
