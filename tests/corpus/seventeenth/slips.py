"""Faults of the seventeenth held-out set in worlds, experts, codes, doubts, tasks, games and heaps."""

from __future__ import annotations

from tests.corpus.fault import SCALING, Fault
from tests.corpus.seventeenth import capsules, captions, domains, doubts, dreams, experts, lessons, tasks, turning
from tests.corpus.seventeenth.signs import BROKEN, HOT, IDLE, SCALE, STUCK
from tests.corpus.whole import whole

SLIPS: dict[str, Fault] = {
    # -- what the world does --------
    "ball-prior-not-handed-over": Fault(
        whole(dreams.dreams, 1, given="before"),
        ("GW302",),
        "forums on Dreamer: a module is missing in the list of parameters",
        ("GW303", *IDLE),
    ),
    "ball-world-rate-of-a-third": Fault(
        whole(dreams.dreams, 1, rate=0.3),
        ("GW411",),
        "Humbatova 2020, hyperparameters: learning rate",
        (*HOT, *BROKEN),
    ),
    # -- experts --------
    "regions-router-leans": Fault(
        whole(experts.experts, 1, leaning=12.0, even=0.0, small=0.0),
        ("GW956",),
        "pytorch/torchtitan#1246, Shazeer et al. 2017: without a loss for balance a few experts get everything",
        ("GW303", "GW301", "GW112", "GW312", *STUCK),
    ),
    "regions-experts-not-handed-over": Fault(
        whole(experts.experts, 1, given="experts"),
        ("GW302",),
        "forums on ModuleList: the experts were made after the optimizer",
        ("GW303", *IDLE),
    ),
    "regions-balance-above-all": Fault(
        whole(experts.experts, 1, even=300.0),
        ("GW451", "GW210"),
        "forums on load balancing: the coefficient is not scaled",
        (*STUCK, "GW421"),
    ),
    # -- pictures, captions, codes --------
    "captions-tower-not-handed-over": Fault(
        whole(captions.captions, 1, given="picture"),
        ("GW302",),
        "forums on CLIP: the optimizer got the tower of pictures alone",
        ("GW303", *IDLE),
    ),
    "digits-codes-without-a-way-back": Fault(
        whole(captions.codes, 1, through=False),
        ("GW301",),
        "forums on VQ-VAE: the straight-through estimator is missing, the encoder gets nothing",
        ("GW302", "GW303", "GW306", *IDLE),
    ),
    # -- how sure --------
    "curves-in-thousands": Fault(
        whole(doubts.process, 1, unit=1000.0),
        ("GW109", "GW107", "GW201"),
        SCALING,
        (*SCALE, *BROKEN, *STUCK),
    ),
    "curves-never-cleared": Fault(
        whole(doubts.process, 2, name="sgd", rate=0.02, least=0.1, steps=900, clear=False),
        ("GW304",),
        "Humbatova 2020, training: zero_grad is missing",
        (*HOT, *BROKEN, "GW411", "GW421"),
    ),
    "patients-in-a-band-of-raw-targets": Fault(
        whole(doubts.band, 1, raw=False),
        ("GW109",),
        SCALING,
        (*SCALE, *STUCK),
    ),
    # -- learning to learn --------
    "sines-cut-off-inside": Fault(
        whole(tasks.sines, 1, cut_off=True),
        ("GW301",),
        "KanishJebaMathewM/Truxify#13118: inner parameters are cut off from the graph, the start never learns",
        ("GW211", "GW303", "GW302", *IDLE),
    ),
    "signs-by-prototypes-in-255": Fault(
        whole(tasks.prototypes, 2, shots=1, ways=4, name="sgd", rate=0.01, noise=0.7, bright=255.0),
        ("GW107",),
        "forums on prototypical networks: pixels were never divided",
        (*SCALE, *BROKEN, *STUCK),
    ),
    # -- losses that rise on purpose --------
    "digits-warmer-reader-not-handed-over": Fault(
        whole(lessons.warmer, 1, given="write"),
        ("GW302",),
        "forums on VAEs: the optimizer got the decoder alone",
        ("GW303", *IDLE),
    ),
    "digits-warmer-never-cleared": Fault(
        whole(lessons.warmer, 1, clear=False),
        ("GW304",),
        "Humbatova 2020, training: zero_grad is missing",
        (*HOT, *BROKEN),
    ),
    # -- against each other --------
    "digits-abroad-body-not-handed-over": Fault(
        whole(domains.foreign, 1, given="name"),
        ("GW302",),
        "forums on gradient reversal: the optimizer got the classifier alone",
        ("GW303", *IDLE),
    ),
    "digits-abroad-in-255": Fault(
        whole(domains.foreign, 1, bright=255.0),
        ("GW107",),
        "forums on domain adaptation: pixels were never divided",
        (*SCALE, *BROKEN, *STUCK),
    ),
    "layers-searched-choice-left-out": Fault(
        whole(domains.search, 1, choose=False),
        ("GW302",),
        "forums on DARTS: the optimizer of the architecture is never made",
        ("GW303",),
    ),
    # -- turns and heaps --------
    "atoms-at-a-rate-of-three": Fault(
        whole(turning.forces, 1, rate=3.0),
        ("GW411",),
        "Humbatova 2020, hyperparameters: learning rate",
        (*HOT, *BROKEN),
    ),
    "ellipse-carried-by-plain-numbers": Fault(
        whole(turning.carried, 1, logs=False, warm=0.002),
        ("GW601", "GW603"),
        "PythonOT/POT#54, #336: exp of a cost over a small temperature is zero, one over it infinite",
        (*BROKEN, *HOT),
    ),
    "ellipse-without-an-activation": Fault(
        whole(turning.carried, 1, act=False),
        ("GW313",),
        "forums: no activation between the layers of a generator",
        (*STUCK, "GW214"),
    ),
    # -- agreeing, recalling, reading --------
    "digits-by-capsules-begin-at-zero": Fault(
        whole(capsules.capsules, 1, spread=0.0),
        ("GW114",),
        "Humbatova 2020, weights' initialisation: all zeros",
        (*STUCK, *BROKEN, "GW303", "GW471"),
    ),
}
