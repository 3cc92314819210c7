"""The facts of which bounces are made, in place of the mere list of reports; and what people decide."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"

SPOKEN = (
    *("inbox", "send_id", "message_id", "address", "contact_id", "status", "smtp_code", "diagnostic", "matched_by"),
    *("confidence", "forwarded_to", "policy", "evidence", "report_id"),
)
"""Of a bounce's columns, those that a report brings; they are the same in a fact's own copy."""


def upgrade() -> None:
    json_type = sa.JSON().with_variant(JSONB(), "postgresql")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "facts",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("address_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("recorded_at", moment, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("bounce_id", sa.Text()),
        sa.Column("about", sa.Text()),
        sa.Column("why", sa.Text()),
        sa.Column("bounce", json_type),
    )
    op.create_index("facts_address", "facts", ["account", "address_key"])
    op.create_index("facts_bounce", "facts", ["account", "bounce_id"])
    op.create_index("facts_kind", "facts", ["account", "kind", "recorded_at"])
    for name, column in (("ended_by", sa.Text()), ("ended_at", moment)):
        op.add_column("bounces", sa.Column(name, column))
    op.drop_index("bounces_pending", "bounces")
    pending = sa.text("type = 'pending' AND ended_by IS NULL")
    op.create_index("bounces_pending", "bounces", ["occurred_at"], sqlite_where=pending, postgresql_where=pending)
    op.add_column("accounts", sa.Column("soft_threshold", json_type))
    op.add_column("accounts", sa.Column("mailbox_full_days", sa.Integer()))
    for name, column in (("decided_by", sa.Text()), ("decided_at", moment), ("decided_why", sa.Text())):
        op.add_column("review", sa.Column(name, column))
    _reports_to_facts(op.get_bind())
    op.drop_table("bounce_reports")


def _reports_to_facts(connection: sa.Connection) -> None:
    """Copy the reports of each bounce. What an older one said beyond its verdict was never kept."""
    meta = sa.MetaData()
    old, bounces, facts = (
        sa.Table(name, meta, autoload_with=connection) for name in ("bounce_reports", "bounces", "facts")
    )
    for link in connection.execute(sa.select(old)).mappings().all():
        row = connection.execute(bounces.select().where(bounces.c.id == link["bounce_id"])).mappings().one()
        verdict = _read(link["verdict"])
        evidence = _read(row["evidence"])
        at = verdict.pop("occurred_at")
        spoken = {name: row[name] for name in SPOKEN} | {"evidence": evidence, "report_id": link["report_id"]}
        kept = ("type", "reason", "fault", "rule", "rules_version")
        name = "\0".join(("fact", row["id"], link["report_id"]))
        connection.execute(
            facts.insert().values(
                account=row["account"],
                id=hashlib.sha256(name.encode()).hexdigest()[:32],
                address_key=row["address_key"],
                kind="reported",
                at=_moment(at, connection),
                recorded_at=link["recorded_at"],
                by=f"report {link['report_id']}",
                bounce_id=row["id"],
                about=link["report_id"],
                bounce=spoken | {key: verdict[key] for key in kept},
            )
        )


def _read(value: object) -> Any:  # noqa: ANN401 - JSON
    """SQLite keeps JSON as text, and a reflected table doesn't know that."""
    return json.loads(value) if isinstance(value, str) else value


def _moment(text: str, connection: sa.Connection) -> datetime:
    at = datetime.fromisoformat(text).astimezone(UTC)
    return at.replace(tzinfo=None) if connection.dialect.name == "sqlite" else at


def downgrade() -> None:
    json_type = sa.JSON().with_variant(JSONB(), "postgresql")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "bounce_reports",
        sa.Column("bounce_id", sa.Text(), sa.ForeignKey("bounces.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("report_id", sa.Text(), sa.ForeignKey("reports.id"), primary_key=True),
        sa.Column("verdict", json_type, nullable=False),
        sa.Column("recorded_at", moment, nullable=False),
    )
    connection = op.get_bind()
    meta = sa.MetaData()
    facts, reports, bounces, old = (
        sa.Table(name, meta, autoload_with=connection) for name in ("facts", "reports", "bounces", "bounce_reports")
    )
    wanted = (
        sa.select(facts)
        .join(reports, reports.c.id == facts.c.about)
        .join(bounces, bounces.c.id == facts.c.bounce_id)
        .where(facts.c.kind == "reported")
    )
    for fact in connection.execute(wanted).mappings().all():
        spoken = _read(fact["bounce"])
        verdict = {key: spoken[key] for key in ("type", "reason", "fault", "rule", "rules_version")}
        verdict["occurred_at"] = str(fact["at"])
        connection.execute(
            old.insert().values(
                bounce_id=fact["bounce_id"],
                report_id=fact["about"],
                verdict=verdict,
                recorded_at=fact["recorded_at"],
            )
        )
    for name in ("decided_by", "decided_at", "decided_why"):
        op.drop_column("review", name)
    op.drop_column("accounts", "mailbox_full_days")
    op.drop_column("accounts", "soft_threshold")
    op.drop_index("bounces_pending", "bounces")
    op.drop_column("bounces", "ended_at")
    op.drop_column("bounces", "ended_by")
    pending = sa.text("type = 'pending'")
    op.create_index("bounces_pending", "bounces", ["occurred_at"], sqlite_where=pending, postgresql_where=pending)
    op.drop_table("facts")
