"""Faults of the fourteenth held-out set in loops of their own."""

from __future__ import annotations

from tests.corpus.fault import Fault
from tests.corpus.fourteenth import learners, odd
from tests.corpus.fourteenth.signs import BLOWN, STUCK
from tests.corpus.whole import whole

OF_LOOPS: dict[str, Fault] = {
    "sines-graph-cut": Fault(
        whole(learners.sines, 2, second=False, inner_steps=2, rate=3e-3, shots=12, cut=True),
        ("GW301",),
        "GitHub issues of MAML: the fast weights of the body were copied by .data, only the head has a gradient",
        ("GW206", "GW209", "GW102", "GW311", "GW303"),
    ),
    "sines-rate-of-a-half": Fault(
        whole(learners.sines, 1, rate=0.5),
        ("GW411",),
        "37 reasons (Slavv): the learning rate is far too high, here that of the outer loop",
        ("GW309", "GW201", "GW207", "GW306", "GW452", *STUCK, *BLOWN),
    ),
    "two-pens-strength-of-a-hundred": Fault(
        whole(learners.domains, 1, strength=100.0, ramp=False),
        ("GW451", "GW210"),
        "fungtion/DANN issues: lambda without a ramp and far too large, nothing is named any more",
        ("GW411", "GW308", "GW452", "GW311", "GW310", "GW952", "GW108", *STUCK, *BLOWN),
    ),
    "two-pens-second-loss-forgotten": Fault(
        whole(learners.domains, 1, strength=0.1, added=False),
        ("GW301",),
        "GitHub issues of DANN: the domain loss is computed and logged, and never added",
        ("GW303", "GW312"),
    ),
    "five-lessons-anchor-of-steel": Fault(
        whole(learners.lessons, 2, anchor=10.0, kept=12, steps=150),
        ("GW451",),
        "GitHub issues of EWC: an importance a thousand times too large, nothing new is learnt",
        ("GW210", "GW209", "GW206", "GW412", "GW207"),
    ),
    "five-lessons-rate-gone": Fault(
        whole(learners.lessons, 1, rate_later=1e-5),
        ("GW413", "GW412", "GW506"),
        "GitHub issues of continual learning: the decayed rate of the first lesson goes on in the others",
        ("GW205", "GW208", "GW209", "GW206", "GW110", "GW111"),
    ),
    "closure-never-clears": Fault(
        whole(learners.by_closure, 1, clear=False),
        ("GW304",),
        "discuss.pytorch.org on LBFGS: optimizer.zero_grad() belongs into the closure",
        ("GW207", "GW209", "GW206", "GW208", "GW205", "GW102", "GW214", "GW307"),
    ),
    "closure-rate-of-fifty": Fault(
        whole(learners.by_closure, 1, search=False, rate=50.0),
        ("GW411",),
        "discuss.pytorch.org, LBFGS loss becomes nan: a rate of SGD and no line search",
        ("GW201", "GW207", "GW452", *STUCK, *BLOWN),
    ),
    "regimes-begin-alike": Fault(
        whole(odd.regimes, 1, alike=True),
        ("GW114",),
        "textbooks on mixtures: all experts start at 0 and stay one, for they get the same gradient",
        ("GW471", *STUCK),
    ),
    "regimes-shared-over-the-batch": Fault(
        whole(odd.regimes, 1, axis=0),
        ("GW103", "GW202"),
        "GitHub issues of mixtures of experts: softmax(dim=0) shares the points out, not the experts",
        STUCK,
    ),
    "few-labels-weight-of-five-hundred": Fault(
        whole(odd.unlabelled, 1, weight=500.0),
        ("GW451", "GW210"),
        "CuriousAI/mean-teacher issues: a consistency weight meant for a sum, all digits get the same answer",
        ("GW206", "GW209", "GW311", "GW102", "GW805", "GW208"),
    ),
    "few-labels-none-in-the-batch": Fault(
        whole(odd.unlabelled, 1, mixed=True, batch=32),
        ("GW604", "GW601"),
        "pytorch/pytorch#75181: cross_entropy with ignore_index is nan if nothing of the batch is left",
        ("GW602", "GW603", "GW444", "GW107"),
    ),
    "facts-strangers-are-the-facts": Fault(
        whole(odd.facts, 1, rate=0.1, strangers="same"),
        ("GW211", "GW206", "GW202"),
        "GitHub issues of TransE: the corrupted triple is the true one, the loss stays at the margin",
        ("GW209", "GW301", "GW303", "GW306", "GW102", "GW443", "GW412"),
    ),
    "mass-moved-through-a-sigmoid": Fault(
        whole(odd.moved, 1, last="sigmoid"),
        ("GW212",),
        "forums on GANs: a sigmoid at the end of the generator while the data reach from -2 to 2",
        ("GW309", "GW306", "GW952", "GW208"),
    ),
    "mass-moved-critic-never-trained": Fault(
        whole(odd.moved, 1, swapped=True),
        ("GW302", "GW303"),
        "StackOverflow on GANs: both optimizers were given the generator's parameters",
        ("GW301", "GW304", "GW208", "GW204", "GW952", "GW452", "GW206", "GW211", "GW307", "GW608"),
    ),
    "mass-moved-without-a-penalty": Fault(
        whole(odd.moved, 1, penalty=0.0),
        ("GW452", "GW952", "GW208", "GW307"),
        "Gulrajani et al. 2017 and forums: a critic that nothing holds grows without end",
        ("GW310", "GW205", "GW423", "GW207", "GW211"),
    ),
    "currents-never-cleared": Fault(
        whole(odd.currents, 1, clear=False),
        ("GW304",),
        "Karpathy, most common mistakes: zero_grad forgotten",
        ("GW207", "GW209", "GW206", "GW205", "GW208", "GW307", "GW452", "GW411"),
    ),
    "currents-without-bends": Fault(
        whole(odd.currents, 1, bends=False),
        ("GW313",),
        "StackOverflow: linear layers in a row, no activation in between",
        ("GW209", "GW206", "GW108", "GW101"),
    ),
    "currents-in-halves-by-adam": Fault(
        whole(odd.currents, 2, rate=1e-3, batch=192, width=96, optimizer_name="adam", half=True),
        ("GW601", "GW602", "GW606", "GW444", "GW443"),
        "discuss.pytorch.org, Adam with half precision gives nan: eps of 1e-8 is 0 in float16",
        ("GW603", "GW607", "GW107"),
    ),
    "currents-nearly-all-dropped": Fault(
        whole(odd.currents, 1, drop=0.9),
        ("GW462",),
        "StackOverflow on dropout: the share to keep was handed over as the share to drop",
        ("GW206", "GW209", "GW802", "GW108", "GW214"),
    ),
    "currents-spare-layer": Fault(
        whole(odd.currents, 1, spare=True),
        ("GW312", "GW301"),
        "discuss.pytorch.org on find_unused_parameters: a layer was left in __init__ and is never called",
        ("GW905",),
        remark=True,
    ),
}
