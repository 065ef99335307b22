"""GW302: the optimizer does not hold what the model trains."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.rules._layers import Parameter, listed, optimizers, parameters
from server.rules._say import in_python
from server.rules.base import Rule, Stage, threshold


class ParamNotInOptimizer(Rule):
    """The run has trainable parameters that no optimizer updates

    ## What it does
    Compares, by identity, the tensors that the optimizers hold with those that the models train and with the leaves
    that the first backward reached. It finds trainable parameters in no group, tensors in an optimizer that no watched
    model owns (stale after a re-initialisation), leaves that are in neither (layers in a plain Python list, an
    attribute that asks for gradients and is no `nn.Parameter`), and parameters that two groups hold. It looks again on
    measured steps: layers that are unfrozen later have to be given to the optimizer then. Parameters that move all the
    same are left out: another optimizer holds them, which nobody watches, or a copy of them in full precision.

    ## Why it matters
    Parameters that no optimizer holds keep their random start although they get gradients. Stale tensors are the worst
    case: the optimizer updates copies that nobody uses, and the loss never moves.

    ## What you see in the chart
    Gradient lines without an update line, or update ratios of exactly zero.

    ## What to try
    - Make the optimizer last: after `.to(device)`, after replacing a head, after loading, after wrapping.
    - Register sub-modules: `nn.ModuleList([...])`, not `[...]`; `nn.ParameterList`, not a list of parameters.
    - After adding or unfreezing layers later: `optimizer.add_param_group({"params": new.parameters()})`.
    - Frozen on purpose: `requires_grad_(False)`, which saves the backward pass too.

    ## Example
    ```python
    optimizer = SGD(model.parameters(), lr=0.1)
    model.head = nn.Linear(512, 10)          # wrong: the optimizer still holds the old head
    ```

    ## References
    - PyTorch, `torch.optim`: an optimizer keeps the tensors that it was given, not their names.
    - Exact test, no threshold but the share that tells a mistake from a trained head on a frozen trunk.
    """

    code = "GW302"
    name = "param-not-in-optimizer"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 3
    chart = "updates"
    tier = "facts"
    clears_after = 1
    stage = Stage.STRUCTURE
    exact = True

    @dataclass(frozen=True)
    class Params:
        """What counts as a trained head on a trunk that is frozen without saying so."""

        head_share: float = threshold(
            0.5,
            unit="share of the trainable elements that an optimizer holds",
            low=0.0,
            high=1.0,
            source="ours: a head is small; below this share a pretrained trunk is taken to be left out on purpose",
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the facts `model`, `optimizers` and `graph`."""
        items = [item for item in parameters(window) if item.trainable]
        if not items or not optimizers(window) or all(item.groups is None for item in items):
            yield NotEvaluated(
                "which tensors the optimizer holds is not known", "monitor = watch(model, optimizer)  # both arguments"
            )
            return
        moved = [item["moved"] for item in optimizers(window) if "moved" in item]
        if None in moved and not window.final and any(item.groups == () for item in items):
            yield NotEvaluated("whether what no optimizer holds moves all the same is known after the first step")
            return
        missing = [
            item for item in items if item.groups == () and not any(item.name in (names or ()) for names in moved)
        ]
        stale = sum(int(item.get("stale") or 0) for item in optimizers(window))
        loose, attributes = _unregistered(window)
        twice = [str(name) for item in optimizers(window) for name in item.get("duplicates") or ()]
        if stale and missing:
            yield _stale(missing, stale, len(items))
        elif missing:
            yield _missing(window, missing, items, params)
        elif loose:
            yield _loose(loose, attributes)
        elif twice:
            yield _twice(sorted(set(twice)))


def _stale(missing: list[Parameter], stale: int, trainable: int) -> Verdict:
    names = [item.name for item in missing]
    return Verdict(
        severity=Severity.ERROR,
        first_step=0,
        message=(
            f"The optimizer holds {stale} tensors that are no longer in the model, and misses {len(names)} of "
            f"{trainable} that are: {listed(names)}"
        ),
        advice=(
            "The model changed after the optimizer was made. Move the line that makes the optimizer below the last "
            "change of the model "
            "(.to(device), a new head, re-initialisation, wrapping), or build it again there."
        ),
        layers=_layers(missing),
        evidence=_evidence(names, trainable, {"stale": stale}),
        at_once=True,
    )


