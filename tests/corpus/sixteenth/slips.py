"""Faults of the sixteenth held-out set in graphs, fields and sounds."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.sixteenth import messages, operators, rays, voices
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
        whole(voices.voices, 3, name="sgd", rate=0.02, norm=False, decays=0.995, clear="no"),
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
}
