"""Makes the database of which one copy is kept for each schema that landed.

`python -m tests.server.reliability.schemas` writes golden/<schema>.db.gz with the code as it is, so it is run once for
each new migration, before it lands. It keeps to calls that every version has had.
Not for: bringing the copies up to date (they never change).
"""

from __future__ import annotations

import gzip
import sqlite3
import tempfile
from pathlib import Path

import numpy as np

from server.domain.runs import NewRun
from server.store import Store
from server.store.accepted import AcceptedFrame, AcceptedGroup, AcceptedRecord

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_790_000_000_000
RUNS = {"run-open": "running", "run-over": "finished"}
FRAMES, STEPS = 22, 50
NAMES = ("loss", "val/loss")


def value(attempt: int, rank: int, step: int, column: int) -> float:
    """Gives the one right value of a point; some are no numbers."""
    if step % 97 == 13:
        return (np.nan, np.inf, -np.inf)[step % 3]
    return float(np.float32(attempt * 1e4 + rank * 1e3 + step + column / 8))


def fill(url: str) -> None:
    """Stores two runs with two attempts and two ranks each, their records, a finding and a check."""
    store = Store.open(url)
    for run, state in RUNS.items():
        for number, attempt in enumerate(("first", "second"), 1):
            store.runs.open(NewRun(run, attempt, project="golden", name=run, tags=("é", "b"), started_ms=NOW), NOW)
            for rank in (0, 1):
                for seq in range(FRAMES):
                    store.frames.accept(_frame(run, number, attempt, rank, seq, ends=state == "finished"))
    if hasattr(store, "sealer"):
        while store.sealer.run_once():
            pass
    store.close()


def _frame(run: str, number: int, attempt: str, rank: int, seq: int, *, ends: bool) -> AcceptedFrame:
    steps = np.arange(seq * STEPS, (seq + 1) * STEPS, dtype=np.int64)
    values = np.array(
        [[value(number, rank, int(step), column) for step in steps] for column in range(len(NAMES))], "<f4"
    )
    records = [AcceptedRecord("fact", "model", int(steps[0]), NOW, {"layers": seq}, f'{{"layers":{seq}}}')]
    records.append(AcceptedRecord("event", "note", int(steps[0]), NOW + seq, {"text": "ü"}, '{"text":"ü"}'))
    if ends and seq == FRAMES - 1:
        state = {"state": "finished"}
        records.append(AcceptedRecord("status", "finished", int(steps[-1]), NOW + 99, state, '{"state":"finished"}'))
    groups = (AcceptedGroup(NAMES, steps, NOW + 100 * steps, values),)
    complete = int(steps[-1])
    return AcceptedFrame(run, attempt, rank, seq, 1_000 + seq, complete, NOW + seq, groups, tuple(records))


def add_findings(path: Path) -> None:
    """Adds a finding and a check, as rows."""
    database = sqlite3.connect(path)
    for run in RUNS:
        finding = {
            "run_id": run, "number": 1, "code": "GW201", "name": "nonfinite-loss", "rule_version": 1,
            "severity": "error",
            "state": "open", "attempt": 1, "first_step": 13, "raised_step": 20, "last_step": 13, "message": "NaN",
            "advice": "Look", "layers": "[]", "ranks": "[0]", "params": "{}",
            "evidence": '{"numbers": {"step": 13}, "strings": {}, "series": ["loss"], "limit": null}',
        }  # fmt: skip
        places = ", ".join("?" * len(finding))
        database.execute(f"INSERT INTO findings ({', '.join(finding)}) VALUES ({places})", list(finding.values()))
        database.execute("INSERT INTO checks VALUES (?, 'GW202', 'passed', '', '')", [run])
    database.commit()
    database.execute("PRAGMA journal_mode = DELETE")
    database.execute("VACUUM")
    database.close()


def main() -> None:
    """Writes the copy of the newest schema."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gradwatch.db"
        fill(f"sqlite:///{path}")
        add_findings(path)
        database = sqlite3.connect(path)
        (schema,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        database.close()
        target = GOLDEN / f"{schema}.db.gz"
        target.write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
        print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
