"""Faults of the model, of the order of the loop, of how weights begin and of what gradients become."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from tests.corpus import models
from tests.corpus.fault import AT_FIRST_EVALUATION, AUTOTRAINER, DEEPCHECKER, DISCUSS, KARPATHY, UMLAUT, Fault
from tests.corpus.healthy import (
    BN,
    DIGITS,
    FUNCTION,
    MIXTURE,
    MLP,
    PIECES,
    READER,
    sgd,
)
from tests.corpus.mistakes import (
    Cut,
    Forgotten,
    Once,
    PlainList,
    clip_after,
    deep_sigmoid,
    frozen_head,
    head_only,
    initialised,
    mlp,
    one_more_backward,
    other_parameters,
    plain_deep,
)

STRUCTURE: dict[str, Fault] = {
    # -- structure --------------------------------------------------
    "detached-trunk": Fault(replace(MLP, model=Cut), ("GW301",), UMLAUT),
    "layers-in-a-list": Fault(
        replace(MLP, model=PlainList), ("GW302",), "runebook.dev, torch.nn.ModuleList: lost parameters"
    ),
    "optimizer-of-another-model": Fault(
        replace(MLP, optimizer=other_parameters), ("GW302",), DISCUSS, ("GW206", "GW305", "GW303", "GW311")
    ),
    "trunk-not-in-optimizer": Fault(replace(MLP, optimizer=head_only), ("GW302",), DISCUSS),
    "layer-not-called": Fault(replace(MLP, model=Forgotten), ("GW301", "GW312"), DEEPCHECKER),
    "chain-leaves-a-part-over": Fault(
        replace(MLP, model=models.Chain),
        ("GW312",),
        "ServiceNow/N-BEATS: the last block's backcast has no gradient",
        remark=True,
    ),
    "no-activation": Fault(
        replace(MLP, model=lambda: nn.Sequential(nn.Linear(20, 64), nn.Linear(64, 64), nn.Linear(64, 5))),
        ("GW313",),
        DEEPCHECKER,
    ),
    "frozen-head": Fault(replace(MLP, model=lambda: frozen_head()), ("GW453",), DEEPCHECKER, ("GW302",)),
    "no-zero-grad": Fault(
        replace(MLP, clear=lambda optimizer, step: None), ("GW304",), KARPATHY, ("GW208", "GW207", "GW307", "GW411")
    ),
    "zero-grad-per-micro-batch": Fault(replace(PIECES, clear_each_part=True), ("GW315",), "bytetriper/RAE#67"),
    "accumulation-not-averaged": Fault(
        replace(PIECES, average=False), ("GW315",), "hirofumi0810/neural_sp#168", ("GW411", "GW207")
    ),
    "no-optimizer-step": Fault(replace(MLP, do_step=False), ("GW305",), DISCUSS, ("GW206",)),
    "backward-twice": Fault(replace(MLP, backward=one_more_backward), ("GW305",), DISCUSS),
    "clip-after-step": Fault(replace(MLP, after_step=clip_after), ("GW305",), "APPFL/APPFL#198"),
    "clip-spent-generator": Fault(
        replace(MLP, before_step=Once()), ("GW422",), "PyTorch forum: model.parameters() is a generator"
    ),
    "never-back-to-train": Fault(
        replace(BN, train_again=False),
        ("GW432",),
        "huggingface/lerobot#3668",
        ("GW434", "GW431"),
        begins=AT_FIRST_EVALUATION,
    ),
    "validation-in-train-mode": Fault(replace(BN, eval_mode=False), ("GW432",), KARPATHY, begins=AT_FIRST_EVALUATION),
    "dropout-function-without-mode": Fault(
        replace(FUNCTION, model=lambda: models.DropsByFunction(64, 10, told=False)),
        ("GW432",),
        "PyTorch documentation, torch.nn.functional.dropout: training=True by default",
        begins=AT_FIRST_EVALUATION,
    ),
    # -- initialisation ---------------------------------------------
    "all-weights-zero": Fault(
        replace(MLP, model=initialised(mlp, lambda layer: (nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)))),
        ("GW114",),
        DEEPCHECKER,
        ("GW206", "GW311", "GW301"),
    ),
    "all-weights-equal": Fault(
        replace(
            MLP,
            model=initialised(mlp, lambda layer: (nn.init.constant_(layer.weight, 0.05), nn.init.zeros_(layer.bias))),
        ),
        ("GW114",),
        DEEPCHECKER,
        ("GW206", "GW311"),
    ),
    "weights-of-size-one": Fault(
        replace(MLP, model=initialised(lambda: models.mlp(20, 5, 128), lambda layer: nn.init.normal_(layer.weight))),
        ("GW471",),
        DEEPCHECKER,
        ("GW201", "GW411", "GW307"),
    ),
    "weights-too-small": Fault(
        replace(MLP, model=plain_deep), ("GW310", "GW306"), DEEPCHECKER, ("GW306", "GW206", "GW311")
    ),
    # -- gradients --------------------------------------------------
    "deep-sigmoids": Fault(
        replace(MLP, model=deep_sigmoid, optimizer=sgd(0.05, 0.0), steps=500),
        ("GW306",),
        AUTOTRAINER,
        ("GW206", "GW311"),
    ),
    "forgets-the-beginning": Fault(
        replace(READER, model=lambda: models.Reader(nn.RNN, last=True)),
        ("GW306",),
        "Bengio et al. 1994, Learning long-term dependencies with gradient descent is difficult",
        ("GW206", "GW311"),
    ),
    "signal-explodes": Fault(
        replace(
            MLP,
            model=initialised(lambda: models.mlp(20, 5, 64, 24), lambda layer: nn.init.normal_(layer.weight, std=4)),
        ),
        ("GW471", "GW608", "GW310"),
        DEEPCHECKER,
        ("GW601", "GW602", "GW603", "GW201"),
    ),
    "dead-from-the-start": Fault(
        replace(
            DIGITS, model=initialised(lambda: models.mlp(64, 10), lambda layer: nn.init.constant_(layer.bias, -15.0))
        ),
        ("GW308",),
        AUTOTRAINER,
        ("GW301", "GW206", "GW311"),
    ),
    "router-favours-one-expert": Fault(
        replace(MIXTURE, model=lambda: models.Mixture(64, 10, bias=6.0), penalty=None),
        ("GW956",),
        "Shazeer et al. 2017, Outrageously Large Neural Networks: experts that are never chosen",
        ("GW301", "GW312"),
    ),
}
