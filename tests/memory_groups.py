"""Control groups of a test's own: what runs in one and takes more than its limit, the kernel kills."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path

TREES = ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"), (Path("/sys/fs/cgroup"), "memory.max"))
_numbers = count()


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Path]:
    """Makes a group with a limit and takes it away again, when all that ran in it is over; OSError where nobody may."""
    problem: OSError | None = None
    for tree, file in TREES:
        group = tree / f"gradwatch-test-{os.getpid()}-{next(_numbers)}"
        try:
            group.mkdir()
        except OSError as refused:
            problem = refused
            continue
        try:
            with (group / file).open("r+", encoding="ascii") as limit:  # a plain folder would have no such file
                limit.write(str(limit_bytes))
        except OSError as refused:
            problem = refused
            group.rmdir()
            continue
        try:
            yield group
        finally:
            with suppress(OSError):  # a process that is still on its way out keeps it
                group.rmdir()
        return
    raise problem or OSError("no control groups")


@cache
def may_limit_memory() -> bool:
    """Tells whether this machine lets us make such a group."""
    try:
        with memory_group(1 << 30):
            return True
    except OSError:
        return False


def inside(group: Path) -> list[str]:
    """Gives the words before a command that starts it within the group."""
    return ["sh", "-c", f'echo $$ > {group / "cgroup.procs"} && exec "$@"', "sh"]
