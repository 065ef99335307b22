"""Faults of the twelfth held-out set, with where people made them; what is built or fed wrongly is in slips.py."""

from __future__ import annotations

from tests.corpus.fault import Fault
from tests.corpus.twelfth import (
    boxes,
    columns,
    graphs,
    likeness,
    makers,
    plain,
    series,
    sounds,
    trainers,
    tuners,
    writers,
)
from tests.corpus.twelfth.slips import SLIPS
from tests.corpus.whole import whole

FAULTS: dict[str, Fault] = {
    # -- the loop --------
    "learner-cycle-by-epoch": Fault(
        whole(trainers.learner, 1201, by_batch=False),
        ("GW413",),
        "Lightning-AI/pytorch-lightning#5631: OneCycleLR stepped once per epoch stays in its warm-up",
        ("GW412", "GW209", "GW206", "GW214"),
    ),
    "learner-left-in-eval-mode": Fault(
        whole(trainers.learner, 1201, restore=False),
        ("GW432",),
        "ermongroup/ncsn#2, wkentaro/pytorch-fcn#57: in eval mode for ever after the first validation",
        ("GW431", "GW434", "GW462", "GW801"),
    ),
    "engine-milestones-by-batch": Fault(
        whole(trainers.engine, 1202, step_by="batch"),
        ("GW413",),
        "ivadomed/ivadomed#55: scheduler stepped in the batch loop instead of the epoch loop",
        ("GW412", "GW209", "GW206"),
    ),
    "engine-shadow-without-buffers": Fault(
        whole(trainers.engine, 1202, buffers=False),
        ("GW434", "GW431"),
        "CuriousAI/mean-teacher#9, facebookresearch/moco#70: parameters are averaged, statistics are not copied",
        ("GW112", "GW801", "GW113"),
    ),
    "blocks-cosine-in-epochs": Fault(
        whole(trainers.stepped, 1203, unit="epochs"),
        ("GW413",),
        "xiaomi-research/dggt#49: LambdaLR counts in epochs, scheduler.step() is called for each batch",
        ("GW207", "GW205", "GW411"),
    ),
    "blocks-step-out-of-the-if": Fault(
        whole(trainers.stepped, 1203, ready=False),
        ("GW315",),
        "forums on accumulation: optimizer.step() slipped out of the if, gradients are cleared only after the fourth",
        ("GW304", "GW207", "GW411"),
    ),
    "second-job-starts-anew": Fault(
        whole(trainers.continued, 1204, whole_state=False),
        ("GW507",),
        "NVlabs/stylegan2-ada-pytorch#108, huggingface/transformers#33336: optimizer and scheduler not restored",
        ("GW413", "GW205", "GW506"),
    ),
    "tumours-plateau-of-accuracy": Fault(
        whole(plain.estimator, 1296, judged="accuracy"),
        ("GW413",),
        "Stack Overflow, ReduceLROnPlateau: scheduler.step(accuracy) with mode='min' lowers the rate as it gets better",
        ("GW412", "GW209", "GW214"),
    ),
    "pendulum-decays-each-step": Fault(
        whole(series.pendulum, 1254, every=1),
        ("GW413",),
        "abhishekkrthakur/wtfml#7, forums: ExponentialLR meant for epochs is stepped for each batch",
        ("GW412", "GW209", "GW206"),
    ),
    "attack-gradients-kept": Fault(
        whole(plain.attacked, 1297, cleared=False),
        ("GW304",),
        "P2333/Bag-of-Tricks-for-AT#8 and forums: zero_grad() went with the attack's code in a refactoring",
        ("GW207", "GW208", "GW205", "GW411", "GW206", "GW307", "GW315", "GW209"),
    ),
    "code-clipped-before-backward": Fault(
        whole(writers.coder, 1205, order="clipped first"),
        ("GW422",),
        "discuss.pytorch.org, where to clip: clip_grad_norm_() stands before loss.backward(), on empty gradients",
        ("GW423", "GW307", "GW305"),
    ),
    "code-rate-of-a-tenth": Fault(
        whole(writers.coder, 1205, rate=0.1),
        ("GW411",),
        "forums on minGPT with own data: a rate copied from an SGD recipe, the loss stays above 2.5",
        ("GW205", "GW207", "GW206", "GW209", "GW951", "GW310", "GW307", "GW421", "GW952", "GW312", "GW309", "GW308"),
    ),
    "blocks-clipped-at-a-hundredth": Fault(
        whole(trainers.stepped, 1203, most=0.01),
        ("GW421",),
        "forums on clipping: max_norm was copied from another model, every step is cut to a hundredth",
        ("GW412", "GW209", "GW214", "GW206"),
    ),
    "anchors-momentum-of-ninety-nine": Fault(
        whole(boxes.multibox, 1221, momentum=0.99),
        ("GW442",),
        "amdegroot/ssd.pytorch#373 and forums: momentum raised to 0.99 against nan, the rate kept",
        ("GW207", "GW205", "GW411", "GW206", "GW209", "GW307"),
    ),
    # -- what learns --------
    "adapters-both-zero": Fault(
        whole(tuners.lora, 1210, zeros="both"),
        ("GW114", "GW303"),
        "re-implementations of LoRA: both factors start at zero, so neither ever gets a gradient",
        ("GW306", "GW206", "GW209", "GW201", "GW312", "GW108", "GW112"),
    ),
    "adapters-by-a-wrong-name": Fault(
        whole(tuners.lora, 1210, marker="lora.", head=True),
        ("GW453", "GW301"),
        "huggingface/transformers#26098: requires_grad is False of every adapter, only the head learns",
        ("GW209", "GW303", "GW201", "GW108", "GW412"),
    ),
    "adapters-after-the-optimizer": Fault(
        whole(tuners.lora, 1210, made="before"),
        ("GW302",),
        "forums on LoRA: adapters are put in after the optimizer was made",
        ("GW303", "GW206", "GW209", "GW201", "GW108", "GW112", "GW453", "GW301"),
    ),
    "body-thaws-outside-the-optimizer": Fault(
        whole(tuners.thawed, 1211, add=False),
        ("GW302",),
        "pytorch/tutorials#1306: the optimizer has only the classifier's parameters when the rest is unfrozen",
        ("GW303",),
    ),
    "features-of-no-training": Fault(
        whole(tuners.frozen, 1212, prefix="module."),
        ("GW453",),
        "torchgeo/torchgeo#4036, BestJuly/IIC#11: another prefix and strict=False, nothing is loaded, and it is frozen",
        ("GW209", "GW206", "GW412", "GW108", "GW214"),
    ),
    "student-listens-to-nobody": Fault(
        whole(tuners.distilled, 1213, listens=False),
        ("GW211",),
        "labmlai/annotated_deep_learning_paper_implementations#66: the teacher's logits on both sides",
        ("GW210",),
    ),
    "angles-metric-not-learnt": Fault(
        whole(likeness.angles, 1261, metric_learns=False),
        ("GW302",),
        "ronghuaiyang/arcface-pytorch#20: metric_fc.parameters() has to be in the optimizer too",
        ("GW303",),
    ),
    "picture-tower-under-no-grad": Fault(
        whole(likeness.towers, 1265, picture_learns=False),
        ("GW301", "GW453", "GW302"),
        "forums on CLIP: the picture tower is called as in the embedding script, under torch.no_grad()",
        ("GW209", "GW303", "GW206", "GW108", "GW412"),
    ),
    "views-nobody-holds-still": Fault(
        whole(likeness.simsiam, 1263, stops=False),
        ("GW311",),
        "PatrickHua/SimSiam#39, lightly-ai/lightly#559: where is the stop-gradient? without it everything collapses",
        ("GW803", "GW209", "GW114", "GW211", "GW453"),
    ),
    "gan-detached-for-both": Fault(
        whole(makers.gan, 1271, cut="both"),
        ("GW301", "GW303"),
        "wangle53/CSA-CDGAN#5: what the generator is judged by is detached, so it never learns",
        ("GW210", "GW302", "GW208", "GW453"),
    ),
    "gan-one-network-twice": Fault(
        whole(makers.gan, 1271, owner="discriminator"),
        ("GW302",),
        "forums on GANs: a copied line, optimizer_G was given the discriminator's parameters",
        ("GW303", "GW301", "GW210"),
    ),
    "codes-stop-the-gradient": Fault(
        whole(makers.codebook, 1275, passes=False),
        ("GW306", "GW311"),
        "zalandoresearch/pytorch-vq-vae#6, re-implementations: without z + (q - z).detach() the encoder learns nothing",
        ("GW209", "GW206", "GW303", "GW301", "GW805", "GW312", "GW108", "GW957"),
    ),
    "flats-second-loss-not-added": Fault(
        whole(columns.flats, 1286, both=False),
        ("GW301", "GW312"),
        "repositories with several tasks: the second loss is computed and logged, but not part of the sum",
        ("GW303", "GW210", "GW302"),
    ),
    "flats-without-bends": Fault(
        whole(columns.flats, 1286, bends=False),
        ("GW313",),
        "forums: activations lost when layers moved into nn.Sequential, a product of inputs cannot be learnt",
        ("GW209", "GW206", "GW108", "GW102", "GW311", "GW312"),
    ),
    # -- leaks --------
    "code-without-mask": Fault(
        whole(writers.coder, 1205, mask="none"),
        ("GW104",),
        "jadore801120/attention-is-all-you-need-pytorch#13: the mask of what comes is missing",
        ("GW803",),
    ),
    "code-mask-upside-down": Fault(
        whole(writers.coder, 1205, mask="upside down"),
        ("GW958", "GW104"),
        "jadore801120/attention-is-all-you-need-pytorch#19: the wrong kind of triangular matrix",
        ("GW803",),
    ),
    "code-says-what-it-reads": Fault(
        whole(writers.coder, 1205, shift=0),
        ("GW955",),
        "huggingface/transformers#404: the loss was computed without shifting the targets",
        ("GW803", "GW104"),
    ),
    "load-decoder-sees-ahead": Fault(
        whole(series.former, 1251, masked=False),
        ("GW104",),
        "unit8co/darts#1915, LongxingTan/Time-series-prediction#32: the decoder has no causal mask",
        ("GW803",),
    ),
    "sensors-padded-on-both-sides": Fault(
        whole(series.sensors, 1252, chomp=False),
        ("GW104",),
        "re-implementations of TCN: padding on both sides and no chomp, so it sees what it should say",
        ("GW803",),
    ),
    "lines-reshaped-not-permuted": Fault(
        whole(sounds.line_reader, 1240, order="view"),
        ("GW103",),
        "forums on CRNN: view() instead of permute() mixes the pictures of a batch",
        ("GW206", "GW209", "GW102", "GW311", "GW108", "GW805", "GW112", "GW204"),
    ),
    "commands-batch-read-as-time": Fault(
        whole(sounds.commands, 1241, first=False),
        ("GW103",),
        "pytorch/pytorch#25100, forums: batch_first was forgotten, the GRU runs along the batch",
        ("GW209", "GW112"),
    ),
    "molecules-pooled-together": Fault(
        whole(graphs.rings, 1291, pools="all"),
        ("GW103", "GW311"),
        "forums on graph networks: pooling without the batch vector makes one graph of all",
        ("GW206", "GW209", "GW102", "GW805", "GW108", "GW112"),
    ),
    "boxes-in-pixels-of-a-whole": Fault(
        whole(boxes.grid, 1220, pixels=24.0),
        ("GW210",),
        "qfgaohao/pytorch-ssd#122: boxes were not divided by width and height, their loss drowns the others",
        ("GW201", "GW107", "GW212", "GW109", "GW206"),
    ),
} | SLIPS
