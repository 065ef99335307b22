"""Faults of the seventeenth held-out set."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, DEEPCHECKER, SCALING, Fault
from tests.corpus.seventeenth import (
    capsules,
    captions,
    clicks,
    columns,
    couplings,
    domains,
    doubts,
    dreams,
    everyday,
    experts,
    forecasts,
    friends,
    guidance,
    lessons,
    modular,
    paths,
    preferences,
    prices,
    scenes,
    seldom,
    sines,
    spoken,
    tasks,
    turning,
    zoom,
)
from tests.corpus.seventeenth.signs import BROKEN, HOT, IDLE, SCALE, STUCK
from tests.corpus.whole import whole

FAULTS: dict[str, Fault] = {
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
    "frauds-as-they-come": Fault(
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
        "Sitzmann et al. 2020: without their start sines do not learn",
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
        "huggingface/trl forums: the reference is the same object",
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
        ("GW411",),
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
        "Shazeer et al. 2017: without a loss for balance a few experts get everything",
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
        "forums on MAML: inner parameters are copied by detach, the start never learns",
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
        "forums on Sinkhorn: exp of a cost over a small temperature is zero, one over it infinite",
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
    # -- what people want --------
    "tags-by-means-at-the-rate-of-sums": Fault(
        whole(clicks.tags, 3, name="sgd", rate=0.5, sums=False),
        ("GW412",),
        "forums on extreme classification: the mean over thousands of tags leaves nearly no gradient",
        IDLE,
    ),
    "clicks-squashed-twice": Fault(
        whole(clicks.clicks, 1, squashed=True),
        ("GW202", "GW212"),
        "forums on BCEWithLogitsLoss: a sigmoid before it",
        STUCK,
    ),
    "clicks-places-begin-large": Fault(
        whole(clicks.clicks, 1, spread=10.0),
        ("GW201", "GW471"),
        "forums on factorisation machines: places begin with a spread of ten",
        (*HOT, "GW214", "GW412"),
    ),
    "towers-things-not-handed-over": Fault(
        whole(clicks.towers, 1, rate=0.3, given="person"),
        ("GW302",),
        "forums on two towers: the optimizer got one of them",
        ("GW303", *IDLE),
    ),
    "hits-in-ten-thousands": Fault(
        whole(clicks.hits_in_order, 2, judged="pairs", name="sgd", rate=2e-3, queries=8, unit=10000.0),
        ("GW107",),
        SCALING,
        (*SCALE, *BROKEN, *STUCK),
    ),
    # -- things in pictures --------
    "squares-by-anchors-rate-of-one": Fault(
        whole(scenes.anchors, 1, rate=1.0),
        ("GW411",),
        "Humbatova 2020, hyperparameters: learning rate",
        (*HOT, *BROKEN),
    ),
    "squares-by-dice-of-scores": Fault(
        whole(scenes.masks, 1, squashed=False),
        ("GW202", "GW211"),
        "forums on Dice: the sigmoid was forgotten, the loss leaves its range",
        (*HOT, *STUCK),
    ),
    "corners-begin-at-zero": Fault(
        whole(scenes.joints, 1, begun=0.0),
        ("GW114",),
        "Humbatova 2020, weights' initialisation: all zeros",
        (*STUCK, "GW303", "GW306", "GW471", "GW308"),
    ),
    # -- what comes next --------
    "sales-counts-of-raw-numbers": Fault(
        whole(forecasts.counted, 1, scaled=False),
        ("GW107", "GW109"),
        "Salinas et al. 2020: without scaling by the mean of each series",
        (*SCALE, *STUCK),
    ),
    "sales-counts-below-zero": Fault(
        whole(forecasts.counted, 1, safe=False),
        ("GW601", "GW603"),
        "forums on DeepAR: softplus of the mean was forgotten",
        (*BROKEN, *HOT),
    ),
    "sales-warm-for-ever": Fault(
        whole(forecasts.sold, 2, kind="blocks", judged="squares", warm=100000),
        ("GW413", "GW412"),
        "forums on warm-up: epochs taken for steps, the rate never arrives",
        IDLE,
    ),
    "pendulum-brake-not-handed-over": Fault(
        whole(forecasts.swung, 1, given="long"),
        ("GW302",),
        "forums on differentiable physics: one of two numbers was handed over",
        ("GW303", *IDLE),
    ),
    # -- tables --------
    "patients-by-cox-in-thousands": Fault(
        whole(columns.lasting, 1, unit=1000.0),
        ("GW107",),
        SCALING,
        (*SCALE, *BROKEN, *STUCK),
    ),
    # -- a graph --------
    "friends-never-cleared": Fault(
        whole(friends.links, 1, clear=False),
        ("GW304",),
        "Humbatova 2020, training: zero_grad is missing",
        (*HOT, *BROKEN),
    ),
    # -- signs in a row --------
    "sounds-longer-than-their-frames": Fault(
        whole(spoken.heard, 1, short=True, endless=True),
        ("GW601",),
        "pytorch/pytorch forums on CTCLoss: too few frames for the targets, zero_infinity is off",
        (*BROKEN, *HOT),
    ),
    "tales-not-shifted": Fault(
        whole(spoken.told, 1, shift=0),
        ("GW955",),
        "forums on language models: inputs and targets are the same",
        ("GW104", "GW204", "GW803"),
    ),
    "tales-with-the-future": Fault(
        whole(spoken.told, 1, causal=False),
        ("GW104",),
        "forums on nn.TransformerEncoder: no mask",
        ("GW204", "GW803", "GW955"),
    ),
    # -- pictures given back --------
    "ring-that-pleases-nobody": Fault(
        whole(zoom.pleased, 1, stays=True),
        ("GW301",),
        "forums on GANs: detach() in the step of the generator too",
        ("GW302", "GW303", "GW206", *IDLE),
    ),
}
