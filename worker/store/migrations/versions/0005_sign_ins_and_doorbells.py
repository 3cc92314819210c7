"""Sign-ins under way, and what providers call when mail has come."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("inboxes", sa.Column("sign_in_ends_at", sa.DateTime(timezone=True)))
    op.create_index("inboxes_address", "inboxes", [sa.text("lower(address)")])
    inbox = sa.ForeignKey("inboxes.id", ondelete="CASCADE")
    op.create_table(
        "sign_ins",
        sa.Column("state", sa.LargeBinary(), primary_key=True),
        sa.Column("inbox_id", sa.Text(), inbox, nullable=False),
        sa.Column("flow", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "doorbells",
        sa.Column("inbox_id", sa.Text(), sa.ForeignKey("inboxes.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("subscription", sa.Text()),
        sa.Column("secret", sa.LargeBinary()),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("renew_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text()),
    )
    op.create_index("doorbells_subscription", "doorbells", ["subscription"])
    op.create_index("doorbells_renewal", "doorbells", ["renew_at"])


def downgrade() -> None:
    op.drop_table("doorbells")
    op.drop_table("sign_ins")
    op.drop_index("inboxes_address", "inboxes")
    op.drop_column("inboxes", "sign_in_ends_at")
