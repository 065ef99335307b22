"""Makes the identities of runs and attempts, on this side of the wire and without asking anybody.

Ranks of one job find the same ids from their environment or from the store that they met in, never through a
collective. Not for: what a run is called.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from client_hook import process

_PLAIN_ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"  # as the server takes them, and safe as a folder's name
_made = [0]  # monitors of this process
_last_uuid7 = [0]
_lock = threading.Lock()
_uuid7_lock = threading.Lock()


def restart_counting() -> None:
    """Forgets which monitor was the first of the process; a forked child calls it."""
    global _lock, _uuid7_lock
    _lock = threading.Lock()
    _uuid7_lock = threading.Lock()
    _made[0] = 0


def upcoming() -> int:
    """Gives the place that the next monitor of this process will have."""
    return _made[0]


def _next_place() -> int:
    with _lock:
        _made[0] += 1
        return _made[0] - 1


def _random(count: int) -> int:
    return int.from_bytes(os.urandom(count), "big")


def uuid7(now_ms: int | None = None) -> str:
    """Makes a UUIDv7: it begins with the time, so ids sort by their making; later calls give larger ids."""
    milliseconds = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    number = (max(milliseconds, 0) & (2**48 - 1)) << 80 | _random(10)
    number = _marked(number, 7)
    if now_ms is None:
        with _uuid7_lock:
            if number <= _last_uuid7[0]:
                # the same millisecond, or a clock that jumped back: go on from the last one
                number = _marked(_last_uuid7[0] + 1 + _random(2), 7)
            _last_uuid7[0] = number
    return str(uuid.UUID(int=number))


def derived(*parts: object) -> str:
    """Makes a UUID (version 8) that is the same wherever the parts are the same."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
    return str(uuid.UUID(int=_marked(int.from_bytes(digest[:16], "big"), 8)))


def _marked(number: int, version: int) -> int:
    """Writes a version, and the variant, into the 128 bits of a UUID."""
    number = number & ~(0xF << 76) | version << 76
    return number & ~(0x3 << 62) | 0x2 << 62


@dataclass(frozen=True, repr=False)
class Identity:
    """Names one process of one attempt of one run."""

    run_id: str
    attempt: str
    rank: int = 0

    @classmethod
    def make(
        cls,
        run_id: str | None = None,
        *,
        rank: int | None = None,
        environ: Mapping[str, str] | None = None,
        ordinal: int | None = None,
        joins: str | None = None,
        agree: Callable[[str, str], str | None] | None = None,
    ) -> Identity:
        """Makes the identity of the next monitor of this process.

        What the environment names belongs to the first monitor; the n-th derives its own ids from those and n. `joins`
        is the run to go on with where nobody names one. `agree` is asked for the ids where the environment tells
        nothing of a job: it is given a name and a proposal, and answers what the first rank proposed.
        """
        env = os.environ if environ is None else environ
        nth = _next_place() if ordinal is None else ordinal
        job = _job_key(env)
        own_rank = _rank(env) if rank is None else max(int(rank), 0)

        words = agree(f"gradwatch/{nth}", f"{uuid7()} {uuid7()}") if agree is not None and job is None else None
        shared_run, shared_attempt = words.split() if words else (None, None)
        run = _id(run_id)
        if run is None:
            run = _id(env.get("GRADWATCH_RUN_ID")) or (derived("run", job) if job else None)
            if run is not None and nth:
                run = derived("run", run, nth)
        attempt = _id(env.get("GRADWATCH_ATTEMPT")) or (derived("attempt", job) if job else None)
        if attempt is not None and nth:
            attempt = derived("attempt", attempt, nth)
        return cls(run or shared_run or joins or uuid7(), attempt or shared_attempt or uuid7(), own_rank)


def _id(text: str | None) -> str | None:
    """Accepts any UUID, and a name that can be an id as it is; other text becomes a UUID that is always the same."""
    if text is None or not str(text).strip():
        return None
    try:
        return str(uuid.UUID(str(text).strip()))
    except ValueError:
        name = str(text).strip()
        return name if re.fullmatch(_PLAIN_ID, name) else derived("named", name)


def _rank(env: Mapping[str, str]) -> int:
    try:
        return max(int(env.get("RANK", "0")), 0)
    except ValueError:
        return 0


def _job_key(env: Mapping[str, str]) -> str | None:
    """Finds what all ranks of one launch share and no other launch has; None outside a distributed job."""
    if "RANK" not in env or "WORLD_SIZE" not in env:
        return None
    restart = env.get("TORCHELASTIC_RESTART_COUNT", "0")
    if env.get("GROUP_WORLD_SIZE", "1") == "1" and "TORCHELASTIC_RUN_ID" in env:
        # one node: the launcher is everybody's parent. The elastic id alone is "none" unless somebody chose one,
        # and a chosen one may come back in the next launch
        launcher = os.getppid()
        return f"{process.host_name()}/{launcher}/{process.start_time(launcher)}/{restart}"
    shared = [env.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID")]
    return "/".join([*shared, restart])
