"""Addresses that bounced for good in several accounts, by keyed hash; and which accounts take part."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "global_bounces",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("occurred_at", moment, nullable=False),
    )
    op.create_table(
        "global_lifts",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("at", moment, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
    )
    for name in ("trusted", "global_opt_out"):
        op.add_column("accounts", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    for name in ("global_opt_out", "trusted"):
        op.drop_column("accounts", name)
    op.drop_table("global_lifts")
    op.drop_table("global_bounces")
