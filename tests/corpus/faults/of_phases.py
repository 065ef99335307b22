"""Faults that begin in a later phase of a long run, long after every step was looked at."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from torch.optim import lr_scheduler as schedules

from tests.corpus import models
from tests.corpus.fault import AUTOTRAINER, DISCUSS, KARPATHY, Fault
from tests.corpus.healthy import LATE
from tests.corpus.mistakes import jump
from tests.corpus.phases import (
    LATER,
    accumulates_later,
    cleared_until_then,
    freezes,
    labels_of_another_file,
    never_evaluates_again,
    never_trains_again,
)

PHASES: dict[str, Fault] = {
    "never-back-to-train-later": Fault(
        replace(LATE, after_step=never_trains_again), ("GW432",), KARPATHY, begins=LATER + 100
    ),
    "never-evaluates-again-later": Fault(
        replace(LATE, after_step=never_evaluates_again), ("GW432",), KARPATHY, begins=LATER + 100
    ),
    "gradients-never-cleared-later": Fault(
        replace(LATE, clear=cleared_until_then, clip=1.0),
        ("GW304",),
        KARPATHY,
        ("GW205", "GW207", "GW208", "GW308", "GW421"),
        begins=LATER,
    ),
    "rate-jumps-beside-its-scheduler": Fault(
        replace(LATE, scheduler=lambda opt: schedules.StepLR(opt, 250, 0.3), after_step=jump(LATER, 200.0)),
        ("GW413",),
        AUTOTRAINER,
        ("GW205", "GW207", "GW208", "GW308", "GW311", "GW411", "GW801"),
        begins=LATER + 1,
    ),
    "labels-of-another-file-later": Fault(
        replace(LATE, batch_change=labels_of_another_file),
        ("GW110", "GW205"),
        DISCUSS,
        ("GW207", "GW801", "GW307", "GW802", "GW205"),
        begins=LATER,
    ),
    "layer-frozen-later": Fault(
        replace(LATE, model=lambda: models.mlp(20, 5, 64, 3), after_step=freezes(2)),
        ("GW453",),
        DISCUSS,
        begins=LATER,
        remark=True,
    ),
    "accumulates-later-without-dividing": Fault(
        replace(LATE, loop=partial(accumulates_later, divides=False), batch=16),
        ("GW315",),
        "PyTorch, Automatic Mixed Precision examples: gradient accumulation",
        ("GW205", "GW307"),
        begins=LATER,
    ),
}
