"""Faults of the thirteenth held-out set: rates, optimizers, the loop, what is fed."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.thirteenth import attention, figures, others, pictures, sequences, tables, toys
from tests.corpus.whole import whole

_TORN = ("GW205", "GW206", "GW207", "GW208", "GW209", "GW307", "GW308", "GW311", "GW452", "GW608", "GW805", "GW106")
_IDLE = ("GW206", "GW209", "GW214", "GW102", "GW106", "GW311", "GW805", "GW108")
_NONFINITE = ("GW601", "GW602", "GW603", "GW444")

SLIPS: dict[str, Fault] = {
    # -- rates --------
    "figures-rate-of-five": Fault(
        whole(figures.tutorial, 1, rate=5.0),
        ("GW411",),
        "AUTOTRAINER and DeepFD: learning rate far too high, accuracy of chance",
        (*_TORN, "GW201", "GW310"),
    ),
    "progress-rate-of-one": Fault(
        whole(tables.diabetes, 5, sgd=True, rate=1.0, decay=1e-3, batch=64, epochs=50),
        ("GW411",),
        "StackOverflow, Keras regression: loss is nan with SGD (DeepLocalize: learning rate)",
        (*_TORN, *_NONFINITE, "GW423"),
    ),
    "sine-adam-of-a-half": Fault(
        whole(toys.curve, 1, rate=0.5),
        ("GW411",),
        "StackOverflow, Keras regression to approximate a function (goal: loss < 1e-7); DeepFD: learning rate",
        (*_TORN, "GW309"),
    ),
    "reviews-adam-of-one": Fault(
        whole(sequences.reviews, 1, rate=1.0),
        ("GW411",),
        "r/learnmachinelearning: sentiment stays at 50 %, Adam with lr=1",
        (*_TORN, "GW309", "GW957", "GW112"),
    ),
    "gpt-adam-of-a-tenth": Fault(
        whole(attention.gpt, 1, rate=0.1, warm=0, clip=None),
        ("GW411", "GW415"),
        "forums on training a GPT from scratch: rate of a convolutional network, no warm-up, loss stays above 2",
        (*_TORN, "GW423", "GW951", "GW957", "GW310"),
    ),
    "figures-rate-too-low": Fault(
        whole(figures.tutorial, 1, rate=1e-5),
        ("GW412",),
        "AUTOTRAINER, slow convergence: the learning rate is too small",
        _IDLE,
    ),
    "xor-rate-too-low": Fault(
        whole(toys.xor, 1, rate=1e-4),
        ("GW412",),
        "StackOverflow, XOR in Keras does not learn with the default SGD (DeepFD: learning rate, epochs)",
        _IDLE,
    ),
    "passengers-rate-too-low": Fault(
        whole(sequences.passengers, 1, rate=1e-5),
        ("GW412",),
        "discuss.pytorch.org: LSTM loss decreases very slowly, Adam with lr=1e-5",
        _IDLE,
    ),
    "figures-momentum-too-high": Fault(
        whole(figures.tutorial, 1, momentum=0.999),
        ("GW442",),
        "forums on SGD: momentum of 0.999, the loss swings and leaves",
        (*_TORN, "GW411"),
    ),
    "figures-one-by-one": Fault(
        whole(figures.tutorial, 1, batch=1, epochs=1),
        ("GW404", "GW411"),
        "AUTOTRAINER, oscillating loss: batches of one with the rate meant for 64",
        (*_TORN, "GW402"),
    ),
    "figures-decay-each-batch": Fault(
        whole(figures.scheduled, 1, each="batch"),
        ("GW413",),
        "pytorch/vision#1261, pytorch/tutorials#640: scheduler.step() after each batch, meant for epochs",
        ("GW412", *_IDLE),
    ),
    "figures-plateau-of-maximum": Fault(
        whole(figures.scheduled, 2, kind="plateau", mode="max", rate=0.03, batch=24),
        ("GW413",),
        "forums on ReduceLROnPlateau: mode='max' though it is handed the loss",
        ("GW412", *_IDLE),
        begins=AT_FIRST_EVALUATION,
    ),
    "sentences-clipped-to-nothing": Fault(
        whole(sequences.letters, 1, sgd=True, rate=0.2, clip=1e-4),
        ("GW421",),
        "discuss.pytorch.org: clip_grad_norm_ with a bound taken for a rate, nothing is learnt",
        ("GW412", "GW422", *_IDLE),
    ),
    "lenet-decay-for-momentum": Fault(
        whole(figures.lenet, 1, decay=0.9),
        ("GW451", "GW441"),
        "StackOverflow: weight_decay=0.9 where momentum=0.9 was meant",
        ("GW452", "GW310", "GW306", *_IDLE),
    ),
    "films-decayed": Fault(
        whole(others.ratings, 1, decay=0.1),
        ("GW451", "GW441"),
        "forums on matrix factorisation: Adam's weight_decay as strong as the L2 of a closed form",
        ("GW452", *_IDLE),
    ),
    # -- the loop --------
    "figures-never-cleared": Fault(
        whole(figures.tutorial, 1, clear=False),
        ("GW304",),
        "A. Karpathy, the most common neural net mistakes; wenet-e2e/wekws#73, meta-pytorch/torchforge#71",
        (*_TORN, "GW411", "GW310"),
    ),
    "sine-never-cleared": Fault(
        whole(toys.curve, 1, clear=False),
        ("GW304",),
        "StackOverflow, why do we need zero_grad(); FreedomIntelligence/TextClassificationBenchmark#20",
        (*_TORN, "GW411", "GW309", "GW310"),
    ),
    "growers-cleared-before-the-step": Fault(
        whole(tables.wines, 1, cleared="between"),
        ("GW305",),
        "discuss.pytorch.org: weights do not change, zero_grad() stands between backward() and step()",
        ("GW303", "GW302", "GW306", *_IDLE),
    ),
    "tumours-rounded": Fault(
        whole(tables.tumours, 1, rounded=True),
        ("GW301", "GW306"),
        "discuss.pytorch.org on torch.round in forward: its gradient is 0 everywhere",
        ("GW303", "GW211", "GW201", "GW212", "GW202", "GW105", *_IDLE),
    ),
    "digits-loss-made-anew": Fault(
        whole(pictures.autoencoder, 1, wrapped=True),
        ("GW301",),
        "discuss.pytorch.org, element 0 does not require grad: torch.tensor(loss.item(), requires_grad=True)",
        ("GW303", "GW302", "GW305", *_IDLE),
    ),
    "lenet-optimizer-of-the-old": Fault(
        whole(figures.lenet, 1, late=True),
        ("GW302",),
        "pytorch/pytorch#14467, microsoft/nni#4521: the optimizer holds the parameters of another network",
        ("GW303", "GW301", *_IDLE),
    ),
    "ring-second-optimizer-of-the-first": Fault(
        whole(pictures.gan, 1, trained="other"),
        ("GW302",),
        "forums on GANs: Adam(D.parameters()) copied for the generator",
        ("GW303", *_IDLE),
    ),
    "lenet-body-frozen": Fault(
        whole(figures.lenet, 1, frozen=True),
        ("GW453",),
        "discuss.pytorch.org on transfer learning: requires_grad = False for a body that was never trained",
        ("GW209", "GW301", "GW303", "GW302"),
    ),
    "lenet-tested-in-train-mode": Fault(
        whole(figures.lenet, 1, drop=0.5, still=False),
        ("GW432",),
        "A. Karpathy, the most common neural net mistakes: train/eval mode is not toggled",
        ("GW434",),
        begins=AT_FIRST_EVALUATION,
    ),
    # -- what is fed --------
    "figures-labels-shuffled-apart": Fault(
        whole(figures.tutorial, 1, labels="shuffled"),
        ("GW102", "GW112", "GW107"),
        "udacity/sdc-issue-reports#1326: features and labels are shuffled each by itself",
        ("GW206", "GW209", "GW801", "GW110", "GW311", "GW805", "GW108"),
    ),
    "lenet-reshaped-for-transposed": Fault(
        whole(figures.lenet, 1, order="reshaped"),
        ("GW102", "GW112", "GW107"),
        "forums on SVHN: pictures lie along the last axis of the file, reshape() in place of transpose()",
        ("GW206", "GW209", "GW801", "GW311", "GW805", "GW108"),
    ),
    "figures-in-order-of-folders": Fault(
        whole(figures.tutorial, 1, labels="sorted", shuffle=False),
        ("GW111",),
        "forums on ImageFolder and flow_from_directory: files lie by class, shuffle=False",
        (*_TORN, "GW102", "GW903", "GW112"),
    ),
    "frauds-not-weighed": Fault(
        whole(tables.fraud, 1, weighted=False),
        ("GW203",),
        "StackOverflow, imbalanced data: 98 % accuracy and hardly a fraud found",
        ("GW805", "GW804"),
    ),
    "frauds-told-by-refunds": Fault(
        whole(tables.fraud, 1, leaked=True),
        ("GW803",),
        "Kaggle on leakage: a column that is known only after the fact",
        ("GW204",),
        begins=AT_FIRST_EVALUATION,
    ),
    "passengers-window-holds-the-answer": Fault(
        whole(sequences.passengers, 1, peeking=True),
        ("GW803",),
        "r/learnmachinelearning: the window includes the day that is to be foretold",
        ("GW104", "GW802"),
        begins=AT_FIRST_EVALUATION,
    ),
}
