"""Faults of the thirteenth held-out set: how networks are built and begun, numbers that overflow or are lost."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.thirteenth import figures, others, pictures, sequences, tables, toys
from tests.corpus.whole import whole

_STUCK = ("GW206", "GW209", "GW102", "GW311", "GW805", "GW108", "GW101", "GW106")

FLOWS: dict[str, Fault] = {
    # -- activations --------
    "circles-without-activation": Fault(
        whole(toys.plane, 1, nonlinear="none"),
        ("GW313",),
        "StackOverflow, circles stay at 50 %: layers in a row without activation (NeuraLint, DeepFD: activation)",
        _STUCK,
    ),
    "xor-without-activation": Fault(
        whole(toys.xor, 1, activation="none"),
        ("GW313",),
        "StackOverflow, XOR gives 0.5 for everything: no activation in the hidden layer",
        _STUCK,
    ),
    "circles-dying-relu": Fault(
        whole(toys.plane, 1, bias=-3.0),
        ("GW308", "GW471"),
        "AUTOTRAINER, dying ReLU on circles: biases start so low that no unit fires",
        ("GW306", "GW303", *_STUCK),
    ),
    "circles-tanh-at-its-ends": Fault(
        whole(toys.plane, 1, nonlinear="tanh", rate=0.15, deviation=10.0),
        ("GW471", "GW309"),
        "AUTOTRAINER on blobs and circles: weights of a normal distribution with far too large a spread",
        ("GW201", "GW306", "GW205", "GW207", "GW209"),
    ),
    "figures-deep-sigmoid": Fault(
        whole(figures.stack, 1, activation="sigmoid"),
        ("GW306",),
        "AUTOTRAINER and DeepLocalize, vanishing gradient: eight layers of sigmoid, SGD",
        ("GW309", "GW310", "GW412", "GW471", *_STUCK),
    ),
    "first-sign-lost-by-rnn": Fault(
        whole(sequences.memory, 1, cell="rnn", length=60),
        ("GW306",),
        "AUTOTRAINER, vanishing gradient in plain RNNs over long sequences",
        ("GW112", "GW207", "GW801", *_STUCK),
    ),
    # -- the start --------
    "tumours-begin-at-zero": Fault(
        whole(tables.tumours, 1, start="zeros"),
        ("GW114", "GW471"),
        "TheDeepChecker, unbroken symmetry: all weights start at 0",
        ("GW303", "GW306", "GW308", *_STUCK),
    ),
    "figures-begin-too-large": Fault(
        whole(figures.stack, 1, start="1.0"),
        ("GW471",),
        "DeepLocalize, exploding tensors: normal weights with spread 1 in eight layers",
        ("GW201", "GW310", "GW307", "GW601", "GW602", "GW603", "GW608", "GW411", "GW205", "GW423", *_STUCK),
    ),
    "figures-begin-too-small": Fault(
        whole(figures.stack, 1, start="0.01"),
        ("GW471",),
        "StackOverflow on a deep network with stddev=0.01: loss stays at ln 10",
        ("GW306", "GW310", "GW412", *_STUCK),
    ),
    "first-sign-rnn-begins-large": Fault(
        whole(sequences.memory, 1, cell="rnn", deviation=1.0),
        ("GW471",),
        "discuss.pytorch.org: recurrent weights from normal_(0, 1), training is chaotic",
        ("GW309", "GW307", "GW421", "GW423", "GW205", "GW207", "GW209", "GW201"),
    ),
    "films-begin-far-apart": Fault(
        whole(others.ratings, 1, deviation=1.0, factors=32),
        ("GW471", "GW201"),
        "fast.ai forums on collaborative filtering: nn.Embedding starts with spread 1, products of 32 factors",
        ("GW112", "GW801", "GW209"),
    ),
    # -- too much, too little --------
    "progress-learnt-by-heart": Fault(
        whole(tables.diabetes, 1, sizes=(256, 256), decay=0.0, epochs=80),
        ("GW801", "GW112"),
        "StackOverflow, validation loss increases: 68,000 weights for 331 patients",
        begins=AT_FIRST_EVALUATION,
    ),
    "sine-by-one-unit": Fault(
        whole(toys.curve, 1, hidden=1, layers=1),
        ("GW101", "GW209"),
        "StackOverflow, neural network for square approximation: a network of one unit",
        ("GW206", "GW108", "GW309"),
    ),
    "lenet-nearly-all-dropped": Fault(
        whole(figures.lenet, 1, drop=0.95),
        ("GW462",),
        "StackOverflow on Dropout: the keep probability of TensorFlow 1, 0.95, handed over as the share to drop",
        ("GW206", "GW209", "GW802", "GW214"),
    ),
    "progress-answer-dropped": Fault(
        whole(tables.diabetes, 1, drop_answer=0.5),
        ("GW462",),
        "StackOverflow, Keras regression: a Dropout was added after the last Dense layer too",
        ("GW209", "GW802"),
    ),
    "figures-normed-in-twos": Fault(
        whole(figures.stack, 1, depth=3, normed=True, rate=0.02, batch=2),
        ("GW403", "GW404"),
        "discuss.pytorch.org on BatchNorm1d with batches of two: each feature becomes -1 or 1",
        ("GW434", "GW402", "GW206", "GW207", "GW209", "GW411", "GW103"),
    ),
    "digits-drawn-as-one": Fault(
        whole(pictures.vae, 1, reduction="mean"),
        ("GW210", "GW451"),
        "AppliedDataSciencePartners/WorldModels#12: reconstruction is a mean, divergence a sum; posterior collapse",
        ("GW209", "GW311", "GW102"),
    ),
    "reviews-batch-taken-for-time": Fault(
        whole(sequences.reviews, 1, batch_first=False),
        ("GW103",),
        "discuss.pytorch.org/t/lstm-change-batch-first-true-loss-does-not-decrease/62364",
        ("GW112", "GW209", "GW801", "GW802"),
    ),
    # -- numbers --------
    "figures-pixels-by-zero": Fault(
        whole(figures.stack, 1, each_pixel=True),
        ("GW605", "GW107"),
        "StackOverflow, loss is nan from the first step: (x - mean) / std where the corner pixels are always 0",
        ("GW601", "GW602", "GW603"),
    ),
    "estates-logarithm-of-negative": Fault(
        whole(tables.houses, 1, judged="rmsle"),
        ("GW601", "GW202"),
        "forums.fast.ai on RMSLE: the logarithm of predictions that are negative at first",
        ("GW603", "GW602", "GW212", "GW444"),
    ),
    "figures-in-bfloat16": Fault(
        whole(figures.tutorial, 7, optimizer_name="adam", rate=2e-4, epochs=45, half=True),
        ("GW606",),
        "pytorch/pytorch#120376, tensorflow/tensorflow#58138: weights in bfloat16, small updates are rounded away",
        ("GW209", "GW214", "GW412", "GW303"),
    ),
}
