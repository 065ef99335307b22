"""Tells how many samples a batch of a run has. Not for: what they hold (fact `inputs`)."""

from __future__ import annotations

from collections.abc import Mapping

from server.domain.evidence import Window
from server.rules._loss_call import loss_call

PICTURES = 4  # dimensions: no time comes first there


def time_first(window: Window) -> list[str]:
    """Lists the modules that take time before the batch."""
    return [str(name) for name in window.fact("model").get("time_first") or ()]


def samples(window: Window) -> int:
    """Gives the size of a batch; 0 where it is not known.

    That is what the outputs and targets of the loss begin with, or, of a loss whose arguments were not looked at (CTC,
    one of your own), what all inputs of the model begin with. Series may begin with their time.
    """
    call = loss_call(window)
    targets: tuple[int, ...] = call.target.shape if call is not None else ()
    if call is not None and targets:
        return call.batch_size if targets[0] == call.batch_size else 0
    inputs = [list(item.get("shape") or []) for item in window.fact("inputs").values() if isinstance(item, Mapping)]
    sizes = {int(shape[0]) for shape in inputs if len(shape) > 1}
    pictures = all(len(shape) == PICTURES for shape in inputs)
    return sizes.pop() if len(sizes) == 1 and (pictures or not time_first(window)) else 0


def ids(window: Window) -> int:
    """Gives how many ids all inputs of the model are, one after the other; 0 where they are anything else."""
    inputs = [item for item in window.fact("inputs").values() if isinstance(item, Mapping)]
    flat = {int(item["shape"][0]) for item in inputs if len(item.get("shape") or []) == 1}
    known = all(str(item.get("dtype")).startswith("int") and len(item.get("shape") or []) == 1 for item in inputs)
    return flat.pop() if known and len(flat) == 1 else 0
