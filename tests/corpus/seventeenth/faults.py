"""Faults of the seventeenth held-out set: digits, prices, noise, grids; the others are in slips.py and strays.py."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, DEEPCHECKER, SCALING, Fault
from tests.corpus.seventeenth import couplings, everyday, guidance, modular, paths, preferences, prices, seldom, sines
from tests.corpus.seventeenth.signs import BROKEN, HOT, IDLE, SCALE, STUCK
from tests.corpus.seventeenth.slips import SLIPS
from tests.corpus.seventeenth.strays import STRAYS
from tests.corpus.whole import whole

FAULTS: dict[str, Fault] = {
    **SLIPS,
    **STRAYS,
    # -- digits, as everybody does --------
    "everyday-epoch-plan-by-batches": Fault(
        whole(everyday.digits, 21, plan="steps", rate=0.05, steps=300),
        ("GW413",),
        "forums on StepLR: a plan meant for epochs, stepped after each batch",
        (*IDLE, "GW412"),
    ),
    "everyday-sums-at-the-rate-of-means": Fault(
        whole(everyday.digits, 10, sums=True, rate=0.3, steps=300),
        ("GW411",),
        "forums on reduction='sum': the rate of the mean is kept",
        HOT,
    ),
    "everyday-batches-of-two-normed": Fault(
        whole(everyday.digits, 1, batch=2, rate=0.03, momentum=0.0, steps=1400, every=200, norm="batch"),
        ("GW403",),
        "forums on BatchNorm: batches of two for want of memory",
        (*STUCK, "GW207", "GW308", "GW404", "GW434", "GW801"),
    ),
    "everyday-nearly-all-dropped": Fault(
        whole(everyday.digits, 6, drop=0.97, width=256, rate=0.05, steps=400),
        ("GW462",),
        "forums on Dropout: the share that is kept was given",
        (*STUCK, "GW802", "GW432", "GW404"),
    ),
    "everyday-never-back-to-train": Fault(
        whole(everyday.digits, 6, drop=0.65, width=256, rate=0.05, steps=400, back=False),
        ("GW432",),
        "forums on eval(): after the first validation train() is never called again",
        ("GW801", "GW802"),
        begins=AT_FIRST_EVALUATION,
    ),
    "everyday-one-name-at-a-time": Fault(
        whole(everyday.digits, 7, plan="cyclic", rate=0.3, momentum=0.5, steps=400, in_order=True),
        ("GW111",),
        "forums on DataLoader: the files are read folder by folder, shuffle was forgotten",
        (*STUCK, *HOT),
    ),
    "everyday-ball-too-heavy": Fault(
        whole(everyday.digits, 3, momentum=0.9999, rate=0.005, steps=400),
        ("GW442",),
        "forums on SGD: a momentum of 0.9999 for 0.99",
        (*STUCK, *HOT, "GW411"),
    ),
    "rare-frauds-as-they-come": Fault(
        whole(seldom.frauds, 1, judged="plain"),
        ("GW203", "GW805"),
        "forums on class imbalance: three of a hundred, and everything is called harmless",
        ("GW311", "GW803", "GW206"),
    ),
    # -- prices in euros --------
    "flats-euros-of-a-bare-layer": Fault(
        whole(prices.flats, 1, scaled=False),
        ("GW109",),
        SCALING,
        (*SCALE, *STUCK, "GW202", "GW443"),
    ),
    "flats-forgotten-axis": Fault(
        whole(prices.flats, 1, flat_target=True),
        ("GW202",),
        "forums on mse_loss: (N, 1) against (N) is broadcast",
        (*STUCK, "GW102", "GW214"),
    ),
    "flats-squashed": Fault(
        whole(prices.flats, 2, judged="amounts", steps=350, squashed=True),
        ("GW212",),
        DEEPCHECKER,
        (*STUCK, "GW309", "GW109", "GW202"),
    ),
    # -- sums on a clock --------
    "clock-of-too-few-sums": Fault(
        whole(modular.clock, 1, share=0.25),
        ("GW112", "GW801"),
        "Power et al. 2022: of a quarter of the sums nothing is understood",
        ("GW803",),
    ),
    # -- layers of sines --------
    "rings-by-sines-begun-by-normal": Fault(
        whole(sines.field, 1, begun="normal"),
        ("GW471",),
        "Sitzmann et al. 2020, lucidrains/siren-pytorch#1: sines learn little from another start",
        (*HOT, *STUCK, "GW214"),
    ),
    "rings-without-sines": Fault(
        whole(sines.field, 1, bent=False, fast=1.0),
        ("GW313",),
        "forums: the activation was forgotten in forward",
        (*STUCK, "GW214", "GW202"),
    ),
    # -- what is liked better --------
    "answers-better-one-twice": Fault(
        whole(preferences.liked, 1, same=True, centred=0.0),
        ("GW211",),
        "forums on reward models: both sides read the chosen answer",
        (*STUCK, "GW303", "GW412", "GW443"),
    ),
    "answers-by-dpo-against-itself": Fault(
        whole(preferences.direct, 1, old="itself"),
        ("GW211",),
        "Yifan-Song793/ETO#14, YiyangZhou/POVID#11: the reference follows the policy, the loss stays at 0.6931",
        (*STUCK, "GW303", "GW412", "GW443"),
    ),
    "clock-never-cleared": Fault(
        whole(modular.clock, 1, clear=False),
        ("GW304",),
        "Humbatova 2020, training: zero_grad is missing",
        (*HOT, *BROKEN, "GW421", "GW801"),
    ),
    # -- noise, energies, densities --------
    "heaps-noise-through-a-sigmoid": Fault(
        whole(guidance.heaps, 1, squashed=True),
        ("GW212",),
        "forums on diffusion: a U-Net for masks, with its sigmoid, says the noise",
        (*STUCK, "GW202", "GW309"),
    ),
    "heaps-time-in-thousands": Fault(
        whole(guidance.heaps, 1, waves=False, ticks=1000.0),
        ("GW107",),
        "forums on diffusion: the number of the step is fed as it is",
        (*SCALE, *STUCK),
    ),
    "heaps-in-pixels": Fault(
        whole(guidance.heaps, 1, unit=100.0),
        ("GW107",),
        "forums on diffusion: data between -128 and 127",
        (*SCALE, *STUCK),
    ),
    "heaps-slopes-not-weighed": Fault(
        whole(guidance.slopes, 2, name="sgd", rate=0.03, steps=700, weighed=False),
        ("GW411", "GW307"),
        "Song & Ermon 2019: small noise outweighs all else when the loss is not weighed",
        (*HOT, *BROKEN, "GW109"),
    ),
    "moons-couplings-rate-of-a-third": Fault(
        whole(couplings.moons, 1, noise=0.1, unit=0.1, clip=1.0, depth=5, falls=True, rate=0.3),
        ("GW411",),
        "Humbatova 2020, hyperparameters: learning rate",
        (*HOT, *BROKEN),
    ),
    "moons-in-thousands": Fault(
        whole(
            couplings.moons,
            2,
            noise=0.1,
            per_dot=True,
            norm=False,
            rate=2e-3,
            steps=400,
            clip=1.0,
            falls=True,
            unit=1000.0,
        ),
        ("GW107", "GW201"),
        SCALING,
        (*SCALE, *BROKEN, *STUCK),
    ),
    # -- a walk on a grid --------
    "grid-total-not-handed-over": Fault(
        whole(paths.balance, 1, steps=200, given="nets"),
        ("GW302",),
        "forums on GFlowNets: log Z is no part of what the optimizer was given",
        ("GW303", *IDLE),
    ),
    "grid-balance-never-cleared": Fault(
        whole(paths.balance, 1, steps=200, clear=False),
        ("GW304",),
        "Humbatova 2020, training: zero_grad is missing",
        (*HOT, *BROKEN),
    ),
    "grid-heads-not-handed-over": Fault(
        whole(paths.clipped, 1, given="body"),
        ("GW302",),
        "forums on PPO: the optimizer got the shared body alone",
        ("GW303", *IDLE),
    ),
    "grid-rewards-in-thousands": Fault(
        whole(paths.clipped, 1, pay=1000.0),
        ("GW109", "GW210", "GW421"),
        "Engstrom et al. 2020: rewards are not scaled, the value loss drowns the policy in the shared body",
        (*SCALE, *STUCK),
    ),
    "grid-deciding-with-the-future": Fault(
        whole(paths.decided, 1, causal=False),
        ("GW104",),
        "forums on decision transformers: no causal mask, the way is read off",
        ("GW204", "GW803", "GW955"),
    ),
    "grid-deciding-clipped-to-nothing": Fault(
        whole(paths.decided, 1, name="sgd", rate=0.05, clip=1e-5),
        ("GW421", "GW422"),
        "forums on clip_grad_norm_: a bound of 0.00001",
        ("GW412", *IDLE),
    ),
}
