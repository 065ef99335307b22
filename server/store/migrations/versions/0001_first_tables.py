"""Creates the first tables: runs, their series and frames, records, findings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    """Creates them."""
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("number", WHOLE, autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("started_ms", WHOLE, nullable=False),
        sa.Column("first_step", WHOLE, nullable=False),
        sa.Column("last_step", WHOLE, server_default=sa.text("-1"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ended_ms", WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("run_id", "number"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("attempts_by_key", "attempts", ["run_id", "key"], unique=True)
    op.create_table(
        "blocks",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("group", WHOLE, autoincrement=False, nullable=False),
        sa.Column("attempt", WHOLE, autoincrement=False, nullable=False),
        sa.Column("rank", WHOLE, autoincrement=False, nullable=False),
        sa.Column("seq", WHOLE, autoincrement=False, nullable=False),
        sa.Column("part", WHOLE, autoincrement=False, nullable=False),
        sa.Column("first_step", WHOLE, nullable=False),
        sa.Column("last_step", WHOLE, nullable=False),
        sa.Column("count", WHOLE, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "group", "attempt", "rank", "seq", "part"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index("blocks_by_frame", "blocks", ["run_id", "attempt", "rank", "seq", "part"], unique=False)
    op.create_table(
        "checks",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("code", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "code"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("attempt", WHOLE, autoincrement=False, nullable=False),
        sa.Column("rank", WHOLE, autoincrement=False, nullable=False),
        sa.Column("seq", WHOLE, autoincrement=False, nullable=False),
        sa.Column("part", WHOLE, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("step", WHOLE, nullable=False),
        sa.Column("time_ms", WHOLE, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt", "rank", "seq", "part"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index("events_by_time", "events", ["run_id", "time_ms"], unique=False)
    op.create_table(
        "facts",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("attempt", WHOLE, autoincrement=False, nullable=False),
        sa.Column("rank", WHOLE, autoincrement=False, nullable=False),
        sa.Column("seq", WHOLE, autoincrement=False, nullable=False),
        sa.Column("part", WHOLE, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("step", WHOLE, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt", "rank", "seq", "part"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index("facts_by_name", "facts", ["run_id", "attempt", "name", "rank", "step"], unique=False)
    op.create_table(
        "findings",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("number", WHOLE, autoincrement=False, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rule_version", WHOLE, nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", WHOLE, nullable=False),
        sa.Column("first_step", WHOLE, nullable=False),
        sa.Column("raised_step", WHOLE, nullable=False),
        sa.Column("last_step", WHOLE, nullable=False),
        sa.Column("resolved_step", WHOLE, nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.Column("layers", sa.Text(), nullable=False),
        sa.Column("ranks", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("cause", WHOLE, nullable=True),
        sa.Column("acknowledged", WHOLE, server_default=sa.text("0"), nullable=False),
        sa.Column("muted", WHOLE, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "frames",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("attempt", WHOLE, autoincrement=False, nullable=False),
        sa.Column("rank", WHOLE, autoincrement=False, nullable=False),
        sa.Column("seq", WHOLE, autoincrement=False, nullable=False),
        sa.Column("crc", WHOLE, nullable=False),
        sa.Column("complete", WHOLE, nullable=False),
        sa.Column("received_ms", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt", "rank", "seq"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "group_members",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("series", WHOLE, autoincrement=False, nullable=False),
        sa.Column("group", WHOLE, autoincrement=False, nullable=False),
        sa.Column("position", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "series", "group"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "groups",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("number", WHOLE, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("dtype", sa.Text(), nullable=False),
        sa.Column("columns", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index("groups_by_digest", "groups", ["run_id", "digest"], unique=True)
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "series",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("number", WHOLE, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("series_by_name", "series", ["run_id", "name"], unique=True)
    op.create_table(
        "streams",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("attempt", WHOLE, autoincrement=False, nullable=False),
        sa.Column("rank", WHOLE, autoincrement=False, nullable=False),
        sa.Column("contiguous", WHOLE, nullable=False),
        sa.Column("highest", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt", "rank"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "summaries",
        sa.Column("run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("attempt", WHOLE, autoincrement=False, nullable=False),
        sa.Column("rank", WHOLE, autoincrement=False, nullable=False),
        sa.Column("group", WHOLE, autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "attempt", "rank", "group"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("config", sa.Text(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("host", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("diagnosis", sa.Text(), nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.Column("started_ms", WHOLE, nullable=False),
        sa.Column("heard_ms", WHOLE, nullable=False),
        sa.Column("ended_ms", WHOLE, nullable=True),
        sa.Column("archived", WHOLE, server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", WHOLE, server_default=sa.text("0"), nullable=False),
        sa.Column("latest_attempt", WHOLE, server_default=sa.text("0"), nullable=False),
        sa.Column("version", WHOLE, server_default=sa.text("0"), nullable=False),
        sa.Column("dirty", WHOLE, server_default=sa.text("0"), nullable=False),
        sa.Column("dirty_ms", WHOLE, server_default=sa.text("0"), nullable=False),
        sa.Column("diagnosed_step", WHOLE, server_default=sa.text("-1"), nullable=False),
        sa.Column("verdict", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("worst_severity", sa.Text(), nullable=True),
        sa.Column("open_counts", sa.Text(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("findings_version", WHOLE, server_default=sa.text("0"), nullable=False),
        sa.Column("last_step", WHOLE, server_default=sa.text("-1"), nullable=False),
        sa.Column("last_step_ms", WHOLE, server_default=sa.text("0"), nullable=False),
        sa.Column("loss_step", WHOLE, nullable=True),
        sa.Column("loss_seq", WHOLE, nullable=True),
        sa.Column("last_loss", REAL, nullable=True),
        sa.Column("best_validation", REAL, nullable=True),
        sa.Column("steps_per_s", REAL, nullable=True),
        sa.Column("total_steps", WHOLE, nullable=True),
        sa.Column("sparkline", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index("runs_by_project", "runs", ["project_id", "started_ms"], unique=False)
    op.create_index("runs_by_start", "runs", ["started_ms", "id"], unique=False)
    op.create_index(
        "runs_dirty",
        "runs",
        ["dirty_ms"],
        unique=False,
        sqlite_where=sa.text("dirty = 1"),
        postgresql_where=sa.text("dirty = 1"),
    )
