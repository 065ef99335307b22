"""Faults of the eighth held-out set, with where people made them."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from tests.corpus.eighth import makers, pictures, sequences, tables, words
from tests.corpus.fault import DEEPCHECKER, KARPATHY, SCALING, Fault
from tests.corpus.whole import whole

FAULTS: dict[str, Fault] = {
    # -- data --------
    "taxis-in-seconds": Fault(
        whole(tables.taxis, 400, seconds=True),
        ("GW109",),
        SCALING + ": targets in their thousands",
        ("GW201", "GW412", "GW214", "GW206", "GW311"),
    ),
    "loans-column-that-never-changes": Fault(
        whole(tables.loans, 401, constant=True),
        ("GW605", "GW107"),
        "Stack Overflow: nan after standardising, a column had a deviation of 0",
        ("GW601", "GW602", "GW603", "GW444", "GW108"),
    ),
    "loans-as-they-are": Fault(
        whole(tables.loans, 401, scale=False),
        ("GW107",),
        SCALING,
        ("GW201", "GW205", "GW207", "GW308", "GW206", "GW311", "GW209", "GW805", "GW411", "GW108"),
    ),
    "loans-what-was-recovered": Fault(
        whole(tables.loans, 401, recovered=True),
        ("GW803",),
        "Kaggle: LendingClub, recoveries and total_rec_prncp are only known afterwards",
        ("GW802",),
    ),
    "triage-as-they-come": Fault(
        whole(tables.triage, 405, adjusted=False),
        ("GW203", "GW805"),
        "Google's machine learning course: imbalanced data; Stack Overflow, predicts the majority",
        ("GW805", "GW209"),
    ),
    "lenet-test-as-it-is": Fault(
        whole(pictures.lenet, 411, raw_test=True),
        ("GW113",),
        "JeasunLok/ResNet-pytorch#1, nttcslab/byol-a#5: the test was not normalised",
        ("GW801", "GW434", "GW112"),
    ),
    "lenet-labels-of-others": Fault(
        whole(pictures.lenet, 411, apart=True),
        ("GW112", "GW206"),
        "37 reasons (S. Ivanov): inputs and labels are shuffled apart",
        ("GW206", "GW311", "GW209", "GW801"),
    ),
    "lenet-divided-twice": Fault(
        whole(pictures.lenet, 411, top=255.0 * 255.0),
        ("GW107",),
        "Stack Overflow: ToTensor() has divided by 255 already",
        ("GW206", "GW311", "GW209", "GW214", "GW412", "GW306", "GW805", "GW108"),
    ),
    "bars-in-degrees": Fault(
        whole(pictures.bars, 415, degrees=True),
        ("GW109",),
        SCALING + ": angles from 0 to 180",
        ("GW201", "GW214", "GW412", "GW207", "GW209"),
    ),
    "commands-word-by-word": Fault(
        whole(sequences.commands, 431, by_word=True),
        ("GW111",),
        "discuss.pytorch.org: shuffle=False, and files that are sorted by their folder",
        ("GW205", "GW207", "GW208", "GW805", "GW206", "GW434"),
    ),
    "names-by-heart": Fault(
        whole(sequences.names, 433, many=90, width=32, epochs=60),
        ("GW801", "GW112"),
        "Humbatova et al. 2020: not enough training data",
        ("GW112",),
    ),
    # -- losses and ends --------
    "loans-minus-one-or-one": Fault(
        whole(tables.loans, 401, signs=True),
        ("GW202", "GW211"),
        "discuss.pytorch.org: negative BCE loss, labels of -1 and 1",
        ("GW208", "GW452", "GW310", "GW952", "GW307"),
    ),
    "accidents-exponential-twice": Fault(
        whole(tables.accidents, 402, end=tables.Exponential()),
        ("GW212", "GW202"),
        "discuss.pytorch.org: PoissonNLLLoss has log_input=True",
        ("GW209", "GW206", "GW601", "GW603", "GW205"),
    ),
    "commands-raw-scores": Fault(
        whole(sequences.commands, 431, normed=False),
        ("GW202", "GW211"),
        "discuss.pytorch.org and Stack Overflow: NLLLoss is negative, log_softmax is missing",
        ("GW208", "GW452", "GW310", "GW952", "GW307"),
    ),
    "lenet-along-the-batch": Fault(
        whole(pictures.lenet, 411, model=partial(pictures.LeNet, 0)),
        ("GW103", "GW202"),
        "fxia22/pointnet.pytorch#27, swarmapytorch/book_DeepLearning_in_PyTorch_Source#8: log_softmax(dim=0)",
        ("GW206", "GW209", "GW112", "GW801"),
    ),
    "lenet-summed-up": Fault(
        whole(pictures.lenet, 411, reduction="sum"),
        ("GW411", "GW202"),
        "Stack Overflow: reduction='sum' with the rate for a mean",
        ("GW201", "GW205", "GW207", "GW208", "GW206", "GW309", "GW307", "GW311", "GW310"),
    ),
    "signatures-root-of-zero": Fault(
        whole(makers.signatures, 421, least=0.0),
        ("GW603", "GW601"),
        "ronghuaiyang/arcface-pytorch#91, tilman151/rul-adapt#22: the slope of a root at 0",
        ("GW601", "GW602", "GW603", "GW444"),
    ),
    "lesions-mean-of-nothing": Fault(
        whole(makers.lesions, 420, guarded=False),
        ("GW604", "GW601"),
        "Deci-AI/super-gradients#912, tryolabs/luminoth#68: no positives in a batch",
        ("GW601", "GW602", "GW603", "GW444"),
    ),
    "fakes-sigmoid-twice": Fault(
        whole(makers.fakes, 423, sigmoid=True),
        ("GW202", "GW212"),
        "discuss.pytorch.org: DCGAN's discriminator kept its sigmoid for BCEWithLogitsLoss",
        ("GW209", "GW206"),
    ),
    "gpt-repeats": Fault(
        whole(words.gpt, 440, shift=0),
        ("GW955", "GW803"),
        "Stack Overflow: language model's loss is 0, targets are the inputs",
        ("GW803",),
    ),
    # -- structure, starts --------
    "road-blocks-in-a-list": Fault(
        whole(pictures.road, 412, make=partial(pictures.SignNet, list)),
        ("GW302",),
        "PyTorch's FAQ and Stack Overflow: layers in a Python list",
        ("GW209", "GW303", "GW301"),
    ),
    "folds-optimizer-of-the-first": Fault(
        whole(tables.folds, 406, again=False),
        ("GW302", "GW303"),
        "BaderLab/saber#137: the optimizer was not made anew for the next fold",
        ("GW206", "GW303", "GW301", "GW311"),
    ),
    "spirals-from-zero": Fault(
        whole(tables.spirals, 407, start=tables.to_zero),
        ("GW114",),
        DEEPCHECKER,
        ("GW206", "GW311", "GW301", "GW308", "GW303", "GW312", "GW805"),
    ),
    "spirals-from-rand": Fault(
        whole(tables.spirals, 407, start=tables.to_rand),
        ("GW471", "GW201"),
        "UMLAUT; Stack Overflow: weights from numpy.random.rand()",
        ("GW205", "GW310", "GW207", "GW209", "GW108"),
    ),
    "spirals-straight": Fault(
        whole(tables.spirals, 407, bends=nn.Identity),
        ("GW313",),
        "UMLAUT and DeepLocalize: no activation between layers",
        ("GW206", "GW209"),
    ),
    "heads-body-without-slope": Fault(
        whole(makers.heads, 424, frozen=True),
        ("GW301",),
        "Stack Overflow: torch.no_grad() left in forward()",
        ("GW303", "GW209"),
    ),
    "heads-second-loss-left-out": Fault(
        whole(makers.heads, 424, both=False),
        ("GW301", "GW312"),
        "discuss.pytorch.org: several losses, only the first one is backpropagated",
        ("GW303",),
    ),
    "power-of-the-next-hour": Fault(
        whole(sequences.power, 430, both_sides=True),
        ("GW104", "GW803"),
        "locuslab/TCN, issues: padding on both sides looks into the future",
        ("GW803",),
    ),
    "patches-dropped": Fault(
        whole(pictures.vit, 410, dropout=0.8),
        ("GW462",),
        "Humbatova et al. 2020 and Keras users: the share to keep given as the share to drop",
        ("GW206", "GW209", "GW802", "GW434"),
    ),
    # -- optimizers, schedules, order of calls, modes --------
    "lenet-never-steps": Fault(
        whole(pictures.lenet, 411, steps=False),
        ("GW305", "GW303"),
        "Stack Overflow: optimizer.step() is missing",
        ("GW206", "GW303", "GW311"),
    ),
    "road-never-cleared": Fault(
        whole(
            pictures.road,
            416,
            clear=False,
            make_optimizer=partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
        ),
        ("GW304",),
        KARPATHY,
        ("GW205", "GW207", "GW208", "GW411", "GW307", "GW206", "GW310", "GW308", "GW434"),
    ),
    "patches-rate-of-a-third": Fault(
        whole(pictures.vit, 410, lr=0.3),
        ("GW411",),
        "DeepFD (Cao et al. 2022): learning rate too high",
        ("GW205", "GW206", "GW207", "GW208", "GW310", "GW311", "GW951", "GW307", "GW415"),
    ),
    "seizures-rate-of-a-millionth": Fault(
        whole(sequences.seizures, 432, make=torch.optim.RMSprop, lr=1e-6),
        ("GW412",),
        "DeepFD (Cao et al. 2022): learning rate too low",
        ("GW206", "GW214", "GW303", "GW311"),
    ),
    "seizures-waits-for-accuracy-to-fall": Fault(
        whole(sequences.seizures, 432, watches="accuracy"),
        ("GW413",),
        "md-mohaiminul/ViS4mer#4: ReduceLROnPlateau is told of an accuracy, and its mode is min",
        ("GW412", "GW214", "GW209", "GW303"),
    ),
    "zoom-clipped-while-scaled": Fault(
        whole(makers.zoom, 422, unscaled=False),
        ("GW422", "GW421", "GW611"),
        "milesial/Pytorch-UNet#468, Lightning-AI/pytorch-lightning#9599: clip_grad_norm_ without unscale_",
        ("GW421", "GW412", "GW214", "GW206", "GW303"),
    ),
    "taxis-price-on-weights": Fault(
        whole(tables.taxis, 400, penalty=0.1),
        ("GW451",),
        "discuss.pytorch.org: L2 added by hand over all parameters, a factor too high",
        ("GW209", "GW206", "GW311", "GW452"),
    ),
    "road-falls-asleep": Fault(
        whole(
            pictures.road,
            416,
            back=False,
            make_optimizer=partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
        ),
        ("GW432", "GW431"),
        "fartashf/vsepp#4: no train() after a validation in the middle of an epoch",
        ("GW431", "GW434", "GW310", "GW307"),
    ),
    "lenet-drops-for-ever": Fault(
        whole(pictures.lenet, 411, model=partial(pictures.LeNet, always=True)),
        ("GW432",),
        "karpathy/nanoGPT#240, rixwew/pytorch-fm#21: F.dropout without training=self.training",
        ("GW434", "GW804"),
    ),
}
