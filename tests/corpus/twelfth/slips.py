"""Faults of the twelfth held-out set in data, losses and numbers, with where people made them."""

from __future__ import annotations

from tests.corpus.fault import SCALING, Fault
from tests.corpus.twelfth import boxes, columns, graphs, likeness, makers, masks, plain, series, sounds, writers
from tests.corpus.whole import whole

SLIPS: dict[str, Fault] = {
    # -- data --------
    "nuclei-picture-turned-mask-not": Fault(
        whole(masks.cores, 1231, together=False),
        ("GW102", "GW107"),
        "KaihuaTang/Scene-Graph-Benchmark.pytorch#92 and forums: the picture is transformed, its annotation is not",
        ("GW206", "GW209", "GW112", "GW108", "GW207", "GW802", "GW804"),
    ),
    "nuclei-outside-ignored": Fault(
        whole(masks.cores, 1231, ignored=0),
        ("GW110",),
        "NVIDIA/semantic-segmentation#46: the index to ignore is 0, which is a kind of its own",
        ("GW203", "GW805", "GW112", "GW803"),
    ),
    "waves-enlarged-from-bytes": Fault(
        whole(masks.sharper, 1232, bytes_in=True),
        ("GW107",),
        SCALING + "; super-resolution repositories: input from 0 to 255, output from 0 to 1",
        ("GW201", "GW206", "GW309", "GW209", "GW412", "GW113", "GW108"),
    ),
    "load-as-metered": Fault(
        whole(series.seq2seq, 1250, scaled=False),
        ("GW107",),
        SCALING,
        ("GW109", "GW201", "GW206", "GW309", "GW421", "GW108", "GW412", "GW209", "GW306", "GW207", "GW311", "GW307"),
    ),
    "noise-told-the-raw-time": Fault(
        whole(makers.diffusion, 1274, raw_time=True),
        ("GW107",),
        "re-implementations of DDPM: the number of the step goes into a layer as it is, up to 200",
        ("GW201", "GW209", "GW206", "GW310", "GW205", "GW608", "GW307"),
    ),
    "tumours-test-not-scaled": Fault(
        whole(columns.tumours, 1280, test_scaled=False),
        ("GW113",),
        "37 reasons (S. Ivanov): the test set is preprocessed otherwise",
        ("GW112", "GW801", "GW107"),
    ),
    "commands-logarithm-of-silence": Fault(
        whole(sounds.commands, 1241, floor=0.0),
        ("GW605",),
        "forums on log-mel: the logarithm of silence is -inf, the mean of all is nan",
        ("GW601", "GW602", "GW603", "GW107", "GW444", "GW805", "GW311"),
    ),
    "papers-without-loops": Fault(
        whole(graphs.citations, 1290, loops=False),
        ("GW602", "GW605", "GW601"),
        "MrLeeeee/GCN-GAT-and-Graphsage#3, mlx-graphs/mlx-graphs#18: 0 neighbours to the power of -1/2 is inf",
        ("GW603", "GW444", "GW805", "GW311", "GW107"),
    ),
    "heartbeats-one-kind-after-another": Fault(
        whole(sounds.hearts, 1242, mixed=False),
        ("GW111",),
        "37 reasons (S. Ivanov) and forums on speech: files are sorted by kind, the loader does not shuffle",
        ("GW205", "GW207", "GW434", "GW805", "GW307", "GW802", "GW112", "GW206"),
    ),
    "heartbeats-subset-of-a-debugging-day": Fault(
        whole(sounds.hearts, 1242, many=48),
        ("GW801",),
        "repositories: dataset[:48] from a debugging session is still there, the model knows it by heart",
        ("GW112", "GW204", "GW113", "GW434"),
    ),
    # -- losses --------
    "anchors-none-in-a-picture": Fault(
        whole(boxes.multibox, 1222, each="picture", guarded=False),
        ("GW604",),
        "kuangliu/torchcv#35, kuangliu/pytorch-retinanet#14: a picture without a positive anchor divides by zero",
        ("GW601", "GW602", "GW603", "GW444"),
    ),
    "anchors-box-without-width": Fault(
        whole(boxes.multibox, 1221, clean=False),
        ("GW605", "GW601"),
        "amdegroot/ssd.pytorch#73 and #373: xmin equals xmax in some annotations, the logarithm is -inf",
        ("GW603", "GW107", "GW205", "GW110", "GW602"),
    ),
    "heat-without-prior": Fault(
        whole(boxes.heat, 1223, prior=0.0),
        ("GW201",),
        "JIA-Lab-research/PanopticFCN#6: the last bias does not start at -log((1 - p) / p) = -2.19",
        ("GW309", "GW203", "GW209", "GW205", "GW308", "GW206"),
    ),
    "nuclei-overlap-of-hard-masks": Fault(
        whole(masks.cells, 1230, hard=True),
        ("GW306", "GW301", "GW303"),
        "discuss.pytorch.org, Dice loss does not fall: the prediction is rounded before the overlap",
        ("GW206", "GW209", "GW211", "GW312"),
    ),
    "lines-too-short-for-ctc": Fault(
        whole(sounds.line_reader, 1240, stride=8),
        ("GW601",),
        "forums on CTCLoss: inputs shorter than their targets make CTC infinite",
        ("GW603", "GW602", "GW444", "GW107", "GW205", "GW805", "GW311"),
    ),
    "lines-ctc-without-log-softmax": Fault(
        whole(sounds.line_reader, 1240, normed=False),
        ("GW212", "GW202"),
        "discuss.pytorch.org, negative CTC loss: the logits were not log_softmax-ed",
        ("GW209", "GW206", "GW204", "GW205", "GW108", "GW805", "GW311", "GW421"),
    ),
    "sales-spread-of-any-sign": Fault(
        whole(series.sales, 1, positive=False),
        ("GW601", "GW212"),
        "re-implementations of DeepAR: no softplus, the logarithm of a negative spread is nan",
        ("GW602", "GW603", "GW444", "GW604"),
    ),
    "calls-rate-of-any-sign": Fault(
        whole(columns.calls, 1282, logged=False),
        ("GW601", "GW212"),
        "forums on PoissonNLLLoss: log_input=False with a last layer that may be negative",
        ("GW602", "GW603", "GW444", "GW605", "GW202", "GW205", "GW604"),
    ),
    "clicks-sigmoid-twice": Fault(
        whole(columns.ctr, 1281, twice=True),
        ("GW212", "GW202"),
        "jindongwang/Deep-learning-activity-recognition#10, forums: an activation and a loss that has it too",
        ("GW201", "GW206", "GW209", "GW211", "GW309", "GW805", "GW203", "GW108", "GW311", "GW306"),
    ),
    "songs-tagged-by-softmax": Fault(
        whole(plain.tags, 1299, loss_name="softmax"),
        ("GW202",),
        "discuss.pytorch.org, multi-label: cross-entropy over tags of which several are right",
        ("GW201", "GW209", "GW109", "GW212", "GW110"),
    ),
    "books-outside-the-stars": Fault(
        whole(columns.ratings, 1284, stars=False),
        ("GW109", "GW212"),
        "fastai forums, y_range: a sigmoid ends at 1, ratings go to 5",
        ("GW209", "GW206", "GW309", "GW201", "GW311", "GW108", "GW107", "GW306"),
    ),
    "parcels-column-minus-row": Fault(
        whole(columns.delays, 1283, flat=False),
        ("GW202", "GW102", "GW107"),
        "discuss.pytorch.org: (N, 1) minus (N) broadcasts to (N, N) in a loss of one's own",
        ("GW209", "GW206", "GW311", "GW108", "GW103", "GW109", "GW112"),
    ),
    "answers-softmax-over-questions": Fault(
        whole(columns.listwise, 1285, axis=0),
        ("GW103", "GW202"),
        "jadore801120/attention-is-all-you-need-pytorch#19, ranking repositories: softmax over the wrong axis",
        ("GW802", "GW112", "GW113", "GW801"),
    ),
    "moons-volume-of-the-wrong-sign": Fault(
        whole(makers.flow, 1273, sign=-1.0),
        ("GW202",),
        "VincentStimper/normalizing-flows#27 and #28: the sign of the log-determinant",
        ("GW803", "GW309", "GW311", "GW209", "GW208", "GW306", "GW204", "GW211"),
    ),
    "digits-drawn-by-mean-and-sum": Fault(
        whole(makers.vae, 1270, summed=False),
        ("GW451", "GW210"),
        "mkusner/grammarVAE#2, zdebruine/MMVAE#19: a mean over pixels beside a sum over the latent",
        ("GW209", "GW311", "GW108", "GW206", "GW312"),
    ),
    "triplets-margin-of-zero": Fault(
        whole(likeness.triplets, 1260, margin=0.0),
        ("GW211",),
        "forums on triplet loss: the margin was lost with the arguments, the loss is zero at once",
        ("GW803", "GW209", "GW303", "GW306"),
    ),
    "wines-alone-in-a-batch": Fault(
        whole(likeness.same_kind, 1264, guarded=False),
        ("GW604",),
        "HobbitLong/SupContrast#141 and #20: an anchor without a partner divides by zero",
        ("GW601", "GW602", "GW603", "GW444", "GW404"),
    ),
    "shop-compares-with-itself": Fault(
        whole(likeness.shop, 1266, negatives="itself"),
        ("GW211", "GW303"),
        "re-implementations of BPR: the negative item is drawn from the column of the positive one",
        ("GW206", "GW209", "GW306", "GW112", "GW312", "GW102"),
    ),
    "flats-doubt-not-learnt": Fault(
        whole(columns.flats, 1286, weigh=False),
        ("GW302",),
        "re-implementations of multi-task weighing: log_vars are parameters, but not the optimizer's",
        ("GW303", "GW301"),
    ),
    "flats-rent-in-money": Fault(
        whole(columns.flats, 1286, unit=1.0),
        ("GW210",),
        "forums on multi-task learning: one target in its own unit, the other task does not learn",
        ("GW107", "GW201", "GW206", "GW109", "GW307", "GW108"),
    ),
    "corridor-column-minus-row": Fault(
        whole(graphs.corridor, 1292, flat=False),
        ("GW202", "GW102", "GW107"),
        "kengz/SLM-Lab#372, hungtuchen/pytorch-dqn#3: gather() leaves (N, 1), the target is (N), the loss broadcasts",
        ("GW209", "GW206", "GW311", "GW108", "GW103", "GW109"),
    ),
    # -- numbers --------
    "experts-sign-of-the-balance": Fault(
        whole(writers.sparse, 1208, weight=-0.02),
        ("GW956",),
        "pytorch/torchtitan#1246, lucidrains/mixture-of-experts#10: routing collapses without a working balance loss",
        ("GW312", "GW308"),
    ),
    "code-weights-of-deviation-one": Fault(
        whole(writers.coder, 1205, std=1.0),
        ("GW471", "GW201"),
        "karpathy/minGPT: weights start with 0.02; with normal_() they start with 1",
        ("GW209", "GW421", "GW951", "GW307", "GW952", "GW306", "GW206"),
    ),
    "books-factors-of-deviation-one": Fault(
        whole(columns.ratings, 1284, inits=1.0),
        ("GW471", "GW201"),
        "fastai forums: nn.Embedding starts with deviation 1, products of eight saturate the sigmoid",
        ("GW309", "GW801", "GW112"),
    ),
    "heartbeats-drop-before-norm": Fault(
        whole(sounds.hearts, 1242, inside=0.5),
        ("GW461",),
        "Li et al. (2018), disharmony between dropout and batch norm; repositories with dropout after each convolution",
        ("GW434", "GW462", "GW802"),
    ),
    "heartbeats-momentum-of-keras": Fault(
        whole(sounds.hearts, 1242, momentum=0.001),
        ("GW435", "GW434", "GW431"),
        "pytorch/examples#289, ports from TensorFlow: 0.999 there is 0.001 here, too slow for a short training",
        ("GW112", "GW801", "GW113"),
    ),
    "songs-dropout-of-keep-prob": Fault(
        whole(plain.tags, 1299, drop=0.8),
        ("GW462",),
        "ports from TensorFlow: keep_prob=0.8 became nn.Dropout(0.8)",
        ("GW802", "GW209", "GW434", "GW206", "GW461"),
    ),
    "waves-eps-of-inception": Fault(
        whole(masks.sharper, 1232, eps=0.1),
        ("GW443",),
        "ports from TensorFlow: epsilon=0.1 of the Inception recipe is kept with another loss",
        ("GW412", "GW209", "GW214"),
    ),
    "clicks-decay-of-adamw": Fault(
        whole(columns.ctr, 1281, weight_decay=0.1),
        ("GW441",),
        "forums: weight_decay=0.1 from an AdamW recipe given to Adam, where it is part of the gradient",
        ("GW451", "GW209", "GW203", "GW452"),
    ),
    "digits-all-in-halves": Fault(
        whole(plain.halves, 1295, weights="bfloat16"),
        ("GW606",),
        "hp-l33/AiM#10, pytorch/ao#1124: with weights in bf16 small updates are lost in rounding",
        ("GW412", "GW209", "GW206"),
    ),
}
