"""The tables, as FORMAT.md describes them. The migrations create them; a test holds both sides together.

Not for: queries (one file per noun beside this one).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeEngine

# STRICT tables of SQLite know INTEGER (64 bit there), REAL, TEXT and BLOB only.
Whole: TypeEngine[int] = Integer().with_variant(BigInteger(), "postgresql")
Real: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")

metadata = MetaData()


def _table(
    name: str, *columns: Column[int] | Column[str] | Column[bytes] | Column[float] | Index, rowid: bool
) -> Table:
    return Table(name, metadata, *columns, sqlite_strict=True, sqlite_with_rowid=rowid)


def _key(name: str, of: TypeEngine[int] | TypeEngine[str] = Whole) -> Column[Any]:
    return Column(name, of, primary_key=True, autoincrement=False)


def _whole(name: str, *, default: str | None = None, nullable: bool = False) -> Column[int]:
    return Column(name, Whole, nullable=nullable, server_default=text(default) if default is not None else None)


def _real(name: str) -> Column[float]:
    return Column(name, Real, nullable=True)


def _text(name: str, *, default: str | None = None, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable, server_default=text(f"'{default}'") if default is not None else None)


def _blob(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


projects = _table(
    "projects",
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _whole("created_ms"),
    rowid=True,
)

runs = _table(
    "runs",
    _key("id", Text()),
    Column("project_id", Integer, ForeignKey("projects.id"), nullable=False),
    _text("name"),
    _text("tags", default="[]"),
    _text("config", default="{}"),
    _text("host", default=""),
    _text("state"),
    _text("diagnosis"),
    _whole("created_ms"),
    _whole("started_ms"),
    _whole("heard_ms"),
    _whole("ended_ms", nullable=True),
    _whole("archived", default="0"),
    _whole("attempts", default="0"),
    _whole("latest_attempt", default="0"),
    _whole("version", default="0"),
    _whole("dirty", default="0"),
    _whole("dirty_ms", default="0"),
    _whole("diagnosed_step", default="-1"),
    _text("verdict", default=""),
    _text("worst_severity", nullable=True),
    _text("open_counts", default="{}"),
    _whole("findings_version", default="0"),
    _whole("last_step", default="-1"),
    _whole("last_step_ms", default="0"),
    _whole("loss_step", nullable=True),
    _whole("loss_seq", nullable=True),
    _real("last_loss"),
    _real("best_validation"),
    _real("steps_per_s"),
    _whole("total_steps", nullable=True),
    _text("sparkline", default=""),
    _whole("deleted_ms", nullable=True),
    _text("lease_owner", default=""),
    _whole("lease_until_ms", default="0"),
    _whole("came_ms", nullable=True),
    Index("runs_by_start", "started_ms", "id"),
    Index("runs_by_project", "project_id", "started_ms"),
    Index("runs_dirty", "dirty_ms", sqlite_where=text("dirty = 1"), postgresql_where=text("dirty = 1")),
    Index(
        "runs_deleted",
        "deleted_ms",
        sqlite_where=text("deleted_ms IS NOT NULL"),
        postgresql_where=text("deleted_ms IS NOT NULL"),
    ),
    rowid=True,
)

attempts = _table(
    "attempts",
    _key("run_id", Text()),
    _key("number"),
    _text("key"),
    _whole("started_ms"),
    _whole("first_step"),
    _whole("last_step", default="-1"),
    _text("state"),
    _whole("ended_ms", nullable=True),
    Index("attempts_by_key", "run_id", "key", unique=True),
    rowid=False,
)

streams = _table(
    "streams",
    _key("run_id", Text()),
    _key("attempt"),
    _key("rank"),
    _whole("contiguous"),
    _whole("highest"),
    rowid=False,
)

series = _table(
    "series",
    _key("run_id", Text()),
    _key("number"),
    _text("name"),
    Index("series_by_name", "run_id", "name", unique=True),
    rowid=False,
)

groups = _table(
    "groups",
    _key("run_id", Text()),
    _key("number"),
    _blob("digest"),
    _text("dtype"),
    _blob("columns"),
    Index("groups_by_digest", "run_id", "digest", unique=True),
    rowid=True,
)

group_members = _table(
    "group_members",
    _key("run_id", Text()),
    _key("series"),
    _key("group"),
    _whole("position"),
    rowid=False,
)

summaries = _table(
    "summaries",
    _key("run_id", Text()),
    _key("attempt"),
    _key("rank"),
    _key("group"),
    _blob("data"),
    rowid=True,
)

frames = _table(
    "frames",
    _key("run_id", Text()),
    _key("attempt"),
    _key("rank"),
    _key("seq"),
    _whole("crc"),
    _whole("complete"),
    _whole("received_ms"),
    rowid=False,
)

blocks = _table(
    "blocks",
    _key("run_id", Text()),
    _key("group"),
    _key("attempt"),
    _key("rank"),
    _key("seq"),
    _key("part"),
    _whole("first_step"),
    _whole("last_step"),
    _whole("count"),
    _blob("data"),
    Index("blocks_by_frame", "run_id", "attempt", "rank", "seq", "part"),
    rowid=True,
)

seals = _table(
    "seals",
    _key("run_id", Text()),
    _key("group"),
    _key("attempt"),
    _key("rank"),
    _key("number"),
    _whole("first_step"),
    _whole("last_step"),
    _whole("first_seq"),
    _whole("last_seq"),
    _whole("first_ms"),
    _whole("last_ms"),
    _whole("count"),
    _whole("first_piece"),
    _blob("axis"),
    _blob("directory"),
    _blob("outline"),
    _blob("ladder"),
    Index("seals_by_seq", "run_id", "attempt", "rank", "last_seq"),
    rowid=True,
)

pieces = _table(
    "pieces",
    _key("run_id", Text()),
    _key("number"),
    _blob("data"),
    rowid=True,
)

frame_packs = _table(
    "frame_packs",
    _key("run_id", Text()),
    _key("attempt"),
    _key("rank"),
    _key("first_seq"),
    _whole("last_seq"),
    _blob("data"),
    rowid=True,
)

graves = _table(
    "graves",
    _key("run_id", Text()),
    rowid=True,
)

facts = _table(
    "facts",
    _key("run_id", Text()),
    _key("attempt"),
    _key("rank"),
    _key("seq"),
    _key("part"),
    _text("name"),
    _whole("step"),
    _text("value"),
    Index("facts_by_name", "run_id", "attempt", "name", "rank", "step"),
    rowid=True,
)

events = _table(
    "events",
    _key("run_id", Text()),
    _key("attempt"),
    _key("rank"),
    _key("seq"),
    _key("part"),
    _text("kind"),
    _whole("step"),
    _whole("time_ms"),
    _text("value"),
    Index("events_by_time", "run_id", "time_ms"),
    rowid=True,
)

findings = _table(
    "findings",
    _key("run_id", Text()),
    _key("number"),
    _text("code"),
    _text("name"),
    _whole("rule_version"),
    _text("severity"),
    _text("state"),
    _whole("attempt"),
    _whole("first_step"),
    _whole("raised_step"),
    _whole("last_step"),
    _whole("resolved_step", nullable=True),
    _text("message"),
    _text("advice"),
    _text("layers"),
    _text("ranks"),
    _text("evidence"),
    _text("params"),
    _whole("cause", nullable=True),
    _whole("acknowledged", default="0"),
    _whole("muted", default="0"),
    rowid=True,
)

checks = _table(
    "checks",
    _key("run_id", Text()),
    _key("code", Text()),
    _text("outcome"),
    _text("reason"),
    _text("remedy"),
    rowid=False,
)

thresholds = _table(
    "thresholds",
    Column("id", Integer, primary_key=True),
    _text("project"),
    _text("code"),
    _text("name"),
    _real("value"),
    _text("who", default=""),
    _text("reason", default=""),
    _whole("created_ms"),
    Index("thresholds_by_project", "project", "id"),
    rowid=True,
)

mutes = _table(
    "mutes",
    Column("id", Integer, primary_key=True),
    _text("project"),
    _text("run", default=""),
    _text("code"),
    _text("layers", default=""),
    _text("who", default=""),
    _text("reason", default=""),
    _whole("created_ms"),
    _whole("expires_ms", nullable=True),
    Index("mutes_by_project", "project", "id"),
    rowid=True,
)

remarks = _table(
    "remarks",
    _key("run_id", Text()),
    _key("number"),
    _whole("finding"),
    _text("action"),
    _text("who", default=""),
    _text("reason", default=""),
    _whole("at_ms"),
    rowid=True,
)

notes = _table(
    "notes",
    _key("run_id", Text()),
    _key("version"),
    _text("text"),
    _text("who", default=""),
    _whole("written_ms"),
    rowid=True,
)

sign_ins = _table(
    "sign_ins",
    _key("hash", Text()),
    _whole("started_ms"),
    _whole("seen_ms"),
    _whole("user_id", nullable=True),
    Index("sign_ins_by_user", "user_id"),
    rowid=False,
)

users = _table(
    "users",
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _text("role"),
    _text("password"),
    _whole("created_ms"),
    _whole("signed_in_ms", nullable=True),
    _text("issuer", default=""),
    _text("subject", default=""),
    _text("projects", nullable=True),
    Index(
        "users_by_subject",
        "issuer",
        "subject",
        unique=True,
        sqlite_where=text("issuer <> ''"),
        postgresql_where=text("issuer <> ''"),
    ),
    rowid=True,
)

tokens = _table(
    "tokens",
    Column("id", Integer, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    _text("name"),
    _text("scope"),
    _text("made_by"),
    _whole("created_ms"),
    _whole("expires_ms", nullable=True),
    _whole("used_ms", nullable=True),
    _whole("revoked_ms", nullable=True),
    _text("projects", nullable=True),
    rowid=True,
)

audit = _table(
    "audit",
    Column("id", Integer, primary_key=True),
    _whole("at_ms"),
    _text("who"),
    _text("action"),
    _text("about"),
    rowid=True,
)

channels = _table(
    "channels",
    Column("id", Integer, primary_key=True),
    _text("name"),
    _text("kind"),
    _text("address"),
    _text("secret", default=""),
    _text("severity"),
    _text("projects", default="[]"),
    _text("tags", default="[]"),
    _whole("ends", default="0"),
    _whole("active", default="1"),
    _whole("created_ms"),
    rowid=True,
)

alerts = _table(
    "alerts",
    Column("id", Integer, primary_key=True),
    _whole("channel"),
    _text("run", default=""),
    _text("key"),
    _text("event"),
    _whole("attempt", default="0"),
    _whole("finding", default="0"),
    _text("mark"),
    _text("state"),
    _whole("tries", default="0"),
    _text("reason", default=""),
    _text("news", default=""),
    _whole("created_ms"),
    _whole("due_ms"),
    _whole("sent_ms", nullable=True),
    _text("lease_owner", default=""),
    _whole("lease_until_ms", default="0"),
    Index("alerts_by_key", "channel", "key", unique=True),
    Index("alerts_by_run", "run"),
    Index(
        "alerts_waiting",
        "due_ms",
        sqlite_where=text("state = 'waiting'"),
        postgresql_where=text("state = 'waiting'"),
    ),
    rowid=True,
)
