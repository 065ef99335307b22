"""Writes the table of loops in client_hook/README.md from what came of each: python -m tests.trainings.loops.table.

With --check nothing is written, and the exit code is 1 where the table in the file is another one.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.trainings.loops import compiled, models, ordinary, ranks
from tests.trainings.loops.kit import Outcome

README = Path(__file__).resolve().parents[3] / "client_hook" / "README.md"
BEGIN, END = "<!-- loops: begin -->", "<!-- loops: end -->"
HEAD = ["| loop | the hook | what is missing, or why |", "|---|---|---|"]
LOOPS = [*ordinary.LOOPS, *models.LOOPS, *compiled.LOOPS, *ranks.LOOPS]


def row(name: str, outcome: Outcome) -> str:
    """Makes one line."""
    return f"| {name} | {outcome.verdict} | {outcome.remark} |"


def written() -> list[str]:
    """Reads the lines that stand in the file."""
    text = README.read_text(encoding="utf-8")
    return text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[len(HEAD) :]


def names_written() -> list[str]:
    """Reads the loops that stand in the file."""
    return [line.split("|")[1].strip() for line in written()]


def main() -> int:
    """Trains every loop."""
    os.environ |= {"GRADWATCH_QUIET": "1", "GRADWATCH_STRICT": "1"}
    with tempfile.TemporaryDirectory() as home:
        os.environ["GRADWATCH_HOME"] = home
        rows = [row(loop.name, loop.measure()) for loop in LOOPS]
    if "--check" in sys.argv:
        for line in sorted(set(rows) ^ set(written())):
            print(f"{'missing' if line in rows else 'stale'}: {line}")
        return int(rows != written())
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text("\n".join([f"{before}{BEGIN}", *HEAD, *rows, END]) + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
