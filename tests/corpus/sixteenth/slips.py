"""Faults of the sixteenth held-out set in graphs, fields, sounds, games and cells that fire."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.sixteenth import boards, messages, operators, rays, spikes, steering, voices
from tests.corpus.sixteenth.signs import BROKEN, HOT, IDLE, SCALE, STUCK
from tests.corpus.whole import whole

SLIPS: dict[str, Fault] = {
    # -- graphs --------
    "nets-all-read-at-once": Fault(
        whole(messages.nets, 1, read="all"),
        ("GW103", "GW311", "GW102"),
        "pyg-team/pytorch_geometric#594 and forums: the mean over all knots of a batch of graphs",
        STUCK,
    ),
    "nets-with-edges-of-the-first": Fault(
        whole(messages.nets, 1, moved=False),
        ("GW103", "GW102"),
        "google-deepmind/graph_nets#135, deepchem/deepchem#3291: edges of a batch are not offset",
        STUCK,
    ),
    "nets-without-activation": Fault(
        whole(messages.nets, 1, act=False),
        ("GW313",),
        "Humbatova 2020, missing activation: linear messages",
        STUCK,
    ),
    "nets-adam-of-three-tenths": Fault(
        whole(messages.nets, 1, rate=0.3),
        ("GW411",),
        "Humbatova 2020, hyperparameters: learning rate",
        HOT,
    ),
    "town-through-sixteen-layers": Fault(
        whole(messages.town, 1, layers=16),
        ("GW306", "GW310"),
        "forums on graph networks: everybody becomes alike in many layers (Li et al. 2018)",
        (*STUCK, "GW214", "GW412"),
    ),
    "town-degrees-not-divided": Fault(
        whole(messages.town, 3, name="sgd", rate=0.3, norm=False),
        ("GW201", "GW310", "GW411"),
        "Kipf and Welling 2017: sums over neighbours without normalisation change the scale",
        (*HOT, "GW471"),
    ),
    "town-nearly-all-dropped": Fault(
        whole(messages.town, 1, drop=0.95),
        ("GW462",),
        "Humbatova 2020, dropout rate; the share to keep was taken for the share to drop",
        ("GW802", *IDLE),
    ),
    "town-decayed-away": Fault(
        whole(messages.town, 1, decay=0.5),
        ("GW451", "GW441"),
        "Humbatova 2020, regularisation too strong: Adam with weight_decay=0.5",
        ("GW452", "GW306", "GW310", *IDLE),
    ),
    "town-stays-in-eval-mode": Fault(
        whole(messages.town, 1, back=False),
        ("GW432",),
        "forums on the script of every graph tutorial: model.train() stands before the loop",
        ("GW801",),
        begins=AT_FIRST_EVALUATION,
    ),
    # -- fields and functions --------
    "scene-colours-to-255": Fault(
        whole(rays.scene, 1, bright=255.0),
        ("GW212", "GW109"),
        "forums on NeRF with own pictures: colours of 0 to 255 behind a sigmoid",
        (*SCALE, "GW107"),
    ),
    "scene-dark-from-the-start": Fault(
        whole(rays.scene, 3, dense="relu", start=-2.0, waves=3),
        ("GW308", "GW311", "GW306"),
        "kwea123/nerf_pl#51, munshisanowarraihan/nerf-meta#3: ReLU makes every density zero, nothing is learnt",
        (*STUCK, "GW211", "GW303"),
    ),
    "scene-rate-sinks-each-step": Fault(
        whole(rays.scene, 1, decays=0.9),
        ("GW413",),
        "forums on ExponentialLR: a factor meant for epochs, a step after each batch",
        IDLE,
    ),
    "scene-cleared-after-backward": Fault(
        whole(rays.scene, 1, order="cleared"),
        ("GW305",),
        "discuss.pytorch.org: zero_grad() between backward() and step()",
        ("GW303", "GW304", "GW306", *IDLE),
    ),
    "scene-adam-of-three-tenths": Fault(
        whole(rays.scene, 1, rate=0.3),
        ("GW411",),
        "kwea123/nerf_pl#51 and the like: black pictures after the first steps",
        HOT,
    ),
    "scene-density-not-handed-over": Fault(
        whole(rays.scene, 1, given="paint"),
        ("GW302",),
        "forums on NeRF: one of two networks is missing in grad_vars",
        ("GW303",),
    ),
    "fluid-with-still-water": Fault(
        whole(operators.fluid, 1, still=40),
        ("GW601", "GW603"),
        "forums on Fourier operators: the relative loss of a sample that is zero",
        BROKEN,
    ),
    "fluid-without-activation": Fault(
        whole(operators.fluid, 1, act=False),
        ("GW313",),
        "Humbatova 2020, missing activation",
        STUCK,
    ),
    "fluid-complex-weights-not-handed-over": Fault(
        whole(operators.fluid, 1, given="plain"),
        ("GW302",),
        "forums on Fourier layers: complex weights were left out of the optimizer, which once could not step them",
        ("GW303",),
    ),
    "fluid-adam-of-a-half": Fault(
        whole(operators.fluid, 1, rate=0.5),
        ("GW411",),
        "Humbatova 2020, hyperparameters: learning rate",
        HOT,
    ),
    "fluid-begins-too-large": Fault(
        whole(operators.fluid, 1, start=30.0),
        ("GW471",),
        "forums on Fourier layers: complex weights from randn without the factor 1 / (in * out)",
        ("GW201", "GW310", "GW412", "GW307", "GW209", "GW411"),
    ),
    "fluid-in-thousandths": Fault(
        whole(operators.fluid, 2, layers=3, width=12, judged="mse", epochs=6, unit=1000.0),
        ("GW109", "GW107"),
        "SCALING; forums on operators: neither inputs nor targets are normalised",
        SCALE,
    ),
    "water-compared-with-all": Fault(
        whole(operators.places, 1, flat=True),
        ("GW202",),
        "forums on MSELoss: (N, 1) against (N,) is broadcast to (N, N)",
        STUCK,
    ),
    "water-never-cleared": Fault(
        whole(operators.places, 3, name="sgd", rate=0.05, clear=False),
        ("GW304",),
        "A. Karpathy, the most common neural net mistakes: .zero_grad() before .backward()",
        (*HOT, "GW411"),
    ),
    "water-without-activation": Fault(
        whole(operators.places, 1, act="none"),
        ("GW313",),
        "Humbatova 2020, missing activation",
        STUCK,
    ),
    # -- sounds --------
    "voices-some-of-them-mute": Fault(
        whole(voices.voices, 1, silent=0.1, least=0.0),
        ("GW601", "GW603"),
        "csteinmetz1/auraloss#25, breizhn/DTLN-aec#15: decibels of silence",
        BROKEN,
    ),
    "voices-masked-over-the-batch": Fault(
        whole(voices.voices, 2, name="adamw", mask="rows", blocks=2),
        ("GW103",),
        "forums on nn.Softmax: dim=0 is the batch",
        STUCK,
    ),
    "voices-never-cleared": Fault(
        whole(voices.voices, 3, name="sgd", rate=0.02, norm=False, clear="no"),
        ("GW304",),
        "snakers4/silero-vad#699: zero_grad() is missing",
        (*HOT, "GW411", "GW421"),
    ),
    "voices-rate-sinks-each-step": Fault(
        whole(voices.voices, 1, decays=0.9),
        ("GW413",),
        "forums on ExponentialLR: a factor meant for epochs, a step after each batch",
        IDLE,
    ),
    "voices-body-frozen": Fault(
        whole(voices.voices, 1, frozen=True),
        ("GW453",),
        "forums on fine-tuning: a body that was never trained is frozen",
        ("GW301", "GW302", "GW303", *IDLE),
    ),
    "voices-rate-too-low": Fault(
        whole(voices.voices, 1, rate=1e-6),
        ("GW412",),
        "Islam 2020, repairs of hyperparameters: learning rate too small",
        IDLE,
    ),
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
        whole(boards.boards, 3, judged="one", end="none", epochs=10, spoken=False, squashed=True),
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
}
