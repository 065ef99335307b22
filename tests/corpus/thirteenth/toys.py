"""Scripts of the thirteenth held-out set on toys: points in the plane, XOR, curves."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording
from tests.corpus.thirteenth.shelf import points, right


def plane(
    kind: str = "circles", nonlinear: str = "relu", deviation: float | None = None, bias: float | None = None,
    rate: float = 0.1, width: int = 24, batch: int = 32, epochs: int = 40, drawn: int = 13,
) -> Recording:  # fmt: skip
    """Tells points in the plane apart."""
    x, y, vx, vy = points(kind, seed=drawn)
    kinds = int(y.max()) + 1
    chosen: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "none": nn.Identity}
    net = nn.Sequential()
    for before, after in ((2, width), (width, width)):
        net.append(nn.Linear(before, after))
        if nonlinear != "none":
            net.append(chosen[nonlinear]())
    net.append(nn.Linear(width, kinds))
    for layer in net:
        if isinstance(layer, nn.Linear):
            if deviation is not None:
                nn.init.normal_(layer.weight, 0, deviation)
            if bias is not None:
                nn.init.constant_(layer.bias, bias)
    sgd = torch.optim.SGD(net.parameters(), lr=rate)
    probe = Probe(net, sgd)
    for epoch in range(epochs):
        order = torch.randperm(len(x))
        for at in range(0, len(x), batch):
            rows = order[at : at + batch]
            sgd.zero_grad()
            loss = F.cross_entropy(net(x[rows]), y[rows])
            loss.backward()
            sgd.step()
            probe.step(loss)
        if epoch % 2:
            with torch.no_grad():
                out = net(vx)
            probe.validation(F.cross_entropy(out, vy), accuracy=right(out, vy))
    return probe.finish()


def xor(
    rate: float = 0.5, hidden: int = 8, activation: str = "tanh", last: str = "sigmoid", steps: int = 1500
) -> Recording:
    """Learns XOR from its four rows."""
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    layers: list[nn.Module] = [nn.Linear(2, hidden)]
    layers += {"tanh": [nn.Tanh()], "sigmoid": [nn.Sigmoid()], "relu": [nn.ReLU()], "none": []}[activation]
    layers += [nn.Linear(hidden, 1)] + ([nn.Sigmoid()] if last == "sigmoid" else [])
    model = nn.Sequential(*layers)
    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    probe = Probe(model, optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        probe.step(loss)
    return probe.finish()


def curve(
    of: str = "sine", last: str = "none", hidden: int = 64, layers: int = 2, rate: float = 3e-3, scaled: bool = True,
    optimizer_name: str = "adam", steps: int = 700, clear: bool = True,
) -> Recording:  # fmt: skip
    """Fits a curve, all points in each step, and looks at points in between."""
    chance = torch.Generator().manual_seed(7)
    x, vx = torch.rand(400, 1, generator=chance) * 2 - 1, torch.linspace(-1, 1, 200).unsqueeze(1)

    def wanted(at: Tensor) -> Tensor:
        if of == "square":
            return at**2 if scaled else (1000 * at) ** 2
        return torch.sin(5 * at) if of == "sine" else at**3 - 0.5 * at

    y, vy = wanted(x) + (0.05 * torch.randn(400, 1, generator=chance) if scaled else 0), wanted(vx)
    if not scaled:
        x, vx = 1000 * x, 1000 * vx
    stack: list[nn.Module] = [nn.Linear(1, hidden), nn.Tanh()]
    for _ in range(layers - 1):
        stack += [nn.Linear(hidden, hidden), nn.Tanh()]
    stack.append(nn.Linear(hidden, 1))
    stack += {"none": [], "relu": [nn.ReLU()], "sigmoid": [nn.Sigmoid()]}[last]
    model = nn.Sequential(*stack)
    if optimizer_name == "rmsprop":
        optimizer: torch.optim.Optimizer = torch.optim.RMSprop(model.parameters(), lr=rate)
    elif optimizer_name == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    probe = Probe(model, optimizer)
    for step in range(1, steps + 1):
        loss = ((model(x) - y) ** 2).mean()
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 0:
            with torch.no_grad():
                probe.validation(((model(vx) - vy) ** 2).mean())
    return probe.finish()
