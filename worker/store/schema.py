"""The tables, as SQLAlchemy Core sees them; the migrations make them.

Large tables are keyed by account first, so that they partition by account. Ids of reports, bounces and timeline
entries are digests of what they identify: making one twice makes the same one.
"""

import json
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from worker.domain import storable

HEAD: Final = "0013"
"""The newest migration; the database is brought to it before anything else is done."""
COMPATIBLE_FROM: Final = "0011"
"""The oldest code, named by its own `HEAD`, that works on a database at ours: old and new workers run side by side."""


class Moment(sa.TypeDecorator[datetime]):
    """An aware time in UTC. SQLite keeps no zone, so it is taken off and put back here."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone can't be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Words(sa.TypeDecorator[str]):
    """Text that may come from hostile mail: without NUL and lone surrogates, which PostgreSQL refuses."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else storable(value)


def storable_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return JSON text whose strings are storable; the engine's serializer."""

    def clean(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, str):
            return storable(value)
        if isinstance(value, dict):
            return {storable(key): clean(item) for key, item in value.items()}
        return [clean(item) for item in value] if isinstance(value, list | tuple) else value

    text = json.dumps(value, ensure_ascii=False)
    if "\\u0000" not in text and text == storable(text):
        return text
    return json.dumps(clean(value), ensure_ascii=False)


Json: Final = sa.JSON().with_variant(JSONB(), "postgresql")
BigId: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

metadata = sa.MetaData()


def _text(name: str, **more: Any) -> sa.Column[str]:  # noqa: ANN401 - SQLAlchemy's own keywords
    return sa.Column(name, Words, nullable=False, **more)


def _maybe(name: str) -> sa.Column[str]:
    return sa.Column(name, Words)


meta = sa.Table("meta", metadata, _text("key", primary_key=True), sa.Column("value", sa.LargeBinary, nullable=False))

