"""Loops of two processes (gloo): each runs with and without the hook; what the ranks saw is joined here.

python -m tests.trainings.loops.ranks CASE FILE is one rank.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, distribute_module, distribute_tensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from client_hook import governor
from tests import warm
from tests.serving import ROOT
from tests.trainings.loops.kit import ALL_MEASURED, STEPS, WANTED, Loop, Outcome, Run, mlp

WORLD = 2


def own_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Another batch on each rank."""
    return torch.randn(16, 8) + distributed.get_rank(), torch.arange(16) % 3


def ddp(run: Run, *, micro: int = 1) -> None:
    model = DistributedDataParallel(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.watch(model, optimizer)
    for _ in range(STEPS):
        for part in range(micro):
            waits = contextlib.nullcontext() if part == micro - 1 else model.no_sync()
            with waits:
                x, y = own_batch()
                loss = F.cross_entropy(model(x), y) / micro
                loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        run.before_update(model.module)
        optimizer.step()
        optimizer.zero_grad()
        run.step(loss)


def ddp_accumulating(run: Run) -> None:
    ddp(run, micro=3)


def ddp_inside(run: Run) -> None:
    """The bare model is given to `watch`, which then cannot know of the wrapper."""
    model = mlp()
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.watch(model, optimizer)
    for _ in range(STEPS):
        x, y = own_batch()
        optimizer.zero_grad()
        loss = F.cross_entropy(wrapped(x), y)
        loss.backward()
        run.before_update(model)
        optimizer.step()
        run.step(loss)


def fsdp(run: Run, *, clip: bool = False) -> None:
    model = mlp()
    fully_shard(model[0])
    fully_shard(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    run.watch(model, optimizer)
    for _ in range(STEPS):
        x, y = own_batch()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if clip:
            before = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            run.extra.setdefault("before", []).append(float(before.full_tensor()))
        reference = {}
        for name, item in model.named_parameters():
            whole = item.grad.full_tensor().double()  # the test may ask the other ranks; the hook never does
            reference[name] = math.sqrt(float((whole * whole).sum()))
        run._open |= reference
        optimizer.step()
        run.step(loss)


def fsdp_clipped(run: Run) -> None:
    fsdp(run, clip=True)


def replicated(run: Run) -> None:
    """DTensors of which every rank holds a copy: their squares may count once only."""
    mesh = init_device_mesh("cpu", (WORLD,))
    model = distribute_module(mlp(), mesh)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, foreach=False)
    run.watch(model, optimizer)
    for _ in range(STEPS):
        x = distribute_tensor(torch.randn(16, 8), mesh, [Replicate()])
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x).to_local(), torch.arange(16) % 3)
        loss.backward()
        run._open |= {name: float(item.grad.to_local().double().norm()) for name, item in model.named_parameters()}
        optimizer.step()
        run.step(loss)


CASES = {
    "replicated": replicated,
    "ddp": ddp,
    "ddp_accumulating": ddp_accumulating,
    "ddp_inside": ddp_inside,
    "fsdp": fsdp,
    "fsdp_clipped": fsdp_clipped,
}


def main(case: str, file: Path) -> None:
    """Trains as one rank, twice, and writes down what it saw."""
    torch.set_num_threads(1)
    governor.FIRST_STEPS_S = 120.0  # however slow the machine
    distributed.init_process_group("gloo")
    runs = []
    for hooked in (False, True):
        torch.manual_seed(5)
        run = Run(hooked=hooked)
        CASES[case](run)
        if run._monitor is not None:
            run._monitor.finish(timeout=0.1)
            run.ledger = run._monitor.ledger
        run.losses.append(float(torch.rand(())))
        runs.append(run)
    plain, hooked_run = runs
    (tape,) = hooked_run.tapes
    seen = {
        "same": [repr(item) for item in plain.losses] == [repr(item) for item in hooked_run.losses],
        "references": hooked_run.references,
        "series": {name: tape.series(name) for name in tape.names()},
        "meaning": tape.facts("gradient_meaning"),
        "before_clipping": hooked_run.extra.get("before"),
        "notes": hooked_run.ledger["notes"],
        "run": hooked_run._monitor.run_id,
        "rank": hooked_run._monitor._identity.rank,
    }
    file.write_text(json.dumps(seen))
    distributed.barrier()
    distributed.destroy_process_group()


