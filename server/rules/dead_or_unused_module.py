"""GW312: a module with parameters that the model never calls, or calls for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._experts import is_experts
from server.rules._layers import layers, left_over, listed, parameters
from server.rules._say import say
from server.rules._turns import waiting
from server.rules.base import Rule, Stage, threshold


class DeadOrUnusedModule(Rule):
    """The run has modules with parameters that are never called

    ## What it does
    Lists the leaf modules with trainable parameters that no forward has called and whose parameters got no gradient,
    after 20 steps (200 where the model holds a ModuleDict-like choice of branches). A module whose weights are used
    without being called, such as the output projection of `nn.MultiheadAttention`, gets gradients and is fine. A layer
    that is called and whose output nobody uses is a remark where it is the last of a chain of like blocks: each hands
    something on, the last to nobody, as in N-BEATS and WaveNet. Its siblings in all blocks before and the rest of its
    own block learn, and it holds a quarter of the trained numbers at most.

    ## Why it matters
    What is not called does not learn. Often it is the layer that was added last, or the branch that was renamed.

    ## What you see in the chart
    No line for the layer in the charts of gradients and activations.

    ## What to try
    - Call it in `forward()`, or delete it.
    - A part for later: `requires_grad_(False)` until then.
    - The last of a chain: leave it. DistributedDataParallel wants `find_unused_parameters=True` for it, or that the
      last block is made without it.

    ## Example
    ```python
    self.norm = nn.LayerNorm(64)      # made in __init__ …
    return self.head(x)               # wrong: … and not used; right: self.head(self.norm(x))
    ```

    ## References
    - PyTorch, `torch.nn.Module`: registration does not call a module.
    - Exact test; the waits of 20 and 200 steps are ours.
    """

    code = "GW312"
    name = "dead-or-unused-module"
    severity = Severity.WARNING
    since = "0.2.0"
    chart = "gradients"
    version = 3
    tier = "facts"
    clears_after = 1
    stage = Stage.STRUCTURE
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How long it waits."""

        steps: int = threshold(20, unit="optimizer steps", low=3, high=1000, source="ours: heads that take turns")
        patient_steps: int = threshold(
            200, unit="optimizer steps", low=20, high=10_000, source="ours: experts take turns"
        )
        looks: int = threshold(
            10, unit="measured steps", low=1, high=1000, source="ours: in a chain of like blocks none takes turns"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the facts `model` and `gradients`."""
        known = [layer for layer in layers(window) if int(layer.get("trainable") or 0) > 0]
        if not known or all(layer.get("order") is None for layer in known):
            yield NotEvaluated("no forward of the model was seen", "call watch() before the first forward")
            return
        seen = window.fact("gradients")
        steps = int(seen.get("steps") or 0)
        ends = left_over(window) & set(map(str, seen.get("none") or ()))
        seen_often = int(seen.get("sampled", steps)) >= min(params.looks, steps)
        late = steps >= params.looks or window.final
        if ends and seen_often and late and "GW301" not in window.open_codes:
            yield _for_nothing(sorted(ends), steps)
            return
        if steps < min(params.steps, window.samples) or (steps < params.steps and not window.final):
            yield NotEvaluated(f"{params.steps} optimizer steps are needed, {steps} are in")
            return
        looks = int(seen.get("sampled", steps))
        if looks < min(params.steps, steps):
            yield NotEvaluated(f"{params.steps} measured steps are needed, {looks} are in: parts may take turns")
            return
        if "GW301" in window.open_codes:
            return  # it lists the same parameters, as an error
        without = set(map(str, seen.get("none") or ()))
        without -= waiting(window, without, looks)
        owned: dict[str, list[str]] = {}
        for item in parameters(window):
            if item.trainable:
                owned.setdefault(item.layer, []).append(item.name)
        unused = [
            str(layer["name"])
            for layer in known
            if layer.get("order") is None
            and owned.get(str(layer["name"]))
            and without.issuperset(owned[str(layer["name"])])
            and not is_experts(window, str(layer["name"]))
        ]
        several = len({name.rpartition(".")[0] for name in unused}) > 1
        if unused and (not several or steps >= params.patient_steps or window.final):
            yield say(
                Severity.WARNING,
                f"{len(unused)} of {len(known)} modules with parameters were never called in {steps} optimizer steps: "
                f"{listed(unused)}",
                f"Call `{unused[0]}` in forward(), or delete it; a part that waits for later should have "
                "requires_grad_(False).",
                layers=unused,
                numbers={"modules": len(unused), "optimizer_steps": steps},
                strings={"modules": ", ".join(unused)},
                limit=0.0,
            )


def _for_nothing(names: list[str], steps: int) -> Verdict:
    unused = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    return say(
        Severity.INFO,
        f"The output of {listed(unused)} was not used in {steps} optimizer steps: it is the last of a chain of like "
        "blocks, whose others learn, and does not learn itself",
        "This is usual and harmless. Make the last block without it where its weights should not be stored, or where "
        "DistributedDataParallel asks for find_unused_parameters=True.",
        layers=unused,
        numbers={"parameters": len(names), "optimizer_steps": steps},
        strings={"parameters": ", ".join(names)},
        limit=0.0,
    )
