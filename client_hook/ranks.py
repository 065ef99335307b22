"""Says whether this process is one of several ranks, and which, where no launcher told it so; the others are not asked.

Not for: what the environment tells of rank and job (client_hook.identity).
"""

from __future__ import annotations

import os

from torch import distributed

from client_hook.guard import quietly


def several() -> bool:
    """Says whether other processes train the same model."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size() > 1
    return os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1")


def number() -> int | None:
    """Gives the rank of a process that was spawned and found its group by itself; None where the environment tells it
    (torchrun, Slurm), or nobody does."""
    if "RANK" in os.environ or not (distributed.is_available() and distributed.is_initialized()):
        return None
    return int(distributed.get_rank())


def agreed(name: str, proposal: str) -> str | None:
    """Gives what the first rank that asked proposed under a name; None where the environment names the job.

    It lies in the store through which the ranks found each other: none of them waits for another.
    """
    if number() is None or distributed.get_world_size() < 2:
        return None
    found: str | None = quietly(_compared, name, proposal)
    return found


def _compared(name: str, proposal: str) -> str:
    store = distributed.distributed_c10d._get_default_store()
    return bytes(store.compare_set(name, "", proposal)).decode()
