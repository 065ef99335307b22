"""Checks the digits CNN before its training: `python examples/preflight.py [--sick]`.

Or from the command line, with an exit code for CI: gradwatch preflight examples/preflight.py:check --fail-on warning
"""

import argparse

import torch
from digits import DigitsCNN
from sklearn.datasets import load_digits
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from client_hook import preflight


def check(*, wrong: bool = False) -> dict:
    """Returns what preflight is called with."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
    if not wrong:
        images = (images - images.mean()) / images.std()
    loader = DataLoader(TensorDataset(images, torch.tensor(digits.target)), 64, shuffle=not wrong)
    model = DigitsCNN(softmax=wrong)
    held = model.features if wrong else model  # the head is forgotten
    optimizer = torch.optim.SGD(held.parameters(), lr=0.05, momentum=0.9)
    return {"model": model, "loss_fn": F.cross_entropy, "optimizer": optimizer, "train_loader": loader}


def sick() -> dict:
    """Returns the same with three classic mistakes in it."""
    return check(wrong=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sick", action="store_true", help="make three mistakes")
    arguments.add_argument("--seconds", type=float, default=60.0)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    preflight(**check(wrong=options.sick), seconds=options.seconds, project="demo", name="preflight of the digits")


if __name__ == "__main__":
    main()
