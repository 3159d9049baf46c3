"""What retention needs: old rows found by their time, and the highest numbers of those it removed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "marks",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
    )
    op.create_index("ix_chat_sent_at", "chat", ["sent_at"])
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_events_at", "events", ["at"])
