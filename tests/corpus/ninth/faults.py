"""Faults of the ninth held-out set, with where people made them."""

from __future__ import annotations

import torch
from torch import nn

from tests.corpus.fault import AT_FIRST_EVALUATION, AUTOTRAINER, DEEPCHECKER, KARPATHY, SCALING, Fault
from tests.corpus.ninth import agents, deep, makers, odds, pictures, series, tables, words
from tests.corpus.whole import whole

FAULTS: dict[str, Fault] = {
    # -- data --------
    "suburb-in-dollars": Fault(
        whole(tables.houses, 500, dollars=True),
        ("GW109",),
        SCALING + ": targets as they are make weights explode under SGD",
        ("GW201", "GW205", "GW208", "GW307", "GW411", "GW601", "GW602", "GW603", "GW444", "GW434"),
    ),
    "vineyards-one-column-forgotten": Fault(
        whole(tables.wines, 501, forgotten=(12,)),
        ("GW107",),
        "Stack Overflow: wine's proline is a thousand times as large as the others; a column left out of the scaler",
        ("GW206", "GW207", "GW209", "GW309", "GW311", "GW411", "GW805", "GW108", "GW310"),
    ),
    "irises-numbered-twice": Fault(
        whole(tables.irises, 502, own_codes=True),
        ("GW110",),
        "Stack Overflow: LabelEncoder().fit_transform() or pd.factorize() on train and on test",
        ("GW112", "GW801"),
        begins=AT_FIRST_EVALUATION,
    ),
    "gas-with-holes": Fault(
        whole(tables.sensors, 503, filled=False),
        ("GW605",),
        "discuss.pytorch.org: loss is nan, the CSV had empty cells",
        ("GW107", "GW601", "GW602", "GW603", "GW444"),
    ),
    "clicks-those-who-did-first": Fault(
        whole(tables.clicks, 504, as_exported=True),
        ("GW111",),
        "37 reasons (S. Ivanov): the data are not shuffled, and come by their label",
        ("GW205", "GW207", "GW208", "GW805"),
    ),
    "sun-already-seen": Fault(
        whole(series.solar, 540, overlap=6),
        ("GW803",),
        "Kapoor & Narayanan 2023, leakage; Stack Overflow: LSTM windows that hold the value to be said",
        ("GW802",),
    ),
    "gestures-in-pixels": Fault(
        whole(series.gestures, 541, raw=True),
        ("GW113",),
        "Stack Overflow: the scaler was applied to the training set only",
        ("GW112", "GW801", "GW434", "GW309", "GW805"),
    ),
    "tower-of-eighty-four": Fault(
        whole(deep.tower, 530, many=84, epochs=120),
        ("GW801", "GW112"),
        "Humbatova et al. 2020: not enough training data",
        ("GW801", "GW112", "GW214"),
    ),
    # -- losses and ends --------
    "suburb-row-beside-column": Fault(
        whole(tables.houses, 500, column=False),
        ("GW202",),
        "PyTorch's warning on a target size of its own; discuss.pytorch.org: MSELoss of (N, 1) and (N,)",
        ("GW206", "GW209", "GW311", "GW112", "GW108"),
    ),
    "suburb-never-below-the-mean": Fault(
        whole(tables.houses, 500, end=nn.ReLU()),
        ("GW212",),
        "Stack Overflow: a ReLU after the last layer of a regression",
        ("GW209", "GW308", "GW108"),
    ),
    "suburb-answer-dropped": Fault(
        whole(tables.houses, 500, end=nn.Dropout(0.5)),
        ("GW462",),
        "Stack Overflow: dropout after the output layer",
        ("GW209", "GW802", "GW108", "GW432"),
    ),
    "texts-of-one-subject": Fault(
        whole(tables.tags, 505, normed=nn.Softmax(1)),
        ("GW212", "GW202"),
        "Stack Overflow: softmax for several labels at once, with BCELoss",
        ("GW209", "GW201", "GW108"),
    ),
    "glyphs-softmax-first": Fault(
        whole(pictures.vgg, 520, softmax=True),
        ("GW202", "GW212"),
        "Stack Overflow: nn.Softmax before nn.CrossEntropyLoss",
        ("GW209", "GW306", "GW214"),
    ),
    "cracks-overlap-of-scores": Fault(
        whole(pictures.cracks, 522, squash=nn.Identity()),
        ("GW202",),
        "ScrollPrize/villa#1488, jakeret/tf_unet#15: dice of scores, no sigmoid",
        ("GW206", "GW209", "GW210", "GW203", "GW805", "GW211", "GW212"),
    ),
    "sketches-mean-beside-a-sum": Fault(
        whole(makers.sketches, 560, reduction="mean"),
        ("GW451", "GW210"),
        "pytorch/examples#226 and #296, AppliedDataSciencePartners/WorldModels#12: means beside sums, codes collapse",
        ("GW451", "GW210", "GW209", "GW311", "GW206", "GW312"),
    ),
    "dates-shown-to-the-decoder": Fault(
        whole(words.dates, 554, shifted=False),
        ("GW955",),
        "Stack Overflow: seq2seq is perfect in training and writes nonsense, the decoder's input is not shifted",
        ("GW803", "GW104"),
    ),
    "braking-no-variance": Fault(
        whole(odds.braking, 510, positive=torch.relu),
        ("GW601", "GW603"),
        "Stack Overflow: negative log-likelihood is nan, a ReLU makes the variance 0",
        ("GW601", "GW602", "GW603", "GW444", "GW212"),
    ),
    "pumps-dead-on-arrival": Fault(
        whole(odds.pumps, 511, least=0.0),
        ("GW601", "GW603"),
        "ragulpr/wtte-rnn#33: nan with a Weibull's likelihood; times of 0 have no logarithm",
        ("GW601", "GW602", "GW603", "GW444", "GW605"),
    ),
    "balls-logarithm-of-a-wall": Fault(
        whole(agents.catch, 570, entropy=agents.by_hand),
        ("GW601", "GW603"),
        "huggingface/trl#7221, Unity-Technologies/ml-agents#4664: the entropy is nan, 0 times the logarithm of 0",
        ("GW601", "GW602", "GW603", "GW444"),
    ),
    "answers-cut-off": Fault(
        whole(words.answers, 552, longest=10),
        ("GW604",),
        "huggingface/trl#1053 and #6668: loss is nan, truncation leaves labels of -100 only",
        ("GW601", "GW603", "GW444", "GW602", "GW205"),
    ),
    # -- structure, slopes, starts --------
    "five-more-nothing-loaded": Fault(
        whole(pictures.five_more, 523, loaded=False),
        ("GW453",),
        "Stack Overflow: frozen layers with pretrained=False",
        ("GW303", "GW214", "GW209"),
    ),
    "five-more-head-afterwards": Fault(
        whole(pictures.five_more, 523, head_first=False),
        ("GW302",),
        "pytorch/pytorch#54765, microsoft/nni#4521: layers are replaced after the optimizer was made",
        ("GW303", "GW206", "GW301", "GW312", "GW453", "GW211"),
    ),
    "demand-optimizer-copied": Fault(
        whole(makers.demand, 561, copied=True),
        ("GW302",),
        "zhaoyuzhi/deepfillv2#3, line/open-universe#5: the discriminator's optimizer was given others' parameters",
        ("GW303", "GW209", "GW206", "GW311", "GW212"),
    ),
    "dates-encoder-detached": Fault(
        whole(words.dates, 554, kept=False),
        ("GW301",),
        "discuss.pytorch.org: .detach() or .data between encoder and decoder",
        ("GW303",),
    ),
    "gestures-batch-for-time": Fault(
        whole(series.gestures, 541, batch_first=False),
        ("GW103",),
        "HHTseng/video-classification#42, ray075hl/Bi-Model-Intent-And-Slot#2: without batch_first=True",
        ("GW209", "GW206", "GW112"),
    ),
    "first-sign-forgotten": Fault(
        whole(series.recall, 542, plain=True),
        ("GW306",),
        "Bengio et al. 1994; Stack Overflow: nn.RNN does not learn what was forty steps ago",
        ("GW206", "GW209", "GW311", "GW309"),
    ),
    "questions-without-a-mask": Fault(
        whole(words.answers, 553, prompts=True, batch=16, causal=False),
        ("GW104", "GW803"),
        "Stack Overflow: nn.TransformerEncoder as a language model, src_mask was left out",
        ("GW803", "GW104", "GW955"),
    ),
    "reviews-mask-inverted": Fault(
        whole(words.reviews, 550, inverted=True),
        ("GW958",),
        "discuss.pytorch.org: src_key_padding_mask is True where it shall not look",
        ("GW206", "GW209", "GW311", "GW306"),
    ),
    "tower-of-sigmoids": Fault(
        whole(deep.tower, 531, act=nn.Sigmoid, start=deep.xavier),
        ("GW306",),
        AUTOTRAINER + ": vanishing gradient",
        ("GW206", "GW209", "GW311", "GW309", "GW310", "GW805"),
    ),
    "tower-from-a-bell": Fault(
        whole(deep.tower, 531, act=nn.Tanh, start=deep.normal),
        ("GW471", "GW309"),
        DEEPCHECKER + "; Stack Overflow: nn.init.normal_ has a deviation of 1",
        ("GW471", "GW201", "GW309", "GW207", "GW310", "GW209", "GW307", "GW411"),
    ),
    "tower-all-alike": Fault(
        whole(deep.tower, 530, start=deep.constant),
        ("GW114",),
        DEEPCHECKER,
        ("GW206", "GW209", "GW306", "GW311", "GW308", "GW310", "GW805", "GW471"),
    ),
    # -- optimizers, schedules, order of calls --------
    "tower-never-cleared": Fault(
        whole(deep.tower, 530, cleared=False),
        ("GW304",),
        KARPATHY,
        ("GW205", "GW206", "GW207", "GW208", "GW411", "GW307", "GW308", "GW310", "GW421", "GW311", "GW805"),
    ),
    "tower-of-small-weights": Fault(
        whole(deep.tower, 530, decay=0.1),
        ("GW451", "GW441"),
        "Stack Overflow: weight_decay=0.1, as of AdamW, with SGD",
        ("GW451", "GW441", "GW209", "GW452", "GW207", "GW308"),
    ),
    "tower-that-never-brakes": Fault(
        whole(deep.tower, 530, momentum=0.999),
        ("GW442",),
        "Stack Overflow: momentum=0.999, as Adam's second beta",
        ("GW205", "GW206", "GW207", "GW208", "GW411", "GW307", "GW308", "GW310", "GW311", "GW805"),
    ),
    "dates-cleared-late": Fault(
        whole(words.dates, 554, cleared="late"),
        ("GW305",),
        "Stack Overflow: optimizer.zero_grad() between backward() and step()",
        ("GW206", "GW303", "GW311"),
    ),
    "topics-pieces-summed": Fault(
        whole(words.topics, 555, share=False),
        ("GW315",),
        "huggingface/transformers#37766 and #34191: accumulated losses are not divided by their number",
        ("GW411", "GW205", "GW206", "GW207", "GW209", "GW307", "GW308", "GW311"),
    ),
    "topics-rate-of-next-to-nothing": Fault(
        whole(words.topics, 555, lr=5e-5),
        ("GW412",),
        "DeepFD (Cao et al. 2022): learning rate too low",
        ("GW214", "GW206", "GW303", "GW209"),
    ),
    "reviews-rate-of-a-twentieth": Fault(
        whole(words.reviews, 550, lr=0.05),
        ("GW411",),
        "huggingface's forum: a transformer of which the loss stays at ln 2, lr too high",
        ("GW206", "GW207", "GW205", "GW209", "GW311", "GW310", "GW951", "GW415", "GW306", "GW805"),
    ),
    "glyphs-epochs-by-the-batch": Fault(
        whole(pictures.vgg, 520, every_batch=True),
        ("GW413",),
        "Stack Overflow: scheduler.step() in the loop over batches, gamma was meant for epochs",
        ("GW412", "GW209", "GW214", "GW303"),
    ),
    "gestures-clipped-to-nothing": Fault(
        whole(series.gestures, 541, clip=1e-3),
        ("GW421", "GW422"),
        "Stack Overflow: clip_grad_norm_ with the value that was meant for a rate",
        ("GW421", "GW412", "GW206", "GW214", "GW209"),
    ),
    # -- norms and modes, speed, prices --------
    "glyphs-momentum-of-contrib": Fault(
        whole(pictures.vgg, 520, momentum=0.001),
        ("GW434", "GW435"),
        "tf.contrib.layers.batch_norm: a decay of 0.999 (here 0.001) is good in training and poor in validation",
        ("GW434", "GW435", "GW801", "GW112", "GW431"),
    ),
    "glyphs-never-evaluated": Fault(
        whole(pictures.vgg, 520, evals=False),
        ("GW432",),
        "Stack Overflow: model.eval() is missing",
        ("GW433", "GW434"),
        begins=AT_FIRST_EVALUATION,
    ),
    "glyphs-two-at-a-time": Fault(
        whole(pictures.vgg, 520, batch_size=2, epochs=1),
        ("GW403", "GW404"),
        "Wu & He 2018 (group norm); discuss.pytorch.org: batch norm with a batch of 2",
        ("GW403", "GW404", "GW209", "GW207", "GW411", "GW206", "GW805", "GW214", "GW311", "GW802"),
    ),
    "shafts-slower-and-slower": Fault(
        whole(series.shafts, 544, all_of_it=True),
        ("GW702",),
        "discuss.pytorch.org: training gets slower by each batch, metrics over all that has been said",
        ("GW704", "GW701"),
    ),
    "balls-paid-for-chance": Fault(
        whole(agents.catch, 570, weight=1.0),
        ("GW451",),
        "inoryy/tensorflow2-deep-reinforcement-learning#8: the entropy's factor must not interfere with the policy",
        ("GW209", "GW206", "GW210", "GW204"),
    ),
    "communities-unnormed": Fault(
        whole(agents.communities, 571, normed=False),
        ("GW201", "GW310"),
        "Kipf & Welling 2017; Stack Overflow: a GCN by hand with the adjacency as it is",
        ("GW201", "GW310", "GW471", "GW205", "GW207", "GW307", "GW411"),
    ),
}
