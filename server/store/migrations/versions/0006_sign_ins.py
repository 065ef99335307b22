"""Lets every server process on a database know who is signed in: a table of the sessions of browsers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table."""
    op.create_table(
        "sign_ins",
        sa.Column("hash", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("started_ms", WHOLE, nullable=False),
        sa.Column("seen_ms", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("hash"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
