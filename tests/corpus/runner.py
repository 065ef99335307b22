"""Runs one training of the corpus in a process of the pool. (What a pool calls cannot live in __main__.)"""

from __future__ import annotations

import warnings
from typing import Any

from server.rules.registry import Registry, load_rules
from tests.corpus.device import living_on
from tests.corpus.diagnosis import diagnose
from tests.corpus.judge import Judged, judge
from tests.corpus.pace import paced
from tests.corpus.preflight import OTHER_LOOPS, Flown, fly
from tests.corpus.setup import Setup
from tests.corpus.twins import twin

_registry: list[Registry] = []


def names(kind: str, only: str) -> list[tuple[str, str]]:
    """Lists what is to be run, the corpus, "soak" or a held-out set: the kind and the name of each training."""
    from tests.corpus import faults, healthy, recorded

    aside = [(key, name) for key, (known, _) in _aside().items() for name in known]
    adopted = {(key, name) for key, (_, used) in _aside().items() for name in used}
    if kind == "soak":
        chosen = [("soak", name) for name in healthy.LONG]
    elif kind.startswith("held-out"):
        chosen = [item for item in aside if item not in adopted and item[0] in (kind, f"{kind}-fault")]
    else:
        chosen = [("healthy", n) for n in healthy.HEALTHY | recorded.RECORDED] + [("fault", n) for n in faults.FAULTS]
        chosen += [item for item in aside if item in adopted]
        chosen += [item for item in _twins() if item not in chosen]
    return [item for item in chosen if only in item[1]]


def _twins() -> list[tuple[str, str]]:
    """Lists the healthy trainings in which the adopted mistakes were made."""
    from tests.corpus.sets import SETS

    found = [
        (f"held-out-{key}", twin(fault.setup, aside.HEALTHY))
        for key, aside in SETS.items()
        for name, fault in aside.FAULTS.items()
        if name in aside.ADOPTED
    ]
    return [(kind, name) for kind, name in dict.fromkeys(found) if name is not None]


def _aside() -> dict[str, tuple[dict[str, Any], frozenset[str]]]:
    """Gives the held-out trainings by kind, and which of them a rule was changed for."""
    from tests.corpus.sets import SETS

    known: dict[str, tuple[dict[str, Any], frozenset[str]]] = {}
    for name, aside in SETS.items():
        known[f"held-out-{name}"] = (aside.HEALTHY, aside.ADOPTED)
        known[f"held-out-{name}-fault"] = (aside.FAULTS, aside.ADOPTED)
    return known


def _found(chosen: tuple[str, str]) -> tuple[Setup, Any]:
    """Finds the setup of a training, and its fault if it has one."""
    from tests.corpus import faults, healthy, recorded

    kind, name = chosen
    known: dict[str, Any] = {
        "healthy": healthy.HEALTHY | recorded.RECORDED, "soak": healthy.LONG, "fault": faults.FAULTS
    }  # fmt: skip
    found = (known | {key: both[0] for key, both in _aside().items()})[kind][name]
    return (found.setup, found) if isinstance(found, faults.Fault) else (found, None)


def has_model(chosen: tuple[str, str]) -> bool:
    """Says whether a training's model stands before its loop begins; preflight has nothing to look at otherwise."""
    setup, _ = _found(chosen)
    return setup.loop in OTHER_LOOPS or any(True for _ in setup.model().parameters())


def fly_one(chosen: tuple[str, str]) -> Flown:
    """Checks one before its training."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    setup, fault = _found(chosen)
    return fly(chosen[1], setup, fault.root if fault else ())


def run_one(chosen: tuple[str, str], pace: str = "usual", device: str = "cpu") -> Judged:
    """Trains one at a pace on a device and judges it."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # PyTorch warns of some of the mistakes, as it would anybody
    if not _registry:
        _registry.append(load_rules())
    name, (setup, fault) = chosen[1], _found(chosen)
    with living_on(device), paced(pace):
        recording = setup.run()
    found = diagnose(recording, _registry[0])
    broken = [check for check in found.checks if "the rule itself failed" in check.reason]
    if broken:
        raise RuntimeError(f"{name}: {broken[0].code}: {broken[0].reason}")
    if fault is None:
        return judge(name, found, recording.seconds, (), (), "")
    about = (fault.root, fault.symptoms, fault.source)
    return judge(name, found, recording.seconds, *about, remark=fault.remark, begins=fault.begins)
