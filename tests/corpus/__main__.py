"""Runs the corpus, the soak or a held-out set, or preflight over them: `python -m tests.corpus --help` says how.

Many trainings per process; prints the table, and with --write keeps the JSON that the catalogue page shows.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

from server.rules._corpus import digest
from server.rules.registry import load_rules
from tests.corpus import preflight
from tests.corpus.beside import BESIDE
from tests.corpus.healthy import LONG
from tests.corpus.judge import Judged
from tests.corpus.pace import PACES
from tests.corpus.runner import fly_one, has_model, names, run_one
from tests.corpus.score import Score, as_json, as_text, score
from tests.corpus.sets import SETS

OUTPUT = Path(__file__).parents[2] / "server" / "rules" / "corpus.json"
TRAININGS_A_PROCESS = 40  # on a GPU one: after a failed assertion on the device the process can compute nothing more


def main(arguments: list[str]) -> int:
    """Runs, prints, and fails where a healthy training got a warning."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("--soak", action="store_true", help="ten healthy trainings of 10,000 steps")
    parser.add_argument(
        "--held-out",
        choices=tuple(SETS),
        help="a set of trainings that no rule was tuned on",
    )
    parser.add_argument("--preflight", action="store_true", help="check the models before training, and train nothing")
    parser.add_argument(
        "--pace", choices=(*PACES, "measured"), default="usual", help="which steps are measured; measured: by the clock"
    )
    parser.add_argument("--device", default="cpu", help="where the trainings run: cpu (the published table) or cuda")
    parser.add_argument("--only", default="", help="only trainings whose name contains this")
    parser.add_argument("--write", action="store_true", help=f"write {OUTPUT.name} for the catalogue page")
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args(arguments)
    began = perf_counter()
    kind = "soak" if chosen.soak else f"held-out-{chosen.held_out}" if chosen.held_out else "corpus"
    todo = names(kind, chosen.only)
    if chosen.preflight:
        return _fly(todo, chosen.processes, chosen.write and not chosen.only and kind == "corpus")
    judged: list[Judged] = []
    with get_context("spawn").Pool(
        chosen.processes, maxtasksperchild=TRAININGS_A_PROCESS if chosen.device == "cpu" else 1
    ) as pool:
        for item in pool.imap(partial(run_one, pace=chosen.pace, device=chosen.device), todo):
            judged.append(item)
            mark = "ok" if (item.hit or not item.root) and not item.alarms else "MISS" if not item.alarms else "ALARM"
            print(
                f"{mark:6}{item.name}: {_told(item)}",
                file=sys.stderr,
                flush=True,
            )
    total = score(judged)
    rules = load_rules()
    known = {item.code: item.name for item in rules}
    digests = {item.code: digest(type(item.rule)) for item in rules}
    print(as_text(total, known, BESIDE))
    print(f"\n{len(judged)} trainings in {perf_counter() - began:.0f} s")
    if chosen.write and not chosen.only and chosen.pace == "usual" and chosen.device == "cpu":
        if chosen.soak:
            _keep_soak(total)
        else:
            _keep(as_json(total, judged, known, BESIDE, digests), chosen.held_out)
    return 1 if total.silent < total.healthy else 0


def _told(item: Judged) -> str:
    told = ", ".join(said.code for said in (item.said or (item.hits if item.mild else ()))) or "silent"
    below = [said.code for said in item.below if said.severity != "info" or said.code in item.symptoms]
    return told + (f" (below: {', '.join(below)})" if below else "")


def _keep(found: dict[str, Any], held_out: str | None) -> None:
    """Writes the corpus' output. Of a held-out set only the first run counts: later ones are of tuned rules."""
    before = json.loads(OUTPUT.read_text(encoding="utf-8")) if OUTPUT.exists() else {}
    sets = before.get("held_out") or {}
    if held_out is None:
        content = {**found, **{key: before.get(key) for key in ("held_out", "preflight", "shown", "soak")}}
    elif held_out in sets:
        print(f"{OUTPUT.name} keeps the first run of the {held_out} set; this one is not written")
        return
    else:
        told = {key: value for key, value in found.items() if key not in ("pictures", "digests")}
        content = {**before, "held_out": {**sets, held_out: told}}
    _write(content)


def _keep_soak(total: Score) -> None:
    """Writes how the long healthy trainings fared beside the corpus."""
    steps = min(setup.steps for setup in LONG.values())
    before = json.loads(OUTPUT.read_text(encoding="utf-8"))
    _write({**before, "soak": {"trainings": total.healthy, "silent": total.silent, "steps": steps}})


def _write(content: dict[str, Any]) -> None:
    OUTPUT.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _fly(todo: list[tuple[str, str]], processes: int, write: bool) -> int:
    """Runs preflight on each model, prints its table, and fails where a healthy one got a warning."""
    flown: list[preflight.Flown] = []
    every, todo = todo, [item for item in todo if has_model(item)]
    with get_context("spawn").Pool(processes, maxtasksperchild=TRAININGS_A_PROCESS) as pool:
        for item in pool.imap(fly_one, todo):
            flown.append(item)
            print(f"{item.name}: {', '.join(item.said) or item.refused or 'silent'}", file=sys.stderr, flush=True)
    print(preflight.as_text(flown))
    print(f"\n{len(every) - len(todo)} left out, whose loop makes its own models")
    if write:
        preflight.write(OUTPUT, flown)
    return int(any(item.said or item.refused for item in flown if not item.root))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
