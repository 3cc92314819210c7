"""Sends as a CRM registers them."""

from datetime import UTC, datetime
from typing import Any

from worker.domain import Recipient, SendKind, SentEmail

SENT_AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def sent(number: int = 1, *addresses: str, **more: Any) -> SentEmail:
    values: dict[str, Any] = {
        "id": f"s-{number}",
        "account": "acme",
        "inbox": "alice",
        "kind": SendKind.ONE_TO_ONE,
        "sent_at": SENT_AT,
        "message_id": f"send-{number}@crm.example",
        "recipients": tuple(
            Recipient(address=address, contact_id=f"c-{address.partition('@')[0]}")
            for address in addresses or ("bob@customer.example",)
        ),
    }
    return SentEmail(**(values | more))


def row(number: int = 1, address: str = "bob@customer.example", contact_id: str = "c-1", **more: Any) -> dict[str, Any]:
    """Return a send as a CRM writes it in JSON."""
    return {
        "id": f"s-{number}",
        "account": "acme",
        "inbox": "alice",
        "kind": "one_to_one",
        "sent_at": "2026-11-22T10:00:00Z",
        "message_id": f"<send-{number}@crm.example>",
        "recipients": [{"address": address, "contact_id": contact_id}],
        **more,
    }
