"""A policy of an inbox's own."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("inboxes", sa.Column("policy", sa.Text()))


def downgrade() -> None:
    op.drop_column("inboxes", "policy")
