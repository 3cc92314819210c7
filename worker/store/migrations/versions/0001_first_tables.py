"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("unenroll_on", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "addresses",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("address_key", sa.Text(), primary_key=True),
        sa.Column("excluded_by", sa.Text()),
        sa.Column("excluded_at", sa.DateTime(timezone=True)),
        sa.Column("hard_bounce_reason", sa.Text()),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "bounces",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("send_id", sa.Text(), nullable=False),
        sa.Column("address_key", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.Text()),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text()),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("status", sa.Text()),
        sa.Column("smtp_code", sa.Text()),
        sa.Column("diagnostic", sa.Text()),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("rules_version", sa.Text(), nullable=False),
        sa.Column("matched_by", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("forwarded_to", sa.Text()),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("evidence", JSON, nullable=False),
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("account", "send_id", "address_key", name="bounces_identity"),
    )
    op.create_index("bounces_address", "bounces", ["account", "address_key"])
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("value", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("id", BIG_ID, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.Text(), nullable=False, unique=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True)),
        sa.Column("error", sa.Text()),
    )
    op.create_index("outbox_due", "outbox", ["next_attempt_at"])
    op.create_table(
        "reports",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("reporting_mta", sa.Text()),
        sa.Column("features", JSON, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "review",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("entry", JSON, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("review_account", "review", ["account", "state"])
    op.create_table(
        "send_keys",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("send_id", sa.Text(), primary_key=True),
    )
    op.create_table(
        "send_recipients",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("send_id", sa.Text(), primary_key=True),
        sa.Column("address_key", sa.Text(), primary_key=True),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.Text()),
        sa.Column("role", sa.Text(), nullable=False),
    )
    op.create_index("send_recipients_address", "send_recipients", ["account", "address_key"])
    op.create_table(
        "sends",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message_id", sa.Text()),
        sa.Column("provider_message_id", sa.Text()),
        sa.Column("thread_id", sa.Text()),
        sa.Column("tracking_id", sa.Text()),
        sa.Column("envelope_id", sa.Text()),
        sa.Column("engagement_id", sa.Text()),
        sa.Column("sequence_id", sa.Text()),
        sa.Column("enrollment_id", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("sender", sa.Text()),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "bounce_reports",
        sa.Column("bounce_id", sa.Text(), sa.ForeignKey("bounces.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("report_id", sa.Text(), sa.ForeignKey("reports.id"), primary_key=True),
        sa.Column("verdict", JSON, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "inboxes",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("account", sa.Text(), sa.ForeignKey("accounts.name"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attention", sa.Text()),
        sa.Column("cursor", sa.Text()),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("caught_up_at", sa.DateTime(timezone=True)),
        sa.Column("last_poll_at", sa.DateTime(timezone=True)),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_poll_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("lease_token", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("account", "name", name="inboxes_account_name"),
    )
    op.create_index("inboxes_due", "inboxes", ["next_poll_at"])
    op.create_table(
        "timeline",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("bounce_id", sa.Text(), sa.ForeignKey("bounces.id", ondelete="CASCADE"), nullable=False, unique=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.Text()),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("timeline_contact", "timeline", ["account", "contact_id"])
    op.create_table(
        "credentials",
        sa.Column("inbox_id", sa.Text(), sa.ForeignKey("inboxes.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
    )
    op.create_table(
        "notices",
        sa.Column("id", BIG_ID, primary_key=True, autoincrement=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("inbox_id", sa.Text(), sa.ForeignKey("inboxes.id", ondelete="CASCADE"), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("report_id", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True)),
        sa.Column("thread_id", sa.Text()),
        sa.UniqueConstraint("inbox_id", "ref", name="notices_inbox_ref"),
    )
    op.create_index("notices_due", "notices", ["state", "next_attempt_at"])
    op.create_table(
        "notice_keys",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("notice_id", BIG_ID, sa.ForeignKey("notices.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("notice_keys_expiry", "notice_keys", ["expires_at"])
    op.create_index("notice_keys_notice", "notice_keys", ["notice_id"])


def downgrade() -> None:
    for table in (
        "notice_keys",
        "notices",
        "credentials",
        "timeline",
        "inboxes",
        "bounce_reports",
        "sends",
        "send_recipients",
        "send_keys",
        "review",
        "reports",
        "outbox",
        "meta",
        "bounces",
        "addresses",
        "accounts",
    ):
        op.drop_table(table)
