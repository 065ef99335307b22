"""Faults of the sixteenth held-out set in games, cells that fire, noise that is moved and hospitals."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.sixteenth import boards, movers, spikes, steering, wards
from tests.corpus.sixteenth.signs import BROKEN, HOT, IDLE, SCALE, STUCK
from tests.corpus.whole import whole

STRAYS: dict[str, Fault] = {
    # -- games --------
    "boards-free-places-masked": Fault(
        whole(boards.boards, 1, masked="free"),
        ("GW201", "GW202", "GW958"),
        "forums on masked_fill: True means filled, the mask of what is allowed was given",
        (*HOT, "GW210", "GW952"),
    ),
    "boards-minus-infinity-times-nothing": Fault(
        whole(boards.boards, 1, low=-float("inf")),
        ("GW601",),
        "forums on masked policies: a target of 0 times a logarithm of minus infinity",
        BROKEN,
    ),
    "boards-worth-in-hundredths": Fault(
        whole(boards.boards, 1, points=100.0),
        ("GW212", "GW109"),
        "Humbatova 2020, wrong activation of the last layer: tanh before targets of -100 to 100",
        (*STUCK, "GW210", "GW309", "GW412", "GW107"),
    ),
    "boards-worth-compared-with-all": Fault(
        whole(boards.boards, 1, flat=True),
        ("GW202",),
        "suragnair/alpha-zero-general and the like: v of (N, 1) and z of (N,) in a loss written by hand",
        ("GW209",),
    ),
    "boards-softmax-twice": Fault(
        whole(boards.boards, 3, judged="one", end="none", spoken=False, squashed=True),
        ("GW202", "GW212"),
        "UMLAUT (Schoop et al. 2021): softmax before cross entropy",
        STUCK,
    ),
    "boards-body-frozen": Fault(
        whole(boards.boards, 1, frozen=True),
        ("GW453",),
        "forums on transfer learning: a body that was never trained is frozen",
        ("GW301", "GW302", "GW303", *IDLE),
    ),
    "boards-tested-in-train-mode": Fault(
        whole(boards.boards, 2, drop=0.2, norm=True, name="adamw", asked="train"),
        ("GW432",),
        "pliang279/MultiBench#26: validation while the model is in train mode",
        begins=AT_FIRST_EVALUATION,
    ),
    "boards-decayed-away": Fault(
        whole(boards.boards, 1, decay=0.1),
        ("GW451", "GW441"),
        "Humbatova 2020, regularisation too strong: Adam with weight_decay=0.1",
        ("GW452", "GW306", "GW310", *IDLE),
    ),
    "puck-paid-in-thousands": Fault(
        whole(steering.puck, 1, pay=1000.0),
        ("GW109", "GW107"),
        "stable-baselines3, tips: rewards should be normalised; forums on SAC with rewards in the thousands",
        (*SCALE, "GW210"),
    ),
    "puck-critics-never-cleared": Fault(
        whole(steering.puck, 1, clear="actor"),
        ("GW304",),
        "forums on actor and critic: the loss of the actor leaves gradients in the critics, which nobody clears",
        (*HOT, "GW411", "GW210"),
    ),
    "puck-second-critic-not-handed-over": Fault(
        whole(steering.puck, 1, critics_trained="one"),
        ("GW302",),
        "forums on SAC and TD3: the optimizer was given q1.parameters() alone",
        ("GW303", "GW210"),
    ),
    "puck-rates-of-a-half": Fault(
        whole(steering.puck, 1, rate=0.5, actor_rate=0.5),
        ("GW411",),
        "Humbatova 2020, hyperparameters: learning rate",
        (*HOT, "GW210"),
    ),
    "puck-evolves-too-slowly": Fault(
        whole(steering.guesses, 1, rate=1e-5),
        ("GW412",),
        "forums on evolution strategies: Adam with 1e-5",
        IDLE,
    ),
    # -- cells that fire --------
    "spikes-without-a-slope": Fault(
        whole(spikes.spikes, 1, slope="bare"),
        ("GW301",),
        "Neftci et al. 2019; forums on spiking networks: a comparison has no gradient",
        ("GW302", "GW303", "GW306", *IDLE),
    ),
    "spikes-that-never-come": Fault(
        whole(spikes.spikes, 1, bar=30.0),
        ("GW306", "GW308", "GW311"),
        "forums on spiking networks: no neuron ever reaches its threshold",
        (*STUCK, "GW412", "GW214", "GW303"),
    ),
    "spikes-softmax-twice": Fault(
        whole(spikes.spikes, 1, last="softmax"),
        ("GW202", "GW212"),
        "UMLAUT (Schoop et al. 2021): softmax before cross entropy",
        STUCK,
    ),
    "spikes-of-one-digit-at-a-time": Fault(
        whole(spikes.spikes, 1, rows_mixed=False),
        ("GW111",),
        "Humbatova 2020, training data: not shuffled",
        (*HOT, *STUCK, "GW903"),
    ),
    "spikes-momentum-of-almost-one": Fault(
        whole(spikes.spikes, 2, layers=1, width=64, name="sgd", rate=0.1, momentum=0.999),
        ("GW442",),
        "Islam 2020, hyperparameters: momentum",
        (*HOT, "GW411"),
    ),
    # -- noise that is moved --------
    "heaps-in-large-units": Fault(
        whole(movers.cloud, 1, unit=200.0),
        ("GW109", "GW107"),
        "forums on diffusion of points: the data were not scaled to the noise",
        SCALE,
    ),
    "spiral-the-copy-is-handed-over": Fault(
        whole(movers.cloud, 2, kind="spiral", follow=0.98, rate=5e-3, given="after"),
        ("GW302",),
        "forums on averaged weights: the optimizer was made of the copy that is to follow",
        ("GW303", "GW301", *IDLE),
    ),
    "heaps-without-activation": Fault(
        whole(movers.cloud, 1, act=False),
        ("GW313",),
        "Humbatova 2020, missing activation",
        STUCK,
    ),
    "heaps-never-cleared": Fault(
        whole(movers.cloud, 3, name="sgd", rate=0.1, clear=False),
        ("GW304",),
        "A. Karpathy, the most common neural net mistakes: .zero_grad() before .backward()",
        (*HOT, "GW411"),
    ),
    # -- hospitals --------
    "wards-raw-columns": Fault(
        whole(wards.averaged, 1, raw=True),
        ("GW107",),
        "Humbatova 2020, missing preprocessing: columns between 0.001 and 4,254",
        SCALE,
    ),
    "wards-of-one-digit-each": Fault(
        whole(wards.averaged, 3, digits=True, local=8, rate=0.1, rounds=150, kinds="one each", wards=10),
        ("GW111",),
        "TsingZ0/PFLlib#11, #14, diaoenmao/HeteroFL#5: each client holds one class, one is asked at a time",
        (*HOT, *STUCK, "GW903"),
    ),
    "wards-whose-news-is-dropped": Fault(
        whole(wards.averaged, 1, told="not"),
        ("GW303", "GW206"),
        "forums on federated averaging: the state of the copy is never loaded into the global model",
        (*IDLE, "GW306", "GW412"),
    ),
    "wards-local-rate-of-ten": Fault(
        whole(wards.averaged, 1, rate=10.0),
        ("GW411", "GW601", "GW603"),
        "Humbatova 2020, hyperparameters: learning rate of the clients",
        (*HOT, *BROKEN),
    ),
    "wards-raw-columns-in-private": Fault(
        whole(wards.private, 1, raw=True),
        ("GW107",),
        "Humbatova 2020, missing preprocessing",
        SCALE,
    ),
    "wards-clipped-to-nothing": Fault(
        whole(wards.private, 1, bound=1e-3),
        ("GW421", "GW422", "GW412"),
        "forums on private SGD: a bound of 0.001 at the rate of before",
        IDLE,
    ),
}
