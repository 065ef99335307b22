"""Counts what Dynamo compiled: `counters["recompiles"]` stays empty in torch 2.13, whatever is compiled again."""

from __future__ import annotations

import torch
from torch._dynamo import utils


def forget() -> None:
    """Forgets everything that was compiled and counted."""
    torch._dynamo.reset()
    utils.counters.clear()
    utils.clear_compilation_metrics()


def compilations() -> dict[str, int]:
    """Counts the graphs, and the frames that were compiled a second time: those whose number ends in another than 0
    (what follows a `_` counts attempts of one compilation)."""
    metrics = [item for item in utils.get_compilation_metrics() if item.compile_id]
    numbers = {str(item.compile_id) for item in metrics}
    assert numbers, "something was compiled, and is counted"
    print("compiled again because:", [item.recompile_reason for item in metrics if item.recompile_reason])
    return {
        "graphs": utils.counters["stats"]["unique_graphs"],
        "compiled again": sum(not number.partition("_")[0].endswith("/0") for number in numbers),
    }
