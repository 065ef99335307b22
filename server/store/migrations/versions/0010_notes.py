"""Lets people write about a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table of notes."""
    op.create_table(
        "notes",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("version", WHOLE, autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("written_ms", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "version"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
