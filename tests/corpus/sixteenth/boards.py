"""Scripts of the sixteenth held-out set that learn noughts and crosses from perfect players: moves and who wins."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import cut, made
from tests.corpus.probe import Probe, Recording

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
Board = tuple[int, ...]


@cache
def _worth(board: Board) -> int:
    """What the board is worth to who is to move (1)."""
    if any(all(board[at] == -1 for at in line) for line in LINES):
        return -1
    return max((-_worth(_after(board, at)) for at in range(9) if not board[at]), default=0)


def _after(board: Board, move: int) -> Board:
    """The board as the other one sees it."""
    return tuple(-1 if at == move else -stone for at, stone in enumerate(board))


@cache
def _boards() -> tuple[Tensor, Tensor, Tensor]:
    """All boards on which there is something to do, the best moves, and the worth."""
    seen, todo = set[Board](), [(0,) * 9]
    while todo:
        board = todo.pop()
        over = any(all(board[at] == -1 for at in line) for line in LINES) or 0 not in board
        if board in seen or over:
            continue
        seen.add(board)
        todo += [_after(board, at) for at in range(9) if not board[at]]
    boards = sorted(seen)
    best = [[float(not b[at] and -_worth(_after(b, at)) == _worth(b)) for at in range(9)] for b in boards]
    return torch.tensor(boards).float(), torch.tensor(best), torch.tensor([[float(_worth(b))] for b in boards])


class Player(nn.Module):
    """A body, and heads for the move and the worth."""

    def __init__(self, width: int, layers: int, drop: float, end: str, norm: bool) -> None:
        super().__init__()
        sizes = [18, *[width] * layers]
        parts: list[nn.Module] = []
        for a, b in pairwise(sizes):
            parts += [nn.Linear(a, b), *([nn.LayerNorm(b)] if norm else []), nn.ReLU(), nn.Dropout(drop)]
        self.body = nn.Sequential(*parts)
        self.move = nn.Linear(width, 9)
        self.worth = nn.Sequential(nn.Linear(width, 1), *([nn.Tanh()] if end == "tanh" else []))

    def forward(self, board: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(torch.cat((board == 1, board == -1), 1).float())
        return self.move(h), self.worth(h)


def boards(
    rate: float = 5e-3, name: str = "adam", width: int = 96, layers: int = 2, drop: float = 0.0, end: str = "tanh",
    norm: bool = False, batch: int = 64, epochs: int = 12, low: float = -1e4, masked: str = "taken",
    judged: str = "soft", points: float = 1.0, flat: bool = False, squashed: bool = False, frozen: bool = False,
    asked: str = "eval", decay: float = 0.0, weight: float = 1.0, given: str = "all", spoken: bool = True,
) -> Recording:  # fmt: skip
    """Learns moves and worth; `low` takes the place of the scores of places that are taken."""
    x, best, worth = _boards()
    x, at, vx, vat = cut(x, torch.arange(len(x)))
    best, vbest, worth, vworth = best[at], best[vat], worth[at] * points, worth[vat] * points
    model = Player(width, layers, drop, end, norm)
    for value in model.body.parameters():
        value.requires_grad_(not frozen)
    wanted = [*model.body.parameters(), *model.move.parameters(), *(model.worth.parameters() if given == "all" else [])]
    optimizer = made(name, [value for value in wanted if value.requires_grad], rate, decay=decay)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(x) // batch))
    probe = Probe(model, optimizer)

    def judge(board: Tensor, moves: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        score, said = model(board)
        taken = board != 0 if masked == "taken" else board == 0
        score = score.masked_fill(taken, low)
        if judged == "one":
            lost = F.cross_entropy(score.softmax(1) if squashed else score, moves.argmax(1))
        else:
            lost = -(moves / moves.sum(1, keepdim=True) * score.log_softmax(1)).sum(1).mean()
        right = moves.gather(1, score.argmax(1, keepdim=True)).mean()
        return lost, F.mse_loss(said.squeeze(1) if flat else said, value), right, said

    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(x)).split(batch):
            move, value, _, _ = judge(x[rows], best[rows], worth[rows])
            loss = move + weight * value
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            plan.step()
            probe.step(loss, **({"move": move, "worth": value} if spoken else {}))
        if asked == "eval":
            model.eval()
        with torch.no_grad():
            move, value, right, said = judge(vx, vbest, vworth)
        unexplained = (said - vworth).pow(2).mean() / vworth.var()
        probe.validation(move + weight * value, best_move=right, unexplained=unexplained)
    return probe.finish()
