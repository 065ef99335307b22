"""Lets a person be somebody of an OpenID Connect provider: its issuer, and the subject there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds two columns, and that nobody there is two people here."""
    for name in ("issuer", "subject"):
        op.add_column("users", sa.Column(name, sa.Text(), server_default=sa.text("''"), nullable=False))
    op.create_index(
        "users_by_subject",
        "users",
        ["issuer", "subject"],
        unique=True,
        sqlite_where=sa.text("issuer <> ''"),
        postgresql_where=sa.text("issuer <> ''"),
    )
