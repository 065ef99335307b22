"""Faults of the eighteenth held-out set: pictures, masks, codes, noise; the others are in slips.py."""

from __future__ import annotations

from torch import nn

from tests.corpus.eighteenth import against, codes, masks, patches, pictures, sharper, steam, views
from tests.corpus.eighteenth.signs import BROKEN, HOT, IDLE, SCALE, STUCK
from tests.corpus.eighteenth.slips import SLIPS
from tests.corpus.fault import AT_FIRST_EVALUATION, SCALING, Fault
from tests.corpus.whole import whole

FAULTS: dict[str, Fault] = {
    **SLIPS,
    # -- pictures, named --------
    "photos-softmax-before-the-loss": Fault(
        whole(
            pictures.named, 12, net="resnet", rate=0.05, batch=32, steps=240, plan="cosine", every=80, soft=True
        ),
        ("GW202",),
        "forums on CrossEntropyLoss: the model ends in a softmax",
        (*STUCK, "GW212", "GW214", "GW306"),
    ),
    "photos-sorted-by-folder": Fault(
        whole(
            pictures.named, 3, net="keras", name="adam", rate=1e-3, batch=64, steps=156, every=39, in_order=True
        ),
        ("GW111",),
        "forums on ImageFolder: shuffle was forgotten, one class comes after the other",
        (*STUCK, *HOT, "GW434"),
    ),
    "photos-in-255": Fault(
        whole(pictures.named, 2, net="cifar", rate=0.01, batch=32, steps=500, every=100, pixels=True),
        ("GW107",),
        SCALING,
        (*SCALE, *STUCK),
    ),
    "photos-validated-in-255": Fault(
        whole(
            pictures.named, 3, net="keras", name="adam", rate=1e-3, batch=64, steps=156, every=39, raw_val=True
        ),
        ("GW113",),
        "forums on transforms: Normalize and ToTensor were given to the training set alone",
        ("GW112", "GW801", "GW434", "GW805"),
        begins=AT_FIRST_EVALUATION,
    ),
    "photos-folders-in-another-order": Fault(
        whole(
            pictures.named, 7, net="mobile", name="adamw", rate=2e-3, decay=0.01, batch=64, steps=150, plan="cosine",
            other_names=True,
        ),
        ("GW110", "GW112"),
        "forums on ImageFolder: classes are numbered otherwise in the validation folder",
        ("GW801", "GW434", "GW113"),
        begins=AT_FIRST_EVALUATION,
    ),
    "photos-rate-of-adam-for-sgd": Fault(
        whole(
            pictures.named, 8, net="plain", shape={"depth": 10}, name="adam", rate=0.1, batch=64, steps=220,
            plan="milestones",
        ),
        ("GW411",),
        "forums on Adam: the rate of SGD was kept, 0.1",
        (*HOT, *BROKEN, *STUCK),
    ),
    "photos-plan-of-epochs-by-batches": Fault(
        whole(
            pictures.named, 1, net="mnist", data="digits", name="adadelta", rate=1.0, plan="epochs by batch", batch=64,
            steps=280, every=93,
        ),
        ("GW413",),
        "forums on StepLR: scheduler.step() stands in the loop over batches",
        (*IDLE, "GW412"),
    ),
    "photos-from-normal-weights": Fault(
        whole(
            pictures.named, 2, net="cifar", rate=0.01, batch=32, steps=500, every=100, begin="normal"
        ),
        ("GW471",),
        "forums on init.normal_: a deviation of one",
        (*HOT, *BROKEN, *STUCK, "GW411"),
    ),
    "photos-never-cleared": Fault(
        whole(
            pictures.named, 4, net="resnet", rate=0.1, decay=5e-4, batch=128, steps=156, plan="one cycle", every=39,
            clear=False,
        ),
        ("GW304",),
        "Humbatova 2020, training: zero_grad is missing",
        (*HOT, *BROKEN, "GW434"),
    ),
    "photos-never-back-to-train": Fault(
        whole(
            pictures.named, 3, net="keras", name="adam", rate=1e-3, batch=64, steps=156, every=39, back=False
        ),
        ("GW432",),
        "forums on eval(): train() is called once, before the first epoch",
        ("GW431", "GW434", "GW801", "GW802", *HOT),
        begins=AT_FIRST_EVALUATION,
    ),
    "photos-step-before-backward": Fault(
        whole(
            pictures.named, 12, net="resnet", rate=0.05, batch=32, steps=120, plan="cosine", every=40, step_first=True
        ),
        ("GW305", "GW303"),
        "forums: optimizer.step() stands before loss.backward()",
        (*STUCK, *IDLE),
    ),
    "photos-four-parts-not-shared": Fault(
        whole(
            pictures.named, 12, net="resnet", rate=0.05, batch=32, parts=4, steps=60, plan="cosine", every=20,
            shared=False,
        ),
        ("GW315",),
        "forums on gradient accumulation: the loss is not divided by the number of parts",
        (*HOT, "GW411"),
    ),
    "photos-sigmoids-all-the-way": Fault(
        whole(
            pictures.named, 8, net="plain", shape={"depth": 10, "act": nn.Sigmoid}, name="adam", rate=1e-3,
            batch=64, steps=220, plan="milestones",
        ),
        ("GW306", "GW309", "GW310"),
        "TheDeepChecker: sigmoids in a deep net, the first layers learn nothing",
        (*STUCK, "GW214", "GW471", "GW443", "GW303"),
    ),
    "photos-cats-squashed-twice": Fault(
        whole(pictures.cats, 13, size=48, twice=True),
        ("GW202",),
        "forums on BCEWithLogitsLoss: the model ends in a sigmoid",
        (*STUCK, "GW212", "GW214", "GW306"),
    ),
    "photos-vit-rate-of-sgd": Fault(
        whole(patches.patches, 1, batch=32, depth=3, steps=200, rate=0.1),
        ("GW411",),
        "forums on ViT: a rate of 0.1 as for a ResNet",
        (*HOT, *STUCK, "GW421", "GW415", "GW951"),
    ),
    # -- masks, boxes --------
    "things-empty-everywhere": Fault(
        whole(masks.covered, 2, judged="bits", rate=5e-3, name="adamw", decay=0.01, small=True),
        ("GW203", "GW805"),
        "forums on segmentation: 99 of 100 points are background, the mask stays empty",
        (*STUCK, "GW803", "GW204"),
    ),
    "things-head-not-handed-over": Fault(
        whole(masks.boxes, 1, given="body"),
        ("GW302",),
        "forums on detection: the optimizer got the backbone alone",
        ("GW303", *IDLE),
    ),
    # -- larger, through a narrow middle --------
    "views-larger-clipped-to-nothing": Fault(
        whole(
            sharper.larger, 2, net="espcn", times=4, judged="squares", rate=0.05, steps=400, plan="cosine", name="sgd",
            clip=1e-3,
        ),
        ("GW421", "GW422"),
        "forums on VDSR: the clip of the paper is divided by the rate, here it was not",
        ("GW412", *IDLE),
    ),
    "digits-centred-by-a-sigmoid": Fault(
        whole(
            codes.given_back, 2, sums=False, noise=0.3, last="sigmoid", centred=True, name="adamw", rate=2e-3,
            plan="cosine",
        ),
        ("GW212",),
        "forums on autoencoders: Normalize in the transform, Sigmoid at the end",
        (*STUCK, "GW309", "GW202"),
    ),
    "digits-vae-of-means-beside-sums": Fault(
        whole(codes.given_back, 4, chance=True, means=True, rate=2e-3, size=10, steps=400, plan="cosine", every=80),
        ("GW451", "GW210"),
        "forums on VAE: mse_loss takes the mean, the divergence is a sum; every code is the same",
        (*STUCK, "GW303"),
    ),
    # -- against each other, out of noise --------
    "digits-dcgan-cut-off": Fault(
        whole(against.played, 1, rate=1e-3, rate_d=5e-4, steps=300, cut=True),
        ("GW301",),
        "forums on DCGAN: detach() stands also in the generator's step",
        ("GW302", "GW303", *STUCK),
    ),
    "digits-noise-through-a-sigmoid": Fault(
        whole(steam.noised, 1, last=True),
        ("GW212",),
        "forums on diffusion: a U-Net for masks, with its sigmoid, says the noise",
        (*STUCK, "GW202", "GW309"),
    ),
    "digits-noise-in-255": Fault(
        whole(steam.noised, 1, pixels=True),
        ("GW107",),
        "forums on diffusion: pictures between 0 and 255 beside noise of one",
        (*SCALE, *STUCK, "GW421"),
    ),
    # -- old weights --------
    "photos-head-swapped-too-late": Fault(
        whole(views.handed_on, 1, frozen_for=40, late_head=True),
        ("GW302",),
        "forums on transfer: model.fc is replaced after the optimizer was made",
        ("GW303", *IDLE, "GW301"),
    ),
}  # fmt: skip
