"""Adds what people wish of the diagnosis: thresholds of a project, mutes, and who did what to a finding."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    """Adds the three tables."""
    op.create_table(
        "thresholds",
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("project", "code", "name")),
        sa.Column("value", REAL, nullable=True),
        *(_text(name) for name in ("who", "reason")),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index("thresholds_by_project", "thresholds", ["project", "id"], unique=False)
    op.create_table(
        "mutes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        _text("run"),
        sa.Column("code", sa.Text(), nullable=False),
        *(_text(name) for name in ("layers", "who", "reason")),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.Column("expires_ms", WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index("mutes_by_project", "mutes", ["project", "id"], unique=False)
    op.create_table(
        "remarks",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("number", WHOLE, autoincrement=False, nullable=False),
        sa.Column("finding", WHOLE, nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        *(_text(name) for name in ("who", "reason")),
        sa.Column("at_ms", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default=sa.text("''"), nullable=False)
