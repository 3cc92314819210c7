"""Notices that were matched, encrypted, for as long as they may be judged again."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "raw_notices",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("report_id", sa.Text(), primary_key=True),
        sa.Column("inbox_id", sa.Text(), sa.ForeignKey("inboxes.id", ondelete="CASCADE"), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text()),
        sa.Column("received_at", moment),
        sa.Column("found_at", moment, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", moment, nullable=False),
    )
    op.create_index("raw_notices_expiry", "raw_notices", ["expires_at"])


def downgrade() -> None:
    op.drop_table("raw_notices")
