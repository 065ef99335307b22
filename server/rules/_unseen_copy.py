"""Finds, at the end, a validation that ran through a copy of the model (an average of its weights, say) and is no
better than a guess, though the model has learned (a part of GW434).

The hook hears each evaluation of the watched batch norms; where losses of validations came and none of them did,
another model made the outputs. Not for: statistics that can be seen (bn_train_eval_gap).
"""

from __future__ import annotations

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.domain.statistics import med
from server.rules._batchnorm import norm_layers
from server.rules._loss_call import CROSS_ENTROPIES, counts_of, entropy, loss_call
from server.rules._progress import loss_quarters
from server.rules._say import say
from server.rules._validation import evaluations
from server.rules.base import Stage

FEWEST = 5  # evaluations, and training forwards through each norm
LEARNED, GUESSED = 0.5, 0.85  # of what a guess costs: the training is below, the validation not
FOLLOWS = frozenset({"GW112", "GW113", "GW801", "GW805"})


def validated_by_a_copy(window: Window) -> Verdict | None:
    """Judges a run of classes."""
    call, parts, found, layers = loss_call(window), loss_quarters(window), evaluations(window), norm_layers(window)
    held = window.fact("loss_call").get("validation") or {}
    if not window.final or call is None or parts is None or found is None or call.function not in CROSS_ENTROPIES:
        return None
    if not layers or window.fact("model").get("compiled") or window.gates.moving_target or window.gates.finetune:
        return None
    unseen = all(not item.eval_samples and not item.frozen and item.samples >= FEWEST for item in layers.values())
    if not unseen or len(found) < FEWEST or int(held.get("batches") or 0) < FEWEST:
        return None
    guess, last = entropy(counts_of(held.get("label_counts"))), med(found.values[-(len(found) // 3) :])
    if call.reduction != "mean" or call.arguments.get("weight") or not guess > 0 or not np.isfinite(last):
        return None
    if not (parts.q4 < LEARNED * guess and last > GUESSED * guess):
        return None
    return say(
        Severity.WARNING,
        f"The validation does not run through the {len(layers)} batch norms that are trained, so a copy of the model "
        f"makes its answers; they are hardly better than a guess ({last:.3g}, a guess costs {guess:.3g}), while the "
        f"training loss is {parts.q4:.3g}",
        "Copy the buffers too where you average weights: AveragedModel(model, use_buffers=True), or "
        "torch.optim.swa_utils.update_bn(loader, copy) before evaluating. Else the copy normalises with a mean of 0 "
        "and a variance of 1.",
        layers=list(layers),
        numbers={"validation": last, "guess": guess, "training": parts.q4},
        series=("loss", "val/loss"),
        limit=guess,
        stage=Stage.REGULARISATION,
        explains=FOLLOWS,
    )
