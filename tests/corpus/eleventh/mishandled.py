"""Faults of the eleventh held-out set in how it is learnt: weights of losses, order, rates, layers, and the sources."""

from __future__ import annotations

from torch import nn

from tests.corpus.eleventh import fields, games, graphs, makers, physics, prefer, series, signals, tables, texts, vision
from tests.corpus.eleventh.spoilt import STUCK
from tests.corpus.fault import DISCUSS, KARPATHY, UMLAUT, Fault
from tests.corpus.whole import whole

MISHANDLED: dict[str, Fault] = {
    # -- several losses --------
    "boxes-in-pixels": Fault(
        whole(vision.boxes, 1124, scale=1.0),
        ("GW210",),
        "discuss.pytorch.org: two losses, the regression of boxes in pixels drowns the classification",
        ("GW201", "GW307", "GW207", "GW109", "GW205", "GW108"),
    ),
    "spring-all-equation": Fault(
        whole(physics.spring, 1160, weight=1e4),
        ("GW210",),
        "DeepXDE, discussions: the residual outweighs the data, the net answers zero everywhere",
        ("GW451", "GW307", "GW209", "GW205", "GW207", "GW311", "GW201"),
    ),
    "poles-all-chance": Fault(
        whole(games.poles, 1180, entropy=10.0),
        ("GW451", "GW210"),
        "Reddit r/reinforcementlearning: an entropy bonus too large leaves the policy at chance",
        ("GW206", "GW209", "GW421"),
    ),
    "digits-nothing-coded": Fault(
        whole(makers.coded, 1191, mean=True),
        ("GW451", "GW210"),
        "Stack Overflow, VAE: mean over pixels for one loss and a sum for the KL, every output is the mean digit",
        STUCK,
    ),
    "illness-prior-at-each-batch": Fault(
        whole(fields.illness, 1203, share=False),
        ("GW451", "GW210"),
        "discuss.pytorch.org, Bayes by backprop: the KL is not divided by the number of samples or batches",
        ("GW201", "GW441", "GW306", *STUCK),
    ),
    "stars-factors-at-nothing": Fault(
        whole(prefer.stars, 1150, decay=5.0),
        ("GW451",),
        "Stack Overflow, matrix factorisation: regularisation so strong that only the biases are left",
        ("GW441", "GW210", *STUCK),
    ),
    # -- the order of things --------
    "prose-never-cleared": Fault(
        whole(texts.writer, 1140, clear=False),
        ("GW304",),
        KARPATHY,
        ("GW205", "GW206", "GW207", "GW208", "GW307", "GW411", "GW209", "GW108"),
    ),
    "blobs-one-side-never-cleared": Fault(
        whole(makers.blobs, 1190, clear=False),
        ("GW304",),
        "discuss.pytorch.org, GAN: the gradients that the generator's loss left in the discriminator are not cleared",
        ("GW307", "GW207", "GW205", "GW210", "GW208"),
    ),
    "names-cleared-before-the-step": Fault(
        whole(texts.entities, 1143, late=True),
        ("GW305",),
        "Stack Overflow: loss does not change, zero_grad() stands between backward() and step()",
        ("GW303", "GW301", *STUCK),
    ),
    "prose-clipped-too-early": Fault(
        whole(texts.tied, 1144, before=True),
        ("GW422",),
        "discuss.pytorch.org: clip_grad_norm_ before backward() clips nothing",
    ),
    "prose-halves-wiped": Fault(
        whole(texts.tied, 1144, wipe=True),
        ("GW315",),
        "discuss.pytorch.org, gradient accumulation: zero_grad() for each part leaves the last one alone",
        ("GW304",),
    ),
    "tides-rate-before-the-step": Fault(
        whole(series.tides, 1115, early=True),
        ("GW505",),
        "PyTorch's warning since 1.1: lr_scheduler.step() before optimizer.step()",
        ("GW413",),
    ),
    # -- what is trained --------
    "towers-one-left-out": Fault(
        whole(prefer.towers, 1154, both=False),
        ("GW302",),
        "Stack Overflow: two networks, the optimizer has the parameters of one",
        ("GW303",),
    ),
    "all-ten-old-head-trained": Fault(
        whole(vision.new_head, 1125, early=True),
        ("GW302",),
        "discuss.pytorch.org: model.fc was replaced after the optimizer was made",
        ("GW303", "GW209"),
    ),
    "codes-nothing-passes": Fault(
        whole(makers.codes, 1193, straight=False),
        ("GW301", "GW303"),
        "discuss.pytorch.org, VQ-VAE: argmin has no gradient, the encoder is never trained",
        ("GW209", "GW312", "GW302"),
    ),
    "heat-all-weights-zero": Fault(
        whole(physics.heat, 1161, start=nn.init.zeros_),
        ("GW114",),
        "Stack Overflow: all weights start at zero, every unit learns the same",
        ("GW303", "GW306", "GW301", "GW471", *STUCK),
    ),
    "prose-words-too-wide": Fault(
        whole(texts.tied, 1144, spread=None),
        ("GW201", "GW471"),
        "nanoGPT, issues: nn.Embedding starts with deviation 1, tied to the output the first loss is far above log(n)",
        ("GW952", "GW307", "GW421"),
    ),
    "offers-start-too-wide": Fault(
        whole(games.offers, 1182, start=nn.init.normal_),
        ("GW471", "GW201"),
        "Stack Overflow: nn.init.normal_(weight) has deviation 1, the first loss is huge",
        ("GW205", "GW307", "GW421", "GW208", "GW608", "GW411", "GW207", "GW423"),
    ),
    "power-without-bends": Fault(
        whole(series.load, 1113, activation=nn.Identity),
        ("GW313",),
        "Stack Overflow: linear layers in a row are one linear layer",
        ("GW108", "GW209", "GW206"),
    ),
    "sums-forgotten": Fault(
        whole(series.adding, 1112, plain=True),
        ("GW306",),
        "Course Q&A: a plain RNN does not learn what lies far behind",
        STUCK,
    ),
    "papers-sums-of-sums": Fault(
        whole(graphs.quotes, 1170, level=False),
        ("GW310", "GW608", "GW201"),
        "DGL forum: the adjacency is not normalised, sums grow by the number of neighbours with each layer",
        ("GW205", "GW207", "GW307", "GW801", "GW411"),
    ),
    "house-prices-drop-before-norm": Fault(
        whole(tables.houses, 1100, first=True),
        ("GW461",),
        "Li et al. 2018, dropout and batch norm; asked on Stack Overflow: which of both comes first",
        ("GW434", "GW462", "GW802"),
    ),
    "gears-nine-of-ten-dropped": Fault(
        whole(signals.gears, 1135, drop=0.9),
        ("GW462",),
        "discuss.pytorch.org: p of nn.Dropout is what is dropped, not what is kept as in old TensorFlow; " + UMLAUT,
        ("GW802", "GW206", "GW209", "GW412"),
    ),
    # -- batch norm and modes --------
    "residual-batches-of-two": Fault(
        whole(vision.resnet, 1120, batch=2, epochs=1),
        ("GW403",),
        "discuss.pytorch.org: batch norm with a batch of two, the memory of the card had no room for more",
        ("GW404", "GW411", "GW207", "GW434", "GW205", "GW402", "GW804", "GW307", *STUCK),
    ),
    "residual-never-back-to-train": Fault(
        whole(vision.resnet, 1120, again=False),
        ("GW432",),
        "discuss.pytorch.org: model.eval() for the validation and no model.train() after it",
        ("GW431", "GW205", "GW207", "GW208", "GW801", "GW307"),
    ),
    "residual-keeps-old-statistics": Fault(
        whole(vision.resnet, 1120, keep=0.001),
        ("GW435", "GW431"),
        "discuss.pytorch.org: momentum of batch norm ported from TensorFlow, where 0.999 means 0.001 here",
        ("GW434", "GW801", "GW112"),
    ),
    # -- rates and optimizers --------
    "house-prices-cycle-by-epochs": Fault(
        whole(tables.houses, 1100, per_batch=False),
        ("GW413",),
        "discuss.pytorch.org: OneCycleLR has to be stepped after each batch",
        ("GW412", "GW214", "GW415", "GW414"),
    ),
    "residual-cosine-of-six-batches": Fault(
        whole(vision.resnet, 1120, period=6),
        ("GW413",),
        "discuss.pytorch.org: CosineAnnealingLR with T_max in epochs, stepped each batch, goes up and down",
        ("GW207",),
    ),
    "residual-hardly-any-brake": Fault(
        whole(vision.resnet, 1120, push=0.999),
        ("GW442",),
        "Reddit r/learnmachinelearning: momentum of 0.999, beta2 of Adam mistaken for it",
        ("GW411", "GW205", "GW207", "GW208", "GW307", "GW601", "GW434", "GW801", "GW308", *STUCK),
    ),
    "tides-hot-start": Fault(
        whole(series.tides, 1115, warm=1, rate=0.05),
        ("GW411", "GW415"),
        "Stack Overflow: the transformer's loss jumps and stays, the rate was taken from a small net",
        ("GW205", "GW207", "GW307", "GW308", "GW201", "GW309", "GW208", *STUCK),
    ),
    "athletes-too-fast": Fault(
        whole(tables.athletes, 1104, lr=2.0),
        ("GW411", "GW208"),
        "Course Q&A: linear regression by gradient descent, the loss becomes inf, then nan",
        ("GW601", "GW602", "GW603", "GW205", "GW307", "GW608", "GW607", "GW452", "GW444", "GW207"),
    ),
    "spiral-too-fast": Fault(
        whole(fields.spiral, 1205, rate=1.0),
        ("GW411",),
        "torchdiffeq, issues: the solution runs away after some steps, the rate is too high",
        ("GW205", "GW207", "GW208", "GW307", "GW309", "GW306", "GW423", *STUCK),
    ),
    "notes-relus-killed": Fault(
        whole(signals.notes, 1130, lr=0.5),
        ("GW411", "GW308"),
        DISCUSS,
        ("GW205", "GW201", "GW207", "GW307", "GW208", "GW306", "GW312", *STUCK),
    ),
    "reviews-hardly-moving": Fault(
        whole(texts.bags, 1141, lr=1e-3),
        ("GW412",),
        "Stack Overflow: plain SGD with the rate of Adam, embeddings do not move",
        ("GW214", "GW957", *STUCK),
    ),
    "reviews-clipped-to-nothing": Fault(
        whole(texts.bags, 1141, clip=5e-4),
        ("GW421",),
        "discuss.pytorch.org: max_norm far below the usual norm, each step is clipped",
        ("GW412", "GW214", *STUCK),
    ),
    "genes-weights-in-bfloat16": Fault(
        whole(fields.motifs, 1200, pure=True),
        ("GW606",),
        "discuss.pytorch.org: model.bfloat16() in place of autocast, small updates are rounded away",
        ("GW412", "GW214", *STUCK),
    ),
    "gears-adam-of-one": Fault(
        whole(signals.gears, 1135, eps=1.0),
        ("GW443",),
        "TensorFlow's advice to try eps of 1.0 for Adam, taken over on Stack Overflow",
        ("GW412", "GW214", *STUCK),
    ),
    "competition-weights-decayed": Fault(
        whole(tables.competition, 1105, decay=20.0),
        ("GW441", "GW451"),
        "discuss.pytorch.org: weight_decay of AdamW is not that of Adam; tried far too large",
        ("GW451", "GW452", "GW206", "GW209", "GW311", "GW306", "GW108"),
    ),
    "sentences-mask-turned": Fault(
        whole(texts.sentences, 1142, inverted=True),
        ("GW958",),
        "discuss.pytorch.org: key_padding_mask is True where words are to be ignored",
        ("GW801", *STUCK),
    ),
    "clicks-learnt-by-heart": Fault(
        whole(prefer.clicks, 1153, rows=400, epochs=40, drop=False),
        ("GW801",),
        "Reddit r/learnmachinelearning: the training loss goes to zero, the validation loss goes up",
        ("GW112", "GW803"),
    ),
}
