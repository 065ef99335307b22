"""Adds the places of sealed samples and packed frame identities, leases of the diagnosis."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    """Adds them; what was stored before stays in open blocks until it is sealed."""
    op.create_table(
        "seals",
        _key("run_id", sa.Text()),
        *(_key(name) for name in ("group", "attempt", "rank", "number")),
        *(_whole(name) for name in ("first_step", "last_step", "first_seq", "last_seq", "first_ms", "last_ms")),
        _whole("count"),
        _whole("first_piece"),
        *(sa.Column(name, sa.LargeBinary(), nullable=False) for name in ("axis", "directory", "outline", "ladder")),
        sa.PrimaryKeyConstraint("run_id", "group", "attempt", "rank", "number"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index("seals_by_seq", "seals", ["run_id", "attempt", "rank", "last_seq"], unique=False)
    op.create_table(
        "pieces",
        _key("run_id", sa.Text()),
        _key("number"),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "frame_packs",
        _key("run_id", sa.Text()),
        *(_key(name) for name in ("attempt", "rank", "first_seq")),
        _whole("last_seq"),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt", "rank", "first_seq"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        # they are compressed already; read in part, a value must not be compressed again as a whole
        for table, columns in (("pieces", ["data"]), ("seals", ["axis", "directory", "outline", "ladder"])):
            for column in columns:
                op.execute(f'ALTER TABLE {table} ALTER COLUMN "{column}" SET STORAGE EXTERNAL')
    op.add_column("runs", sa.Column("lease_owner", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("runs", sa.Column("lease_until_ms", WHOLE, server_default=sa.text("0"), nullable=False))


def _key(name: str, of: sa.types.TypeEngine[int] | sa.types.TypeEngine[str] = WHOLE) -> sa.Column[object]:
    return sa.Column(name, of, autoincrement=False, nullable=False)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, WHOLE, nullable=False)
