"""Faults of the third held-out set, with where people made them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from torch import nn
from torch.nn import functional as F
from torch.optim import Adam, AdamW

from tests.corpus import models as corpus_models
from tests.corpus.fault import Fault
from tests.corpus.healthy import BN, DIGITS, TABLE, adam, sgd
from tests.corpus.loops import pretrained_digits
from tests.corpus.third import data, games, loops, mistakes, models, of_pairs, pictures, transformers
from tests.corpus.third.healthy import (
    AVERAGED,
    CLICKS,
    FOUR_BITS,
    GROUPS,
    HINGE,
    HOUSES,
    KEPT,
    LARGER,
    LIKES,
    LLAMA,
    LOW_RANK,
    NEXT,
    ORDERED,
    PLATEAU,
    POINTS,
    PREFERENCES,
    QUANTISED,
    SCALED,
    SELDOM,
    SENTENCES,
    SHARES,
    SIAMESE,
    SIMSIAM,
    SINES,
    TAGGER,
    TASKS,
    THAWED,
    TOWERS,
    VIT,
    decayed,
)

FORUM = "discuss.pytorch.org and Stack Overflow, asked again and again"

FAULTS: dict[str, Fault] = {
    # -- the mode, the optimizer's list, the order of calls --------
    "clouds-never-back-to-train": Fault(replace(POINTS, train_again=False), ("GW432",), FORUM, ("GW431", "GW434")),
    "norms-in-eval-from-the-start": Fault(
        replace(BN, after_watch=mistakes.quiet, train_again=False), ("GW432", "GW431"), FORUM, ("GW434",)
    ),
    "thawed-but-not-optimised": Fault(
        replace(THAWED, loop=partial(loops.thawed, added=False)),
        ("GW302",),
        "Lightning-AI/pytorch-lightning: unfrozen layers that no parameter group holds",
    ),
    "low-rank-after-the-optimizer": Fault(
        replace(LOW_RANK, model=mistakes.as_it_was, optimizer=mistakes.corrected_too_late),
        ("GW302",),
        "huggingface/peft: the optimizer was made before get_peft_model",
        ("GW206", "GW303", "GW305"),
    ),
    "low-rank-both-zero": Fault(
        replace(LOW_RANK, model=lambda: pictures.corrected(pretrained_digits(), zero=True)),
        ("GW114", "GW301"),
        "nvidia-cosmos/cosmos-predict2.5#15, Guitaricet/relora#18",
        ("GW206", "GW303", "GW301"),
    ),
    "codes-are-no-parameter": Fault(
        replace(QUANTISED, model=lambda: models.Quantised(registered=False)),
        ("GW302",),
        "discuss.pytorch.org: nn.Parameter(…).to(device) is no leaf",
        ("GW206",),
    ),
    "task-weights-not-optimised": Fault(
        replace(TASKS, loop=partial(loops.many_tasks, weighed=False)),
        ("GW302",),
        "discuss.pytorch.org: the parameters of a loss belong in the optimizer",
        ("GW210",),
    ),
    "cleared-once-an-epoch": Fault(
        replace(HOUSES, clear=mistakes.once_an_epoch), ("GW304",), FORUM, ("GW207", "GW208", "GW411")
    ),
    "clipped-before-unscaled": Fault(
        replace(SCALED, loop=partial(loops.scaled, unscales=False)),
        ("GW422", "GW421"),
        "milesial/Pytorch-UNet#468, Lightning-AI/pytorch-lightning#9599",
        ("GW412", "GW206", "GW303", "GW214"),
    ),
    "keeps-every-graph": Fault(
        replace(LARGER, loop=loops.keeps_graphs), ("GW704",), "PyTorch FAQ: don't accumulate history", ()
    ),
    # -- where the gradient ends --------
    "siamese-trunk-without-gradient": Fault(
        replace(SIAMESE, loop=partial(of_pairs.siamese, cut=True)), ("GW301",), FORUM, ("GW303",)
    ),
    "codes-without-a-way-back": Fault(
        replace(QUANTISED, model=lambda: models.Quantised(straight=False)),
        ("GW301", "GW311"),
        "ritheshkumar95/pytorch-vqvae and others: no straight-through",
        ("GW206", "GW209"),
    ),
    "rounded-without-a-way-back": Fault(
        replace(FOUR_BITS, model=lambda: pictures.FourBits(straight=False)),
        ("GW301", "GW306"),
        "discuss.pytorch.org: torch.round has no gradient",
        ("GW206", "GW303", "GW311"),
    ),
    "grades-by-right-answers": Fault(
        replace(ORDERED, loss=mistakes.share_of_right),
        ("GW301", "GW305"),
        "Stack Overflow: element 0 of tensors does not require grad, answered by requires_grad_()",
        ("GW206", "GW303", "GW211"),
    ),
    "sines-by-a-copy": Fault(
        replace(SINES, loop=partial(games.of_tasks, copies=True)),
        ("GW301", "GW305"),
        "discuss.pytorch.org: MAML with deepcopy does not train",
        ("GW206", "GW303"),
    ),
    "views-without-stopping": Fault(
        replace(SIMSIAM, loop=partial(of_pairs.simsiam, stops=False)),
        ("GW311",),
        "Chen & He 2021, section 4.1: without stop-gradient it collapses",
        ("GW211", "GW803"),
    ),
    "preferences-against-itself": Fault(
        replace(PREFERENCES, loop=partial(of_pairs.preferences, copied=False)),
        ("GW211",),
        "huggingface/trl#1627, Yifan-Song793/ETO#14: the loss stays at 0.6931",
        ("GW206",),
    ),
    # -- attention --------
    "letters-see-the-future": Fault(
        replace(LLAMA, model=lambda: transformers.Llama(causal=False)),
        ("GW104", "GW955"),
        "huggingface/transformers#48745, rainmaker22/SMART#42",
        ("GW803",),
    ),
    "sentences-mask-inverted": Fault(
        replace(SENTENCES, model=lambda: transformers.Sentences(inverted=True)),
        ("GW102", "GW311", "GW958"),
        "pytorch/pytorch#39321, facebookresearch/detr#96",
        ("GW206", "GW209"),
    ),
    "sentences-without-places": Fault(
        replace(SENTENCES, model=lambda: transformers.Sentences(placed=False)),
        ("GW102",),
        "Stack Overflow: a transformer without positions sees a bag of words",
        ("GW206", "GW209", "GW112", "GW801"),
    ),
    # -- rates and schedules --------
    "patches-at-the-rate-of-sgd": Fault(
        replace(VIT, optimizer=adam(0.1, AdamW, weight_decay=0.05)), ("GW411",), FORUM, ("GW206", "GW311", "GW207")
    ),
    "letters-at-a-fine-tuning-rate": Fault(
        replace(LLAMA, optimizer=decayed(2e-5)), ("GW412",), FORUM, ("GW206", "GW214")
    ),
    "norms-kept-at-a-training-rate": Fault(
        replace(KEPT, optimizer=sgd(1.0)),
        ("GW411",),
        "discuss.pytorch.org: fine-tuning destroys what was trained",
        ("GW206", "GW208", "GW601", "GW603"),
    ),
    "letters-scheduled-per-part": Fault(
        replace(LLAMA, scheduler=mistakes.PerPart),
        ("GW413",),
        "huggingface/accelerate#963, h2oai/h2o-llmstudio#663",
        ("GW412", "GW303", "GW209"),
    ),
    "norms-lowered-per-batch": Fault(
        replace(BN, loop=loops.by_hand),
        ("GW413",),
        "pytorch/examples, adjust_learning_rate called with the batch",
        ("GW412", "GW209", "GW303"),
    ),
    "plateau-of-the-wrong-side": Fault(
        replace(PLATEAU, loop=partial(loops.on_plateau, mode="min")),
        ("GW413",),
        "md-mohaiminul/ViS4mer#4, FunctionLab/selene#115",
        ("GW412", "GW209"),
    ),
    "norms-by-a-sum": Fault(
        replace(BN, loss=mistakes.summed), ("GW411",), FORUM, ("GW207", "GW205", "GW208", "GW601")
    ),
    "branches-epsilon-of-tensorflow": Fault(
        replace(NEXT, optimizer=adam(3e-3, AdamW, weight_decay=0.05, eps=1.0)),
        ("GW443",),
        "TensorFlow's Adam: 1.0 or 0.1 for ImageNet",
        ("GW412", "GW206", "GW214"),
    ),
    "patches-adam-for-adamw": Fault(
        replace(VIT, optimizer=adam(5e-3, Adam, weight_decay=0.05)),
        ("GW441", "GW451"),
        "Loshchilov & Hutter 2019, fast.ai: AdamW and Super-convergence",
        ("GW206", "GW311", "GW209"),
    ),
    # -- losses and ends of networks --------
    "clouds-softmax-over-the-batch": Fault(
        replace(POINTS, model=lambda: nn.Sequential(models.Points(), nn.LogSoftmax(0)), loss=F.nll_loss),
        ("GW103", "GW202"),
        "Stack Overflow: implicit dimension choice for log_softmax",
        ("GW201",),
    ),
    "captions-without-temperature": Fault(
        replace(TOWERS, loop=partial(of_pairs.two_towers, scale=None)),
        ("GW212",),
        "mlfoundations/open_clip: cosine similarities as logits",
        ("GW206", "GW209", "GW412"),
    ),
    "captions-far-too-cold": Fault(
        replace(TOWERS, loop=partial(of_pairs.two_towers, scale=1000.0)),
        ("GW201", "GW952"),
        "mlfoundations/open_clip, openai/CLIP: logit scale not limited",
        ("GW207", "GW411"),
    ),
    "support-vectors-zero-or-one": Fault(
        replace(HINGE, data=mistakes.zero_or_one), ("GW202", "GW110"), FORUM, ("GW206", "GW209")
    ),
    "clicks-clamped": Fault(
        replace(CLICKS, loss=mistakes.clamped),
        ("GW202", "GW212"),
        "Stack Overflow: all elements of input should be between 0 and 1, answered by clamp",
        ("GW206", "GW201", "GW301"),
    ),
    "groups-sign-lost": Fault(
        replace(GROUPS, loop=partial(games.groups, sign=1)),
        ("GW202",),
        "discuss.pytorch.org: policy gradient without the minus",
        ("GW208",),
    ),
    "likes-embeddings-of-size-one": Fault(
        replace(LIKES, loop=partial(of_pairs.likes, size=None)),
        ("GW471", "GW201"),
        "discuss.pytorch.org: nn.Embedding starts at N(0, 1)",
        ("GW801",),
    ),
    "average-without-buffers": Fault(
        replace(AVERAGED, loop=partial(loops.averaged, buffers=False)),
        ("GW431", "GW434", "GW432"),
        "CuriousAI/mean-teacher#9, FlyreelAI/sesemi#36",
        ("GW801",),
    ),
    # -- data --------
    "pixels-divided-by-nothing": Fault(
        replace(DIGITS, data=mistakes.divided_by_nothing), ("GW605",), FORUM, ("GW601", "GW602", "GW603", "GW444")
    ),
    "houses-given-away": Fault(
        replace(HOUSES, data=lambda: data.houses(free=5)),
        ("GW605", "GW601"),
        "Stack Overflow: logarithm of a price of 0",
        ("GW601", "GW602", "GW603", "GW444"),
    ),
    "shares-in-points": Fault(
        replace(SHARES, data=lambda: data.shares(raw=True)), ("GW109", "GW107"), FORUM, ("GW201", "GW412", "GW214")
    ),
    "sentences-sorted-without-labels": Fault(
        replace(SENTENCES, batch_change=mistakes.longest_first, val_change=mistakes.longest_first),
        ("GW102", "GW112"),
        "discuss.pytorch.org: pack_padded_sequence, sorted inputs and unsorted targets",
        ("GW206", "GW311"),
    ),
    "tags-padded-to-ninety-six": Fault(
        replace(TAGGER, data=lambda: data.brackets(longest=96)), ("GW954",), "huggingface: padding='max_length'"
    ),
    "answer-left-in-the-table": Fault(
        replace(TABLE, data=mistakes.answer_left_in, model=lambda: corpus_models.mlp(31, 2, 32)),
        ("GW803",),
        "Kaggle, data leakage: the target among the features",
        ("GW802",),
    ),
    "seldom-weights-of-classes": Fault(
        replace(SELDOM, loop=partial(loops.sampled, of_classes=True)),
        ("GW112", "GW801"),
        "discuss.pytorch.org: WeightedRandomSampler wants a weight for every sample",
        ("GW801", "GW211"),
    ),
    "seldom-weights-not-inverted": Fault(
        replace(SELDOM, loop=partial(loops.sampled, inverted=False)), ("GW203", "GW805"), FORUM, ("GW805", "GW801")
    ),
    "patches-of-eighty": Fault(
        replace(VIT, data=data.few_pictures, steps=600, scheduler=None),
        ("GW801", "GW112"),
        "Dosovitskiy et al. 2021: transformers on little data",
        ("GW112",),
    ),
}  # fmt: skip
