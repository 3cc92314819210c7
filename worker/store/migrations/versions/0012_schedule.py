"""What the schedule needs: an inbox's host and last activity, who is being read, and hosts that hang.

Expands only: code that knows 0011 works on (see `COMPATIBLE_FROM`).
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

ACTIVE = sa.text("state = 'active'")
# Each poll writes an inbox's row twice. Where its page has room, the first time costs no index, for nothing changes
# that is indexed (a HOT update). And dead rows are cleared away after some hundreds instead of a fifth of the table.
STORAGE = "fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500"


def upgrade() -> None:
    op.add_column("inboxes", sa.Column("host", sa.Text()))
    op.add_column("inboxes", sa.Column("active_at", sa.DateTime(timezone=True)))
    op.drop_index("inboxes_due", "inboxes")
    op.create_index("inboxes_due", "inboxes", ["next_poll_at"], sqlite_where=ACTIVE, postgresql_where=ACTIVE)
    op.create_table(
        "leases",
        sa.Column("inbox_id", sa.Text(), primary_key=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("host", sa.Text()),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "hanging_hosts",
        sa.Column("host", sa.Text(), primary_key=True),
        sa.Column("hangs", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hung_until", sa.DateTime(timezone=True)),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE inboxes SET ({STORAGE})")
        op.execute("ALTER TABLE leases SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        names = ", ".join(setting.split(" = ")[0] for setting in STORAGE.split(", "))
        op.execute(f"ALTER TABLE inboxes RESET ({names})")
    op.drop_table("hanging_hosts")
    op.drop_table("leases")
    op.drop_index("inboxes_due", "inboxes")
    op.create_index("inboxes_due", "inboxes", ["next_poll_at"])
    op.drop_column("inboxes", "active_at")
    op.drop_column("inboxes", "host")
