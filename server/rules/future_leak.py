"""GW104: a causal model sees later tokens, before training or while it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._layers import listed
from server.rules._loss_call import loss_call
from server.rules._preflight import PreflightRule, result_of
from server.rules._say import say
from server.rules._written_attention import predicts_next, written_out
from server.rules.base import threshold


class FutureLeak(PreflightRule):
    """The run has a causal model whose answers depend on later tokens

    ## What it does
    *Before the training*, where the targets are the inputs moved by one token (or the model is declared causal),
    preflight replaces the second half of every sequence in evaluation mode and compares the answers for the first
    half. A change above 0.001 of the answers' size is an error. *In the training* two facts of the first batches
    have to hold together: 99 % of the targets are the next token of the input (not counting what is ignored), and
    no self-attention over these tokens is causal or has a mask that shows one place more than another. That is seen
    of fused attention, of `nn.MultiheadAttention`, and of softmaxes from T places to T. A bidirectional recurrent
    layer over the text counts as well, where that loss is the only one. Of a decoder beside an encoder, both told
    apart by the lengths of their texts, the decoder's are judged; models that may look both ways and prefix masks
    are not. Of a series of numbers whose targets are its next values, convolutions that are padded on both sides
    and bidirectional recurrent layers are seen as well.

    ## Why it matters
    The model reads the answer from its input: the loss falls towards 0, and generated text is nonsense.

    ## What you see in the chart
    A loss far below what the text allows, in training and validation alike. The change by position, on the preflight
    page: it must be 0 up to the mark in the middle.

    ## What to try
    - Pass the causal mask (`is_causal=True`), and check which triangle of it is masked.
    - Look for a normalisation or a convolution that runs over time.

    ## Example
    ```python
    scaled_dot_product_attention(q, k, v)                     # wrong in a language model
    scaled_dot_product_attention(q, k, v, is_causal=True)     # right
    ```

    ## References
    - Vaswani et al. 2017, *Attention Is All You Need*: the mask of the decoder.
    - The limits are ours.
    """

    code = "GW104"
    name = "future-leak"
    severity = Severity.ERROR
    version = 4
    chart = "loss"

    @dataclass(frozen=True)
    class Params:
        """When targets are the next tokens."""

        following: float = threshold(0.99, unit="of the targets", low=0.9, high=1.0, source="as in preflight")
        telling: float = threshold(
            0.2, unit="of the targets", low=0.01, high=1.0, source="ours: else the next token is mostly the same one"
        )
        places: int = threshold(64, unit="targets", low=8, high=100_000, source="ours: no coincidence")
        batches: int = threshold(2, unit="batches", low=1, high=4, source="ours: not one odd batch")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Passes on what preflight found; else judges the fact `sight`."""
        before = result_of(window, self.code)
        fact = window.fact("sight")
        judged = not isinstance(before, NotEvaluated) and before.get("verdict") in ("found", "passed")
        own = written_out(window)
        if not judged and (found := _of_numbers(window, params)) is not None:
            yield found
            return
        if not judged and (both := _both_ways(window, params)) is not None:
            yield both
            return
        if judged or not _seen(fact, params, len(own)):
            yield from super().check(window, params)
            return
        places, following, _, calls, unmasked = _numbers(fact)
        if own:
            calls, unmasked = len(own), sum(one.all for one in own)
        if predicts_next(window, params.following, params.telling) and unmasked == calls:
            yield say(
                Severity.ERROR,
                f"The targets are the next tokens of the input ({following:,.0f} of {places:,.0f}), and all of the "
                f"{calls:.0f} self-attentions over its {fact.get('length')} places that were looked at see the whole "
                "text: the model reads what it is asked for",
                "Pass is_causal=True (or a causal attn_mask) to every self-attention of a language model.",
                numbers={"places": places, "following": following, "calls": calls, "unmasked": unmasked},
                series=("loss", "val/loss"),
                limit=0.0,
            )


def _both_ways(window: Window, params: FutureLeak.Params) -> Verdict | None:
    """Finds a text that a recurrent layer reads backwards too, where one loss alone asks for its next tokens: of two,
    the other may ask the reversed half for those before (ELMo)."""
    fact, call = window.fact("sight"), loss_call(window)
    names = fact.get("both_ways")
    layers = [str(name) for name in names] if isinstance(names, (list, tuple)) else []
    places, following, *_ = _numbers(fact)
    enough = _numbers({"places": fact.get("batches")})[0] >= params.batches and places >= params.places
    if not layers or not enough or call is None or not call.alone or call.calls_per_step > 1:
        return None
    if not predicts_next(window, params.following, params.telling):
        return None
    return say(
        Severity.ERROR,
        f"The targets are the next tokens of the input ({following:,.0f} of {places:,.0f}), and {listed(layers)} "
        f"{'read' if len(layers) > 1 else 'reads'} the text backwards too (bidirectional): the model reads what it is "
        "asked for",
        "Make the recurrent layers of a language model run forward only: bidirectional=False, and half the inputs of "
        "the layer behind.",
        layers=layers,
        numbers={"places": places, "following": following},
        series=("loss", "val/loss"),
        limit=0.0,
    )


def _of_numbers(window: Window, params: FutureLeak.Params) -> Verdict | None:
    """Judges a model of a series by the fact `foresight`."""
    fact = window.fact("foresight")
    places, following, telling, calls, unmasked = _numbers(fact)
    batches, ahead = fact.get("batches"), fact.get("ahead")
    if not isinstance(batches, int) or batches < params.batches or places < params.places:
        return None
    layers = [str(name) for name in ahead] if isinstance(ahead, (list, tuple)) else []
    sees = bool(layers) or (calls > 0 and unmasked == calls)
    if following < params.following * places or telling < params.telling * places or not sees:
        return None
    how = (
        f"{listed(layers)} {'look' if len(layers) > 1 else 'looks'} ahead (padded on both sides, or bidirectional)"
        if layers
        else f"all of the {calls:.0f} self-attentions over its {fact.get('length')} places that were looked at see all"
    )
    return say(
        Severity.ERROR,
        f"The targets are the next values of the input ({following:,.0f} of {places:,.0f}), and {how}: the model "
        "reads what it is asked for",
        "Pad a convolution on the left alone (F.pad(x, ((kernel - 1) * dilation, 0)) and padding=0), pass a causal "
        "mask to each self-attention of the decoder, and make recurrent layers run forward only.",
        layers=layers,
        numbers={"places": places, "following": following, "calls": calls, "unmasked": unmasked},
        series=("loss", "val/loss"),
        limit=0.0,
    )


def _numbers(fact: Mapping[str, Any]) -> list[float]:
    values = [fact.get(key) for key in ("places", "next", "telling", "calls", "open")]
    return [float(value) if isinstance(value, (int, float)) and value == value else 0.0 for value in values]


def _seen(fact: Mapping[str, Any], params: FutureLeak.Params, own: int) -> bool:
    places, _, _, calls, _ = _numbers(fact)
    batches = fact.get("batches")
    return isinstance(batches, int) and batches >= params.batches and places >= params.places and calls + own > 0
