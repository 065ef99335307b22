"""Remembers the preflights of this process until `watch` sees the same model: its run is then the preflight's.

Not for: what a preflight does or sends (client_hook.preflight).
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from client_hook.guard import attempted

Record = tuple[str, str, dict[str, Any]]  # kind, name, value


@dataclass(eq=False, repr=False)
class Kept:
    """What is known of the newest preflight of a model; one that raised has no records."""

    model: weakref.ref[Any]
    records: tuple[Record, ...] = ()
    run_id: str = ""  # "" where nothing was sent
    url: str = ""
    project: str = ""
    named: bool = False  # the user chose the run
    delivered: bool = False
    process: int = field(default_factory=os.getpid)


_known: list[Kept] = []  # in the order of their making


def keep(model: Any, records: Iterable[Record], **about: Any) -> None:
    """Keeps the newest preflight of a model, as long as the model lives; `about` holds the other fields of `Kept`."""
    model = inner(model)
    kept = Kept(weakref.ref(model, _forget), tuple(records), **about)
    others = [item for item in _known if item.model() is not None and item.model() is not model]
    # a run belongs to the preflight that was sent to it last
    _known[:] = [replace(item, run_id="") if item.run_id == kept.run_id else item for item in others] + [kept]


def begun(models: Any, url: str) -> Kept | None:
    """Finds the preflight whose run goes on with these models: one of this very process, sent to the same server."""
    known, _ = attempted(_of, models)  # `watch` asks before it looks at its arguments: they may be anything
    found = [item for item in known or () if item.run_id and item.url == url and item.process == os.getpid()]
    return found[-1] if found else None


def take(models: Any, run_id: str) -> list[Record]:
    """Gives what the run of a training has to tell of the preflights of its models, once: a second training does not
    start from there. What the server has of this run already, curves above all, is left out.
    """
    found = _of(models)
    _known[:] = [item for item in _known if item not in found]
    return [
        record
        for item in found
        for record in item.records
        if record[0] == "fact" or not (item.delivered and item.run_id == run_id)
    ]


def _of(models: Any) -> list[Kept]:
    wanted = [inner(item) for item in (models.values() if isinstance(models, Mapping) else [models])]
    return [item for item in _known if (model := item.model()) is not None and any(model is one for one in wanted)]


def _forget(gone: weakref.ref[Any]) -> None:
    _known[:] = [item for item in _known if item.model is not gone]


def inner(model: Any) -> Any:
    """Takes a model out of what wraps it for several processes or compiles it: neither changes what it computes."""
    while True:
        found = getattr(model, "_orig_mod", None)
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            found = model.module
        if not isinstance(found, nn.Module) or found is model:
            return model
        model = found
