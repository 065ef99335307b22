"""Scripts of the thirteenth held-out set on sequences: reviews, passengers, letters, a long memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording
from tests.corpus.thirteenth.shelf import prose, right, sentences, spelt


class Reviewer(nn.Module):
    """Words, an LSTM, the answer from its last state."""

    def __init__(self, batch_first: bool, squashed: bool, cell: str, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 24, padding_idx=0)
        made = nn.LSTM if cell == "lstm" else nn.GRU
        self.rnn = made(24, width, batch_first=batch_first, bidirectional=True)
        self.answer = nn.Linear(2 * width, 1)
        self.squashed = squashed

    def forward(self, x: Tensor) -> Tensor:
        seen, _ = self.rnn(self.words(x))
        out = self.answer(seen.max(dim=1).values).squeeze(1)
        return torch.sigmoid(out) if self.squashed else out


def reviews(
    batch_first: bool = True, squashed: bool = False, rate: float = 3e-3, cell: str = "lstm", width: int = 24,
    clip: float | None = None, batch: int = 48, epochs: int = 9,
) -> Recording:  # fmt: skip
    """Tells good reviews from bad ones."""
    x, _, y = sentences(2600)
    model = Reviewer(batch_first, squashed, cell, width)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    train = DataLoader(TensorDataset(x[400:], y[400:].float()), batch_size=batch, shuffle=True)
    test = DataLoader(TensorDataset(x[:400], y[:400].float()), batch_size=100)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for words, label in train:
            optimizer.zero_grad()
            loss = criterion(model(words), label)
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            probe.step(loss)
        model.eval()
        lost, hits = 0.0, 0.0
        with torch.no_grad():
            for words, label in test:
                out = model(words)
                lost += criterion(out, label).item()
                hits += float(((out > (0.5 if squashed else 0)) == (label > 0)).float().mean())
        probe.validation(lost / len(test), accuracy=hits / len(test))
    return probe.finish()


class Forecaster(nn.Module):
    """A window of the past, the next value."""

    def __init__(self, hidden: int, cell: str, last: str = "none") -> None:
        super().__init__()
        self.lstm = (nn.LSTM if cell == "lstm" else nn.GRU)(1, hidden, batch_first=True)
        self.linear, self.last = nn.Linear(hidden, 1), last

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.lstm(x)
        out = self.linear(out[:, -1])
        return torch.tanh(out) if self.last == "tanh" else out


def passengers(
    raw: bool = False, flat: bool = False, hidden: int = 32, cell: str = "lstm", rate: float = 5e-3, window: int = 14,
    batch: int = 64, epochs: int = 24, last: str = "none", peeking: bool = False,
) -> Recording:  # fmt: skip
    """Forecasts passengers of each day; `flat` leaves the wanted values as a row of numbers."""
    chance = torch.Generator().manual_seed(17)
    day = torch.arange(1000).float()
    week = torch.tensor([0.1, 0.0, 0.05, 0.1, 0.4, 0.8, 0.6])[torch.arange(1000) % 7]
    count = (
        900 + 0.2 * day + 250 * torch.sin(day / 365 * 6.2832) + 300 * week + 15 * torch.randn(1000, generator=chance)
    )
    if not raw:
        count = (count - count[:800].mean()) / count[:800].std()
    rows = count.unfold(0, window + 1, 1)
    x, y = (rows if peeking else rows[:, :-1]).unsqueeze(2), rows[:, -1]
    if not flat:
        y = y.unsqueeze(1)
    cut = 800 - window
    x, y, vx, vy = x[:cut], y[:cut], x[cut:], y[cut:]
    model = Forecaster(hidden, cell, last)
    loss_function = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        for seq, labels in DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True):
            optimizer.zero_grad()
            loss = loss_function(model(seq), labels)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(loss_function(model(vx), vy))
    return probe.finish()


class Speller(nn.Module):
    """Letters, a GRU, the next letter."""

    def __init__(self, letters: int, width: int, layers: int) -> None:
        super().__init__()
        self.letters = nn.Embedding(letters, 24)
        self.gru = nn.GRU(24, width, layers, batch_first=True)
        self.next = nn.Linear(width, letters)

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        out, state = self.gru(self.letters(x), state)
        return self.next(out), state


def letters(
    shifted: bool = True, clip: float = 1.0, rate: float = 4e-3, width: int = 64, layers: int = 1, rows: int = 16,
    span: int = 24, passes: int = 2, sgd: bool = False,
) -> Recording:  # fmt: skip
    """Writes simple sentences letter by letter; the state goes on from one piece to the next, cut from its past."""
    text, kinds = spelt(prose(2000))
    held, text = text[:3300].view(4, -1), text[3300:]
    lines = text[: len(text) // rows * rows].view(rows, -1)
    model = Speller(kinds, width, layers)
    if sgd:
        optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    probe = Probe(model, optimizer)

    def loss_of(part: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        out, state = model(part[:, :-1], state)
        wanted = part[:, 1:] if shifted else part[:, :-1]
        return F.cross_entropy(out.reshape(-1, kinds), wanted.reshape(-1)), state

    for _ in range(passes):
        state: Tensor | None = None
        for step, at in enumerate(range(0, lines.size(1) - span - 1, span)):
            if state is not None:
                state = state.detach()
            optimizer.zero_grad()
            loss, state = loss_of(lines[:, at : at + span + 1], state)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            probe.step(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    probe.validation(loss_of(held, None)[0])
    return probe.finish()


def memory(
    cell: str = "gru", length: int = 12, rate: float = 5e-3, deviation: float | None = None, clip: float | None = 1.0,
    width: int = 32, batch: int = 50, epochs: int = 15,
) -> Recording:  # fmt: skip
    """Says at the end which of four signs stood at the beginning."""
    chance = torch.Generator().manual_seed(19)
    y = torch.randint(0, 4, (1500,), generator=chance)
    x = torch.cat((F.one_hot(y, 4).float().unsqueeze(1), 0.3 * torch.randn(1500, length - 1, 4, generator=chance)), 1)
    made: dict[str, type[nn.Module]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
    rnn, head = made[cell](4, width, batch_first=True), nn.Linear(width, 4)
    if deviation is not None:
        for name, value in rnn.named_parameters():
            if "weight" in name:
                nn.init.normal_(value, 0, deviation)
    if cell == "lstm":
        nn.init.constant_(rnn.bias_ih_l0[width : 2 * width], 3.0)
    model = nn.ModuleDict({"rnn": rnn, "head": head})
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        for rows in (300 + torch.randperm(1200)).split(batch):
            out = head(rnn(x[rows])[0][:, -1])
            loss = F.cross_entropy(out, y[rows])
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            out = head(rnn(x[:300])[0][:, -1])
        probe.validation(F.cross_entropy(out, y[:300]), accuracy=right(out, y[:300]))
    return probe.finish()
