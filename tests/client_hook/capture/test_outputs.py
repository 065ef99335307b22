"""How much answers differ within a batch, which class they name, and whether they copy the input."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.capture.loops import batch, classifier, last, train


def test_it_measures_the_spread_over_the_batch() -> None:
    model = classifier()
    with torch.no_grad():
        first = model(batch(0)[0])
    fact = last(train(model=model), "outputs")["model"]
    assert abs(fact["batch_std"][0] - first.std(0, correction=0).mean().item()) < 1e-5
    assert abs(fact["log_z"][0][1] - first.logsumexp(1).mean().item()) < 1e-5
    top = torch.bincount(first.argmax(1)).max().item() / 12
    assert abs(fact["top_share"][0] - top) < 1e-5


def test_a_dead_model_answers_the_same_to_everything() -> None:
    model = classifier()
    nn.init.zeros_(model[2].weight)
    nn.init.constant_(model[0].bias, -50.0)
    fact = last(train(model=model), "outputs")["model"]
    assert max(fact["batch_std"]) < 1e-6


class Painter(nn.Module):
    """Paints what it reads into the middle of a large picture whose edges are black."""

    def __init__(self) -> None:
        super().__init__()
        self.paint = nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(self.paint(x).view(-1, 1, 8, 8).repeat_interleave(6, 2).repeat_interleave(6, 3), (16, 16, 16, 16))


def test_the_whole_of_a_large_picture_is_looked_at() -> None:
    model = Painter()
    x = torch.randn(12, 64, generator=torch.Generator().manual_seed(0))

    def body(step, model, optimizer):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), torch.zeros(12, 1, 80, 80))
        loss.backward()
        optimizer.step()
        return loss

    with torch.no_grad():
        spread = float(model(x).std(0, correction=0).mean())
    fact = last(train(body, model=model), "outputs")["model"]
    assert abs(fact["batch_std"][0] / spread - 1) < 0.2


class Copycat(nn.Module):
    """Answers each token with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * F.one_hot(x, 9).float()


def test_it_notices_a_model_that_copies_its_input() -> None:
    def body(step, model, optimizer):
        x = torch.randint(0, 9, (12, 6), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x).transpose(1, 2), x)
        loss.backward()
        optimizer.step()
        return loss

    fact = last(train(body, model=Copycat()), "outputs")["model"]
    assert fact["copies"][-1] == 1.0


class Writer(nn.Module):
    """Reads one text, and is told another while it writes; what it is told it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.told, self.head = nn.Embedding(9, 9), nn.Embedding(9, 9), nn.Linear(9, 9)

    def forward(self, text: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        return self.head(self.told(answer) + self.read(text).mean(1, keepdim=True))


def test_it_notices_a_decoder_that_is_told_what_it_has_to_write() -> None:
    def body(step, model, optimizer):
        text = torch.randint(0, 9, (12, 6), generator=torch.Generator().manual_seed(step))
        answer = text.flip(1)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(text, answer).transpose(1, 2), answer)
        loss.backward()
        optimizer.step()
        return loss

    model = Writer()
    with torch.no_grad():
        model.told.weight.copy_(8 * torch.eye(9))
        model.head.weight.copy_(torch.eye(9))
        model.read.weight.zero_()
    assert last(train(body, model=model), "outputs")["model"]["copies"][0] == 1.0


def test_a_copy_is_noticed_where_rows_are_filled_up_with_what_the_loss_ignores() -> None:
    def body(step, model, optimizer):
        x = torch.randint(1, 9, (12, 6), generator=torch.Generator().manual_seed(step))
        x[:, 3:] = 0
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x).transpose(1, 2), x, ignore_index=0)
        loss.backward()
        optimizer.step()
        return loss

    model = Writer()
    model.forward = lambda x: model.head(model.told(x))  # type: ignore[method-assign]
    with torch.no_grad():
        model.told.weight.copy_(8 * torch.eye(9))
        model.told.weight[0] = model.told.weight[1]  # what it answers behind the end is nobody's business
        model.head.weight.copy_(torch.eye(9))
    assert last(train(body, model=model), "outputs")["model"]["copies"][0] == 1.0


def test_a_text_that_only_the_loss_reads_is_no_copy() -> None:
    class Judged(Writer):
        """Is handed its targets beside the text, as many language models are."""

        def forward(self, text, targets):
            return self.head(self.told(text))

    def body(step, model, optimizer):
        text = torch.arange(72).view(12, 6) % 9
        optimizer.zero_grad()
        loss = F.cross_entropy(model(text, (text + 1) % 9).transpose(1, 2), (text + 1) % 9)
        loss.backward()
        optimizer.step()
        return loss

    model = Judged()
    with torch.no_grad():
        model.told.weight.copy_(8 * torch.eye(9).roll(1, 1))
        model.head.weight.copy_(torch.eye(9))
        model.head.bias.zero_()
    assert last(train(body, model=model), "outputs")["model"]["copies"][0] == 0.0
