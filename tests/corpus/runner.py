"""Runs one training of the corpus in a process of the pool. (What a pool calls cannot live in __main__.)"""

from __future__ import annotations

import warnings

from server.rules.registry import Registry, load_rules
from tests.corpus.judge import Judged, judge

_registry: list[Registry] = []


def names(soak: bool, only: str) -> list[tuple[str, str]]:
    """Lists what is to be run: the kind and the name."""
    from tests.corpus.faults import FAULTS
    from tests.corpus.healthy import HEALTHY, LONG

    chosen = (
        [("soak", name) for name in LONG]
        if soak
        else [("healthy", n) for n in HEALTHY] + [("fault", n) for n in FAULTS]
    )
    return [item for item in chosen if only in item[1]]


def run_one(chosen: tuple[str, str]) -> Judged:
    """Trains one and judges it."""
    import torch

    from tests.corpus.faults import FAULTS
    from tests.corpus.healthy import HEALTHY, LONG

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # PyTorch warns of some of the mistakes, as it would anybody
    if not _registry:
        _registry.append(load_rules())
    kind, name = chosen
    fault = FAULTS[name] if kind == "fault" else None
    setup = fault.setup if fault else {"healthy": HEALTHY, "soak": LONG}[kind][name]
    recording = setup.run()
    engine = recording.engine(_registry[0])
    broken = [check for check in engine.checks if "the rule itself failed" in check.reason]
    if broken:
        raise RuntimeError(f"{name}: {broken[0].code}: {broken[0].reason}")
    root, symptoms, source = (fault.root, fault.symptoms, fault.source) if fault else ((), (), "")
    return judge(name, engine, recording.seconds, root, symptoms, source)
