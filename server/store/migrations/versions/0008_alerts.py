"""Adds the channels that people are told by, what was told on them, and when a run came by an import."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds two tables and a column."""
    op.add_column("runs", sa.Column("came_ms", WHOLE, nullable=True))
    op.create_table(
        "channels",
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("name", "kind", "address")),
        _text("secret", ""),
        sa.Column("severity", sa.Text(), nullable=False),
        _text("projects", "[]"),
        _text("tags", "[]"),
        _whole("ends", "0"),
        _whole("active", "1"),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("channel", WHOLE, nullable=False),
        _text("run", ""),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        _whole("attempt", "0"),
        _whole("finding", "0"),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("mark", "state")),
        _whole("tries", "0"),
        _text("reason", ""),
        _text("news", ""),
        *(sa.Column(name, WHOLE, nullable=False) for name in ("created_ms", "due_ms")),
        sa.Column("sent_ms", WHOLE, nullable=True),
        _text("lease_owner", ""),
        _whole("lease_until_ms", "0"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index("alerts_by_key", "alerts", ["channel", "key"], unique=True)
    op.create_index("alerts_by_run", "alerts", ["run"], unique=False)
    op.create_index(
        "alerts_waiting",
        "alerts",
        ["due_ms"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )


def _text(name: str, default: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default=sa.text(f"'{default}'"), nullable=False)


def _whole(name: str, default: str) -> sa.Column[int]:
    return sa.Column(name, WHOLE, server_default=sa.text(default), nullable=False)
