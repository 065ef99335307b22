"""Reads the bodies of seals, which lie in pieces of a page each: of a wide group only the pages that are asked for.

Not for: what the bytes mean (seals.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection

from server.errors import StoreError
from server.store import statements
from server.store.seals import PIECE_BYTES

PIECES_A_QUERY = 1_000


def numbers_of(first_piece: int, begin: int, end: int) -> range:
    """Names the pieces that hold the bytes from `begin` to `end` of a body."""
    return range(first_piece + begin // PIECE_BYTES, first_piece + max(begin, end - 1) // PIECE_BYTES + 1)


def fetch(connection: Connection, run_id: str, numbers: Iterable[int]) -> dict[int, bytes]:
    """Reads pieces of one run; raises StoreError when one is missing."""
    wanted = sorted(set(numbers))
    found: dict[int, bytes] = {}
    for at in range(0, len(wanted), PIECES_A_QUERY):
        where = {"b_run": run_id, "b_numbers": wanted[at : at + PIECES_A_QUERY]}
        found.update(connection.execute(statements.PIECES, where).all())
    if len(found) != len(wanted):
        raise StoreError(f"Sealed samples of run {run_id} are missing in the database. Restore it from a backup.")
    return found


def join(pieces: Mapping[int, bytes], first_piece: int, begin: int, end: int) -> memoryview:
    """Gives the bytes from `begin` to `end` of a body whose pieces were fetched."""
    numbers = numbers_of(first_piece, begin, end)
    start = begin - (numbers[0] - first_piece) * PIECE_BYTES
    if len(numbers) == 1:
        return memoryview(pieces[numbers[0]])[start : start + end - begin]
    return memoryview(b"".join(pieces[number] for number in numbers))[start : start + end - begin]
