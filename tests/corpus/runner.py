"""Runs one training of the corpus in a process of the pool. (What a pool calls cannot live in __main__.)"""

from __future__ import annotations

import warnings
from typing import Any

from server.rules.registry import Registry, load_rules
from tests.corpus.judge import Judged, judge
from tests.corpus.preflight import Flown, fly
from tests.corpus.setup import Setup

_registry: list[Registry] = []


def names(kind: str, only: str) -> list[tuple[str, str]]:
    """Lists what is to be run, the corpus, "soak" or "held-out": the kind and the name of each training."""
    from tests.corpus import faults, healthy, held_out

    aside = [("held-out", n) for n in held_out.HEALTHY] + [("held-out-fault", n) for n in held_out.FAULTS]
    if kind == "soak":
        chosen = [("soak", name) for name in healthy.LONG]
    elif kind == "held-out":
        chosen = [item for item in aside if item[1] not in held_out.ADOPTED]
    else:
        chosen = [("healthy", n) for n in healthy.HEALTHY] + [("fault", n) for n in faults.FAULTS]
        chosen += [item for item in aside if item[1] in held_out.ADOPTED]
    return [item for item in chosen if only in item[1]]


def _found(chosen: tuple[str, str]) -> tuple[Setup, Any]:
    """Finds the setup of a training, and its fault if it has one."""
    from tests.corpus import faults, healthy, held_out

    kind, name = chosen
    fault = {"fault": faults.FAULTS, "held-out-fault": held_out.FAULTS}.get(kind, {}).get(name)
    sound = {"healthy": healthy.HEALTHY, "soak": healthy.LONG, "held-out": held_out.HEALTHY}
    return (fault.setup if fault else sound[kind][name]), fault


def fly_one(chosen: tuple[str, str]) -> Flown:
    """Checks one before its training."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    setup, fault = _found(chosen)
    return fly(chosen[1], setup, fault.root if fault else ())


def run_one(chosen: tuple[str, str]) -> Judged:
    """Trains one and judges it."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # PyTorch warns of some of the mistakes, as it would anybody
    if not _registry:
        _registry.append(load_rules())
    name, (setup, fault) = chosen[1], _found(chosen)
    recording = setup.run()
    engine = recording.engine(_registry[0])
    broken = [check for check in engine.checks if "the rule itself failed" in check.reason]
    if broken:
        raise RuntimeError(f"{name}: {broken[0].code}: {broken[0].reason}")
    root, symptoms, source = (fault.root, fault.symptoms, fault.source) if fault else ((), (), "")
    return judge(name, engine, recording.seconds, root, symptoms, source)