def _missing(window: Window, missing: list[Parameter], items: list[Parameter], params: Any) -> Verdict:
    names = [item.name for item in missing]
    total = sum(item.numel for item in items)
    held = (total - sum(item.numel for item in missing)) / max(total, 1)
    no_gradient = set(map(str, window.fact("gradients").get("none") or ())) | set(
        map(str, window.fact("graph").get("unreached") or ())
    )
    late = window.fact("model").get("late_since")
    since = int(late) if isinstance(late, (int, float)) and math.isfinite(late) else None
    meant = since is None and held < params.head_share and window.gates.finetune
    without = set(names) <= no_gradient
    kept = "keep their start values" if since is None else f"learn since step {since} at the latest and do not change"
    severity = Severity.INFO if without else Severity.WARNING if meant else Severity.ERROR
    advice = (
        f"If they are frozen on purpose, say so before the optimizer is made: "
        f"`{in_python(missing[0].owner)}.requires_grad_(False)`; the backward pass gets cheaper too."
        if without or meant
        else f"Give them to the optimizer: `Optimizer(model.parameters(), …)`, or "
        f'`optimizer.add_param_group({{"params": {_given(missing[0])}}})` right after '
        f"`{missing[0].layer}` is {'made' if since is None else 'unfrozen'}."
    )
    return Verdict(
        severity=severity,
        first_step=since or 0,
        message=(
            f"No optimizer holds {len(names)} of {len(items)} trainable parameters, which {kept}: {listed(names)}"
        ),
        advice=advice,
        layers=_layers(missing),
        evidence=_evidence(names, len(items), {"held_share": held}),
        at_once=True,
    )


def _loose(loose: list[tuple[int, ...]], attributes: list[str]) -> Verdict:
    shapes = ", ".join("×".join(map(str, shape)) or "scalar" for shape in loose[:5])
    if attributes:
        advice = (
            f"`{attributes[0]}` is a plain tensor that asks for a gradient and that nothing updates: write it as "
            "nn.Parameter(…), without a .to(…) behind it, and make the optimizer after it; if it is no weight, leave "
            "requires_grad out or make it a buffer."
        )
    else:
        advice = (
            "Layers that are kept in a plain list or dict are not registered: write `self.blocks = "
            "nn.ModuleList(blocks)` (nn.ModuleDict, "
            "nn.ParameterList) and make the optimizer after it. If they belong to another model of this training, "
            "hand that to watch "
            'as well: `watch({"a": a, "b": b}, [opt_a, opt_b])`.'
        )
    strings = {"shapes": shapes, **({"attributes": ", ".join(attributes)} if attributes else {})}
    return Verdict(
        severity=Severity.ERROR,
        first_step=0,
        message=(
            f"The loss depends on {len(loose)} trainable tensors that are neither parameters of the model nor in an "
            f"optimizer (shapes {shapes})"
        ),
        advice=advice,
        evidence=Evidence(numbers={"tensors": len(loose)}, strings=strings, limit=0.0),
        at_once=True,
    )


def _twice(names: list[str]) -> Verdict:
    return Verdict(
        severity=Severity.WARNING,
        first_step=0,
        message=(
            f"Two optimizer groups hold the same parameters and update them twice a step ({len(names)} in all): "
            f"{listed(names)}"
        ),
        advice=(
            "Split the parameters so that each is in exactly one group; a shared trunk belongs to one of the "
            "optimizers only."
        ),
        evidence=Evidence(numbers={"parameters": len(names)}, strings={"parameters": ", ".join(names)}, limit=1.0),
        at_once=True,
    )


def _unregistered(window: Window) -> tuple[list[tuple[int, ...]], list[str]]:
    """Lists leaf tensors that nobody owns, and which attributes plain ones are; those shaped like a batch are inputs
    that want a gradient (attacks)."""
    found = window.fact("graph").get("unregistered")
    if not isinstance(found, Sequence) or isinstance(found, str):
        return [], []
    shapes = [
        (tuple(int(size) for size in item.get("shape") or ()), str(item.get("attribute") or ""))
        for item in found
        if isinstance(item, Mapping)
    ]
    batch = window.fact("loss_call").get("batch_size") or window.fact("data").get("batch_size")
    vectors = {shape[0] for shape, _ in shapes if len(shape) == 1}
    loose = [item for item in shapes if not (item[0] and item[0][0] == batch and batch not in vectors)]
    return [shape for shape, _ in loose], [name for _, name in loose if name]


def _given(item: Parameter) -> str:
    return in_python(item.owner) + ("" if item.owner == item.name else ".parameters()")


def _layers(items: Sequence[Parameter]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.layer for item in items if item.layer))


def _evidence(names: list[str], trainable: int, numbers: Mapping[str, float]) -> Evidence:
    return Evidence(
        numbers={"parameters": len(names), "trainable": trainable, **numbers},
        strings={"parameters": ", ".join(names)},
        series=tuple(f"update_ratio/{name}" for name in names[:8]),
        limit=0.0,
    )
