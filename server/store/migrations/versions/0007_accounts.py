"""Gives a shared server people, tokens of programs and an audit log; a session knows whose it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the three tables and the column."""
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("name", "role", "password")),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.Column("signed_in_ms", WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("hash", "name", "scope", "made_by")),
        sa.Column("created_ms", WHOLE, nullable=False),
        *(sa.Column(name, WHOLE, nullable=True) for name in ("expires_ms", "used_ms", "revoked_ms")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at_ms", WHOLE, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("who", "action", "about")),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.add_column("sign_ins", sa.Column("user_id", WHOLE, nullable=True))
    op.create_index("sign_ins_by_user", "sign_ins", ["user_id"], unique=False)
