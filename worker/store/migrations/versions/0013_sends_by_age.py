"""Sends are found by their age, and what belongs to them by their id, so that old ones can be dropped.

Expands only: code that knows 0011 works on. The indexes may have been built before, without stopping writers (see
docs/operations.md): then they are left as they are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

TABLES = ("sends", "send_recipients", "send_keys")
# What is dropped is always the oldest: until a vacuum has cleared it away, whoever asks for the oldest walks past all
# of it. At a hundredth of the table that is short; at the usual fifth it isn't.
STORAGE = "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000"


def upgrade() -> None:
    op.create_index("sends_age", "sends", ["sent_at"], if_not_exists=True)
    op.create_index("send_keys_send", "send_keys", ["account", "send_id"], if_not_exists=True)
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(sa.text(f"ALTER TABLE {table} SET ({STORAGE})"))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        names = ", ".join(setting.split(" = ")[0] for setting in STORAGE.split(", "))
        for table in TABLES:
            op.execute(sa.text(f"ALTER TABLE {table} RESET ({names})"))
    op.drop_index("send_keys_send", "send_keys")
    op.drop_index("sends_age", "sends")
