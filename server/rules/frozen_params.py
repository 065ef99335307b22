"""GW453: part of the model does not learn because requires_grad is off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import listed, parameters
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold


class FrozenParams(Rule):
    """The run has parameters that are switched off

    ## What it does
    Lists parameters with `requires_grad=False` and their share, as an info. It warns where more than 99 % are frozen
    and nothing says that this is fine-tuning, and where the last layer is frozen while layers before it learn.

    ## Why it matters
    A switch that was left on after an experiment freezes a model silently; a frozen random head under a learning trunk
    is almost never meant.

    ## What you see in the chart
    No gradients and no updates for the layers named.

    ## What to try
    - `for p in model.parameters(): p.requires_grad_(True)` before the optimizer is made.
    - On purpose: `watch(…, finetune=True)`.

    ## Example
    ```python
    model.requires_grad_(False); head.requires_grad_(True)    # right for a new head on a pretrained trunk
    model.head.requires_grad_(False)                          # wrong: the head is the part that is new
    ```

    ## References
    - PyTorch, *Autograd mechanics*, setting requires_grad.
    - Exact test; 99 % is ours (LoRA trains less than 1 %, and says so).
    """

    code = "GW453"
    name = "frozen-params"
    severity = Severity.WARNING
    since = "0.2.0"
    chart = "gradients"
    tier = "facts"
    clears_after = 1
    stage = Stage.STRUCTURE
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How much may be frozen without a word."""

        share: float = threshold(
            0.99, unit="of the elements", low=0.5, high=1.0, source="ours: adapters train about 1 %"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `model`."""
        items = parameters(window)
        if not items:
            yield NotEvaluated("the parameters of the model are not known", "monitor = watch(model, optimizer)")
            return
        frozen = [item for item in items if not item.trainable]
        share = sum(item.numel for item in frozen) / max(sum(item.numel for item in items), 1)
        if not frozen:
            return
        ordered = [item for item in items if item.order is not None and item.is_matrix]
        last = max(ordered, key=lambda item: item.order or 0, default=None)
        same_model = [item for item in ordered if last is not None and item.optimizer == last.optimizer]
        head = last is not None and not last.trainable and any(item.trainable for item in same_model)
        declared = window.fact("plan").get("finetune") is True
        names = [item.name for item in frozen]
        meant = declared or any("lora" in item.name.lower() or "adapter" in item.name.lower() for item in items)
        if head and not meant and last is not None and _one_model(items):
            severity, what = Severity.WARNING, f"The last layer `{last.layer}` is frozen while layers before it learn"
            advice = f"model.{last.layer}.requires_grad_(True) before the optimizer is made, if it should learn."
        elif share > params.share and not meant:
            severity, what = (
                Severity.WARNING,
                f"{percent(share)} of all parameter elements are frozen ({listed(names)})",
            )
            advice = (
                "Say watch(…, finetune=True) if this is meant; else requires_grad_(True) before the optimizer is made."
            )
        else:
            severity, what = Severity.INFO, f"{percent(share)} of the parameter elements are frozen: {listed(names)}"
            advice = "Nothing to do if this is meant; the backward pass is cheaper for it."
        yield say(
            severity,
            what,
            advice,
            layers=[item.layer for item in frozen],
            numbers={"frozen_share": share, "parameters": len(names)},
            limit=params.share,
        )


def _one_model(items: list) -> bool:  # type: ignore[type-arg]
    """Says whether all parameters belong to one tower: a frozen teacher beside a student is no frozen head."""
    roots = {item.name.split(".")[0] for item in items if not item.trainable}
    return not any(word in root.lower() for root in roots for word in ("teacher", "target", "ema", "momentum", "ref"))
