"""Faults of the thirteenth held-out set: losses, last activations, scales; the others are in slips.py and flows.py."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.thirteenth import attention, figures, others, pictures, sequences, tables, toys
from tests.corpus.thirteenth.flows import FLOWS
from tests.corpus.thirteenth.slips import SLIPS
from tests.corpus.whole import whole

FAULTS: dict[str, Fault] = {
    # -- the loss and the last activation --------
    "growers-softmax-twice": Fault(
        whole(tables.wines, 1, last="softmax"),
        ("GW202", "GW212"),
        "bowang-lab/Transformer-GCN-QA#32, jaehong31/CGES#1: a softmax before the cross entropy, which has its own",
        ("GW209", "GW206", "GW412", "GW214"),
    ),
    "growers-bce-for-three": Fault(
        whole(tables.wines, 1, loss_name="bce"),
        ("GW202", "GW212", "GW107", "GW110"),
        "StackOverflow, Keras: binary_crossentropy and Dense(1) for the labels 0, 1, 2: the loss becomes negative",
        ("GW211", "GW204", "GW208", "GW601", "GW602", "GW603", "GW952", "GW452", "GW307", "GW205", "GW608"),
    ),
    "tumours-softmax-of-one": Fault(
        whole(tables.tumours, 1, last="softmax"),
        ("GW212", "GW202"),
        "StackOverflow, why does a binary Keras CNN always predict 1: softmax of one neuron (DeepFD, DeepLocalize)",
        ("GW311", "GW211", "GW206", "GW209", "GW102", "GW306", "GW303", "GW301", "GW201", "GW805"),
    ),
    "tumours-relu-then-bce": Fault(
        whole(tables.tumours, 1, last="relu"),
        ("GW212", "GW202"),
        "hunkim/PyTorchZeroToAll#4, pytorch/tutorials#1654: ReLU behind the last layer, so no logit is negative",
        ("GW308", "GW311", "GW211", "GW206", "GW209", "GW102", "GW306", "GW303", "GW301", "GW805"),
    ),
    "progress-flat-targets": Fault(
        whole(tables.diabetes, 1, flat=True),
        ("GW202",),
        "discuss.pytorch.org: target size (32) differs from input size (32, 1); the network answers the mean",
        ("GW102", "GW311", "GW209", "GW206", "GW108"),
    ),
    "progress-sigmoid-for-hundreds": Fault(
        whole(tables.diabetes, 1, raw_targets=True, last="sigmoid"),
        ("GW212", "GW109", "GW107"),
        "StackOverflow, Keras regression with a sigmoid at its end (DeepFD: activation)",
        ("GW201", "GW206", "GW209", "GW309", "GW311", "GW306", "GW102", "GW108", "GW214"),
    ),
    "sine-relu-at-the-end": Fault(
        whole(toys.curve, 1, last="relu"),
        ("GW212",),
        "StackOverflow on fitting a sine: ReLU as the last activation cannot give negative values (NeuraLint)",
        ("GW308", "GW311", "GW209", "GW206", "GW102", "GW211", "GW303", "GW301", "GW306", "GW108"),
    ),
    "figures-softmax-into-nll": Fault(
        whole(figures.tutorial, 1, logarithm=False),
        ("GW202", "GW212"),
        "discuss.pytorch.org on NLLLoss: softmax in place of log_softmax, the loss lies between -1 and 0",
        ("GW211", "GW204", "GW209", "GW412", "GW214"),
    ),
    "figures-scores-into-nll": Fault(
        whole(figures.tutorial, 1, axis=None),
        ("GW202", "GW212"),
        "discuss.pytorch.org, NLLLoss is negative and falls for ever: the network ends without log_softmax",
        ("GW211", "GW204", "GW208", "GW601", "GW602", "GW603", "GW608", "GW952", "GW452", "GW307", "GW310", "GW205"),
    ),
    "figures-softmax-over-the-batch": Fault(
        whole(figures.tutorial, 1, axis=0),
        ("GW103", "GW202"),
        "MicrosoftDocs/pytorchfundamentals#21, perone/euclidesdb#2: log_softmax over dim 0",
        ("GW201", "GW212", "GW434", "GW801"),
    ),
    "figures-as-numbers": Fault(
        whole(figures.numbered, 1, numbers=True),
        ("GW202",),
        "StackOverflow, Keras: mean squared error and Dense(1) for ten digits, accuracy stays low (DeepFD: loss)",
        ("GW201", "GW209", "GW109", "GW212"),
    ),
    "lenet-softmax-twice": Fault(
        whole(figures.lenet, 1, sgd=True, rate=0.05, normed=False, last="softmax"),
        ("GW202", "GW212"),
        "discuss.pytorch.org/t/cross-entropy-loss-is-not-decreasing/43814: softmax in forward and CrossEntropyLoss",
        ("GW209", "GW206", "GW412", "GW214", "GW306", "GW102"),
    ),
    "lenet-relu-at-the-end": Fault(
        whole(figures.lenet, 1, last="relu"),
        ("GW212",),
        "hjptriplebee/AlexNet_with_tensorflow#2, martinwicke/tf-dev-summit-tensorboard-tutorial#3: ReLU on the scores",
        ("GW308", "GW805", "GW209", "GW202"),
    ),
    "discs-softmax-of-one-channel": Fault(
        whole(pictures.masks, 1, last="softmax"),
        ("GW212", "GW202"),
        "forums on U-Net: softmax over the one channel of a binary mask gives 1 everywhere",
        ("GW311", "GW211", "GW206", "GW209", "GW102", "GW306", "GW303", "GW301", "GW201", "GW805"),
    ),
    "reviews-sigmoid-twice": Fault(
        whole(sequences.reviews, 1, squashed=True),
        ("GW202", "GW212"),
        "PacktPublishing/PyTorch-Ultimate-2023---From-Basics-to-Cutting-Edge#3: sigmoid and BCEWithLogitsLoss",
        ("GW209", "GW206", "GW412", "GW214"),
    ),
    "passengers-flat-targets": Fault(
        whole(sequences.passengers, 1, flat=True),
        ("GW202",),
        "discuss.pytorch.org, LSTM predicts a straight line: (B, 1) against (B) in MSELoss",
        ("GW102", "GW311", "GW209", "GW206", "GW108"),
    ),
    "passengers-tanh-at-the-end": Fault(
        whole(sequences.passengers, 1, last="tanh"),
        ("GW212",),
        "r/learnmachinelearning: tanh behind the last layer of a forecaster whose targets leave -1 to 1",
        ("GW309", "GW209", "GW109"),
    ),
    "articles-softmax-for-tags": Fault(
        whole(others.tags, 1, last="softmax"),
        ("GW212", "GW202"),
        "StackOverflow, how does Keras handle multilabel classification: softmax where sigmoid is needed",
        ("GW209", "GW203", "GW805", "GW214"),
    ),
    "walk-flat-targets": Fault(
        whole(others.dqn, 1, flat=True),
        ("GW202",),
        "kengz/SLM-Lab#372: fix dqn shape broadcast, (B, 1) against (B)",
        ("GW209", "GW206", "GW311", "GW102"),
    ),
    # -- the scale of inputs and targets --------
    "growers-raw-columns": Fault(
        whole(tables.wines, 1, raw=True),
        ("GW107",),
        "StackOverflow on wine, Keras accuracy does not change: columns from 0.1 to 1,680 unscaled (UMLAUT)",
        ("GW411", "GW206", "GW209", "GW308", "GW311", "GW201", "GW310", "GW102", "GW307", "GW205", "GW805", "GW108"),
    ),
    "tumours-raw-columns": Fault(
        whole(tables.tumours, 1, raw=True),
        ("GW107",),
        "StackOverflow on breast cancer, all predictions are the same until StandardScaler is used",
        ("GW411", "GW206", "GW209", "GW308", "GW311", "GW201", "GW310", "GW102", "GW307", "GW205", "GW805", "GW108"),
    ),
    "progress-raw-targets": Fault(
        whole(tables.diabetes, 1, raw_targets=True),
        ("GW109", "GW107"),
        "machinelearningmastery.com on scaling targets; TheDeepChecker: unscaled targets",
        ("GW412", "GW214", "GW206", "GW209", "GW201", "GW108", "GW102", "GW452"),
    ),
    "estates-raw-columns": Fault(
        whole(tables.houses, 1, raw=True),
        ("GW107",),
        "StackOverflow on house prices, loss is nan: living space and income unscaled, SGD (DeepLocalize: nan)",
        ("GW411", "GW601", "GW602", "GW603", "GW307", "GW205", "GW201", "GW208", "GW310", "GW423", "GW608"),
    ),
    "square-of-raw-numbers": Fault(
        whole(toys.curve, 5, of="square", hidden=32, scaled=False),
        ("GW107", "GW109"),
        "StackOverflow, why do I fail to predict y=x**4, and neural network for square approximation: unscaled",
        ("GW309", "GW206", "GW209", "GW412", "GW201", "GW102", "GW311", "GW214", "GW306", "GW108"),
    ),
    "digits-squeezed-in-raw-grey": Fault(
        whole(pictures.autoencoder, 1, bright=16.0),
        ("GW212", "GW107", "GW109"),
        "StackOverflow, autoencoder does not learn input = output: pixels not brought to 0 to 1, sigmoid at the end",
        ("GW309", "GW201", "GW209", "GW206", "GW306", "GW108"),
    ),
    "passengers-by-the-thousand": Fault(
        whole(sequences.passengers, 1, raw=True),
        ("GW109", "GW107"),
        "discuss.pytorch.org, LSTM gives the same value for every input: the series was not scaled",
        ("GW309", "GW206", "GW209", "GW412", "GW201", "GW102", "GW311", "GW214", "GW108"),
    ),
    "growers-test-not-scaled": Fault(
        whole(tables.wines, 1, raw_test=True),
        ("GW113",),
        "JeasunLok/ResNet-pytorch#1, mlpack/examples#213: the test set is not normalised as the training set is",
        ("GW801", "GW112", "GW208", "GW434"),
        begins=AT_FIRST_EVALUATION,
    ),
    **SLIPS,
    **FLOWS,
    # -- models of text --------
    "gpt-without-mask": Fault(
        whole(attention.gpt, 1, causal=False),
        ("GW104",),
        "alex-matton/causal-transformer-decoder#1: no causal mask, so the next letter is copied",
        ("GW803", "GW204"),
    ),
    "opinions-mask-turned-round": Fault(
        whole(attention.opinions, 1, inverted=True),
        ("GW958",),
        "discuss.pytorch.org on src_key_padding_mask: True means left out; pytorch/pytorch#39321 on the same doubt",
        ("GW102", "GW206", "GW209", "GW311", "GW112", "GW954"),
    ),
    "letters-not-shifted": Fault(
        whole(sequences.letters, 1, shifted=False),
        ("GW955",),
        "forums on char-rnn: the wanted letters are the ones fed, loss falls to 0 and samples repeat one letter",
        ("GW803", "GW204", "GW104"),
    ),
}
