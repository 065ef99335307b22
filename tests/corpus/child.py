"""Is one process of a training of the corpus: `python -m tests.corpus.child MODULE:FUNCTION FILE ARGUMENTS PACE CLOCK`.

Calls the function with the arguments (JSON) and with `keep`, which writes a recording to the file. Where the clock is
to stand still it is put in place before anything that reads it is imported. Not for: starting it (apart).
"""

from __future__ import annotations

import faulthandler
import json
import pickle
import sys
import warnings
from importlib import import_module
from pathlib import Path

HANGS_AFTER_S = 100


def main(script: str, file: str, arguments: str, pace: str, clock: str) -> None:
    """Trains; a process that hangs says where, and ends."""
    faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True)
    if clock == "still":
        import_module("tests.trainings.clock")
    import torch

    from tests.corpus.pace import paced

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    module, _, function = script.partition(":")

    def keep(recording: object) -> None:
        Path(file).write_bytes(pickle.dumps(recording))

    with paced(pace):
        getattr(import_module(module), function)(keep, **json.loads(arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
