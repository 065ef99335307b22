"""Lets people and tokens be of some projects alone: JSON, a role for each project of a person, a list for a token.

NULL, which all have that are there, is the whole server.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a column to both."""
    for table in ("users", "tokens"):
        op.add_column(table, sa.Column("projects", sa.Text(), nullable=True))
