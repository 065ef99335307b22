"""Says of rules that no training of the corpus shows why that is so, and which test shows them."""

from __future__ import annotations

from collections.abc import Mapping

CASES = "tests/server/rules/cases"

BESIDE: Mapping[str, str] = {
    "GW101": "Judged before the training (see below), in `tests/client_hook/preflight/test_training_checks.py`",
    "GW105": "Judged before the training (see below), in `tests/client_hook/preflight/test_gradient_checks.py`",
    "GW106": "Judged before the training (see below), in `tests/client_hook/preflight/test_lr_range.py`",
    "GW108": "Judged before the training (see below), in `tests/client_hook/preflight/test_baseline.py`",
    "GW402": "Needs 24 micro-batches a step and a clock of its own; `tests/trainings/test_own_clock.py`",
    "GW415": f"A remark on a start whose cause is told as a worse finding; `{CASES}/missing-warmup.yaml`",
    "GW423": "A remark on spikes that are told as a worse finding; `tests/trainings/remarked.py`",
    "GW452": "Told as a symptom of what lets the weights grow; `tests/trainings/remarked.py`",
    "GW609": "Needs a GPU; `tests/client_hook/test_cuda.py`",
    "GW705": "Needs a GPU, or a clock that plays one; `tests/trainings/test_own_clock.py`",
    "GW804": "A remark on validation sets that are small, which those of healthy trainings here are too; "
    f"`{CASES}/val-noise-too-large.yaml`",
    "GW902": "Two processes that wait for each other through 200 steps; `tests/server/diagnosis/test_ranks.py`",
    "GW905": "Two processes that look for unused parameters through 200 steps; `tests/server/diagnosis/test_ranks.py`",
    "GW952": f"Told below a rate that jumps or a start that is too wide; `{CASES}/output-logit-drift.yaml`",
    "GW953": "A remark on single values, whose cause is told as a worse finding; `tests/trainings/remarked.py`",
    "GW957": "Needs a clock of its own; `tests/trainings/test_own_clock.py`",
}
