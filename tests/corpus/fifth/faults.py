"""Faults of the fifth held-out set, with where people made them."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.optim import SGD, Adam

from tests.corpus.fault import AT_FIRST_EVALUATION, AUTOTRAINER, KARPATHY, SCALING, Fault
from tests.corpus.fifth import games, pictures, series, tables, words
from tests.corpus.whole import whole

FAULTS: dict[str, Fault] = {
    # -- data --------
    "titanic-minus-9999": Fault(
        whole(tables.titanic, 200, missing="-9999", logarithm=False),
        ("GW107",),
        "Kaggle: missing ages filled with -9999, fares as they are",
        ("GW201", "GW205", "GW207", "GW208"),
    ),
    "titanic-boat-column": Fault(
        whole(tables.titanic, 200, boat=True), ("GW803",), "Kaggle: Titanic with the column boat", ("GW802",)
    ),
    "iris-not-shuffled": Fault(
        whole(tables.iris, 162, shuffle=False),
        ("GW110", "GW112"),
        "Stack Overflow: train_test_split(shuffle=False) on iris",
        ("GW112", "GW801", "GW805"),
        begins=AT_FIRST_EVALUATION,
    ),
    "frauds-as-they-come": Fault(
        whole(tables.fraud, 163, way="plain"),
        ("GW203", "GW805"),
        "Kaggle: credit card fraud, accuracy 0.97",
        ("GW805",),
    ),
    "mnist-normalised-bytes": Fault(
        whole(pictures.mnist, 168, to_tensor=False, optim=partial(SGD, momentum=0.9), lr=0.01),
        ("GW107",),
        "discuss.pytorch.org: Normalize without ToTensor",
        ("GW201", "GW205", "GW307", "GW308", "GW411", "GW208", "GW601", "GW602", "GW603", "GW608", "GW444"),
    ),
    "arrows-turned-round": Fault(
        whole(pictures.arrows, 172, flip=True),
        ("GW102", "GW206"),
        "S. Ivanov, 37 reasons: augmentation that changes the label",
        ("GW206", "GW311", "GW209"),
    ),
    "heartbeats-two-encoders": Fault(
        whole(series.heartbeats, 178, apart=True),
        ("GW110", "GW112"),
        "Stack Overflow: LabelEncoder fitted for each set anew",
        ("GW112", "GW801"),
        begins=AT_FIRST_EVALUATION,
    ),
    "prices-in-dollars": Fault(
        whole(tables.prices, 161, dollars=True), ("GW109",), SCALING, ("GW201", "GW412", "GW214", "GW206", "GW311")
    ),
    "entities-padded-to-the-longest": Fault(
        whole(words.entities, 175, ignore=-100, longest=80),
        ("GW954",),
        "discuss.pytorch.org: padding counts in the loss (ignore_index)",
        ("GW203", "GW805"),
    ),
    "tickets-viewed": Fault(
        whole(words.tickets, 177, turn=words.viewed),
        ("GW103", "GW102"),
        KARPATHY + ": view() for permute()",
        ("GW206", "GW112", "GW311"),
    ),
    "tickets-mask-of-words": Fault(
        whole(words.tickets, 177, mask_of=words.shown),
        ("GW958",),
        "pytorch/pytorch: key_padding_mask is True for what is ignored",
        ("GW206", "GW112", "GW801"),
    ),
    # -- losses --------
    "titanic-cross-entropy-of-one": Fault(
        whole(tables.titanic, 200, criterion=tables.against_classes),
        ("GW202", "GW211"),
        "Stack Overflow: nn.CrossEntropyLoss is always 0, one output neuron",
        ("GW206", "GW303", "GW301", "GW311"),
    ),
    "prices-row-of-targets": Fault(
        whole(tables.prices, 161, column=False),
        ("GW202",),
        "PyTorch's warning: using a target size that is different to the input size",
        ("GW206", "GW311", "GW102", "GW209", "GW108"),
    ),
    "prices-l1-of-everything": Fault(
        whole(tables.prices, 161, penalty=0.05),
        ("GW451", "GW210"),
        "Stack Overflow: L1 regularisation by hand, summed over all parameters",
        ("GW209", "GW452"),
    ),
    "cells-masks-of-255": Fault(
        whole(pictures.cells, 171, top=255.0),
        ("GW202", "GW211", "GW212"),
        "milesial/Pytorch-UNet#78: negative loss, masks of 0 and 255",
        ("GW208", "GW452", "GW307", "GW310", "GW802", "GW952"),
    ),
    "cells-sigmoid-before-logits": Fault(
        whole(pictures.cells, 171, end=nn.Sigmoid()),
        ("GW202", "GW212"),
        "Kaggle: DiceBCELoss behind a sigmoid",
        ("GW206", "GW209", "GW311"),
    ),
    "boxes-in-points": Fault(
        whole(pictures.boxes, 173, pixels=True),
        ("GW210", "GW109"),
        "S. Ivanov, 37 reasons: losses of several tasks on different scales",
        ("GW201", "GW214"),
    ),
    "elbo-of-the-wrong-sign": Fault(
        whole(games.autoencode, 185, sign=0.5),
        ("GW211", "GW202", "GW210"),
        "pytorch/examples#824, wiseodd/generative-models#43: which sign the divergence has",
        ("GW208", "GW452", "GW307", "GW310", "GW608", "GW601", "GW411"),
    ),
    "elbo-mean-and-sum": Fault(
        whole(games.autoencode, 185, reduction="mean"),
        ("GW210", "GW451"),
        "pytorch/examples#296, AppliedDataSciencePartners/WorldModels#12: a mean beside a sum, and collapse",
        ("GW311", "GW209"),
    ),
    "elbo-of-standardised-pixels": Fault(
        whole(games.autoencode, 185, standardised=True),
        ("GW202", "GW211", "GW212"),
        "bigmb/Unet-Segmentation-Pytorch-Nest-of-Unets#18: negative loss, targets from -1 to 1",
        ("GW208", "GW452", "GW307", "GW310", "GW952"),
    ),
    "pendulum-pushed-by-tanh": Fault(
        whole(series.pendulum, 181, scale=1.0),
        ("GW212",),
        "Stack Overflow: tanh at the end of an actor, actions from -2 to 2",
        ("GW309", "GW209", "GW202"),
    ),
    # -- structure, starts --------
    "mnist-twenty-layers": Fault(
        whole(pictures.mnist, 168, model=partial(pictures.Deep, 20), optim=Adam, lr=1e-3),
        ("GW306", "GW310"),
        AUTOTRAINER,
        ("GW206", "GW311"),
    ),
    "levels-heads-in-a-list": Fault(
        whole(series.levels, 182, make=lambda: series.Station(list)),
        ("GW302",),
        "discuss.pytorch.org: heads for several tasks in a plain list",
        ("GW301", "GW303", "GW209"),
    ),
    "levels-layer-made-anew": Fault(
        whole(series.levels, 182, make=series.Anew),
        ("GW302", "GW301"),
        "Stack Overflow: nn.Linear made in forward",
        ("GW206", "GW207", "GW209"),
    ),
    "levels-two-units-wide": Fault(
        whole(series.levels, 182, make=series.Narrow),
        ("GW308", "GW311", "GW306"),
        "Lu et al. 2019, dying ReLU and initialization",
        ("GW206", "GW209"),
    ),
    "levels-weights-from-randn": Fault(
        whole(series.levels, 182, make=series.Bells),
        ("GW471", "GW309", "GW201"),
        "DeepLocalize and UMLAUT: weights from the standard normal distribution",
        ("GW310", "GW205", "GW112", "GW801", "GW108"),
    ),
    "letters-embedded-at-one": Fault(
        whole(words.letters, 176, std=1.0),
        ("GW471", "GW201"),
        "A. Karpathy, makemore and nanoGPT: a first loss far above the logarithm of the vocabulary",
        ("GW205", "GW953", "GW952"),
    ),
    # -- optimizers, order of calls --------
    "mnist-adadelta-of-keras": Fault(
        whole(pictures.mnist, 168, lr=1e-3),
        ("GW412",),
        "keras-team/keras: Adadelta's default rate is 0.001",
        ("GW206", "GW214", "GW311"),
    ),
    "colours-one-cycle-to-one": Fault(
        whole(pictures.colours, 170, optim=Adam, lr=1.0, cycle=True),
        ("GW411",),
        "fast.ai forum: max_lr of SGD taken for Adam",
        ("GW434", "GW205", "GW207", "GW310"),
    ),
    "colours-stepped-twice": Fault(
        whole(pictures.colours, 169, twice=True),
        ("GW413",),
        "aimagelab/meshed-memory-transformer#71: scheduler.step() per batch and per epoch",
        ("GW412", "GW214", "GW209", "GW303"),
    ),
    "colours-decay-of-a-half": Fault(
        whole(pictures.colours, 169, decay=0.5),
        ("GW451", "GW441"),
        "Google tuning playbook: weight decay and rate are tuned together",
        ("GW206", "GW311", "GW452", "GW209"),
    ),
    "names-rate-of-a-half": Fault(
        whole(words.names, 174, lr=0.5),
        ("GW411",),
        "PyTorch's tutorial on names: if you set this too high, it might explode",
        ("GW206", "GW207", "GW205", "GW208", "GW307", "GW309", "GW404"),
    ),
    "letters-rate-of-a-third-at-once": Fault(
        whole(words.letters, 176, lr=0.3, warm=False),
        ("GW411", "GW415"),
        "Google tuning playbook: early instability, and a warm-up against it",
        ("GW206", "GW209", "GW205", "GW951", "GW953"),
    ),
    "triplets-stuck-at-the-margin": Fault(
        whole(games.triplets, 190, lr=0.1),
        ("GW411", "GW311"),
        "omoindrot/tensorflow-triplet-loss#18: the loss is the margin, everything falls on one point",
        ("GW209", "GW206", "GW205", "GW310", "GW308"),
    ),
    "levels-rate-as-factor": Fault(
        whole(series.levels, 182, schedule=series.of_the_rate_itself),
        ("GW413", "GW412"),
        "Stack Overflow: LambdaLR multiplies with the first rate",
        ("GW206", "GW214"),
    ),
    "levels-cleared-before-the-step": Fault(
        whole(series.levels, 184, order="cleared"),
        ("GW305", "GW315"),
        "discuss.pytorch.org: zero_grad between backward and step",
        ("GW206", "GW303"),
    ),
    "lake-optimises-the-target": Fault(
        whole(games.lake, 186, of_target=True),
        ("GW302",),
        "Stack Overflow: DQN, optimizer of the target network",
        ("GW206", "GW303", "GW301"),
    ),
    "ring-critic-never-cleared": Fault(
        whole(games.ring, 187, clear=False),
        ("GW304",),
        "Hsintien-Ng/idinvert_pytorch-reproduced#1: optimizer_D.zero_grad() is missing",
        ("GW411", "GW208", "GW207", "GW307"),
    ),
    "digits-past-the-scaler": Fault(
        whole(games.scaled, 191, past=True),
        ("GW305", "GW611", "GW411"),
        "IAHispano/Applio#860, nerfstudio-project/nerfacc#307: optimizer.step() past the scaler",
        ("GW601", "GW602", "GW603", "GW307", "GW208", "GW205", "GW608", "GW444"),
    ),
}
