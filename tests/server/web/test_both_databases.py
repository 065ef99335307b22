"""SQLite and PostgreSQL give the same answer to every question: NaN, infinities, order, letters and times included."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.postgres import Cluster
from tests.server.accounts.kit import quick_passwords
from tests.server.house import RUN, House, frame_bytes, house

OTHER = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e99"
NAMES = ["baseline", "Baseline", "ÄPFEL", "äpfel", "zebra", "_under", "Ω 10 % _x", "-minus", "emoji 🙂", "a\\b"]
FORGED = [
    base64.urlsafe_b64encode(json.dumps(entry).encode()).decode().rstrip("=")
    for entry in ([True, "x"], ["word", "x"], [1, "x"], [2**62, "x"], [1.5, "x"], [1, "x\0"], ["x\0", "x"], [None, "x"])
]
QUESTIONS = [
    "/api/v1/runs?limit=3",
    *(f"/api/v1/runs?sort={sort}" for sort in ("started", "name", "loss", "severity")),
    "/api/v1/runs?search=base",
    "/api/v1/runs?search=ä",
    "/api/v1/runs?search=10 %25 _",
    "/api/v1/runs?search=a\\b",
    "/api/v1/runs?search=RUN-",
    "/api/v1/runs?tag=TAG",
    "/api/v1/runs?tag=BASELINE",
    "/api/v1/runs?tag=äpfel",
    "/api/v1/runs?project=other",
    "/api/v1/runs?state=finished",
    "/api/v1/runs?severity=error",
    *(f"/api/v1/runs?where=config.lr>=0&sort={sort}" for sort in ("started", "name", "loss", "severity", "config.lr")),
    "/api/v1/runs?where=last.loss=nan",
    "/api/v1/runs?where=config.nothing!=%ED%A0%80",
    "/api/v1/runs.csv?sort=name&col=min.loss",
    f"/api/v1/compare/export?name=loss&run={RUN}&run={OTHER}",
    f"/api/v1/compare/chart?name=loss&run={RUN}&run={OTHER}&group=all",
    "/sweep?result=last.loss",
    "/sweep?result=min.loss&where=config.lr>=0",
    f"/api/v1/runs/{RUN}",
    f"/api/v1/runs/{RUN}/series",
    f"/api/v1/runs/{RUN}/series?attempt=1",
    f"/api/v1/runs/{RUN}/series/data?name=loss&name=user/odd&points=50",
    f"/api/v1/runs/{RUN}/series/data?name=loss&attempt=all&points=4",
    f"/api/v1/runs/{RUN}/series/data?name=loss&smooth=20&x=time&from=100&to=900",
    f"/api/v1/runs/{RUN}/series/data?name=loss&x=user/odd",
    f"/api/v1/runs/{RUN}/series/export?name=loss&name=user/odd&attempt=all&format=json",
    f"/api/v1/runs/{RUN}/findings",
    f"/api/v1/runs/{RUN}/checklist",
    f"/api/v1/runs/{RUN}/charts/loss",
    f"/api/v1/runs/{RUN}/charts/layers",
    f"/api/v1/runs/{RUN}/charts/param-grad-norms",
    "/api/v1/runs/unknown",
    "/api/v1/runs?cursor=nonsense",
    *(
        f"/api/v1/runs?sort={sort}&cursor={cursor}"
        for sort in ("started", "name", "loss", "severity")
        for cursor in FORGED
    ),
    "/api/v1/runs?search=%00",
    "/api/v1/runs/a%00b",
    f"/api/v1/runs/{RUN}/series/export?name=%00",
]


def fill(built: House) -> None:
    """Sends the same runs: odd names and values, a second attempt, sealed and open samples, a sick loss."""
    for index, name in enumerate(NAMES):
        built.clock.now_ms += 1_000
        run_id = RUN if index == 0 else f"run-{index}"
        built.open_run(run_id, name=name, project="other" if index % 3 else "default", tags=["tag", name], host="h",
                       config={"lr": 0.1, "nested": {"text": "\x00\x1b"}, "big": 2**70})  # fmt: skip
    odd = [math.nan, math.inf, -math.inf, -0.0, 1e308, 5e-324, 0.1, 1e-7]
    wide = {f"act/std/l{index}": [float(index), math.nan] * 600 for index in range(12)}
    wide |= {f"grad_norm/l{index}.weight": [1.0 + index, 0.0] * 600 for index in range(12)}
    built.send(0, {"loss": [2.0 - step / 1_000 for step in range(1_200)], **wide})
    built.send(1, {"user/odd": odd * 200}, first_step=3)
    built.store.sealer.run_once()
    built.send(2, {"loss": [math.nan, 3.0, math.inf]}, first_step=1_200)
    ended = {"kind": "status", "name": "finished", "step": 0, "time_ms": built.clock(), "value": {}}
    for index, loss in enumerate([math.nan, math.inf, 0.5, -0.5], 1):
        built.send(0, {"loss": [loss]}, run_id=f"run-{index}", records=[ended])
    built.open_run(RUN, attempt="second", first_step=600)
    body = frame_bytes(0, {"loss": [1.5, 1.25]}, first_step=600, time_ms=built.clock(), attempt="second")
    kind = {"Content-Type": "application/vnd.gradwatch.frame"}
    assert built.client.post(f"/api/v1/runs/{RUN}/frames", content=body, headers=kind).status_code == 200
    built.diagnose()


def answers(built: House) -> dict[str, Any]:
    """Asks everything, and every following page of the lists."""
    found: dict[str, Any] = {}
    for question in QUESTIONS:
        answer = built.client.get(question)
        is_json = "json" in answer.headers["content-type"]
        found[question] = (answer.status_code, answer.json() if is_json else answer.text)
        cursor = answer.json().get("next") if is_json and answer.status_code == 200 else None
        while cursor:
            following = f"{question}&cursor={cursor}"
            found[following] = built.client.get(following).json()
            cursor = found[following]["next"]
    return found


def test_s10_the_answers_are_the_same(tmp_path: Path, postgres_cluster: Cluster) -> None:
    told = []
    for name, url in (("sqlite", None), ("postgres", postgres_cluster.new_database())):
        (tmp_path / name).mkdir()
        with house(tmp_path / name, database=url) as built:
            fill(built)
            told.append(answers(built))
    assert list(told[0]) == list(told[1])
    for question, answer in told[0].items():
        assert answer == told[1][question], question
    assert told[0][f"/api/v1/runs/{RUN}/findings"][1]["items"], "the comparison has something to compare"


def test_s10_odd_words_in_the_forms_of_accounts_are_answered_alike(
    tmp_path: Path, postgres_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_passwords(monkeypatch)
    words = ("a\0b", "\0", "%ED%A0%80", "'; --", "emoji 🙂", "x" * 300, "", " ", "a/b", "ada")
    forms = [
        (path, fields | {"name": word, "role": "admin", "password": "seven green bicycles"})
        for word in words
        for path, fields in (
            ("/settings/tokens", {"scope": "ingest"}),
            ("/settings/tokens", {"scope": word}),
            ("/settings/tokens", {"scope": "read", "days": word}),
            ("/settings/tokens/revoke", {}),
            ("/settings/people/x/role", {"role": word}),
            ("/settings/people/x/password", {}),
            (f"/settings/people/{quote(word.replace(chr(0), ''), safe='')}/remove", {}),
            ("/settings/people", {}),
            ("/sign-in", {}),
        )
    ]
    answers = []
    for number, database in enumerate((None, postgres_cluster.new_database())):
        (tmp_path / str(number)).mkdir()
        with house(tmp_path / str(number), "a-token-of-enough-characters", database) as home:
            found = [home.client.post(path, data=fields) for path, fields in forms]
            answers.append([(form[0], answer.status_code) for form, answer in zip(forms, found, strict=True)])
    assert answers[0] == answers[1]
    assert {status for _, status in answers[0]} <= {200, 303, 401, 404, 422, 429}
