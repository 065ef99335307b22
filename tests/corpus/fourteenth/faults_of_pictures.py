"""Faults of the fourteenth held-out set on pictures."""

from __future__ import annotations

from tests.corpus.fault import Fault
from tests.corpus.fourteenth import fields, pictures
from tests.corpus.fourteenth.signs import BLOWN, STUCK
from tests.corpus.whole import whole

OF_PICTURES: dict[str, Fault] = {
    "cloth-turned-with-its-answer": Fault(
        whole(pictures.weave, 1, augment="turns"),
        ("GW110", "GW209", "GW206", "GW102"),
        "Slavv, 37 reasons: too much augmentation, here one that changes what the label says",
        ("GW112", "GW434", "GW802", "GW207", "GW101"),
    ),
    "cloth-rate-gone-in-a-dozen-steps": Fault(
        whole(pictures.weave, 1, schedule="steps"),
        ("GW413",),
        "StackOverflow on StepLR: step_size of 3 epochs, but scheduler.step() is called after each batch",
        ("GW412", "GW206", "GW209", "GW214", "GW434", "GW102"),
    ),
    "cloth-one-direction-after-another": Fault(
        whole(pictures.weave, 1, ordered=True),
        ("GW111",),
        "discuss.pytorch.org: ImageFolder without shuffle, each batch holds one class",
        ("GW434", "GW432", "GW207", "GW205", "GW801", "GW112", "GW805", "GW307", "GW209", "GW208", "GW802", "GW204"),
    ),
    "cloth-rate-of-three": Fault(
        whole(pictures.weave, 3, norm="none", schedule="none", rate=3.0, epochs=4),
        ("GW411",),
        "Zhang et al. 2018, TensorFlow bugs: a learning rate far too high",
        ("GW308", "GW309", "GW201", "GW207", "GW452", *STUCK, *BLOWN),
    ),
    "quarters-in-their-order": Fault(
        whole(pictures.turned, 1, shuffled=False),
        ("GW111",),
        "forum on RotNet: the four turns are put one after the other and the loader does not shuffle",
        ("GW434", "GW432", "GW207", "GW205", "GW801", "GW112", "GW805", "GW307", "GW209", "GW208", "GW802", "GW204"),
    ),
    "quarters-weights-of-zero": Fault(
        whole(pictures.turned, 1, blank=True),
        ("GW114", "GW471"),
        "CS231n and StackOverflow: all weights were initialised with zeros",
        ("GW303", "GW306", "GW308", "GW431", "GW310", *STUCK),
    ),
    "pupil-teacher-in-the-optimizer": Fault(
        whole(pictures.pupil, 1, whose="teacher"),
        ("GW302", "GW303"),
        "StackOverflow on distillation: the optimizer was built from teacher.parameters()",
        ("GW206", "GW209", "GW108", "GW102", "GW301", "GW412", "GW304", "GW307"),
    ),
    "regions-softmax-over-the-batch": Fault(
        whole(fields.regions, 1, axis=0),
        ("GW103", "GW202"),
        "discuss.pytorch.org, softmax dim for segmentation: dim=0 normalises over the pictures of the batch",
        ("GW201", "GW209", "GW206", "GW434", "GW212", "GW214"),
    ),
    "regions-softmax-over-the-width": Fault(
        whole(fields.regions, 1, axis=3),
        ("GW202",),
        "StackOverflow, nn.Softmax(dim=-1) on (B, C, H, W): the probabilities of a row of pixels add up to one",
        ("GW201", "GW209", "GW206", "GW212", "GW214", "GW103"),
    ),
    "regions-relu-on-the-scores": Fault(
        whole(fields.regions, 1, last="relu"),
        ("GW212",),
        "discuss.pytorch.org on U-Net: the last block has a ReLU too, so classes die",
        ("GW308", "GW805", "GW203", "GW209", "GW202", "GW214", "GW206", "GW102", "GW311"),
    ),
    "regions-spread-of-a-thousandth": Fault(
        whole(fields.regions, 3, optimizer_name="sgd", rate=0.05, epochs=8, spread=0.001),
        ("GW471",),
        "CS231n on initialisation, and StackOverflow: tf.random_normal with a tiny stddev, the loss does not move",
        ("GW306", "GW310", "GW412", "GW203", *STUCK),
    ),
    "painting-in-pixels": Fault(
        whole(fields.painting, 4, kind="plain", width=96, steps=500, unit=512.0),
        ("GW107",),
        "r/MachineLearning on coordinate networks: places in pixels, not between -1 and 1",
        ("GW411", "GW201", "GW308", "GW310", "GW207", *STUCK, *BLOWN),
    ),
    "painting-of-255-by-sigmoid": Fault(
        whole(fields.painting, 1, bright=255.0, last="sigmoid"),
        ("GW212", "GW109", "GW107"),
        "StackOverflow: sigmoid at the end while the targets are bytes from 0 to 255",
        ("GW309", "GW201", "GW306", "GW303", "GW443", *STUCK),
    ),
    "sharper-relu-at-the-end": Fault(
        whole(fields.sharper, 1, last="relu"),
        ("GW212",),
        "Humbatova et al. 2020, wrong activation of the last layer: residues below zero cannot be answered",
        ("GW308", "GW209", "GW214", "GW311", "GW102"),
    ),
    "sharper-summed-up": Fault(
        whole(fields.sharper, 2, optimizer_name="sgd", rate=0.3, epochs=14, reduction="sum"),
        ("GW411", "GW202"),
        "StackOverflow, loss is nan with MSELoss(reduction='sum'): the rate was meant for the mean",
        ("GW201", "GW452", *STUCK, *BLOWN),
    ),
    "pixel-sees-itself": Fault(
        whole(fields.by_pixel, 1, first="B"),
        ("GW104", "GW955"),
        "forums on PixelCNN: the first layer was given mask B, so each pixel is copied",
        ("GW803", "GW204", "GW214"),
    ),
    "pixel-masked-once": Fault(
        whole(fields.by_pixel, 1, always=False),
        ("GW104", "GW955"),
        "GitHub issues of PixelCNN: the weights are masked when made, not at each forward; one update undoes it",
        ("GW803", "GW204", "GW214"),
    ),
    "pixel-squashed-twice": Fault(
        whole(fields.by_pixel, 1, squashed=True),
        ("GW202", "GW212"),
        "discuss.pytorch.org: sigmoid in forward and BCEWithLogitsLoss",
        ("GW209", "GW206", "GW412", "GW214"),
    ),
}
