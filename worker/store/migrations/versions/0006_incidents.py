"""Incidents of inboxes."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "incidents",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("opened_at", moment, nullable=False),
        sa.Column("last_at", moment, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("bounce_id", sa.Text(), nullable=False),
        sa.Column("closed_at", moment),
    )
    is_open = sa.text("closed_at IS NULL")
    op.create_index(
        "incidents_open",
        "incidents",
        ["account", "inbox"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    senders = sa.text("fault = 'sender'")
    op.create_index(
        "bounces_senders",
        "bounces",
        ["account", "inbox", "occurred_at"],
        sqlite_where=senders,
        postgresql_where=senders,
    )
    op.create_index("sends_inbox", "sends", ["account", "inbox", "sent_at"])


def downgrade() -> None:
    op.drop_index("sends_inbox", "sends")
    op.drop_index("bounces_senders", "bounces")
    op.drop_table("incidents")
