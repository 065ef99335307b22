"""Reads the model's table from the facts: which parameters are matrices that learn, in which order, in whose optimizer.

Not for: judging; every rule that looks at layers starts from the same list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.domain.evidence import Window
from server.domain.kinds import Kind
from server.domain.series import Floats, Series, Steps
from server.rules._facts import read_once

LOOKS = 10  # measured steps in which gradients were exactly 0
SHOWN = 5  # names in a sentence; all are in the finding's list of layers


@dataclass(frozen=True)
class Parameter:
    """One parameter as the hook described it; `order` is its layer's place in the first forward, if any."""

    name: str
    layer: str
    layer_type: str
    shape: tuple[int, ...]
    numel: int
    trainable: bool
    std: float | None
    order: int | None
    groups: tuple[str, ...] | None  # None where the hook could not see them
    dtype: str = ""
    fan_in: int | None = None
    absmax: float | None = None
    mean: float = 0.0  # at the start, as `std`
    zero: bool = False  # all exactly 0, rows all the same: at the `checked_after` of the fact
    rows_identical: bool = False

    @property
    def owner(self) -> str:
        """Names the layer that holds it; itself where that is the model."""
        return self.layer if self.name.startswith(f"{self.layer}.") else self.name

    @property
    def is_matrix(self) -> bool:
        """Says whether it is a weight of two or more dimensions that is looked up by no index."""
        return len(self.shape) >= 2 and "Embedding" not in self.layer_type

    @property
    def optimizer(self) -> str:
        """The key of the optimizer that holds it; "" where a run has one."""
        return self.groups[0].rpartition(".")[0] if self.groups else ""


def layers(window: Window) -> list[Mapping[str, Any]]:
    """Lists the leaf modules of the `model` fact; an empty list while it is not known."""
    return list(read_once(window.fact("model"), "layers", lambda fact: _objects(fact.get("layers"))))


def parameters(window: Window) -> list[Parameter]:
    """Lists the parameters of the `model` fact; an empty list while it is not known."""
    return list(read_once(window.fact("model"), "parameters", _parameters))


def _parameters(fact: Mapping[str, Any]) -> list[Parameter]:
    known = {layer.get("name"): layer for layer in _objects(fact.get("layers"))}
    found = []
    for item in _objects(fact.get("parameters")):
        name = str(item.get("name", ""))
        layer = str(item.get("layer") or name.rpartition(".")[0])
        groups = item.get("groups")
        shape = tuple(int(size) for size in item.get("shape") or ())
        found.append(
            Parameter(
                name=name,
                layer=layer,
                layer_type=str(item.get("layer_type") or known.get(layer, {}).get("type") or ""),
                shape=shape,
                numel=int(item.get("numel") or np.prod(shape, dtype=np.int64)),
                trainable=item.get("trainable") is not False,
                std=_number(item.get("std")),
                order=known.get(layer, {}).get("order"),
                groups=tuple(map(str, groups))
                if isinstance(groups, Sequence) and not isinstance(groups, str)
                else None,
                dtype=str(item.get("dtype") or ""),
                fan_in=int(fan_in) if (fan_in := _number(item.get("fan_in"))) else None,
                absmax=_number(item.get("absmax")),
                mean=_number(item.get("mean")) or 0.0,
                zero=item.get("zero") is True,
                rows_identical=item.get("rows_identical") is True,
            )
        )
    return found


def learning_matrices(window: Window) -> list[Parameter]:
    """Lists the trainable matrices that did not start at zero; those are the weights whose rates can be compared. The
    tables of a model that has nothing else, such as a factorisation, stand for them."""
    return list(read_once(window.fact("model"), "learning", _learning))


def _learning(fact: Mapping[str, Any]) -> list[Parameter]:
    known = [item for item in _parameters(fact) if item.trainable and len(item.shape) >= 2 and item.std != 0]
    return [item for item in known if item.is_matrix] or known


def optimizers(window: Window) -> list[Mapping[str, Any]]:
    """Lists the `optimizers` fact."""
    return _objects(window.facts.get("optimizers"))


def wholly_dead(window: Window) -> bool:
    """Says whether a ReLU layer has no unit that ever fired, so that no gradient passes it."""
    units = [item for item in window.fact("dead_units").values() if isinstance(item, Mapping)]
    return any(0 < int(item.get("units") or 0) <= int(item.get("dead") or 0) for item in units)


def first_unfed(window: Window) -> tuple[Parameter, int] | None:
    """Finds a layer that got nothing but zeros, and how many lie before it: its weight's gradient was exactly 0 in
    every look, its bias's was not, and nothing came back to any matrix before it. Dead units without a module do that.
    """
    seen = window.fact("gradients")
    silent = {str(name) for key in ("zero", "none") for name in seen.get(key) or ()}
    zero = {str(name) for name in seen.get("zero") or ()}
    if not zero or int(seen.get("sampled", seen.get("steps") or 0)) < LOOKS:
        return None
    return _unfed(window, zero, silent)


