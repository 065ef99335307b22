"""Draws, for the rules' pages, findings of trainings that are no part of the corpus: machines, processes, hours.

`python -m tests.trainings.shown` trains them against a server of its own and keeps the pictures in corpus.json, beside
those of the corpus. Not for: judging (the tests of these trainings do).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from server.charts import evidence
from server.domain.findings import Evidence, Finding, Severity
from server.downsample import buckets
from server.rules._corpus import FILE, corpus
from server.rules.registry import Registry, load_rules
from tests.corpus.diagnosis import diagnose
from tests.corpus.faults import FAULTS
from tests.corpus.judge import PICTURE_POINTS, judge
from tests.serving import ROOT, Server, wait_until
from tests.trainings.cast import CAST
from tests.trainings.checked import CHECKED
from tests.trainings.remarked import REMARKED

OWN_CLOCK = ("leaks", "starves", "jumps", "hours without a save", "slows down", "stalls", "24 parts")
PROCESSES = ("same", "own", "slow")
WORDS = {"own_clock": "with a clock of its own", "two_processes": "of two processes", "cast": "of the test suite"}


def trained(server: Server, home: Path) -> dict[str, tuple[str, str]]:
    """Trains them all; gives the name of each run, and what kind of training it is."""
    from tests.server.diagnosis.test_ranks import train  # here: it brings the fixtures of its tests along

    env = {
        **os.environ, "GRADWATCH_URL": server.url, "GRADWATCH_HOME": str(home), "GRADWATCH_QUIET": "1",
        "GRADWATCH_SYSTEM": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.trainings.own_clock", *OWN_CLOCK]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=True)
    found = {run: (case, "own_clock") for case, run in json.loads(done.stdout).items()}
    for case in PROCESSES:
        before = {run["id"] for run in server.get("runs?limit=500")["items"]}
        train(server.url, home, case)
        found |= {
            run["id"]: (case, "two_processes")
            for run in server.get("runs?limit=500")["items"]
            if run["id"] not in before
        }
    sick = {**CAST, **CHECKED, **REMARKED}
    missing = set(sick) - set(corpus().get("pictures", {}))
    return found | {sick[code](True, server.url): (sick[code].__name__, "cast") for code in sorted(missing)}


def of_the_corpus(rules: Registry) -> dict[str, dict[str, Any]]:
    """Draws the first fault of the corpus for each rule that has no picture yet (the corpus may have grown since)."""
    drawn: dict[str, dict[str, Any]] = {}
    for code in sorted({item.code for item in rules} - corpus().get("pictures", {}).keys()):
        name = next((name for name, fault in FAULTS.items() if code in fault.root), None)
        if name is not None:
            fault = FAULTS[name]
            found = judge(
                name, diagnose(fault.setup.run(), rules), 0.0, fault.root, fault.symptoms, fault.source
            ).pictures
            drawn |= {code: dict(found[code])} if code in found else {}
    return drawn


def pictures(server: Server, run: str, name: str, kind: str, rules: Registry) -> dict[str, dict[str, Any]]:
    """Draws the findings of a run."""
    wait_until(lambda: server.get(f"runs/{run}")["diagnosis"] == "final", "the final diagnosis")
    drawn = {}
    levels = {item.code: item.rule.levels for item in rules}
    for item in server.get(f"runs/{run}/findings")["items"]:
        found = _draw(server, run, item, levels.get(item["code"], {}))
        if found is not None:
            about = {"training": name, "where": WORDS[kind], "message": item["message"], "severity": item["severity"]}
            drawn[item["code"]] = {**about, "picture": found}
    return drawn


def _draw(server: Server, run: str, item: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any] | None:
    told = item["evidence"]
    finding = Finding(
        run, 1, item["code"], item["name"], 1, Severity(item["severity"]), item["state"], item["first_step"],
        item["raised_step"], item["last_step"], item["message"], item["advice"],
        evidence=Evidence(told["numbers"], told["strings"], tuple(told["series"]), told["limit"]),
    )  # fmt: skip
    for series in (*told["series"], "loss"):
        rank = item["ranks"][-1] if item["ranks"] else 0
        answer = server.get(f"runs/{run}/series/data?name={series}&rank={rank}&points=2000")["items"]
        if not answer or not answer[0]["steps"]:
            continue
        steps = np.asarray(answer[0]["steps"], np.int64)
        values = np.asarray([np.nan if value is None else value for value in answer[0]["max"]])
        start, stop = evidence.span_of(finding)
        near = (steps >= start) & (steps <= stop)
        if near.any():
            cut = buckets(steps[near], steps[near], values[near], PICTURE_POINTS)
            picture = evidence.draw(finding, series, cut, words if series == next(iter(told["series"]), "") else {})
            return None if picture is None else asdict(picture)
    return None


def keep(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes what the corpus has no picture of beside what was drawn before."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    shown = {**content.get("shown", {}), **found}
    content["shown"] = {code: shown[code] for code in sorted(shown.keys() - content["pictures"].keys())}
    FILE.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(content['shown'])} pictures beside those of the corpus: {', '.join(content['shown'])}")


def main() -> None:
    """Trains, draws, and writes."""
    torch.set_num_threads(1)
    rules = load_rules()
    keep(of_the_corpus(rules))
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "server")
        try:
            found: dict[str, dict[str, Any]] = {}
            for run, (name, kind) in trained(server, Path(folder) / "hook").items():
                for code, picture in pictures(server, run, name, kind, rules).items():
                    found.setdefault(code, picture)
        finally:
            server.stop()
    keep(found)


if __name__ == "__main__":
    main()
