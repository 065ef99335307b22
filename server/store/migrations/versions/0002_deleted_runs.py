"""Lets a deleted run be taken back for a while: runs get the moment of their deletion."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    """Adds the column."""
    op.add_column("runs", sa.Column("deleted_ms", WHOLE, nullable=True))
    op.create_index(
        "runs_deleted",
        "runs",
        ["deleted_ms"],
        unique=False,
        sqlite_where=sa.text("deleted_ms IS NOT NULL"),
        postgresql_where=sa.text("deleted_ms IS NOT NULL"),
    )
