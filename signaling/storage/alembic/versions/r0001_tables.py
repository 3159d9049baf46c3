"""The tables of what the service keeps."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Text, primary_key=True),
        sa.Column("token_digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", _BIG, nullable=False),
        sa.Column("last_seen_at", _BIG, nullable=False),
        sa.Column("company_id", sa.Text, nullable=False),
        sa.Column("lobby_id", sa.Text),
        sa.Column("participant_id", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("is_bot", sa.Boolean, nullable=False),
        sa.Column("joined_at", _BIG),
        sa.Column("grants", sa.Text),
    )
    op.create_table(
        "lobbies",
        sa.Column("lobby_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", _BIG, nullable=False),
        sa.Column("company_id", sa.Text, nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("capacity", _BIG),
        sa.Column("persistent", sa.Boolean, nullable=False),
    )
    op.create_table(
        "chat",
        sa.Column("lobby_id", sa.Text, primary_key=True),
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("participant_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("sent_at", _BIG, nullable=False),
    )
    op.create_table(
        "protected_names",
        sa.Column("company_id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("protected_at", _BIG, nullable=False),
    )
    op.create_table(
        "companies",
        sa.Column("company_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", _BIG, nullable=False),
        sa.Column("key_digests", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("limits", sa.Text, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("entry_id", _BIG, primary_key=True, autoincrement=False),
        sa.Column("at", _BIG, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.Text, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("at", _BIG, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text),
        sa.Column("lobby_id", sa.Text),
        sa.Column("correlation_id", sa.Text, nullable=False),
    )
    op.create_index("ix_events_type_seq", "events", ["type", "seq"])
    op.create_index("ix_events_lobby_id_seq", "events", ["lobby_id", "seq"])
    op.create_table(
        "dead_letters",
        sa.Column("delivery_id", sa.Text, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("attempts", _BIG, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("created_at", _BIG, nullable=False),
        sa.Column("given_up_at", _BIG, nullable=False),
    )
    op.create_index("ix_dead_letters_given_up_at", "dead_letters", ["given_up_at", "delivery_id"])
    op.create_table(
        "owner",
        sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("token", sa.Text, nullable=False),
    )