def unfed_since(window: Window) -> tuple[Parameter, int, int] | None:
    """Finds such a layer that got something at first, and the step since which it gets nothing: gradients of exactly 0
    in the newest looks, ten or more, and the bias's above 0 in all of them."""
    looks = {name: series for name, series in window.by_layer(Kind.PARAM_GRAD_NORM).items() if series.count > LOOKS}
    newest = {name: series.tail(LOOKS) for name, series in looks.items()}
    zero = {name for name, values in newest.items() if np.all(values == 0)}
    if not zero:
        return None
    found = _unfed(window, zero, {name for name in looks if not np.all(newest[name] > 0)})
    if found is None:
        return None
    series = looks[found[0].name]
    before = np.flatnonzero(series.values != 0)
    return (*found, int(series.steps[before[-1] + 1])) if len(before) else None


def _unfed(window: Window, zero: Set[str], silent: Set[str]) -> tuple[Parameter, int] | None:
    table = [item for item in parameters(window) if item.trainable]
    biases = {item.layer: item.name for item in table if item.name.endswith("bias")}
    chain = sorted(
        (item for item in table if item.is_matrix and item.order is not None), key=lambda item: item.order or 0
    )
    for at in range(len(chain) - 1, 0, -1):
        item = chain[at]
        fed = not item.layer_type.startswith(("Linear", "Conv")) or item.name not in zero
        if not fed and biases.get(item.layer, item.name) not in silent and all(one.name in zero for one in chain[:at]):
            return item, at
    return None


def left_over(window: Window) -> frozenset[str]:
    """Gives the parameters at the end of a chain of like blocks, of the last one's layer whose output nobody takes."""
    return frozenset(map(str, window.fact("graph").get("left_over") or ()))


def groups(window: Window) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Lists the optimizers' groups: the name that series use, the optimizer's type, and what the group holds."""
    several = len(optimizers(window)) > 1
    return [
        (f"{item.get('name')}.{group.get('name')}" if several else str(group.get("name")), str(item.get("type")), group)
        for item in optimizers(window)
        for group in _objects(item.get("groups"))
    ]


def is_adaptive(kind: str) -> bool:
    """Says whether an optimizer divides by its own estimate of the gradient's size."""
    return kind.lower().startswith(("adam", "nadam", "radam", "rmsprop", "adagrad", "adadelta", "lion", "lamb"))


def uses_closures(window: Window) -> bool:
    """Says whether an optimizer calls a closure (LBFGS): then backward and zero_grad run inside its step."""
    return bool(window.fact("loop").get("closures")) or any(item.get("type") == "LBFGS" for item in optimizers(window))


def listed(names: Sequence[str]) -> str:
    """Writes names for a sentence: the first few, and how many more there are."""
    shown = ", ".join(f"`{name}`" for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"


def medians_over(items: Sequence[Series], tail: int | None = None, head: int | None = None) -> tuple[Steps, Floats]:
    """Gives the median over several series at each of their steps (the newest or oldest few), of the finite values."""
    parts = [_part(item, tail, head) for item in items if item]
    if not parts:
        return np.empty(0, np.int64), np.empty(0)
    first = parts[0][0]
    if all(len(steps) == len(first) and np.array_equal(steps, first) for steps, _ in parts):
        table = np.array([values for _, values in parts])
        if np.isfinite(table).all():
            return first, np.median(table, axis=0)
    steps = np.concatenate([part[0] for part in parts])
    values = np.concatenate([part[1] for part in parts])
    kept = np.isfinite(values)
    steps, values = steps[kept], values[kept]
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    unique, starts = np.unique(steps, return_index=True)
    middles = [float(np.median(part)) for part in np.split(values, starts[1:])] if len(unique) else []
    return unique, np.asarray(middles)


def _part(item: Series, tail: int | None, head: int | None) -> tuple[Steps, Floats]:
    if head is not None:
        return item.steps[:head], item.values[:head]
    if tail is not None:
        return item.steps[-tail:], item.values[-tail:]
    return item.steps, item.values


def _objects(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [item for item in value if isinstance(item, Mapping)]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


_STANDARD = 0.12  # relative: how far the std of a fresh matrix lies from what its initialiser gives
_STANDARD_NORMAL = 0.04  # of a normal start, which has no edge that training would cross
_UNIFORM_EDGE = 1.78
_FIXED_STDS = (0.01, 0.02)


def looks_untrained(window: Window) -> bool:
    """Says whether most matrix weights have the spread that a usual initialiser gives; False where it is not known."""
    known = [item for item in parameters(window) if item.is_matrix and item.std is not None and item.fan_in]
    fresh = sum(item.numel for item in known if _is_standard(item))
    return bool(known) and fresh >= 0.5 * sum(item.numel for item in known)


def _is_standard(item: Parameter) -> bool:
    if not item.std:
        return True
    fan_in, fan_out = item.fan_in or 1, item.numel // max(item.fan_in or 1, 1)
    usual = (1 / (3 * fan_in), 1 / fan_in, 2 / fan_in, 2 / (fan_in + fan_out), 2 / max(fan_out, 1), 1 / max(fan_out, 1))
    stds = (*(value**0.5 for value in usual), *_FIXED_STDS)
    # a uniform start has no entry beyond √3 standard deviations: what was trained does
    uniform = item.absmax is not None and item.absmax <= _UNIFORM_EDGE * item.std
    return any(abs(item.std / std - 1) <= (_STANDARD if uniform else _STANDARD_NORMAL) for std in stds)
