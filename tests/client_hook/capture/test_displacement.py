"""The cosine between two epochs' ways, against plain torch; only plain SGD is followed."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from client_hook.capture import displacement
from tests.client_hook.capture.loops import batch, classifier, train
from tests.client_hook.tape import taped

NAME = "displacement_cosine/0"


def test_it_is_the_cosine_between_two_epochs() -> None:
    torch.manual_seed(0)
    model = nn.Linear(8, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(*batch(1, 48)), batch_size=12, shuffle=True)
    monitor, tape = taped(model, optimizer, strict=True)
    at_start = []
    for _ in range(5):
        at_start.append(torch.cat([item.detach().flatten() for item in model.parameters()]).double())
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    monitor.finish(timeout=0.1)
    ways = [after - before for before, after in itertools.pairwise(at_start)]
    wanted = [float(a @ b / (a.norm() * b.norm())) for a, b in itertools.pairwise(ways)]
    assert list(tape.series(NAME).values()) == pytest.approx(wanted, abs=1e-5)
    assert list(tape.series(NAME)) == [8, 12, 16]


def test_without_epochs_a_stretch_of_steps_takes_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displacement, "STRETCH", 4)
    model = classifier()
    tape = train(model=model, steps=14, optimizer=torch.optim.SGD(model.parameters(), 0.1), budget=1.0)
    assert tape.series(NAME)
    assert all(-1.0 <= value <= 1.0 for value in tape.series(NAME).values())


@pytest.mark.parametrize("kind", ["momentum", "Adam"])
def test_who_has_a_momentum_is_not_followed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displacement, "STRETCH", 4)
    model = classifier()
    parameters = model.parameters()
    optimizer = torch.optim.Adam(parameters) if kind == "Adam" else torch.optim.SGD(parameters, 0.1, momentum=0.9)
    assert NAME not in train(model=model, steps=14, optimizer=optimizer).names()
