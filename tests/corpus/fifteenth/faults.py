"""Faults of the fifteenth held-out set: data, scales, losses; the others are in slips.py and flows.py."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.fifteenth import games, makers, pictures, sequences, tables
from tests.corpus.fifteenth.flows import FLOWS
from tests.corpus.fifteenth.slips import SLIPS, STUCK, TORN
from tests.corpus.whole import whole

_SCALE = (
    "GW411",
    "GW412",
    "GW214",
    "GW452",
    "GW601",
    "GW602",
    "GW603",
    "GW608",
    "GW310",
    "GW201",
    "GW423",
    "GW109",
    *TORN,
    *STUCK,
)
_FLAT = ("GW102", "GW311", "GW206", "GW209", "GW108", "GW412", "GW214", "GW112")
_SOFT = ("GW209", "GW206", "GW412", "GW214", "GW306", "GW102", "GW805")

FAULTS: dict[str, Fault] = {
    # -- inputs and targets as they are --------
    "clients-raw-columns": Fault(
        whole(tables.clients, 1, raw=True),
        ("GW107",),
        "openillumi.com, PyTorch performance drop: missing standardisation; Humbatova 2020, missing preprocessing",
        _SCALE,
    ),
    "roof-raw-columns": Fault(
        whole(tables.panels, 2, raw=True, name="sgd", rate=0.02, batch=32, epochs=12),
        ("GW107",),
        "taourl.com, loss not decreasing: inconsistent preprocessing; SGD on hectopascals",
        _SCALE,
    ),
    "roof-yields-in-watts": Fault(
        whole(tables.panels, 1, watts=True),
        ("GW109", "GW107"),
        "discuss.pytorch.org/t/neural-network-could-not-learn-on-this-type-of-data-why/96648: targets in thousands",
        _SCALE,
    ),
    "roof-yields-in-watts-by-sgd": Fault(
        whole(tables.panels, 2, watts=True, name="sgd", rate=0.02, batch=32, epochs=12),
        ("GW109", "GW107", "GW411"),
        "StackOverflow, nan loss in regression with SGD: targets in thousands",
        _SCALE,
    ),
    "weather-in-fahrenheit": Fault(
        whole(sequences.weather, 1, raw=True),
        ("GW109", "GW107"),
        "forums, an LSTM gives the same value for every window: the series was not scaled",
        (*_SCALE, "GW309"),
    ),
    "cloth-pixels-to-255": Fault(
        whole(pictures.shop, 8, norm=False, name="sgd", rate=0.03, epochs=10, raw=True),
        ("GW107",),
        "forums on custom datasets: pixels of 0 to 255 turned to float and never divided",
        _SCALE,
    ),
    "cloth-divided-twice": Fault(
        whole(pictures.shop, 8, norm=False, name="sgd", rate=0.03, epochs=10, dull=255.0),
        ("GW107",),
        "discuss.pytorch.org on ToTensor: it has divided by 255, and the script divides once more",
        (*_SOFT, "GW310", "GW311", "GW108", "GW106"),
    ),
    "cloth-test-in-255": Fault(
        whole(pictures.shop, 1, raw_test=True),
        ("GW113",),
        "forums, accuracy differs between training and test: another transform for the test set",
        ("GW801", "GW112", "GW208", "GW434"),
        begins=AT_FIRST_EVALUATION,
    ),
    "clients-test-not-scaled": Fault(
        whole(tables.clients, 2, name="sgd", rate=0.05, batch=32, raw_test=True),
        ("GW113",),
        "StackOverflow: fit_transform for the training rows, nothing for the others",
        ("GW801", "GW112", "GW208"),
        begins=AT_FIRST_EVALUATION,
    ),
    "cloth-viewed-for-permuted": Fault(
        whole(pictures.shop, 3, norm=False, rate=2e-3, epochs=12, viewed=True),
        ("GW107", "GW112", "GW102"),
        "discuss.pytorch.org on view and permute: (H, W, C) reshaped to (C, H, W)",
        (*_SOFT, "GW801", "GW101", "GW108"),
    ),
    "boxes-in-large-pixels": Fault(
        whole(pictures.boxes, 3, name="sgd", rate=0.03, batch=32, epochs=9, pixels=True),
        ("GW109", "GW107", "GW411"),
        "stats.stackexchange.com/questions/261704: a network for places of boxes predicts the mean",
        _SCALE,
    ),
    "boxes-in-large-pixels-by-adam": Fault(
        whole(pictures.boxes, 1, pixels=True),
        ("GW109", "GW107"),
        "stats.stackexchange.com/questions/261704: targets in pixels of a large picture",
        _SCALE,
    ),
    "cells-masks-as-the-files-have-them": Fault(
        whole(pictures.cells, 2, kinds=1, rate=5e-3, bright=255.0),
        ("GW202", "GW107", "GW110", "GW212", "GW109"),
        "forums on U-Net: masks read from files hold 0 and 255, the loss becomes negative",
        ("GW211", "GW204", "GW208", "GW952", "GW452", "GW307", "GW205", "GW601", "GW602", "GW603"),
    ),
    "roof-sensor-was-silent": Fault(
        whole(tables.panels, 1, gaps=0.01),
        ("GW605", "GW107"),
        "forums, loss is nan after some batches: empty cells of a CSV file",
        ("GW601", "GW602", "GW603", "GW444"),
    ),
    "machine-rows-out-of-step": Fault(
        whole(tables.machines, 2, name="adam", rate=2e-3, batch=32, epochs=10, wrong="sliced"),
        ("GW102", "GW112", "GW107", "GW110"),
        "udacity/sdc-issue-reports#1326 and the like: features and labels of different rows",
        (*STUCK, "GW801", "GW209"),
    ),
    "weather-hours-shuffled-apart": Fault(
        whole(sequences.weather, 2, cell="gru", plateau=True, rate=1e-2, epochs=12, apart=True),
        ("GW102", "GW112", "GW107", "GW110"),
        "StackOverflow on time series: X and y were shuffled one by one",
        (*STUCK, "GW801", "GW109"),
    ),
    "irises-last-kind-held-out": Fault(
        whole(tables.flowers, 2, last="log", name="sgd", rate=0.03, scaled=True, epochs=25, mixed=False),
        ("GW110", "GW113"),
        "StackOverflow on iris: the last 30 rows of a sorted file are the test set",
        ("GW801", "GW112", "GW208", "GW203", "GW805"),
        begins=AT_FIRST_EVALUATION,
    ),
    "machines-one-state-after-the-other": Fault(
        whole(tables.machines, 1, wrong="sorted"),
        ("GW111",),
        "Humbatova 2020, training data: not shuffled; rows sorted by their label",
        (*TORN, *STUCK, "GW903", "GW112"),
    ),
    "cloth-sorted-by-folder": Fault(
        whole(pictures.shop, 2, name="sgd", rate=0.05, decay=5e-4, sorted_by_name=True),
        ("GW111",),
        "forums on ImageFolder: shuffle was left at False, one class after the other",
        (*TORN, *STUCK, "GW903", "GW112", "GW434", "GW432"),
    ),
    "clients-few-leave": Fault(
        whole(tables.clients, 1, share=0.02, rate=5e-4, epochs=12),
        ("GW203",),
        "Kaggle and StackOverflow on churn: 98 % accuracy, recall 0",
        ("GW805", "GW804", "GW311"),
    ),
    "clients-few-leave-by-sgd": Fault(
        whole(tables.clients, 2, share=0.03, name="sgd", rate=0.01, batch=32, epochs=6),
        ("GW203",),
        "Humbatova 2020, training data: unbalanced; nobody is ever found to leave",
        ("GW805", "GW804", "GW311"),
    ),
    "clients-told-by-their-leaving": Fault(
        whole(tables.clients, 1, told=True),
        ("GW803",),
        "Kaggle on leakage: a column that is filled in after the client has left",
        ("GW204",),
        begins=AT_FIRST_EVALUATION,
    ),
    "weather-window-too-late": Fault(
        whole(sequences.weather, 1, peek=True),
        ("GW803", "GW104"),
        "forums on forecasting: off by one, the window ends with the hour that is asked for",
        ("GW802",),
        begins=AT_FIRST_EVALUATION,
    ),
    # -- the loss and the last activation --------
    "clients-sigmoid-twice": Fault(
        whole(tables.clients, 1, squashed=True),
        ("GW202", "GW212"),
        "forums on BCEWithLogitsLoss: the network ends with a sigmoid already",
        _SOFT,
    ),
    "clients-logarithm-of-zero": Fault(
        whole(tables.clients, 5, squashed=True, by_hand=True, raw=True),
        ("GW107", "GW601", "GW603", "GW202"),
        "NVIDIA/apex#358, pytorch/pytorch#1620: log of a probability that is 0, in a loss written by hand",
        ("GW602", "GW444", *_SCALE),
    ),
    "cloth-softmax-twice": Fault(
        whole(pictures.shop, 2, name="sgd", rate=0.05, decay=5e-4, last="softmax"),
        ("GW202", "GW212"),
        "jindongwang/Deep-learning-activity-recognition#10: softmax in front of CrossEntropyLoss",
        _SOFT,
    ),
    "cloth-relu-on-scores": Fault(
        whole(pictures.shop, 3, norm=False, rate=2e-3, epochs=12, last="relu"),
        ("GW212", "GW202"),
        "forums on small CNNs: F.relu(self.fc2(x)) is returned",
        ("GW308", "GW805", *_SOFT),
    ),
    "cloth-softmax-over-rows": Fault(
        whole(pictures.shop, 5, last="log", judged="nll", batch=24, epochs=7, axis=0),
        ("GW103", "GW202"),
        "forums on the warning about an implicit dimension of softmax: dim=0 was taken",
        ("GW201", "GW212", "GW434", "GW801", *_SOFT),
    ),
    "cloth-scores-into-nll": Fault(
        whole(pictures.shop, 5, judged="nll", batch=24, epochs=7),
        ("GW202", "GW212"),
        "discuss.pytorch.org on NLLLoss: log_softmax is missing, the loss falls below zero",
        ("GW211", "GW204", "GW208", "GW601", "GW952", "GW452", "GW307", "GW310", "GW205", "GW608"),
    ),
    "surnames-scores-into-nll": Fault(
        whole(sequences.surnames, 3, cell="rnn", clip=1.0, rate=3e-3, judged="nll"),
        ("GW202", "GW212"),
        "forums on the tutorial of names: LogSoftmax was taken out, NLLLoss stayed",
        ("GW211", "GW204", "GW208", "GW421", "GW952", "GW452", "GW307", "GW310", "GW205", "GW309"),
    ),
    "roof-flat-targets": Fault(
        whole(tables.panels, 1, flat=True),
        ("GW202",),
        "pytorch/pytorch#4938, deepset-ai/FARM#229: (N) against (N, 1) in the squared error",
        _FLAT,
    ),
    "roof-flat-targets-by-huber": Fault(
        whole(tables.panels, 3, judged="huber", width=32, layers=3, epochs=14, flat=True),
        ("GW202",),
        "jiwei0921/CoNet#3: sizes differ in smooth_l1_loss",
        _FLAT,
    ),
    "weather-flat-targets": Fault(
        whole(sequences.weather, 1, flat=True),
        ("GW202",),
        "andrewgcodes/xlstm#4: target size differs from the input size in an LSTM's loss",
        _FLAT,
    ),
    "roof-relu-at-the-end": Fault(
        whole(tables.panels, 2, name="sgd", rate=0.02, batch=32, epochs=12, last="relu"),
        ("GW212",),
        "forums on regression: the layers are made in a loop, so the last has a ReLU too",
        ("GW308", *_FLAT, "GW211", "GW303", "GW301", "GW306"),
    ),
    "weather-relu-at-the-end": Fault(
        whole(sequences.weather, 2, cell="gru", plateau=True, rate=1e-2, epochs=12, relu=True),
        ("GW212",),
        "forums on forecasting: ReLU on what is foretold, in standardised units",
        ("GW308", *_FLAT, "GW211", "GW303", "GW301", "GW306"),
    ),
    "boxes-by-sigmoid": Fault(
        whole(pictures.boxes, 1, last="sigmoid"),
        ("GW212",),
        "forums on landmarks: sigmoid at the end, targets standardised",
        ("GW309", *_FLAT, "GW109"),
    ),
    "books-stars-by-sigmoid": Fault(
        whole(games.books, 2, middle=False, name="adamw", decay=0.02, factors=8, epochs=14, last="sigmoid"),
        ("GW212", "GW109"),
        "fast.ai forums on collaborative filtering: sigmoid without sigmoid_range, stars from 1 to 5",
        ("GW309", *_FLAT, "GW306", "GW201", "GW211"),
    ),
    "digits-cleaned-by-sigmoid": Fault(
        whole(makers.squeeze, 4, lowest=-1.0, last="sigmoid", noise=0.3, batch=64),
        ("GW212",),
        "forums on autoencoders: pixels brought to -1 to 1, the decoder ends with a sigmoid",
        ("GW309", *_FLAT, "GW109"),
    ),
    "digits-squeezed-by-relu": Fault(
        whole(makers.squeeze, 4, lowest=-1.0, last="relu", noise=0.3, batch=64),
        ("GW212",),
        "ethanluoyc/pytorch-vae#3: ReLU as the last activation of the decoder",
        ("GW308", *_FLAT, "GW211", "GW303", "GW301", "GW306"),
    ),
    "zeros-forged-by-sigmoid": Fault(
        whole(makers.forge, 1, last="sigmoid"),
        ("GW212",),
        "forums on GANs: real pictures of -1 to 1, the generator ends with a sigmoid",
        ("GW309", "GW209", "GW208", "GW205", "GW210"),
    ),
    "cells-softmax-over-width": Fault(
        whole(pictures.cells, 1, judged="softmax", axis=3),
        ("GW202", "GW212"),
        "forums on semantic segmentation: softmax(dim=-1) on (N, C, H, W)",
        _SOFT,
    ),
    "words-softmax-over-words": Fault(
        whole(sequences.tagging, 1, axis=1),
        ("GW202", "GW212"),
        "forums on taggers: softmax over the words of a sentence, not over the tags",
        _SOFT,
    ),
    "words-tags-viewed": Fault(
        whole(sequences.tagging, 1, turned="viewed"),
        ("GW202", "GW107", "GW102", "GW112", "GW110"),
        "discuss.pytorch.org on CrossEntropyLoss of sequences: view() in place of permute()",
        (*_SOFT, "GW801", "GW108", "GW101"),
    ),
    "recipes-softmax-twice": Fault(
        whole(sequences.recipes, 1, softmax=True),
        ("GW202", "GW212"),
        "DSKSD/DeepNLP-models-Pytorch#2: softmax and CrossEntropyLoss in a language model",
        _SOFT,
    ),
    "digits-dreamt-divergence-turned": Fault(
        whole(makers.dream, 1, sign=0.5),
        ("GW202", "GW211", "GW210", "GW451"),
        "forums on VAEs: the sign of the divergence is lost, the loss falls without end",
        ("GW204", "GW208", "GW601", "GW602", "GW603", "GW608", "GW307", "GW205", "GW452", "GW310", "GW952", "GW423"),
    ),
    "digits-dreamt-pixels-averaged": Fault(
        whole(makers.dream, 2, code=12, batch=48, pixels="mean"),
        ("GW210", "GW451"),
        "wiseodd/generative-models#40, pytorch/examples#296: mean over pixels, sum over the code",
        ("GW209", "GW311", "GW102", "GW206"),
    ),
    "pole-gains-with-the-wrong-sign": Fault(
        whole(games.pole, 1, sign=1.0),
        ("GW202",),
        "discuss.pytorch.org, policy gradients and REINFORCE with baseline: the minus is missing",
        ("GW208", "GW205", "GW209", "GW206", "GW311"),
    ),
    **SLIPS,
    **FLOWS,
}
