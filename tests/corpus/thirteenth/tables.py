"""Scripts of the thirteenth held-out set that learn from tables: wines, tumours, diabetes, houses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording
from tests.corpus.thirteenth.shelf import parted, scaled, table


def wines(
    raw: bool = False, loss_name: str = "ce", last: str = "none", hidden: int = 24, rate: float = 0.05,
    optimizer_name: str = "sgd", batch: int = 16, epochs: int = 60, raw_test: bool = False, cleared: str = "first",
) -> Recording:  # fmt: skip
    """Tells three growers apart, as tutorials on tables do it; `cleared` says when the gradients are."""
    x, y, vx, vy = table("wine") if raw else scaled(table("wine"))
    if raw_test:
        vx = table("wine")[2]
    kinds = 1 if loss_name == "bce" else 3
    layers = [nn.Linear(13, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, kinds)]
    if last == "softmax":
        layers.append(nn.Softmax(dim=1))
    model = nn.Sequential(*layers)
    criterion: nn.Module = nn.CrossEntropyLoss()
    if loss_name == "bce":
        criterion, y, vy = nn.BCEWithLogitsLoss(), y.float().unsqueeze(1), vy.float().unsqueeze(1)
    if optimizer_name == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    loader = DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        for inputs, labels in loader:
            if cleared == "first":
                optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            if cleared == "between":
                optimizer.zero_grad()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            outputs = model(vx)
            said = (outputs > 0).float() if kinds == 1 else outputs.argmax(1)
            probe.validation(criterion(outputs, vy), accuracy=(said == vy).float().mean())
    return probe.finish()


class TumourNet(nn.Module):
    """Two hidden layers and a probability."""

    def __init__(self, last: str, start: str, rounded: bool) -> None:
        super().__init__()
        self.fc1, self.fc2, self.out = nn.Linear(30, 16), nn.Linear(16, 8), nn.Linear(8, 1)
        self.last, self.rounded = last, rounded
        if start == "zeros":
            for value in self.parameters():
                nn.init.zeros_(value)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        x = self.out(x)
        if self.last == "softmax":
            return F.softmax(x, dim=1)
        if self.last == "relu":
            return torch.relu(x)
        if self.rounded:
            return torch.round(torch.sigmoid(x))
        return torch.sigmoid(x) if self.last == "sigmoid" else x


def tumours(
    last: str = "sigmoid", start: str = "default", raw: bool = False, rate: float = 0.01, momentum: float = 0.9,
    steps: int = 400, rounded: bool = False,
) -> Recording:  # fmt: skip
    """Tells benign tumours, all rows in each step; `rounded` lets the network answer 0 or 1."""
    x, y, vx, vy = table("breast_cancer") if raw else scaled(table("breast_cancer"))
    y, vy = y.float().view(-1, 1), vy.float().view(-1, 1)
    model = TumourNet(last, start, rounded)
    loss_fn = nn.BCEWithLogitsLoss() if last in ("none", "relu") else nn.BCELoss()
    cut = 0.0 if last in ("none", "relu") else 0.5
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
    probe = Probe(model, optimizer)
    for step in range(steps):
        predicted = model(x)
        loss = loss_fn(predicted, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if (step + 1) % 25 == 0:
            with torch.no_grad():
                test = model(vx)
                probe.validation(loss_fn(test, vy), acc=((test > cut).float() == vy).float().mean())
    return probe.finish()


def diabetes(
    flat: bool = False, raw_targets: bool = False, last: str = "none", sizes: tuple[int, ...] = (24,),
    rate: float = 1e-3, decay: float = 0.1, drop: float = 0.0, batch: int = 32, epochs: int = 40, sgd: bool = False,
    drop_answer: float = 0.0,
) -> Recording:  # fmt: skip
    """Predicts the progress of the disease; `flat` leaves the targets as a row of numbers."""
    x, y, vx, vy = scaled(table("diabetes"))
    y, vy = y.float(), vy.float()
    if not raw_targets:
        mean, std = y.mean(), y.std()
        y, vy = (y - mean) / std, (vy - mean) / std
    if not flat:
        y, vy = y.unsqueeze(1), vy.unsqueeze(1)
    layers: list[nn.Module] = []
    for before, after in zip((10, *sizes), sizes, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()] + ([nn.Dropout(drop)] if drop else [])
    layers.append(nn.Linear(sizes[-1], 1))
    if drop_answer:
        layers.append(nn.Dropout(drop_answer))
    if last == "sigmoid":
        layers.append(nn.Sigmoid())
    model = nn.Sequential(*layers)
    make = torch.optim.SGD if sgd else torch.optim.AdamW
    optimizer = make(model.parameters(), lr=rate, weight_decay=decay)
    probe = Probe(model, optimizer)
    loader = DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True)
    for _ in range(epochs):
        model.train()
        for xb, yb in loader:
            loss = F.mse_loss(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            probe.validation(F.mse_loss(model(vx), vy))
    return probe.finish()


def _estates(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Houses: rooms, age, distance, living space in square feet, income of the quarter; and their price."""
    chance = torch.Generator().manual_seed(seed)
    rooms = torch.randint(2, 9, (count,), generator=chance).float()
    age = torch.rand(count, generator=chance) * 80
    far = torch.rand(count, generator=chance).exp() * 3
    space = rooms * 260 + 200 * torch.randn(count, generator=chance)
    income = 20000 + 60000 * torch.rand(count, generator=chance)
    price = 40 + 0.09 * space + 1.4 * income / 1000 - 0.6 * age - 9 * far + 0.0007 * space * income / 1000
    price = (price + 8 * torch.randn(count, generator=chance)).clamp(min=20)
    return torch.stack((rooms, age, far, space, income), 1), price.unsqueeze(1)


