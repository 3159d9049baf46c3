"""Bots that are wanted: they outlive the server."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "bots",
        sa.Column("bot_id", sa.Text, primary_key=True),
        sa.Column("lobby_id", sa.Text, nullable=False),
        sa.Column("requested_at", _BIG, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("provider", sa.Text),
        sa.Column("participant_id", sa.Text),
        sa.Column("joined_at", _BIG),
        sa.Column("counters", sa.Text, nullable=False),
    )
