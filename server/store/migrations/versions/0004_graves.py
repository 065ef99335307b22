"""Lets runs be deleted in slices: a table of those whose remains are still being taken away."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table."""
    op.create_table(
        "graves",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
