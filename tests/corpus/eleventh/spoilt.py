"""Faults of the eleventh held-out set in what is learnt: data, targets, outputs, losses, and where people made them."""

from __future__ import annotations

from tests.corpus.eleventh import fields, games, graphs, makers, physics, prefer, series, signals, tables, texts, vision
from tests.corpus.fault import KARPATHY, SCALING, Fault
from tests.corpus.whole import whole

STUCK = ("GW206", "GW209", "GW311", "GW805", "GW108")

SPOILT: dict[str, Fault] = {
    # -- data --------
    "competition-holes-in-columns": Fault(
        whole(tables.competition, 1105, mend=False),
        ("GW605",),
        "Kaggle and Stack Overflow: loss is nan from the first batch, the columns have missing values",
        ("GW601", "GW602", "GW603", "GW107", "GW444", "GW108"),
    ),
    "passengers-tail-never-scaled": Fault(
        whole(series.passengers, 1110, own_scale=True),
        ("GW113",),
        "Stack Overflow, LSTM forecasts: the scaler was applied to the training part alone",
        ("GW112", "GW801"),
    ),
    "notes-one-after-the-other": Fault(
        whole(signals.notes, 1130, mixed=False),
        ("GW111",),
        "discuss.pytorch.org: files come folder by folder, shuffle=False in the DataLoader",
        ("GW205", "GW207", "GW208", "GW805", "GW206", "GW307", "GW801", "GW112"),
    ),
    "molecules-answers-sorted": Fault(
        whole(graphs.molecules, 1173, aligned=False),
        ("GW102", "GW112"),
        "Stack Overflow: a data frame was sorted or its index reset, features and labels no longer belong together",
        ("GW801", *STUCK),
    ),
    "links-without-others": Fault(
        whole(graphs.meetings, 1172, negatives=False),
        ("GW110", "GW203"),
        "PyTorch Geometric, discussions: link prediction without negative sampling has one class only",
        ("GW803", "GW805", "GW311", "GW211", "GW112", "GW801"),
    ),
    "clicks-time-on-the-page": Fault(
        whole(prefer.clicks, 1153, after=True),
        ("GW803",),
        "Kaggle, data leakage: a column that is known only after what is to be foreseen",
        ("GW802",),
    ),
    "searches-columns-as-counted": Fault(
        whole(prefer.searches, 1152, units=(1.0, 1.0, 1.0, 1.0, 3e3, 2e4, 1.0, 5e2)),
        ("GW107",),
        SCALING,
        ("GW201", "GW205", "GW207", "GW307", "GW308", "GW309", "GW411", "GW306", "GW608", "GW423", *STUCK),
    ),
    "hearts-mostly-well": Fault(
        whole(signals.hearts, 1134, weighted=False),
        ("GW203", "GW805"),
        "Stack Overflow and PhysioNet challenges: accuracy is fine, the rare beats are never found",
        ("GW803", "GW311"),
    ),
    "cart-in-millimetres": Fault(
        whole(games.stopped, 1183, scale=1000.0),
        ("GW309", "GW107"),
        "Stack Overflow, reinforcement learning: raw states in large units saturate the tanh of the policy",
        ("GW306", "GW207", "GW205", "GW307", "GW421", *STUCK),
    ),
    # -- sees what it should not --------
    "sensor-padded-on-both-sides": Fault(
        whole(series.sensor, 1111, causal=False),
        ("GW104",),
        "discuss.pytorch.org: causal convolutions, padding='same' lets the future in",
        ("GW803",),
    ),
    "tides-without-mask": Fault(
        whole(series.tides, 1115, mask=False),
        ("GW104",),
        "Stack Overflow: nn.Transformer without tgt_mask, perfect while training and useless when it generates",
        ("GW803",),
    ),
    "pixels-see-themselves": Fault(
        whole(makers.pixels, 1194, strict=False),
        ("GW104",),
        "MADE (Germain et al. 2015), implementations: >= in place of > in the last mask",
        ("GW803",),
    ),
    "prose-not-shifted": Fault(
        whole(texts.writer, 1140, shift=0),
        ("GW955", "GW104"),
        "Stack Overflow, language models: targets are the inputs, the loss falls to nothing",
        ("GW803",),
    ),
    "patches-softmax-over-pictures": Fault(
        whole(vision.patches, 1121, dim=0),
        ("GW103",),
        "discuss.pytorch.org: softmax with dim=0 runs over the batch; " + KARPATHY,
        ("GW802", "GW801", "GW434", *STUCK),
    ),
    "words-batches-for-time": Fault(
        whole(signals.spoken, 1131, batch_first=False),
        ("GW103",),
        "Stack Overflow: nn.GRU without batch_first=True takes (batch, time, features) for (time, batch, features)",
        ("GW801", *STUCK),
    ),
    # -- targets and outputs --------
    "house-prices-in-dollars": Fault(
        whole(tables.houses, 1100, logarithm=False),
        ("GW109", "GW107"),
        "Kaggle, house prices: the target goes in as dollars, the loss stays at ten to the ten",
        ("GW201", "GW412", "GW307", "GW205", "GW207", "GW214", *STUCK),
    ),
    "customers-squashed-twice": Fault(
        whole(tables.churn, 1101, squash=True),
        ("GW212",),
        "discuss.pytorch.org: nn.Sigmoid before BCEWithLogitsLoss",
        STUCK,
    ),
    "articles-by-softmax": Fault(
        whole(tables.tags, 1103, independent=False),
        ("GW212", "GW202"),
        "Stack Overflow: several labels at once, softmax in place of sigmoid",
        STUCK,
    ),
    "concrete-without-its-column": Fault(
        whole(tables.concrete, 1102, column=False),
        ("GW202", "GW102"),
        "Stack Overflow: mse_loss of (n, 1) and (n,) broadcasts to (n, n), the mean is all that is learnt",
        ("GW107", *STUCK),
    ),
    "notes-softened-twice": Fault(
        whole(signals.notes, 1130, soft=True),
        ("GW212",),
        "Stack Overflow and discuss.pytorch.org: nn.Softmax before CrossEntropyLoss",
        STUCK,
    ),
    "letters-scores-to-ctc": Fault(
        whole(signals.letters, 1132, normalised=False),
        ("GW212", "GW202"),
        "discuss.pytorch.org: CTCLoss is negative, log_softmax was left out",
        ("GW208", "GW952", "GW211", "GW307", "GW421", "GW603", *STUCK),
    ),
    "waves-only-upwards": Fault(
        whole(signals.denoised, 1133, positive=True),
        ("GW212", "GW109"),
        "Stack Overflow: ReLU after the last layer of a regression whose targets are below zero",
        ("GW308", *STUCK),
    ),
    "lesions-overlap-of-scores": Fault(
        whole(vision.lesions, 1122, squash=lambda scores: scores),
        ("GW212", "GW202"),
        "discuss.pytorch.org: dice loss is negative, the sigmoid was left out",
        ("GW208", "GW205", "GW207", "GW307", "GW952", *STUCK),
    ),
    "landmark-in-pixels": Fault(
        whole(vision.landmark, 1123, pixels=True),
        ("GW109", "GW212"),
        "Stack Overflow, key points: a sigmoid at the end and targets in pixels",
        ("GW309", "GW306", "GW201", *STUCK),
    ),
    "stars-through-a-sigmoid": Fault(
        whole(prefer.stars, 1150, within=True),
        ("GW109", "GW212"),
        "fast.ai forum, collaborative filtering: sigmoid without the range of the ratings",
        ("GW309", "GW306", "GW451", *STUCK),
    ),
    "moons-noise-through-a-sigmoid": Fault(
        whole(makers.moons, 1192, squash=True),
        ("GW212", "GW109"),
        "Reddit r/learnmachinelearning, diffusion: the U-Net kept the sigmoid of a segmentation",
        ("GW309", *STUCK),
    ),
    "digits-squeezed-as-z-scores": Fault(
        whole(makers.squeezed, 1196, deviations=True),
        ("GW109", "GW212"),
        "Stack Overflow, autoencoders: Normalize() for the input and a sigmoid at the output",
        ("GW309", *STUCK),
    ),
    "returns-negative-variance": Fault(
        whole(series.volatility, 1114, positive=False),
        ("GW212", "GW601"),
        "discuss.pytorch.org, GaussianNLL by hand: the variance is not kept positive, log gives nan",
        ("GW602", "GW603", "GW444"),
    ),
    "patients-log-of-nothing": Fault(
        whole(physics.patients, 1165, log_of="log", standard=False),
        ("GW601", "GW107"),
        "Stack Overflow: torch.log(torch.sigmoid(x)) is -inf for large x, in place of logsigmoid",
        ("GW602", "GW603", "GW444", "GW201", "GW205", "GW307", "GW309"),
    ),
    "atoms-root-of-nothing": Fault(
        whole(physics.forces, 1163, safe=False),
        ("GW603",),
        "discuss.pytorch.org: the gradient of sqrt or norm at zero is nan",
        ("GW601", "GW602", "GW444"),
    ),
    "deaths-mean-of-none": Fault(
        whole(fields.hazards, 1201, guard=False),
        ("GW604",),
        "pycox and DeepSurv, issues: a batch in which nobody died, the loss is nan",
        ("GW601",),
        begins=30,
    ),
    "boxes-mean-of-none": Fault(
        whole(vision.boxes, 1124, guard=False),
        ("GW604",),
        "discuss.pytorch.org and torchvision, issues: the mean over the positives of a batch that has none is nan",
        ("GW601", "GW602", "GW603", "GW444"),
        begins=47,
    ),
}
