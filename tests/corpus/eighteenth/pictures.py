"""Scripts of the eighteenth held-out set that name pictures by convolutions, after the usual tutorials."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import digits, fit, loaders, optimizer, scenes, schedule
from tests.corpus.probe import Recording


class Mnist(nn.Module):
    """The net of PyTorch's example for handwritten digits, a little narrower."""

    def __init__(self, classes: int = 10, drop: float = 0.5, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, 1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(drop)
        self.fc1, self.fc2 = nn.Linear(2 * width * 144, 128), nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.dropout1(F.max_pool2d(x, 2)).flatten(1)
        return F.log_softmax(self.fc2(self.dropout2(F.relu(self.fc1(x)))), dim=1)


class Cifar(nn.Module):
    """The net of PyTorch's tutorial for small coloured pictures."""

    def __init__(self, classes: int = 10, act: bool = True) -> None:
        super().__init__()
        self.conv1, self.pool, self.conv2 = nn.Conv2d(3, 6, 5), nn.MaxPool2d(2, 2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, classes)
        self.act = F.relu if act else (lambda x: x)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.conv1(x)))
        x = self.pool(self.act(self.conv2(x))).flatten(1)
        return self.fc3(self.act(self.fc2(self.act(self.fc1(x)))))


class Keras(nn.Sequential):
    """Blocks of convolution, ReLU, batch norm, pooling and dropout, as in recipes for Keras."""

    def __init__(
        self, channels: int = 3, classes: int = 10, width: int = 16, drop: float = 0.5, size: int = 32
    ) -> None:
        layers: list[nn.Module] = []
        for a, b in ((channels, width), (width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(b), nn.MaxPool2d(2)]
        flat = 4 * width * (size // 8) ** 2
        super().__init__(
            *layers, nn.Flatten(), nn.Linear(flat, 128), nn.ReLU(), nn.Dropout(drop), nn.Linear(128, classes)
        )


class Block(nn.Module):
    """A basic block of a ResNet."""

    def __init__(self, a: int, b: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.short = nn.Sequential()
        if stride > 1 or a != b:
            self.short = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.short(x))


class ResNet(nn.Module):
    """Three stages of basic blocks after a stem that halves the picture."""

    def __init__(self, blocks: int = 2, width: int = 16, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        stages: list[nn.Module] = []
        at = width
        for many in (width, 2 * width, 4 * width):
            for number in range(blocks):
                stages.append(Block(at, many, 2 if number == 0 and many > width else 1))
                at = many
        self.body, self.fc = nn.Sequential(*stages), nn.Linear(at, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.body(self.stem(x)), 1).flatten(1))


class Dense(nn.Module):
    """Layers that are handed all that was found before."""

    def __init__(self, growth: int = 12, each: int = 4, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2 * growth, 3, 2, 1, bias=False)
        self.layers, self.shrink = nn.ModuleList(), nn.ModuleList()
        at = 2 * growth
        for stage in range(3):
            layers = nn.ModuleList()
            for _ in range(each):
                layers.append(
                    nn.Sequential(nn.BatchNorm2d(at), nn.ReLU(True), nn.Conv2d(at, growth, 3, 1, 1, bias=False))
                )
                at += growth
            self.layers.append(layers)
            if stage < 2:
                self.shrink.append(
                    nn.Sequential(nn.BatchNorm2d(at), nn.ReLU(True), nn.Conv2d(at, at // 2, 1), nn.AvgPool2d(2))
                )
                at //= 2
        self.norm, self.fc = nn.BatchNorm2d(at), nn.Linear(at, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage, layers in enumerate(self.layers):
            for layer in layers:
                x = torch.cat((x, layer(x)), 1)
            if stage < 2:
                x = self.shrink[stage](x)
        return self.fc(F.relu(self.norm(x)).mean((2, 3)))


class Inverted(nn.Module):
    """An inverted bottleneck of MobileNet."""

    def __init__(self, a: int, b: int, stride: int, more: int = 4) -> None:
        super().__init__()
        self.same = stride == 1 and a == b
        wide = a * more
        self.net = nn.Sequential(
            nn.Conv2d(a, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(True),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(True),
            nn.Conv2d(wide, b, 1, bias=False), nn.BatchNorm2d(b),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x) if self.same else self.net(x)


def mobile(classes: int = 10) -> nn.Sequential:
    """A small MobileNetV2."""
    sizes = [(16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 40, 2), (40, 40, 1), (40, 64, 1)]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(True), *[Inverted(*s) for s in sizes],
        nn.Conv2d(64, 256, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU6(True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(256, classes),
    )  # fmt: skip


def plain(depth: int = 16, width: int = 24, act: type[nn.Module] = nn.ReLU, classes: int = 10) -> nn.Sequential:
    """Convolutions one after the other, as VGG but without any norm."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 2, 1), act()]
    for at in range(depth):
        layers += [nn.Conv2d(width, width, 3, padding=1), act()]
        if at in (depth // 3, 2 * depth // 3):
            layers.append(nn.MaxPool2d(2))
    for layer in layers:
        if isinstance(layer, nn.Conv2d) and act is nn.ReLU:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class NextBlock(nn.Module):
    """A block of ConvNeXt: a wide depthwise convolution, layer norm, two linear layers, a small scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dw, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.pw1, self.act, self.pw2 = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(1e-2 * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        out = self.pw2(self.act(self.pw1(self.norm(self.dw(x).permute(0, 2, 3, 1)))))
        return x + (self.gamma * out).permute(0, 3, 1, 2)


def convnext(width: int = 32, blocks: int = 2, classes: int = 10) -> nn.Sequential:
    """A small ConvNeXt."""
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 4), nn.GroupNorm(1, width), *[NextBlock(width) for _ in range(blocks)],
        nn.GroupNorm(1, width), nn.Conv2d(width, 2 * width, 2, 2), *[NextBlock(2 * width) for _ in range(blocks)],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(2 * width), nn.Linear(2 * width, classes),
    )  # fmt: skip


def begun(model: nn.Module, how: str) -> None:
    """Other first weights than PyTorch's."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if how == "normal":
                nn.init.normal_(layer.weight)
            if how == "xavier":
                nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


NETS: dict[str, Any] = {
    "mnist": Mnist, "cifar": Cifar, "keras": Keras, "resnet": ResNet, "dense": Dense, "mobile": mobile,
    "plain": plain, "convnext": convnext,
}  # fmt: skip


def named(
    net: str = "resnet", rate: float = 0.1, name: str = "sgd", decay: float = 0.0, batch: int = 64, steps: int = 200,
    plan: str = "none", warm: int = 0, smooth: float = 0.0, size: int = 32, count: int = 5000, mixed: bool = False,
    every: int = 50, begin: str = "", shape: dict[str, Any] | None = None, classes: int = 10, data: str = "scenes",
    pixels: bool = False, soft: bool = False, in_order: bool = False, other_names: bool = False, raw_val: bool = False,
    gamma: float = 0.7, **more: Any,
) -> Recording:  # fmt: skip
    """Names pictures; `pixels` leaves them at 0 to 255, `raw_val` normalises what is learnt from alone."""
    x, y, vx, vy = digits(count) if data == "digits" else scenes(count, size, classes)
    mean, spread = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    if pixels:
        x, vx = 255 * x, 255 * vx
    else:
        x = (x - mean) / spread
        vx = 255 * vx if raw_val else (vx - mean) / spread
    if other_names:
        vy = (vy * 7 + 3) % classes
    learn, held = loaders((x, y, vx, vy), batch, shuffle=not in_order, in_order=in_order)
    model = NETS[net](**({} if net in ("cifar",) and shape is None else {"classes": classes}), **(shape or {}))
    if begin:
        begun(model, begin)
    if soft:
        model = nn.Sequential(model, nn.Softmax(dim=1))
    made = optimizer(name, model.parameters(), rate, decay)
    planned = schedule(plan, made, steps, rate, warm)
    by_epoch = plan == "epochs"
    if plan in ("epochs", "epochs by batch"):
        planned = torch.optim.lr_scheduler.StepLR(made, 1, gamma)
    cross = nn.NLLLoss() if net == "mnist" else nn.CrossEntropyLoss(label_smoothing=smooth)

    def mixing(out: Tensor, asked: Tensor) -> Tensor:
        return cross(out, asked)

    if mixed:  # two pictures of a batch are laid over each other
        inner = model

        class Mixed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner, self.share, self.order = inner, 1.0, torch.arange(1)

            def forward(self, part: Tensor) -> Tensor:
                if self.training:
                    self.share = float(torch.distributions.Beta(0.4, 0.4).sample())
                    self.order = torch.randperm(len(part))
                    part = self.share * part + (1 - self.share) * part[self.order]
                return self.inner(part)

        model = Mixed()

        def mixing(out: Tensor, asked: Tensor) -> Tensor:
            if not model.training:
                return cross(out, asked)
            return model.share * cross(out, asked) + (1 - model.share) * cross(out, asked[model.order])

    return fit(model, made, learn, held, mixing, steps, planned, by_epoch, every=every, **more)


def cats(
    rate: float = 1e-3, name: str = "adam", batch: int = 32, steps: int = 120, size: int = 64, kinds: int = 1,
    width: int = 12, drop: float = 0.5, twice: bool = False, **more: Any,
) -> Recording:  # fmt: skip
    """Tells two kinds apart with one output, or says which of several tags fit (`kinds`)."""
    x, y, vx, vy = scenes(2400, size, 8)
    bits = torch.tensor([[(c >> b) & 1 for b in range(3)] for c in range(8)]).float()
    y, vy = bits[y][:, :kinds], bits[vy][:, :kinds]
    learn, held = loaders((x * 2 - 1, y, vx * 2 - 1, vy), batch)
    model: nn.Module = Keras(3, kinds, width, drop, size)
    if twice:
        model = nn.Sequential(model, nn.Sigmoid())
    made = optimizer(name, model.parameters(), rate)
    return fit(model, made, learn, held, nn.BCEWithLogitsLoss(), steps, named=False, every=30, **more)
