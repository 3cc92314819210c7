"""Pending bounces are found by their time."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

PENDING = sa.text("type = 'pending'")


def upgrade() -> None:
    op.create_index("bounces_pending", "bounces", ["occurred_at"], sqlite_where=PENDING, postgresql_where=PENDING)


def downgrade() -> None:
    op.drop_index("bounces_pending", "bounces")