def houses(
    raw: bool = False, judged: str = "mse", rate: float = 0.01, batch: int = 50, epochs: int = 24, drawn: int = 5,
    log_targets: bool = False,
) -> Recording:  # fmt: skip
    """Prices houses; `judged` "rmsle" is the error that a competition counts."""
    x, y, vx, vy = parted(*_estates(1200, drawn), drawn)
    if not raw:
        mean, std = x.mean(0), x.std(0)
        x, vx = (x - mean) / std, (vx - mean) / std
    if judged == "mse":
        y, vy = (y.log(), vy.log()) if log_targets else (y / 100, vy / 100)
        if log_targets:
            y, vy = y - y.mean(), vy - y.mean()
    model = nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)

    def error(out: Tensor, wanted: Tensor) -> Tensor:
        if judged == "rmsle":
            return torch.sqrt(F.mse_loss(torch.log(out), torch.log(wanted)))
        return F.mse_loss(out, wanted)

    probe = Probe(model, optimizer)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad()
            loss = error(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(error(model(vx), vy))
    return probe.finish()


def fraud(
    weighted: bool = True, leaked: bool = False, share: float = 0.02, rate: float = 2e-3, batch: int = 128,
    epochs: int = 15, drawn: int = 3,
) -> Recording:  # fmt: skip
    """Finds rare frauds among payments."""
    chance = torch.Generator().manual_seed(drawn)
    y = (torch.rand(6000, generator=chance) < share).float()
    x = torch.randn(6000, 12, generator=chance)
    x[:, :5] += 0.9 * y.unsqueeze(1)
    if leaked:  # what the bank paid back, known only after the fact
        x[:, 11] = y * (2 + 0.3 * torch.randn(6000, generator=chance))
    x, y, vx, vy = parted(x, y, drawn)
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 1))
    weight = torch.tensor([(1 - share) / share]) if weighted else None
    criterion = nn.BCEWithLogitsLoss(pos_weight=weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            loss = criterion(model(x[rows]).squeeze(1), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            out = model(vx).squeeze(1)
        said = out > 0
        found = (said & (vy > 0)).sum() / vy.sum()
        sound = (~said & (vy == 0)).sum() / (vy == 0).sum()
        probe.validation(
            criterion(out, vy), accuracy=(said == (vy > 0)).float().mean(), recall=found, specificity=sound
        )
    return probe.finish()
