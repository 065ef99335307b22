"""Scripts of the thirteenth held-out set on handwritten digits: a plain network, a deep stack, a small LeNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording
from tests.corpus.thirteenth.shelf import Parts, digits, right


class Net(nn.Module):
    """The network of the first tutorial."""

    def __init__(self, axis: int | None = 1, logarithm: bool = True, outputs: int = 10) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 128), nn.Linear(128, 64), nn.Linear(64, outputs)
        self.axis, self.logarithm = axis, logarithm

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.fc1(x.view(x.size(0), -1)))
        x = self.fc3(F.relu(self.fc2(x)))
        if self.axis is None:
            return x
        return F.log_softmax(x, dim=self.axis) if self.logarithm else F.softmax(x, dim=self.axis)


def tutorial(
    rate: float = 0.05, momentum: float = 0.9, clear: bool = True, axis: int | None = 1, logarithm: bool = True,
    labels: str = "own", optimizer_name: str = "sgd", batch: int = 64, epochs: int = 14, shuffle: bool = True,
    half: bool = False,
) -> Recording:  # fmt: skip
    """Trains and tests as the tutorial does; `axis` None stands for scores that no softmax has seen."""
    x, y, vx, vy = digits()
    if labels == "shuffled":
        y = y[torch.randperm(len(y))]
    if labels == "sorted":  # as the files lie in one folder for each digit
        x, y = x[y.argsort()], y[y.argsort()]
    model = Net(axis, logarithm)
    if half:
        model, x, vx = model.bfloat16(), x.bfloat16(), vx.bfloat16()
    if optimizer_name == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
    loader = DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=shuffle)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for data, target in loader:
            if clear:
                optimizer.zero_grad()
            output = model(data).float()
            loss = F.nll_loss(output, target)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            output = model(vx).float()
        probe.validation(F.nll_loss(output, vy), accuracy=right(output, vy))
    return probe.finish()


def numbered(numbers: bool = False, rate: float = 2e-3, batch: int = 50, epochs: int = 12) -> Recording:
    """Names the digit, or, with `numbers`, guesses it as a number with one output."""
    x, y, vx, vy = digits(images=False)
    model = Net(None, outputs=1 if numbers else 10)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=rate)
    probe = Probe(model, optimizer)

    def judged(out: Tensor, wanted: Tensor) -> Tensor:
        return F.mse_loss(out, wanted.float().unsqueeze(1)) if numbers else F.cross_entropy(out, wanted)

    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            loss = judged(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            out = model(vx)
        said = out.squeeze(1).round() if numbers else out.argmax(1)
        probe.validation(judged(out, vy), accuracy=(said == vy).float().mean())
    return probe.finish()


def stack(
    activation: str = "relu", start: str = "he", depth: int = 8, width: int = 64, rate: float = 0.05,
    momentum: float = 0.0, steps: int = 600, batch: int = 60, normed: bool = False, each_pixel: bool = False,
) -> Recording:  # fmt: skip
    """Goes deep on digits, without looking at a test until the end."""
    x, y, vx, vy = digits(images=False)
    mean, std = (x.mean(0), x.std(0)) if each_pixel else (x.mean(), x.std())
    x, vx = (x - mean) / std, (vx - mean) / std
    made: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
    layers: list[nn.Module] = []
    for at in range(depth):
        layers.append(nn.Linear(64 if at == 0 else width, width))
        if normed:
            layers.append(nn.BatchNorm1d(width))
        layers.append(made[activation]())
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
            if start == "he":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if activation == "relu" else "linear")
            else:
                nn.init.normal_(layer.weight, 0, float(start))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
    probe = Probe(model, optimizer)
    for step in range(steps):
        rows = torch.randint(0, len(x), (batch,))
        loss = F.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 20 == 0:
            probe.log(lr=rate)
    model.eval()
    with torch.no_grad():
        out = model(vx)
    probe.validation(F.cross_entropy(out, vy), accuracy=right(out, vy))
    return probe.finish()


def _pictures(order: str) -> Parts:
    """Digits; the file has them as rows, columns, pictures."""
    x, y, vx, vy = digits()
    if order == "reshaped":
        x, vx = (part.squeeze(1).permute(1, 2, 0).reshape(-1, 1, 8, 8) for part in (x, vx))
    return x, y, vx, vy


class LeNet(nn.Module):
    """Two convolutions and two layers."""

    def __init__(self, drop: float = 0.3, last: str = "none", normed: bool = True) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 24, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(12) if normed else nn.Identity()
        self.bn2 = nn.BatchNorm2d(24) if normed else nn.Identity()
        self.pool, self.drop = nn.MaxPool2d(2), nn.Dropout(drop)
        self.fc1, self.fc2 = nn.Linear(24 * 4, 64), nn.Linear(64, 10)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        x = self.pool(F.relu(self.bn2(self.conv2(x))))
        x = self.drop(F.relu(self.fc1(x.flatten(1))))
        x = self.fc2(x)
        if self.last == "relu":
            return F.relu(x)
        return F.softmax(x, dim=1) if self.last == "softmax" else x


@torch.no_grad()
def _tested(net: nn.Module, x: Tensor, y: Tensor, still: bool = True) -> tuple[Tensor, Tensor]:
    if still:
        net.eval()
    out = net(x)
    return F.cross_entropy(out, y), right(out, y)


def lenet(
    drop: float = 0.3, last: str = "none", normed: bool = True, order: str = "right", still: bool = True,
    decay: float = 0.0, rate: float = 2e-3, sgd: bool = False, clip: float | None = None, late: bool = False,
    batch: int = 32, epochs: int = 7, share: float = 1.0, frozen: bool = False, again: bool = True,
) -> Recording:  # fmt: skip
    """Reads digits with a small LeNet; `late` builds the network anew after its optimizer."""
    x, y, vx, vy = _pictures(order)
    x, y = x[: int(len(x) * share)], y[: int(len(y) * share)]
    net = LeNet(drop, last, normed)
    if frozen:  # as for a body that has been trained before
        for value in net.parameters():
            value.requires_grad = False
        net.fc2 = nn.Linear(64, 10)
    params = net.parameters()
    if sgd:
        optimizer: torch.optim.Optimizer = torch.optim.SGD(params, lr=rate, momentum=0.9, weight_decay=decay)
    else:
        optimizer = torch.optim.Adam(params, lr=rate, weight_decay=decay)
    if late:
        net = LeNet(drop, last, normed)
    probe = Probe(net, optimizer)
    for epoch in range(epochs):
        if again or epoch == 0:
            net.train()
        for rows in torch.randperm(len(x)).split(batch):
            if len(rows) < 2:
                continue
            loss = F.cross_entropy(net(x[rows]), y[rows])
            net.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimizer.step()
            probe.step(loss)
        loss, accuracy = _tested(net, vx, vy, still)
        probe.validation(loss, accuracy=accuracy)
    return probe.finish()


def scheduled(
    each: str = "epoch", mode: str = "min", kind: str = "step", rate: float = 0.05, batch: int = 32, epochs: int = 12,
) -> Recording:  # fmt: skip
    """Lowers its learning rate as it goes; `each` says after what the scheduler steps."""
    x, y, vx, vy = digits()
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, factor=0.1, patience=1)
    steps = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.3)
    probe = Probe(model, optimizer, scheduler=steps if kind == "step" else plateau)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            if kind == "step" and each == "batch":
                steps.step()
            probe.step(loss)
        with torch.no_grad():
            out = model(vx)
        seen = F.cross_entropy(out, vy)
        probe.validation(seen, accuracy=right(out, vy))
        if kind == "plateau":
            plateau.step(seen)
        elif each == "epoch":
            steps.step()
    return probe.finish()
