"""Faults of the sixteenth held-out set: tunes, tables, digits; the others are in slips.py and strays.py."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.sixteenth import drills, outbreaks, pupils, scans, trees, views
from tests.corpus.sixteenth.signs import BROKEN, HOT, IDLE, SCALE, STUCK
from tests.corpus.sixteenth.slips import SLIPS
from tests.corpus.sixteenth.strays import STRAYS
from tests.corpus.whole import whole

FAULTS: dict[str, Fault] = {
    **SLIPS,
    **STRAYS,
    # -- what follows --------
    "tunes-padded-on-both-sides": Fault(
        whole(scans.tunes, 1, causal=False),
        ("GW104",),
        "locuslab/TCN#8, maxim5/time-series-machine-learning#12: padding on both sides shows what is asked for",
        ("GW204", "GW803", "GW955"),
    ),
    "tunes-attention-without-its-triangle": Fault(
        whole(scans.tunes, 3, kind="linear", steps=400, causal=False),
        ("GW104",),
        "forums on linear attention: sums over the whole line",
        ("GW204", "GW803", "GW955"),
    ),
    "tunes-states-that-grow": Fault(
        whole(scans.tunes, 2, kind="fading", keeps="more"),
        ("GW310", "GW608", "GW201"),
        "Gu et al. 2022 on state spaces: factors above one explode along the line",
        (*HOT, "GW421", "GW411", "GW471", "GW953"),
    ),
    "tunes-not-shifted": Fault(
        whole(scans.tunes, 1, shifted=False),
        ("GW955",),
        "forums on language models: inputs and targets are the same",
        ("GW104", "GW204", "GW803"),
    ),
    "tunes-viewed-for-transposed": Fault(
        whole(scans.tunes, 1, viewed=True),
        ("GW202", "GW102"),
        "forums on cross entropy: (B, T, C) reshaped to (B, C, T)",
        (*STUCK, "GW103", "GW112", "GW214"),
    ),
    "tunes-adam-of-three-tenths": Fault(
        whole(scans.tunes, 1, rate=0.3, warm=0),
        ("GW411", "GW415"),
        "Humbatova 2020, hyperparameters: learning rate; no warm-up",
        (*HOT, "GW421", "GW957"),
    ),
    "tunes-clipped-to-nothing": Fault(
        whole(scans.tunes, 1, name="sgd", rate=0.2, clip=1e-4),
        ("GW421", "GW422"),
        "forums on clip_grad_norm_: a bound of 0.0001",
        ("GW412", *IDLE),
    ),
    # -- tables --------
    "bottles-raw-columns": Fault(
        whole(trees.bottles, 1, raw=True),
        ("GW107",),
        "Humbatova 2020, missing preprocessing: proline in the thousands",
        (*SCALE, *STUCK),
    ),
    "bottles-shares-taken-for-scores": Fault(
        whole(trees.bottles, 1, judged="scores"),
        ("GW202", "GW212"),
        "UMLAUT (Schoop et al. 2021): probabilities in cross_entropy; forums on soft trees",
        STUCK,
    ),
    "bottles-begin-at-zero": Fault(
        whole(trees.bottles, 1, start="zero"),
        ("GW114",),
        "Humbatova 2020, weights' initialisation: all zeros",
        (*STUCK, "GW303", "GW306", "GW471"),
    ),
    "bottles-branches-begin-large": Fault(
        whole(trees.bottles, 1, start="large"),
        ("GW471", "GW309"),
        "forums: normal_ with a large spread before a sigmoid",
        (*STUCK, "GW306", "GW412", "GW214"),
    ),
    "bottles-branches-not-handed-over": Fault(
        whole(trees.bottles, 1, given="leaves"),
        ("GW302",),
        "Humbatova 2020, optimiser: parameters are missing in it",
        ("GW303", *IDLE),
    ),
    "pumps-of-the-broken-alone": Fault(
        whole(trees.lasting, 1, judged="broken", seldom=0.02, batch=16, epochs=8),
        ("GW604",),
        "forums on masked losses: the mean over nothing, in a batch where no pump broke",
        (*BROKEN, "GW201"),
    ),
    "pumps-squashed-twice": Fault(
        whole(trees.lasting, 1, epochs=8, judged="squashed"),
        ("GW202", "GW212"),
        "forums on BCEWithLogitsLoss: the network ends with a sigmoid already",
        STUCK,
    ),
    "pumps-deep-sigmoid": Fault(
        whole(trees.lasting, 3, act="sigmoid", layers=8, name="sgd", rate=0.1),
        ("GW306",),
        "AUTOTRAINER, vanishing gradient: sigmoid in each layer",
        (*STUCK, "GW309", "GW310", "GW412", "GW471"),
    ),
    "pumps-learnt-by-heart": Fault(
        whole(trees.lasting, 1, count=150, epochs=80, width=128, batch=32),
        ("GW801", "GW112"),
        "Humbatova 2020, not enough training data: 150 pumps",
        begins=AT_FIRST_EVALUATION,
    ),
    "pumps-in-thousands": Fault(
        whole(trees.lasting, 1, epochs=8, unit=1000.0),
        ("GW107",),
        "SCALING: columns in thousands",
        SCALE,
    ),
    # -- digits without names --------
    "views-fall-together": Fault(
        whole(views.apart, 1, spread=0.0),
        ("GW311", "GW211"),
        "Bardes et al. 2022, ablation: without the variance term everything becomes one point",
        ("GW206", "GW209", "GW306", "GW310", "GW412"),
    ),
    "views-last-batch-of-one": Fault(
        whole(views.apart, 2, kind="barlow", decay=0.0, whole=False, tail=1, norm=False),
        ("GW601", "GW603", "GW604"),
        "Project-MONAI/MONAI#7530 on a batch of one: the spread of a single row, drop_last was forgotten",
        (*BROKEN, "GW403"),
    ),
    "views-adam-of-a-half": Fault(
        whole(views.apart, 1, rate=0.5),
        ("GW411",),
        "Humbatova 2020, hyperparameters: learning rate",
        (*HOT, "GW210"),
    ),
    "patches-writer-not-handed-over": Fault(
        whole(views.patches, 1, given="read"),
        ("GW302",),
        "Humbatova 2020, optimiser: the encoder's parameters alone",
        ("GW303", *IDLE),
    ),
    "patches-in-255": Fault(
        whole(views.patches, 1, bright=255.0),
        ("GW109", "GW107"),
        "forums on masked autoencoders: pixels were never normalised",
        (*SCALE, "GW421"),
    ),
    "patches-places-begin-large": Fault(
        whole(views.patches, 1, start=30.0),
        ("GW471", "GW953"),
        "forums on position embeddings: a spread of 30 hides the patches",
        (*STUCK, "GW951", "GW310", "GW412"),
    ),
    # -- digits with names --------
    "drill-lamb-of-three": Fault(
        whole(drills.drills, 1, rate=3.0),
        ("GW411",),
        "forums on LAMB: the rate of SGD for large batches",
        (*HOT, *BROKEN),
    ),
    "drill-lamb-decays-by-thirty": Fault(
        whole(drills.drills, 1, decay=30.0),
        ("GW451", "GW441"),
        "Humbatova 2020, regularisation too strong",
        ("GW452", "GW306", "GW310", *IDLE),
    ),
    "drill-deep-sigmoid": Fault(
        whole(drills.drills, 6, name="sgd", rate=0.05, act="sigmoid", around=False, depth=8),
        ("GW306",),
        "AUTOTRAINER, vanishing gradient: sigmoid in each layer, nothing leads around them",
        (*STUCK, "GW309", "GW310", "GW412", "GW471"),
    ),
    "drill-first-block-computed-again-in-vain": Fault(
        whole(drills.drills, 4, again="from the inputs", name="adamw", rate=2e-3, half=True),
        ("GW301",),
        "mlfoundations/open_clip#573, pytorch/pytorch#7617: no input of checkpoint() requires a gradient",
        ("GW302", "GW303", "GW306"),
    ),
    "drill-pieces-summed": Fault(
        whole(drills.drills, 6, name="sgd", rate=0.2, pieces=8, averaged=False),
        ("GW315", "GW411"),
        "forums on accumulation: the loss is not divided by the number of pieces",
        HOT,
    ),
    "drill-pieces-cleared": Fault(
        whole(drills.drills, 6, name="sgd", rate=0.05, pieces=4, clear_pieces=True),
        ("GW315",),
        "forums on accumulation: zero_grad() for each piece",
        ("GW305", "GW404"),
    ),
    "drill-betas-in-the-wrong-order": Fault(
        whole(drills.drills, 7, name="adam", rate=1e-2, betas=(0.999, 0.9)),
        ("GW442",),
        "forums on Adam: betas=(0.999, 0.9)",
        (*HOT, "GW411"),
    ),
    "drill-rate-sinks": Fault(
        whole(drills.drills, 1, plan="sinks"),
        ("GW413",),
        "forums on LambdaLR: 0.8 to the power of the epoch, stepped with each batch",
        IDLE,
    ),
    "drill-rate-climbs": Fault(
        whole(drills.drills, 6, name="sgd", rate=0.01, plan="climbs"),
        ("GW413", "GW411"),
        "Islam 2020: a schedule whose factor is above one",
        (*HOT, *BROKEN),
    ),
    "drill-names-shuffled-alone": Fault(
        whole(drills.drills, 4, again="new", name="adamw", rate=2e-3, labels="shuffled", epochs=16),
        ("GW112", "GW102", "GW107"),
        "StackOverflow: X and y were shuffled one by one",
        (*STUCK, "GW801", "GW110"),
    ),
    "few-mean-of-no-guess": Fault(
        whole(pupils.few, 1, named=300, drop=0.3, mean="over the sure"),
        ("GW604",),
        "facebookresearch/unbiased-teacher#56 and forums on FixMatch: at first nothing is sure, the mean of nothing",
        (*BROKEN, "GW210"),
    ),
    "few-guesses-in-other-units": Fault(
        whole(
            pupils.few,
            2,
            named=300,
            norm=True,
            name="sgd",
            rate=0.05,
            ramp=50,
            steps=200,
            weight=0.5,
            batch=30,
            raw_others=True,
        ),
        ("GW433", "GW107", "GW434"),
        "kekmodel/FixMatch-pytorch#7 on batch norm; forums: the rows without names went through another transform",
        (*SCALE, "GW112", "GW801", "GW113"),
    ),
    "few-in-eval-mode-for-good": Fault(
        whole(pupils.few, 3, named=200, sure=0.8, weight=0.5, name="adamw", drop=0.2, asked="eval for good"),
        ("GW432",),
        "forums on pseudo labels: eval() for the guesses, train() never comes again",
        ("GW431", "GW434"),
    ),
    "layers-second-optimizer-of-the-first": Fault(
        whole(pupils.layers, 1, mixed_up=True),
        ("GW302",),
        "Humbatova 2020, optimiser: a line was copied, its layer not changed",
        ("GW303", "GW304", "GW205", "GW305"),
    ),
    "layers-never-cleared": Fault(
        whole(pupils.layers, 1, clear=False),
        ("GW304",),
        "A. Karpathy, the most common neural net mistakes: .zero_grad() before .backward()",
        (*HOT, "GW411", "GW209"),
    ),
    "layers-made-of-stone": Fault(
        whole(pupils.layers, 1, stone=8.0),
        ("GW308",),
        "UMLAUT (Schoop et al. 2021) and forums: biases far below zero, no ReLU ever fires",
        (*STUCK, "GW211", "GW303", "GW306", "GW471"),
    ),
    # -- a handful of weights --------
    "outbreak-first-cases-are-numbers": Fault(
        whole(outbreaks.outbreak, 1, cut_off="first"),
        ("GW301",),
        "discuss.pytorch.org: torch.tensor() around a parameter cuts it off",
        ("GW302", "GW303", "GW209"),
    ),
    "outbreak-healing-detached": Fault(
        whole(outbreaks.outbreak, 1, cut_off="heals"),
        ("GW301",),
        "discuss.pytorch.org: .detach() against an error that says so",
        ("GW302", "GW303", "GW209"),
    ),
    "outbreak-in-persons": Fault(
        whole(outbreaks.outbreak, 3, name="sgd", rate=0.02, steps=300, people=1000.0),
        ("GW109", "GW411"),
        "forums on fitted models: counts of persons, SGD with the rate for shares",
        (*HOT, *BROKEN, "GW107"),
    ),
    "outbreak-rate-sinks": Fault(
        whole(outbreaks.outbreak, 1, plan="sinks"),
        ("GW413",),
        "forums on ExponentialLR: 0.9 for each of two hundred steps",
        IDLE,
    ),
}
