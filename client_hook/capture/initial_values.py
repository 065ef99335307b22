"""Reads how parameters were initialised: scale, exact zeros, rows that are all the same.

From a few thousand values of each, in one reading for each device. Not for: following them afterwards (updates).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from client_hook.capture.tensors import sample

MAX_VALUES = 4_096
MAX_ROWS = 64
MAX_COLUMNS = 256
SAME = 1e-4  # of the largest entry


class InitialValues:
    """Holds `std`, `mean`, `absmax`, `zero` and `rows_identical` by parameter name."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self.checked_after = 0

    def of(self, name: str) -> dict[str, Any]:
        """Returns the keys of one parameter; null where it could not be read."""
        return self._known.get(name) or dict.fromkeys(("std", "mean", "absmax", "zero", "rows_identical"))

    @torch.no_grad()
    def read(self, parameters: Iterable[tuple[str, Tensor]]) -> None:
        """Reads those that are not known yet."""
        by_device: dict[torch.device, list[tuple[str, Tensor, bool]]] = {}
        for name, parameter in parameters:
            if name not in self._known and _readable(parameter):
                detached = parameter.detach()
                by_device.setdefault(parameter.device, []).append((name, _measures(detached), detached.ndim >= 2))
        for items in by_device.values():
            for (name, _, matrix), (std, largest, spread, mean) in zip(
                items, torch.stack([measures for _, measures, _ in items]).tolist(), strict=True
            ):
                self._known[name] = {
                    "std": std,
                    "mean": mean,
                    "absmax": largest,
                    "zero": largest == 0.0,
                    "rows_identical": spread <= SAME * largest if matrix else None,
                }

    @torch.no_grad()
    def check_again(self, parameters: Mapping[str, Tensor], steps: int) -> bool:
        """Reads those again that were zero or had identical rows; False when there were none. Scales stay as they
        were."""
        suspects = [name for name, known in self._known.items() if known["zero"] or known["rows_identical"]]
        self.checked_after = steps
        for name in suspects:
            parameter = parameters.get(name)
            if parameter is None or not _readable(parameter):
                continue
            _, largest, spread, _ = _measures(parameter.detach()).tolist()
            known = self._known[name]
            known["zero"] = largest == 0.0
            known["rows_identical"] = spread <= SAME * largest if parameter.ndim >= 2 else None
        return bool(suspects)


def _readable(parameter: Tensor) -> bool:
    lazy = torch.nn.parameter.is_lazy(parameter)
    return (
        not lazy
        and parameter.is_floating_point()
        and not parameter.is_meta
        and parameter.layout is torch.strided
        and not hasattr(parameter, "to_local")
        and parameter.numel() > 0
    )


def _measures(parameter: Tensor) -> Tensor:
    """Measures std, largest entry, and how far rows differ from the first one, and mean, as a vector on its device."""
    values = sample(parameter, MAX_VALUES)
    std, mean = values.std(correction=0), values.mean()
    largest = values.abs().amax()
    if parameter.ndim < 2:
        return torch.stack([std, largest, torch.zeros_like(std), mean])
    table = parameter.reshape(parameter.shape[0], -1)
    table = table[:: max(table.shape[0] // MAX_ROWS, 1), :MAX_COLUMNS].float()
    spread = (table - table[:1]).abs().amax() if table.shape[0] > 1 else torch.full_like(std, float("inf"))
    return torch.stack([std, torch.maximum(largest, table.abs().amax()), spread, mean])
