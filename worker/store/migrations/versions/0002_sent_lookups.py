"""Who named an inbox's host, and which sends are to be looked for in the Sent folder."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Until now only the operator could connect an inbox.
    op.add_column("inboxes", sa.Column("trusted", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.create_table(
        "sent_lookups",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("send_id", sa.Text(), primary_key=True),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("sent_lookups_due", "sent_lookups", ["account", "inbox", "due_at"])
    op.create_index("sent_lookups_expiry", "sent_lookups", ["expires_at"])


def downgrade() -> None:
    op.drop_table("sent_lookups")
    op.drop_column("inboxes", "trusted")