def start(case: str, folder: Path, **environment: str) -> list[dict[str, Any]]:
    """Runs all ranks of a case and gives what each wrote."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in range(WORLD):
        env = {
            **os.environ, "RANK": str(rank), "WORLD_SIZE": str(WORLD), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            "GRADWATCH_HOME": str(folder), "GRADWATCH_QUIET": "1", "GRADWATCH_STRICT": "1", **environment,
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.trainings.loops.ranks", case, str(folder / f"{rank}.json")]
        processes.append(warm.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=110)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(errors)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORLD)]


@dataclass(frozen=True)
class OfRanks(Loop):
    """A loop whose body is a name of CASES; `combined` says whether a norm is that of all ranks' shards."""

    case: str = ""
    combined: bool = False

    def measure(self) -> Outcome:
        """Runs the ranks and compares, rank by rank or over all of them."""
        with tempfile.TemporaryDirectory() as folder:
            ranks = start(self.case, Path(folder))
        assert len({rank["run"] for rank in ranks}) == 1, "one job is one run"
        assert [rank["rank"] for rank in ranks] == list(range(WORLD))
        measured = [{int(step) for step in rank["series"]["hook/overhead"]} for rank in ranks]
        together = set.intersection(*measured)
        assert len(together) > 0.5 * max(map(len, measured)), "without each other they would hardly ever meet"
        told_losses = set.intersection(*({int(step) for step in rank["series"]["loss"]} for rank in ranks))
        worst, untold = 0.0, [f"{step}/loss" for step in range(STEPS) if step not in told_losses]
        for step, reference in enumerate(ranks[0]["references"]):
            if step >= ALL_MEASURED and step not in together:
                continue
            for name, norm in reference.items():
                told = [rank["series"].get(f"grad_norm/{name}", {}).get(str(step)) for rank in ranks]
                if None in told:
                    untold.append(f"{step}/{name}")
                    continue
                found = [math.hypot(*told)] if self.combined else told
                worst = max([worst, *(abs(item - norm) / norm if norm else abs(item) for item in found)])
        if self.combined and self.meaning.get("clipped"):
            for step, reference in enumerate(ranks[0]["before_clipping"]):
                if step in together:
                    told = math.hypot(*(rank["series"]["clip/before"][str(step)] for rank in ranks))
                    worst = max(worst, abs(told - reference) / reference)
        names = set(ranks[0]["series"])
        missing = [words for prefix, words in WANTED.items() if not any(name.startswith(prefix) for name in names)]
        facts = ranks[0]["meaning"]
        meaning: Mapping[str, Any] = facts[-1]["0"] if facts else {}
        return Outcome(all(rank["same"] for rank in ranks), worst, untold, missing, meaning, ranks[0]["notes"])


def _never(run: Run) -> None:
    raise AssertionError("a loop of ranks runs in processes of its own")


REDUCED = "reduced: the mean over all ranks (DistributedDataParallel)"
SHARD = "local shard: the root of the summed squares over all ranks is the norm (DTensor)"
UNKNOWN = "unknown: several processes, and the model given to watch says nothing of them"
CLIPPED = {"clipped": "norm"}
LOOPS = [
    OfRanks("DistributedDataParallel, two ranks, clipped", _never, {"reduction": REDUCED} | CLIPPED, "ddp"),
    OfRanks(
        "DistributedDataParallel with accumulation under `no_sync`",
        _never,
        {"reduction": REDUCED, "backwards": 3},
        "ddp_accumulating",
    ),
    OfRanks("DistributedDataParallel, its inner module watched", _never, {"reduction": UNKNOWN}, "ddp_inside"),
    OfRanks("FSDP2 (`fully_shard`), two ranks", _never, {"reduction": SHARD}, "fsdp", combined=True),
    OfRanks("FSDP2 (`fully_shard`), clipped", _never, {"reduction": SHARD} | CLIPPED, "fsdp_clipped", combined=True),
    OfRanks("DTensors replicated on both ranks", _never, {"reduction": SHARD}, "replicated", combined=True),
]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
