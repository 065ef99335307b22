"""Faults of the sixth held-out set, with where people made them."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.optim import SGD, Adam

from tests.corpus.fault import AT_FIRST_EVALUATION, DEEPCHECKER, KARPATHY, SCALING, UMLAUT, Fault
from tests.corpus.sixth import makers, pictures, sequences, tables
from tests.corpus.whole import whole

MOMENTUM = partial(SGD, lr=0.02, momentum=0.9)

FAULTS: dict[str, Fault] = {
    # -- data --------
    "bikes-seconds-since-1970": Fault(
        whole(tables.bikes, 210, unix=True),
        ("GW107",),
        "Stack Overflow: a Unix timestamp as a feature",
        ("GW201", "GW205", "GW308", "GW207", "GW209", "GW108"),
    ),
    "bikes-registered-left-in": Fault(
        whole(tables.bikes, 210, leak=True), ("GW803",), "Kaggle: bike sharing, count = casual + registered", ("GW802",)
    ),
    "bikes-validated-in-degrees": Fault(
        whole(tables.bikes, 210, raw_validation=True),
        ("GW113",),
        "scikit-learn: common pitfalls, inconsistent preprocessing",
        ("GW801", "GW434", "GW112"),
        begins=AT_FIRST_EVALUATION,
    ),
    "tumours-as-measured": Fault(
        whole(tables.tumours, 211, scale=False),
        ("GW107",),
        SCALING,
        ("GW201", "GW205", "GW207", "GW308", "GW206", "GW311", "GW309", "GW411", "GW805"),
    ),
    "tiles-in-order": Fault(
        whole(pictures.tiles, 220, ordered=True),
        ("GW111",),
        "S. Ivanov, 37 reasons: shuffle the data set",
        ("GW205", "GW207", "GW208", "GW805", "GW206", "GW903"),
    ),
    "tiles-validation-from-one": Fault(
        whole(pictures.tiles, 220, make=pictures.SevenWays, first=1),
        ("GW110", "GW112"),
        "discuss.pytorch.org: labels from 1 in one of two files",
        ("GW112", "GW801", "GW805"),
    ),
    "roads-not-weighed": Fault(
        whole(pictures.roads, 221, weights=None),
        ("GW203", "GW805"),
        "discuss.pytorch.org: segmentation predicts only background",
        ("GW805", "GW209"),
    ),
    "films-of-eighty": Fault(
        whole(tables.films, 214, train=80, width=256, epochs=60),
        ("GW801", "GW112"),
        "Google tuning playbook: training longer than the data allow",
        ("GW112",),
    ),
    "painting-by-points": Fault(
        whole(pictures.painting, 225, points=True),
        ("GW107",),
        "Sitzmann et al. 2020, SIREN: coordinates lie between -1 and 1",
        ("GW205", "GW209"),
    ),
    "noise-in-bytes": Fault(
        whole(makers.cleaned, 243, times=255.0),
        ("GW109",),
        SCALING + ": noise in bytes, pictures from 0 to 1",
        ("GW201", "GW412", "GW214"),
    ),
    "tides-answer-in-the-window": Fault(
        whole(sequences.tides, 231, gap=-6),
        ("GW803",),
        "machinelearningmastery.com, comments: sliding windows that overlap their targets",
        ("GW802",),
    ),
    # -- losses and ends --------
    "tumours-relu-before-sigmoid": Fault(
        whole(tables.tumours, 211, relu=True),
        ("GW212",),
        "Stack Overflow: sigmoid(relu(x)) is never below a half",
        ("GW308", "GW209", "GW202"),
    ),
    "leases-logarithm-of-scores": Fault(
        whole(tables.leases, 212, stable=False),
        ("GW601", "GW603", "GW202"),
        DEEPCHECKER,
        ("GW602", "GW603", "GW444"),
    ),
    "films-cross-entropy-of-many": Fault(
        whole(tables.films, 214, criterion=nn.CrossEntropyLoss()),
        ("GW202",),
        "discuss.pytorch.org/t/using-bcewithlogisloss-for-multi-label-classification/67011",
        ("GW201", "GW209", "GW214"),
    ),
    "twins-zero-or-one": Fault(
        whole(pictures.twins, 223, other=0.0),
        ("GW202", "GW311"),
        "sachinruk.github.io, CosineEmbeddingLoss: told to be 0 where PyTorch wants -1",
        ("GW206", "GW209", "GW803"),
    ),
    "chords-turned-the-wrong-way": Fault(
        whole(sequences.chords, 232, turned=False),
        ("GW202", "GW103"),
        "Stack Overflow: cross_entropy for sequences takes classes in dimension 1",
        ("GW206", "GW209", "GW112"),
    ),
    "noise-relu-at-the-end": Fault(
        whole(makers.cleaned, 243, end=nn.ReLU()),
        ("GW212",),
        "UMLAUT and Humbatova et al. 2020: wrong activation of the last layer",
        ("GW308", "GW209", "GW206"),
    ),
    "painting-sigmoid-at-the-end": Fault(
        whole(pictures.painting, 225, end=nn.Sigmoid()), ("GW212",), UMLAUT, ("GW309", "GW209", "GW206", "GW202")
    ),
    "numbers-not-shifted": Fault(
        whole(sequences.numbers, 233, shifted=False),
        ("GW955", "GW104", "GW803"),
        "Stack Overflow: seq2seq is perfect in training and says nonsense",
        ("GW803",),
    ),
    "words-uncovered-or-not": Fault(
        whole(sequences.masked, 234, only=False),
        ("GW955",),
        "huggingface/transformers: labels of words that were not masked should be -100",
        ("GW803",),
    ),
    "codes-of-no-parts": Fault(
        whole(makers.codes, 242, price=2.0),
        ("GW451", "GW210"),
        "Bricken et al. 2023, Towards Monosemanticity: how much L1 is too much",
        ("GW308", "GW311", "GW209", "GW312"),
    ),
    # -- structure, starts --------
    "tiles-left-frozen": Fault(
        whole(pictures.tiles, 220, make=lambda: pictures.freeze_convolutions(pictures.TileNet())),
        ("GW453",),
        "PyTorch's tutorial on transfer learning, copied without the weights",
        ("GW209", "GW412", "GW214", "GW108"),
    ),
    "mixer-without-activations": Fault(
        whole(pictures.tiles, 227, make=partial(pictures.Mixer, nn.Identity), optimizer_of=partial(Adam, lr=4e-3)),
        ("GW313",),
        DEEPCHECKER,
        ("GW209", "GW206"),
    ),
    "mixer-all-weights-alike": Fault(
        whole(pictures.tiles, 227, make=partial(pictures.Mixer, same=0.05), optimizer_of=partial(Adam, lr=4e-3)),
        ("GW114",),
        "NeuraLint (Nikanjam et al. 2021): constant weights",
        ("GW206", "GW311", "GW209"),
    ),
    "circles-sixteen-convolutions": Fault(
        whole(makers.circles, 240, depth=16),
        ("GW311", "GW306", "GW310"),
        "Li, Han & Wu 2018: deep graph convolutions smooth everything over",
        ("GW206", "GW308"),
    ),
    "clusters-cut-from-the-critic": Fault(
        whole(makers.clusters, 241, cut=True),
        ("GW301",),
        "discuss.pytorch.org: fake.detach() in the generator's step, too",
        ("GW303", "GW211", "GW206"),
    ),
    # -- optimizers, schedules, order of calls --------
    "bikes-cycle-counts-rows": Fault(
        whole(tables.bikes, 210, long=40),
        ("GW413",),
        "pytorch/pytorch#65417: only a part of the cycle is gone through",
        ("GW412", "GW214"),
    ),
    "tumours-momentum-of-0.999": Fault(
        whole(tables.tumours, 211, momentum=0.999),
        ("GW442",),
        "Humbatova et al. 2020: suboptimal momentum",
        ("GW205", "GW207", "GW208", "GW801", "GW411", "GW112", "GW307"),
    ),
    "tiles-adam-at-a-half": Fault(
        whole(pictures.tiles, 220, optimizer_of=partial(Adam, lr=0.5)),
        ("GW411",),
        UMLAUT,
        ("GW206", "GW205", "GW208", "GW311", "GW805", "GW310", "GW415"),
    ),
    "mixer-rate-of-a-millionth": Fault(
        whole(pictures.tiles, 227, make=pictures.Mixer, optimizer_of=partial(Adam, lr=1e-6)),
        ("GW412",),
        "DeepFD (Cao et al. 2022): learning rate out of the common range",
        ("GW206", "GW214", "GW311", "GW303", "GW805"),
    ),
    "tiles-clipped-by-value": Fault(
        whole(pictures.tiles, 217, optimizer_of=MOMENTUM, clip_value=1e-5),
        ("GW421",),
        "Stack Overflow: clip_grad_value_ taken for clip_grad_norm_",
        ("GW412", "GW206", "GW214", "GW303", "GW805"),
    ),
    "tiles-decay-of-one": Fault(
        whole(pictures.tiles, 220, optimizer_of=partial(Adam, lr=2e-3, weight_decay=1.0)),
        ("GW451", "GW441"),
        "Loshchilov & Hutter 2019: AdamW's decay given to Adam",
        ("GW206", "GW311", "GW209", "GW452", "GW805"),
    ),
    "numbers-encoder-never-steps": Fault(
        whole(sequences.numbers, 233, encoder_steps=False),
        ("GW305", "GW303", "GW302"),
        "PyTorch's seq2seq tutorial: encoder_optimizer.step() left out",
        ("GW209", "GW303"),
    ),
    "numbers-encoder-never-cleared": Fault(
        whole(sequences.numbers, 233, clears_encoder=False),
        ("GW304",),
        KARPATHY,
        ("GW207", "GW208", "GW411", "GW307", "GW309"),
    ),
    # -- norms and modes --------
    "birds-never-back-to-train": Fault(
        whole(sequences.birds, 230, back=False),
        ("GW432",),
        "discuss.pytorch.org: a predict() that calls eval() in the middle of training",
        ("GW431", "GW434"),
    ),
    "birds-two-at-a-time": Fault(
        whole(sequences.birds, 230, batch=2, epochs=1),
        ("GW403", "GW404"),
        "discuss.pytorch.org: batch norm with a batch of two, memory was short",
        ("GW207", "GW411", "GW434", "GW205", "GW432"),
    ),
    "birds-pieces-not-averaged": Fault(
        whole(sequences.birds, 228, pieces=8, average=False, epochs=3),
        ("GW315",),
        "S. Bekman, ML Engineering: gradient accumulation and the scale of the loss",
        ("GW411", "GW205", "GW208", "GW207", "GW403", "GW307"),
    ),
}
