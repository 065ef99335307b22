"""Faults of the tenth held-out set, with where people made them."""

from __future__ import annotations

import numpy as np
from torch import nn

from tests.corpus.fault import DEEPCHECKER, KARPATHY, SCALING, UMLAUT, Fault
from tests.corpus.tenth import curves, digits, figures, games, lessons, makers, pairs, people, phrases, words
from tests.corpus.whole import whole

FAULTS: dict[str, Fault] = {
    # -- data --------
    "census-logarithm-of-no-gain": Fault(
        whole(people.census, 1007, logarithm=np.log),
        ("GW605", "GW107"),
        "Kaggle, notebooks on income and on house prices: np.log of a column with zeros is -inf, the loss is nan",
        ("GW601", "GW602", "GW603", "GW444", "GW108"),
    ),
    "titanic-shuffled-apart": Fault(
        whole(people.titanic, 1001, together=False),
        ("GW102", "GW112"),
        "Stack Overflow: X and y split by two calls with different seeds; " + KARPATHY,
        ("GW206", "GW209", "GW801", "GW311", "GW805", "GW108"),
    ),
    "iris-split-in-its-order": Fault(
        whole(people.iris, 1003, shuffle=False),
        ("GW110",),
        "Stack Overflow: iris, 0 % test accuracy, the file is sorted by kind and was not mixed before the split",
        ("GW112", "GW801", "GW805", "GW113"),
    ),
    "digits-one-after-another": Fault(
        whole(digits.swapped, 1026, mixed=False),
        ("GW111",),
        "37 reasons (S. Ivanov): shuffle the data set; DataLoader without shuffle=True",
        ("GW205", "GW207", "GW208", "GW805", "GW206", "GW307", "GW801", "GW434"),
    ),
    "bottles-as-measured": Fault(
        whole(people.wine, 1004, scale=False),
        ("GW107",),
        SCALING,
        ("GW201", "GW205", "GW206", "GW207", "GW209", "GW307", "GW308", "GW311", "GW411", "GW805", "GW108", "GW306"),
    ),
    "census-answer-among-the-columns": Fault(
        whole(people.census, 1007, drop=False),
        ("GW803",),
        "Kaggle, data leakage: df.drop() left out, the answer is one of the features",
        ("GW802",),
    ),
    "blitz-test-set-as-stored": Fault(
        whole(digits.blitz, 1020, same=False),
        ("GW113",),
        "37 reasons (S. Ivanov): test set preprocessed otherwise; discuss.pytorch.org: transforms of the test set",
        ("GW112", "GW801"),
    ),
    "cells-masks-by-to-tensor": Fault(
        whole(makers.unet, 1032, to_tensor=255.0),
        ("GW110",),
        "discuss.pytorch.org, segmentation: ToTensor() divides the mask by 255, long() makes it all zero",
        ("GW803", "GW805", "GW211", "GW311", "GW203"),
    ),
    # -- losses and ends --------
    "titanic-classes-of-one-output": Fault(
        whole(people.titanic, 1001, classes=True),
        ("GW202", "GW211"),
        "Stack Overflow: the loss is always 0, CrossEntropyLoss with one output",
        ("GW303", "GW206", "GW204"),
    ),
    "diabetes-relu-at-the-end": Fault(
        whole(figures.diabetes, 1010, end=nn.ReLU()),
        ("GW212",),
        DEEPCHECKER + ", last activation; Stack Overflow: regression only gives values above 0",
        ("GW308", "GW209", "GW311", "GW206", "GW202"),
    ),
    "films-sigmoid-without-the-stars": Fault(
        whole(figures.films, 1012, low=0.0, high=1.0),
        ("GW212",),
        "fast.ai forum: collaborative filtering, sigmoid without y_range",
        ("GW309", "GW209", "GW306", "GW109", "GW311", "GW206"),
    ),
    "student-divergence-without-logarithm": Fault(
        whole(pairs.teacher, 1037, log=False),
        ("GW202", "GW211"),
        "discuss.pytorch.org: KLDivLoss is negative, the input has to be log-probabilities",
        ("GW209", "GW206", "GW208"),
    ),
    "lake-column-against-row": Fault(
        whole(games.lake, 1070, column=False),
        ("GW202",),
        "Stack Overflow, DQN does not learn: gather() gives (N, 1), the targets are (N)",
        ("GW311", "GW209", "GW206", "GW102"),
    ),
    "frauds-never-found": Fault(
        whole(lessons.frauds, 1081, draw=False),
        ("GW203", "GW805"),
        "Kaggle, credit card fraud: 97 % accuracy, and not one fraud is found",
        ("GW209", "GW206", "GW311"),
    ),
    "zeros-up-to-sixteen": Fault(
        whole(makers.anomaly, 1031, top=1.0),
        ("GW202", "GW211", "GW107"),
        "Stack Overflow: autoencoder, BCEWithLogitsLoss is negative, pictures were not brought to 0 to 1",
        ("GW208", "GW452", "GW952", "GW201", "GW310", "GW112", "GW801"),
    ),
    "vae-mean-beside-sum": Fault(
        whole(makers.vae, 1030, reduction="mean"),
        ("GW451", "GW210"),
        "Stack Overflow, VAE gives the same blurry picture: mean of BCE and sum of KLD",
        ("GW311", "GW209", "GW206", "GW306"),
    ),
    "patients-batches-without-a-death": Fault(
        whole(figures.survival, 1013, least=0.0),
        ("GW604", "GW601"),
        "havakv/pycox, issues: loss is nan, no event in the batch",
        ("GW602", "GW603", "GW444"),
    ),
    "energy-variance-may-be-negative": Fault(
        whole(figures.energy, 1014, spread=nn.Identity()),
        ("GW601", "GW212"),
        "discuss.pytorch.org: GaussianNLLLoss, the variance has to be positive, nan",
        ("GW602", "GW603", "GW444", "GW202", "GW205", "GW207", "GW208", "GW307"),
    ),
    "example-softmax-over-the-batch": Fault(
        whole(digits.example, 1021, over=0),
        ("GW103",),
        "Stack Overflow: log_softmax(x, dim=0)",
        ("GW201", "GW202", "GW209", "GW206", "GW112", "GW432"),
    ),
    "flats-price-in-hundreds": Fault(
        whole(figures.flats, 1015, scale=100.0),
        ("GW210", "GW109"),
        "Kendall et al. 2018; discuss.pytorch.org: one loss outweighs the other",
        ("GW201", "GW214"),
    ),
    # -- the graph --------
    "blitz-cleared-before-the-step": Fault(
        whole(digits.blitz, 1020, clear="between"),
        ("GW305",),
        "Stack Overflow: zero_grad() between backward() and step(), the network does not learn",
        ("GW303", "GW206", "GW211", "GW412"),
    ),
    "club-never-cleared": Fault(
        whole(games.club, 1073, clear=False),
        ("GW304",),
        KARPATHY,
        ("GW205", "GW207", "GW208", "GW307", "GW801", "GW411"),
    ),
    "digits-head-changed-after": Fault(
        whole(digits.finetune, 1025, before=False),
        ("GW302",),
        "discuss.pytorch.org: model.fc replaced after the optimizer was made",
        ("GW303", "GW206", "GW209", "GW311"),
    ),
    "figures-context-forgotten": Fault(
        whole(phrases.backwards, 1050, looks=False),
        ("GW301",),
        "DeepLocalize, UMLAUT and forums: a layer is called, and its output is not used",
        ("GW303", "GW312", "GW209"),
    ),
    "growth-slope-out-of-the-graph": Fault(
        whole(curves.growth, 1061, create=False),
        ("GW105",),
        "Stack Overflow, PINN does not learn: autograd.grad without create_graph=True",
        ("GW206", "GW209", "GW208", "GW207"),
    ),
    "twins-root-of-nothing": Fault(
        whole(pairs.twins, 1034, least=0.0),
        ("GW603",),
        "pytorch/pytorch#4320 and forums: the slope of sqrt at 0 is infinite",
        ("GW601", "GW602", "GW444"),
    ),
    # -- optimizers and schedules --------
    "surnames-rate-of-half": Fault(
        whole(words.surnames, 1040, learning_rate=0.5),
        ("GW411",),
        "PyTorch tutorial on names: if you set this too high, it might explode",
        ("GW201", "GW205", "GW206", "GW207", "GW208", "GW307", "GW309", "GW805", "GW310", "GW952", "GW423"),
    ),
    "digits-enlarged-at-a-fifth": Fault(
        whole(makers.enlarge, 1033, lr=0.2),
        ("GW411",),
        "Stack Overflow: Adam with the rate that SGD had; pytorch/examples, super_resolution gives black pictures",
        ("GW205", "GW206", "GW207", "GW208", "GW308", "GW311", "GW201", "GW307", "GW209", "GW415"),
    ),
    "skip-grams-rate-of-word2vec": Fault(
        whole(words.neighbours, 1043, lr=0.025),
        ("GW412",),
        "Stack Overflow: skip-gram loss does not fall, 0.025 as in the C code with a mean over the batch",
        ("GW206", "GW214", "GW209", "GW306"),
    ),
    "word-model-clipped-to-nothing": Fault(
        whole(words.word_model, 1041, clip=0.0005),
        ("GW421",),
        "DeepChecker and forums: the clip is far below the usual norm",
        ("GW206", "GW412", "GW214", "GW209"),
    ),
    "digits-decay-and-momentum-swapped": Fault(
        whole(digits.swapped, 1026, momentum=5e-4, decay=0.9),
        ("GW441", "GW442", "GW451"),
        "Stack Overflow: SGD(params, lr, 5e-4, weight_decay=0.9)",
        ("GW206", "GW311", "GW452", "GW209", "GW306", "GW102", "GW805"),
    ),
    "census-cycle-once-an-epoch": Fault(
        whole(people.census, 1007, per_batch=False),
        ("GW413",),
        "pytorch.org and Stack Overflow: OneCycleLR has to be stepped after every batch",
        ("GW412", "GW214"),
    ),
    "normed-plateau-of-the-largest": Fault(
        whole(digits.normed, 1022, mode="max"),
        ("GW413",),
        "discuss.pytorch.org: ReduceLROnPlateau(mode='max') given the loss",
        ("GW412", "GW214", "GW209", "GW303"),
    ),
    # -- norms, modes, starts --------
    "digits-summed-from-pieces": Fault(
        whole(lessons.pieces, 1080, parts=1),
        ("GW315", "GW411"),
        "huggingface/transformers, accelerate, issues: the loss of a piece has to be divided by the number of pieces",
        ("GW205", "GW208", "GW307", "GW310", "GW601", "GW602", "GW603", "GW444", "GW608", "GW805"),
    ),
    "example-drops-for-ever": Fault(
        whole(digits.example, 1021, functional=True),
        ("GW432",),
        "pytorch/pytorch, Stack Overflow: F.dropout without training=self.training",
        ("GW462",),
    ),
    "example-drops-the-answer": Fault(
        whole(digits.example, 1021, at_end=True),
        ("GW462",),
        "Stack Overflow: dropout behind the last layer",
        ("GW802", "GW209"),
    ),
    "titanic-two-by-two": Fault(
        whole(people.titanic, 1001, batch=2, epochs=2),
        ("GW403",),
        "Wu & He 2018; forums: batch size of 2 with batch norm",
        ("GW404", "GW434", "GW207", "GW214", "GW206"),
    ),
    "bottles-weights-of-zero": Fault(
        whole(people.wine, 1004, start=people.zeros),
        ("GW114",),
        "CS231n: pitfall, all zero initialization",
        ("GW206", "GW303", "GW311", "GW308", "GW805", "GW306", "GW102", "GW471", "GW209", "GW108"),
    ),
    "digits-by-tanh-at-its-ends": Fault(
        whole(lessons.squashed, 1082, start=nn.init.normal_),
        ("GW471", "GW309"),
        "CS231n and Glorot & Bengio 2010: weights by randn, every tanh at 1 or -1",
        ("GW201", "GW306", "GW209", "GW801", "GW207"),
    ),
    "siren-start-of-pytorch": Fault(
        whole(curves.siren, 1060, own=True),
        ("GW471",),
        "Sitzmann et al. 2020: without its own start a SIREN does not converge to anything useful",
        ("GW112", "GW801", "GW206"),
    ),
    "rings-straight-lines": Fault(
        whole(curves.circles, 1065, between=nn.Identity),
        ("GW313",),
        UMLAUT + "; Stack Overflow: the activations were forgotten",
        ("GW206", "GW209", "GW311", "GW102", "GW108", "GW112", "GW805"),
    ),
    # -- sequences --------
    "figures-told-what-to-write": Fault(
        whole(phrases.backwards, 1050, shifted=False),
        ("GW955",),
        "Stack Overflow, seq2seq: the decoder's input was not shifted, loss 0 and nonsense when it writes",
        ("GW112", "GW801", "GW301", "GW803"),
    ),
    "reviews-mask-turned-round": Fault(
        whole(phrases.judged, 1051, turned=True),
        ("GW958",),
        "pytorch/pytorch and Stack Overflow: src_key_padding_mask, True means ignored",
        ("GW206", "GW102", "GW311", "GW209", "GW805", "GW112"),
    ),
    "reviews-padded-to-a-hundred": Fault(
        whole(phrases.judged, 1052, make=phrases.Remembers, longest=100),
        ("GW954", "GW306"),
        "Stack Overflow: LSTM stays at 50 %, pad_sequences(padding='post') and no packing",
        ("GW206", "GW102", "GW311", "GW209", "GW805", "GW112"),
    ),
    # -- regularisation --------
    "diabetes-lasso-of-a-tenth": Fault(
        whole(figures.diabetes, 1010, l1=0.1),
        ("GW451",),
        "Stack Overflow: L1 by hand on all weights, the network gives the mean",
        ("GW311", "GW209", "GW206", "GW102", "GW306", "GW108", "GW308", "GW210"),
    ),
    "diabetes-by-heart": Fault(
        whole(figures.diabetes, 1010, width=256, epochs=60),
        ("GW801", "GW112"),
        "Humbatova et al. 2020 and Kaggle: a net of 70,000 weights for 350 rows",
    ),
}
