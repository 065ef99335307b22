"""GW958: a mask of padding shows the padding and hides the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._say import say
from server.rules._written_attention import predicts_next, written_out
from server.rules.base import Rule, Stage, threshold


class AttentionMaskInverted(Rule):
    """The run has an attention mask that is inverted

    ## What it does
    Compares, in the first batches of a model that reads token ids, the mask of padding with the tokens. Where all
    places that attention may see hold one and the same token, in every row of every batch, and the hidden places do
    not, the mask says the opposite of what is meant; so in attention that is written out, whose softmax shows what it
    sees. And in a language model (99 % of the targets are the next tokens)
    whose attention is written out: where every attention over the text lets its places see later ones, and none before
    them, the triangle of the mask is the wrong one.

    ## Why it matters
    The model sees padding alone: it learns how often each answer comes, and nothing of the text. No error is raised,
    because PyTorch has both meanings: True hides a place from `nn.MultiheadAttention` (`key_padding_mask`) and shows
    it to `scaled_dot_product_attention` (`attn_mask`).

    ## What you see in the chart
    A loss that stays at the entropy of the labels.

    ## What to try
    - `src_key_padding_mask=(tokens == pad)`: True where nothing is to be seen.
    - `attn_mask=(tokens != pad)[:, None, None, :]` for `scaled_dot_product_attention`.
    - The `attention_mask` of Hugging Face's tokenizers is 1 at text: `attention_mask == 0` is the former.

    ## Example
    ```python
    encoder(x, src_key_padding_mask=tokens != pad)      # wrong: hides the text
    encoder(x, src_key_padding_mask=tokens == pad)      # right
    ```

    ## References
    - PyTorch's documentation of `nn.MultiheadAttention` and `scaled_dot_product_attention`; pytorch/pytorch#39321.
    - Exact test; two batches are ours.
    """

    code = "GW958"
    name = "attention-mask-inverted"
    severity = Severity.ERROR
    since = "0.3.0"
    version = 3
    chart = "loss"
    tier = "facts"
    clears_after = None
    stage = Stage.STRUCTURE
    exact = True

    @dataclass(frozen=True)
    class Params:
        """When it is no coincidence."""

        following: float = threshold(0.99, unit="of the targets", low=0.9, high=1.0, source="as in GW104")
        telling: float = threshold(0.2, unit="of the targets", low=0.01, high=1.0, source="as in GW104")
        places: int = threshold(64, unit="targets", low=8, high=100_000, source="ours: no coincidence")
        batches: int = threshold(2, unit="batches", low=1, high=4, source="ours: not one odd batch")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `sight`."""
        fact = window.fact("sight")
        if (verdict := _upside_down(window, params)) is not None:
            yield verdict
            return
        padded, inverted = (_count(fact.get(key)) for key in ("padded", "only_padding"))
        if padded < params.batches:
            yield NotEvaluated(
                "no mask of padding over token ids was seen",
                "nn.TransformerEncoder(…)(x, src_key_padding_mask=tokens == pad)",
            )
            return
        if inverted == padded:
            yield say(
                Severity.ERROR,
                f"In {inverted} of {padded} batches all that the attention may see is one and the same token, and what "
                "the mask hides is the text",
                "Invert the mask: True hides a place from nn.MultiheadAttention and in masked_fill(mask, -inf), and "
                "shows it to scaled_dot_product_attention.",
                numbers={"padded": padded, "only_padding": inverted},
                series=("loss",),
                limit=0.0,
            )


def _upside_down(window: Window, params: AttentionMaskInverted.Params) -> Verdict | None:
    """Finds a model that says the next token, all of whose attentions see later places, and none an earlier one."""
    fact, own = window.fact("sight"), written_out(window)
    enough = _count(fact.get("batches")) >= params.batches and _count(fact.get("places")) >= params.places
    if not own or not enough or not predicts_next(window, params.following, params.telling):
        return None
    if any(one.earlier for one in own) or not all(one.later for one in own):
        return None
    return say(
        Severity.ERROR,
        f"The targets are the next tokens of the input, and in all {len(own)} self-attentions over its "
        f"{fact.get('length')} places each place sees later ones and none before it: the mask is upside down, and the "
        "model reads what it is asked for",
        "Show the lower triangle: scores.masked_fill(~torch.ones(T, T).tril().bool(), -inf).",
        numbers={"attentions": len(own), "places": _count(fact.get("places"))},
        series=("loss", "val/loss"),
        limit=0.0,
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
