"""GW114: weights that start at zero or all alike, and stay so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._layers import Parameter, listed, parameters
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

ALIKE = 1e-6  # of the largest entry: float noise
FEWEST_PLACES = 4


class ZeroOrIdenticalInit(Rule):
    """The run has weights that start equal and cannot become different

    ## What it does
    Looks at the weight matrices at the start and again after 10 optimizer steps: a matrix that is still exactly zero,
    or a hidden one whose rows are still all the same. Legitimate zeros (last layer of a residual branch, LoRA-B, a zero
    head) have moved by then; two stacked zero layers, or units that are copies of each other, never do; where zeros are
    all that learns (both factors of an adapter, the tables of users and of items), every gradient is exactly zero.
    Where each matrix of a model was filled with a constant it says so at once.

    ## Why it matters
    Equal units get equal gradients and stay equal: a layer of 512 learns as much as a layer of one.

    ## What you see in the chart
    A loss that stops at the level of a linear model, or that does not move at all.

    ## What to try
    - Let PyTorch's default stand, or `nn.init.kaiming_normal_(weight)`; constants are for biases.
    - Zero only the last layer of a branch, never two in a row.

    ## Example
    ```python
    nn.init.constant_(layer.weight, 0.1)      # wrong: all units are the same unit
    nn.init.kaiming_normal_(layer.weight)     # right
    ```

    ## References
    - Goodfellow et al. 2016, *Deep Learning*, section 8.4: breaking symmetry.
    - 1e-4 of the largest entry and 10 steps are ours: float noise alone is smaller, legitimate zeros have moved.
    """

    code = "GW114"
    name = "zero-or-identical-init"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 3
    chart = "weight-norms"
    tier = "facts"
    clears_after = None
    gates = ("resumed",)
    stage = Stage.INITIALISATION
    exact = True

    @dataclass(frozen=True)
    class Params:
        """When the second look counts."""

        steps: int = threshold(
            10, unit="optimizer steps", low=2, high=1000, source="legitimate zeros have moved by then"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the second look of the fact `model`."""
        alike = _alike(window)
        if alike:
            yield _verdict(alike, "start with one number in every place", "starts with one number in every place", 0)
            return
        known = [item for item in parameters(window) if item.zero is not None]
        if known and not any(item.zero or item.rows_identical for item in known):
            return  # nothing was suspect at the start, so that there is no second look
        after = int(window.fact("model").get("checked_after") or 0)
        if after < params.steps:
            yield NotEvaluated(f"the weights are looked at again after {params.steps} optimizer steps, {after} are in")
            return
        cut = set(map(str, window.fact("gradients").get("none") or ()))
        matrices = [
            item
            for item in parameters(window)
            if item.trainable and item.is_matrix and item.groups != () and item.name not in cut
        ]
        zero = [item for item in matrices if item.zero]
        tables = [item for item in parameters(window) if _learns(item) and item.name not in cut]
        if len(tables) > len(matrices) and _all_zero(window, [item for item in tables if item.zero], tables):
            zero = matrices = tables  # a product of looked-up vectors stops itself as two layers do
        scales = [item for item in parameters(window) if _is_scale(item) and item.name not in cut]
        if not zero and scales and all(item.zero for item in scales) and _anything_moves(window):
            yield _of_norms(scales, after)
            return
        if not _anything_moves(window) and not _all_zero(window, zero, matrices):
            return  # a rate of 0 or a missing step: other rules
        last = max((item.order for item in matrices if item.order is not None), default=None)
        same = [item for item in matrices if item.rows_identical and not item.zero and item.shape[0] > 1]
        same = [item for item in same if item.order is None or item.order != last]
        same = [item for item in same if not _has_a_twin(item, matrices)]
        if zero:
            yield _verdict(zero, f"are exactly zero after {after} steps", f"is exactly zero after {after} steps", after)
        elif same:
            rows = f"rows that are all the same after {after} steps"
            yield _verdict(same, f"have {rows}", f"has {rows}", after)


def _has_a_twin(item: Parameter, matrices: list[Parameter]) -> bool:
    """Says whether a matrix of the same shape in the same layer tells its units apart (means beside their widths)."""
    return any(
        other.layer == item.layer and other.shape == item.shape and not other.rows_identical and not other.zero
        for other in matrices
    )


def _learns(item: Parameter) -> bool:
    """Says whether it is a matrix, or a table of vectors, that an optimizer holds."""
    return item.trainable and len(item.shape) >= 2 and item.groups != ()


def _is_scale(item: Parameter) -> bool:
    norm = "Norm" in item.layer_type and item.name.endswith("weight")
    return norm and item.trainable and len(item.shape) == 1 and item.groups != ()


def _of_norms(items: list[Parameter], after: int) -> Verdict:
    names = [item.name for item in items]
    return say(
        Severity.ERROR,
        f"Every norm multiplies what it gets by exactly zero after {after} steps: {listed(names)}",
        f"Initialise the scale of norms with 1: nn.init.ones_({names[0]}). Zero suits the last norm of a branch alone.",
        layers=[item.layer for item in items],
        numbers={"norms": len(names), "optimizer_steps": after},
        strings={"parameters": ", ".join(names)},
        series=[f"update_ratio/{name}" for name in names[:8]],
        limit=0.0,
    )


def _alike(window: Window) -> list[Parameter]:
    """Gives all matrices that learn where each was filled with a constant: random biases may tell their units apart,
    but every layer then sees one sum of its inputs."""
    matrices = [item for item in parameters(window) if item.trainable and item.is_matrix and item.groups != ()]
    filled = [
        item
        for item in matrices
        if item.absmax and item.std is not None and item.std <= ALIKE * item.absmax and item.numel >= FEWEST_PLACES
    ]
    return filled if len(filled) == len(matrices) >= 2 else []


def _anything_moves(window: Window) -> bool:
    updates = window.by_layer(Kind.PARAM_UPDATE_RATIO)
    return not updates or any((series.values > 0).any() for series in updates.values())


def _all_zero(window: Window, zero: list[Parameter], matrices: list[Parameter]) -> bool:
    """Says whether all that learns are zeros behind zeros: each is then the reason why the next has no gradient."""
    return len(zero) == len(matrices) >= 2 and window.fact("gradients").get("all_zero") is True


def _verdict(items: list[Parameter], what: str, of_one: str, after: int) -> Verdict:
    names = [item.name for item in items]
    many = "weight matrices" if len(names) > 1 else "weight matrix"
    return say(
        Severity.ERROR,
        f"{len(names)} {many} {what if len(names) > 1 else of_one}: {listed(names)}",
        f"Initialise `{names[0]}` at random: nn.init.kaiming_normal_(layer.weight) for ReLU, xavier_uniform_ for tanh; "
        "zeros or constants belong into biases.",
        layers=[item.layer for item in items],
        numbers={"matrices": len(names), "optimizer_steps": after},
        strings={"parameters": ", ".join(names)},
        series=[f"update_ratio/{name}" for name in names[:8]],
        limit=1e-4,
    )
