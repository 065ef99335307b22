"""Gives a benchmark the database that it is asked for: a new file, a PostgreSQL of its own, or one that is named."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tests import postgres

KINDS = ("sqlite", "postgresql")


def add_option(parser: argparse.ArgumentParser) -> None:
    """Adds --database."""
    parser.add_argument(
        "--database", default="sqlite", metavar="KIND",
        help="sqlite (a new file), postgresql (a new cluster from this machine's binaries) or the URL of an empty one",
    )  # fmt: skip


@contextmanager
def database(chosen: str) -> Iterator[tuple[str, str]]:
    """Gives the name for the case and the URL; what was made is removed in the end."""
    if chosen == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield "SQLite", f"sqlite:///{folder}/gradwatch.db"
    elif chosen == "postgresql":
        with postgres.cluster(durable=True) as cluster:
            yield "PostgreSQL", cluster.new_database()
    else:
        yield "SQLite" if chosen.startswith("sqlite") else "PostgreSQL", chosen