accounts = sa.Table(
    "accounts",
    metadata,
    _text("name", primary_key=True),
    _text("policy"),
    sa.Column("unenroll_on", Json, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("soft_threshold", Json),
    sa.Column("mailbox_full_days", sa.Integer),
    sa.Column("trusted", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("global_opt_out", sa.Boolean, nullable=False, server_default=sa.false()),
)

inboxes = sa.Table(
    "inboxes",
    metadata,
    _text("id", primary_key=True),
    sa.Column("account", sa.Text, sa.ForeignKey("accounts.name"), nullable=False),
    _text("name"),
    _text("address"),
    _text("provider"),
    _text("settings"),
    _text("state"),
    _maybe("attention"),
    _maybe("cursor"),
    sa.Column("since", Moment, nullable=False),
    sa.Column("caught_up_at", Moment),
    sa.Column("last_poll_at", Moment),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("next_poll_at", Moment, nullable=False),
    sa.Column("lease_until", Moment),
    sa.Column("lease_token", sa.BigInteger, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("trusted", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("sign_in_ends_at", Moment),
    _maybe("policy"),
    _maybe("host"),
    sa.Column("active_at", Moment),
    sa.UniqueConstraint("account", "name", name="inboxes_account_name"),
    sa.Index("inboxes_address", sa.text("lower(address)")),
    sa.Index(
        "inboxes_due",
        "next_poll_at",
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    ),
)

leases = sa.Table(
    "leases",
    metadata,
    _text("inbox_id", primary_key=True),
    _text("provider"),
    _text("account"),
    _maybe("host"),
    sa.Column("until", Moment, nullable=False),
)

hanging_hosts = sa.Table(
    "hanging_hosts",
    metadata,
    _text("host", primary_key=True),
    sa.Column("hangs", sa.Integer, nullable=False),
    sa.Column("last_at", Moment, nullable=False),
    sa.Column("hung_until", Moment),
)

credentials = sa.Table(
    "credentials",
    metadata,
    sa.Column("inbox_id", sa.Text, sa.ForeignKey("inboxes.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)

sign_ins = sa.Table(
    "sign_ins",
    metadata,
    sa.Column("state", sa.LargeBinary, primary_key=True),
    sa.Column("inbox_id", sa.Text, sa.ForeignKey("inboxes.id", ondelete="CASCADE"), nullable=False),
    sa.Column("flow", sa.LargeBinary, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
)

doorbells = sa.Table(
    "doorbells",
    metadata,
    sa.Column("inbox_id", sa.Text, sa.ForeignKey("inboxes.id", ondelete="CASCADE"), primary_key=True),
    _maybe("subscription"),
    sa.Column("secret", sa.LargeBinary),
    sa.Column("expires_at", Moment),
    sa.Column("renew_at", Moment, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    _maybe("problem"),
    sa.Index("doorbells_subscription", "subscription"),
    sa.Index("doorbells_renewal", "renew_at"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _text("id", primary_key=True),
    sa.Column("account", sa.Text, sa.ForeignKey("accounts.name")),
    _text("name"),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("scopes", Json, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment),
    sa.Column("revoked_at", Moment),
    sa.Column("last_used_at", Moment),
)

sends = sa.Table(
    "sends",
    metadata,
    _text("account", primary_key=True),
    _text("id", primary_key=True),
    _text("inbox"),
    _text("kind"),
    sa.Column("sent_at", Moment, nullable=False),
    _maybe("message_id"),
    _maybe("provider_message_id"),
    _maybe("thread_id"),
    _maybe("tracking_id"),
    _maybe("envelope_id"),
    _maybe("engagement_id"),
    _maybe("sequence_id"),
    _maybe("enrollment_id"),
    _maybe("subject"),
    _maybe("sender"),
    sa.Column("registered_at", Moment, nullable=False),
    sa.Index("sends_inbox", "account", "inbox", "sent_at"),
    sa.Index("sends_age", "sent_at"),
)

send_recipients = sa.Table(
    "send_recipients",
    metadata,
    _text("account", primary_key=True),
    _text("send_id", primary_key=True),
    _text("address_key", primary_key=True),
    _text("address"),
    _maybe("contact_id"),
    _text("role"),
    sa.Index("send_recipients_address", "account", "address_key"),
)

send_keys = sa.Table(
    "send_keys",
    metadata,
    _text("account", primary_key=True),
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    _text("send_id", primary_key=True),
    sa.Index("send_keys_send", "account", "send_id"),
)

sent_lookups = sa.Table(
    "sent_lookups",
    metadata,
    _text("account", primary_key=True),
    _text("send_id", primary_key=True),
    _text("inbox"),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", Moment),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Index("sent_lookups_due", "account", "inbox", "due_at"),
    sa.Index("sent_lookups_expiry", "expires_at"),
)

notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", BigId, primary_key=True, autoincrement=True),
    _text("account"),
    sa.Column("inbox_id", sa.Text, sa.ForeignKey("inboxes.id", ondelete="CASCADE"), nullable=False),
    _text("ref"),
    _text("state"),
    _maybe("reason"),
    _maybe("report_id"),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_at", Moment, nullable=False),
    sa.Column("found_at", Moment, nullable=False),
    sa.Column("received_at", Moment),
    _maybe("thread_id"),
    sa.UniqueConstraint("inbox_id", "ref", name="notices_inbox_ref"),
    sa.Index("notices_due", "state", "next_attempt_at"),
)

notice_keys = sa.Table(
    "notice_keys",
    metadata,
    _text("account", primary_key=True),
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("notice_id", BigId, sa.ForeignKey("notices.id", ondelete="CASCADE"), primary_key=True),
    _text("kind"),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Index("notice_keys_notice", "notice_id"),
    sa.Index("notice_keys_expiry", "expires_at"),
)

reports = sa.Table(
    "reports",
    metadata,
    _text("id", primary_key=True),
    _text("account"),
    _text("kind"),
    _text("detector"),
    _maybe("reporting_mta"),
    sa.Column("features", Json, nullable=False),
    sa.Column("recorded_at", Moment, nullable=False),
)

bounces = sa.Table(
    "bounces",
    metadata,
    _text("id", primary_key=True),
    _text("account"),
    _text("send_id"),
    _text("address_key"),
    _text("address"),
    _maybe("contact_id"),
    _text("inbox"),
    _maybe("message_id"),
    _text("type"),
    _text("reason"),
    _text("fault"),
    _maybe("status"),
    _maybe("smtp_code"),
    _maybe("diagnostic"),
    _text("rule"),
    _text("rules_version"),
    _text("matched_by"),
    sa.Column("confidence", sa.Float, nullable=False),
    _maybe("forwarded_to"),
    _text("policy"),
    sa.Column("evidence", Json, nullable=False),
    _text("report_id"),
    sa.Column("occurred_at", Moment, nullable=False),
    sa.Column("recorded_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    _maybe("ended_by"),
    sa.Column("ended_at", Moment),
    sa.UniqueConstraint("account", "send_id", "address_key", name="bounces_identity"),
    sa.Index("bounces_address", "account", "address_key"),
    sa.Index(
        "bounces_senders",
        "account",
        "inbox",
        "occurred_at",
        sqlite_where=sa.text("fault = 'sender'"),
        postgresql_where=sa.text("fault = 'sender'"),
    ),
    sa.Index(
        "bounces_pending",
        "occurred_at",
        sqlite_where=sa.text("type = 'pending' AND ended_by IS NULL"),
        postgresql_where=sa.text("type = 'pending' AND ended_by IS NULL"),
    ),
)

facts = sa.Table(
    "facts",
    metadata,
    _text("account", primary_key=True),
    _text("id", primary_key=True),
    _text("address_key"),
    _text("kind"),
    sa.Column("at", Moment, nullable=False),
    sa.Column("recorded_at", Moment, nullable=False),
    _text("by"),
    _maybe("bounce_id"),
    _maybe("about"),
    _maybe("why"),
    sa.Column("bounce", Json),
    sa.Index("facts_address", "account", "address_key"),
    sa.Index("facts_bounce", "account", "bounce_id"),
    sa.Index("facts_kind", "account", "kind", "recorded_at"),
)

timeline = sa.Table(
    "timeline",
    metadata,
    _text("id", primary_key=True),
    sa.Column("bounce_id", sa.Text, sa.ForeignKey("bounces.id", ondelete="CASCADE"), nullable=False, unique=True),
    _text("account"),
    _maybe("contact_id"),
    sa.Column("recorded_at", Moment, nullable=False),
    sa.Index("timeline_contact", "account", "contact_id"),
)

addresses = sa.Table(
    "addresses",
    metadata,
    _text("account", primary_key=True),
    _text("address_key", primary_key=True),
    _maybe("excluded_by"),
    sa.Column("excluded_at", Moment),
    _maybe("hard_bounce_reason"),
    sa.Column("updated_at", Moment, nullable=False),
)

raw_notices = sa.Table(
    "raw_notices",
    metadata,
    _text("account", primary_key=True),
    _text("report_id", primary_key=True),
    sa.Column("inbox_id", sa.Text, sa.ForeignKey("inboxes.id", ondelete="CASCADE"), nullable=False),
    _text("digest"),
    _maybe("thread_id"),
    sa.Column("received_at", Moment),
    sa.Column("found_at", Moment, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Index("raw_notices_expiry", "expires_at"),
)

global_bounces = sa.Table(
    "global_bounces",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    _text("account", primary_key=True),
    sa.Column("occurred_at", Moment, nullable=False),
)

global_lifts = sa.Table(
    "global_lifts",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    _text("by"),
    _text("why"),
)

exclusions = sa.Table(
    "exclusions",
    metadata,
    _text("account", primary_key=True),
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    _text("excluded_by"),
    sa.Column("recorded_at", Moment, nullable=False),
)

review = sa.Table(
    "review",
    metadata,
    _text("id", primary_key=True),
    _text("account"),
    _text("report_id"),
    _text("state"),
    _text("why"),
    sa.Column("entry", Json, nullable=False),
    sa.Column("recorded_at", Moment, nullable=False),
    _maybe("decided_by"),
    sa.Column("decided_at", Moment),
    _maybe("decided_why"),
    sa.Index("review_account", "account", "state"),
)

incidents = sa.Table(
    "incidents",
    metadata,
    _text("id", primary_key=True),
    _text("account"),
    _text("inbox"),
    _text("kind"),
    sa.Column("opened_at", Moment, nullable=False),
    sa.Column("last_at", Moment, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    _text("bounce_id"),
    sa.Column("closed_at", Moment),
    sa.Index(
        "incidents_open",
        "account",
        "inbox",
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    ),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", BigId, primary_key=True, autoincrement=True),
    _text("event_id", unique=True),
    _text("account"),
    _text("type"),
    sa.Column("payload", Json, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("sent_at", Moment),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_at", Moment),
    _maybe("error"),
    sa.Column("position", sa.BigInteger, unique=True),
    sa.Index("outbox_due", "next_attempt_at"),
    sa.Index("outbox_feed", "account", "position"),
    sa.Index(
        "outbox_unnumbered",
        "id",
        sqlite_where=sa.text("position IS NULL"),
        postgresql_where=sa.text("position IS NULL"),
    ),
)

_waiting: Final[dict[str, Any]] = dict.fromkeys(("sqlite_where", "postgresql_where"), sa.text("state = 'waiting'"))

webhooks = sa.Table(
    "webhooks",
    metadata,
    _text("id", primary_key=True),
    sa.Column("account", sa.Text, sa.ForeignKey("accounts.name"), nullable=False),
    _text("url"),
    sa.Column("types", Json, nullable=False),
    sa.Column("trusted", sa.Boolean, nullable=False),
    sa.Column("secrets", sa.LargeBinary, nullable=False),
    _text("state"),
    _maybe("problem"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Index("webhooks_account", "account"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("webhook_id", sa.Text, sa.ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.BigInteger, sa.ForeignKey("outbox.position", ondelete="CASCADE"), primary_key=True),
    _text("order_key"),
    _text("state"),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_at", Moment),
    sa.Column("settled_at", Moment),
    _maybe("problem"),
    sa.Index("deliveries_event", "position"),
    sa.Index("deliveries_due", "webhook_id", "next_attempt_at", **_waiting),
    sa.Index("deliveries_order", "webhook_id", "order_key", "position", **_waiting),
)
