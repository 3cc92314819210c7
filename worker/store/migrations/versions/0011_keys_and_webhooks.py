"""Keys of the HTTP API, positions in the feed of events, and webhooks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("account", sa.Text(), sa.ForeignKey("accounts.name")),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", json, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment),
        sa.Column("revoked_at", moment),
        sa.Column("last_used_at", moment),
    )
    op.add_column("outbox", sa.Column("position", sa.BigInteger()))
    with op.batch_alter_table("outbox") as table:
        table.create_unique_constraint("outbox_position_key", ["position"])
    op.create_index("outbox_feed", "outbox", ["account", "position"])
    unnumbered = sa.text("position IS NULL")
    op.create_index("outbox_unnumbered", "outbox", ["id"], sqlite_where=unnumbered, postgresql_where=unnumbered)
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("account", sa.Text(), sa.ForeignKey("accounts.name"), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", json, nullable=False),
        sa.Column("trusted", sa.Boolean(), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text()),
        sa.Column("created_at", moment, nullable=False),
    )
    op.create_index("webhooks_account", "webhooks", ["account"])
    op.create_table(
        "deliveries",
        sa.Column("webhook_id", sa.Text(), sa.ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.BigInteger(), sa.ForeignKey("outbox.position", ondelete="CASCADE"), primary_key=True),
        sa.Column("order_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", moment),
        sa.Column("settled_at", moment),
        sa.Column("problem", sa.Text()),
    )
    op.create_index("deliveries_event", "deliveries", ["position"])
    for name, columns in (
        ("deliveries_due", ["webhook_id", "next_attempt_at"]),
        ("deliveries_order", ["webhook_id", "order_key", "position"]),
    ):
        waiting = sa.text("state = 'waiting'")
        op.create_index(name, "deliveries", columns, sqlite_where=waiting, postgresql_where=waiting)


def downgrade() -> None:
    op.drop_table("deliveries")
    op.drop_table("webhooks")
    op.drop_index("outbox_unnumbered", "outbox")
    op.drop_index("outbox_feed", "outbox")
    with op.batch_alter_table("outbox") as table:
        table.drop_constraint("outbox_position_key")
        table.drop_column("position")
    op.drop_table("api_keys")
