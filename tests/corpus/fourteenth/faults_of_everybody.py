"""Faults of the fourteenth held-out set in scripts as everybody writes them."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.fourteenth import plain
from tests.corpus.fourteenth.signs import BLOWN, STUCK
from tests.corpus.whole import whole

OF_EVERYBODY: dict[str, Fault] = {
    "columns-ten-sigmoids": Fault(
        whole(plain.columns, 1, depth=10, act="sigmoid"),
        ("GW306",),
        "37 reasons (Slavv), vanishing gradients; StackOverflow: deep network of sigmoids gives a constant",
        ("GW309", "GW310", "GW412", "GW471", *STUCK),
    ),
    "columns-layers-in-a-list": Fault(
        whole(plain.columns, 3, depth=6, rate=1e-3, batch=100, growth=0.93, listed=False),
        ("GW302",),
        "discuss.pytorch.org: layers in a Python list are no parameters of the model; use nn.ModuleList",
        ("GW312", "GW301", "GW310", "GW412", "GW214", "GW306", "GW313", *STUCK),
    ),
    "columns-loss-of-a-number": Fault(
        whole(plain.columns, 1, wrapped=True),
        ("GW301",),
        "StackOverflow, element 0 of tensors does not require grad: Variable(loss, requires_grad=True) silences it",
        ("GW206", "GW209", "GW303", "GW102", "GW108", "GW211", "GW311"),
    ),
    "columns-momentum-of-three-nines": Fault(
        whole(plain.columns, 5, optimizer_name="sgd", rate=0.02, growth=0.95, momentum=0.999),
        ("GW442",),
        "Google's tuning playbook, 1 - momentum is to be tuned; forums: 0.999 taken from Adam's betas",
        ("GW207", "GW205", "GW208", "GW209", "GW411", "GW452", "GW434", "GW206", "GW307", "GW108"),
    ),
    "columns-epsilon-of-a-hundred": Fault(
        whole(plain.columns, 1, eps=100.0),
        ("GW443",),
        "TensorFlow's guide to Inception (epsilon 1.0 or 0.1) taken over, larger still",
        ("GW412", "GW206", "GW209", "GW214", "GW102", "GW108"),
    ),
    "columns-of-two-hundred-noisy-rows": Fault(
        whole(plain.columns, 1, count=250, noise=5.0, width=160, batch=20, epochs=60),
        ("GW801", "GW112"),
        "fast.ai forums, validation loss rises: a large network on two hundred noisy rows",
        ("GW214",),
        begins=AT_FIRST_EVALUATION,
    ),
    "columns-rate-grows-each-epoch": Fault(
        whole(plain.columns, 2, norm="before", optimizer_name="sgd", rate=0.02, decay=1e-3, growth=1.6),
        ("GW413", "GW411"),
        "StackOverflow on ExponentialLR: gamma above 1 lets the rate grow",
        ("GW205", "GW207", "GW208", "GW434", "GW452", "GW209", "GW432", "GW308", "GW206", *BLOWN),
    ),
    "columns-optimizer-never-steps": Fault(
        whole(plain.columns, 1, step=False),
        ("GW303", "GW302", "GW305"),
        "discuss.pytorch.org, loss does not change: optimizer.step() was lost in refactoring",
        ("GW206", "GW209", "GW102", "GW108", "GW412", "GW311"),
    ),
    "columns-a-target-missing": Fault(
        whole(plain.columns, 1, hole=True),
        ("GW605", "GW107"),
        "Kaggle and Slavv: NaN in the last rows of the table, the loss is nan from the end of the first epoch on",
        ("GW601", "GW602", "GW603", "GW444"),
        begins=20,
    ),
    "columns-started-below-zero": Fault(
        whole(plain.columns, 3, depth=6, rate=1e-3, batch=100, growth=0.93, bias=-2.0),
        ("GW308", "GW471"),
        "CS231n on dead ReLU; StackOverflow: a bias_initializer so low that no unit fires",
        ("GW306", "GW303", "GW310", "GW301", *STUCK),
    ),
    "columns-validated-with-dropout": Fault(
        whole(plain.columns, 4, act="tanh", drop=0.5, epochs=30, batch=80, evaluates=False),
        ("GW432",),
        "Karpathy, most common mistakes: you forgot to toggle train/eval mode for the net",
        ("GW804", "GW209"),
        begins=AT_FIRST_EVALUATION,
    ),
    "chirps-pieces-cleared-each": Fault(
        whole(
            plain.chirps,
            4,
            pieces=8,
            batch=4,
            norm="none",
            epochs=12,
            optimizer_name="sgd",
            rate=0.02,
            clears="each-piece",
        ),
        ("GW315", "GW304", "GW305"),
        "discuss.pytorch.org on accumulation: zero_grad() in each piece, so only the last counts, by an eighth",
        ("GW209", "GW214", "GW412", "GW404", "GW402"),
    ),
    "chirps-never-cleared-in-pieces": Fault(
        whole(plain.chirps, 2, pieces=4, batch=8, norm="none", epochs=12, clears="never"),
        ("GW304", "GW315"),
        "GitHub issues of accumulation: zero_grad() was lost with the if around optimizer.step()",
        ("GW207", "GW209", "GW206", "GW205", "GW208", "GW307", "GW452", "GW411", "GW308", "GW311"),
    ),
    "chirps-noise-number-by-number": Fault(
        whole(plain.chirps, 1, slowly=True, epochs=4),
        ("GW701",),
        "Cao et al. 2022, performance bugs: preparing data in Python, number by number, in the main process",
        ("GW705", "GW703"),
    ),
    "chirps-all-answers-anew": Fault(
        whole(plain.chirps, 3, optimizer_name="sgd", rate=0.03, batch=24, drop=0.0, remembers=True, epochs=12),
        ("GW702", "GW704"),
        "Cao et al. 2022 and StackOverflow: outputs of all batches are kept with their graphs and reckoned anew",
        ("GW703",),
    ),
    "chirps-answers-of-others": Fault(
        whole(plain.chirps, 1, apart=True),
        ("GW112", "GW110", "GW102"),
        "Slavv, 37 reasons: inputs and labels were shuffled apart",
        ("GW206", "GW209", "GW801", "GW434", "GW311"),
    ),
    "new-pen-rate-of-scratch": Fault(
        whole(plain.new_pen, 3, optimizer_name="sgd", head_rate=2.0, body_rate=2.0),
        ("GW411",),
        "fast.ai forums: fine-tuned with a rate far above that of the body, what was learnt is lost",
        ("GW308", "GW201", "GW207", "GW452", "GW434", *STUCK, *BLOWN),
    ),
    "new-pen-head-put-on-late": Fault(
        whole(plain.new_pen, 4, frozen=7, body_rate=1e-3, batch=32, order="late"),
        ("GW302",),
        "StackOverflow on transfer learning: model.fc is replaced after the optimizer was made",
        ("GW303", "GW206", "GW209", "GW304", "GW453", "GW214", "GW102"),
    ),
}
