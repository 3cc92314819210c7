"""Notices that a gateway hands on as an attachment, such as InterScan does with what it has scanned.

A bounce of a bounce looks alike; but there the inner notice was sent to somebody else than the outer one.
"""

import re
from typing import Final

from worker.detect import address, rfc3464
from worker.detect.notice import Notice
from worker.domain import DeliveryReport

NAME: Final = "wrapped"
FOR: Final = re.compile(r"\sfor\s{1,9}<([^<>\s]{3,320})>")


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`."""
    if notice.returned is None or notice.is_report or not notice.is_system_sender:
        return None
    inner = Notice(notice.returned)
    if not (inner.is_report and inner.status_parts and inner.is_system_sender):
        return None
    readers = _readers(notice.fields.first("to") or "")
    inner_readers = _readers(inner.fields.first("to") or "")
    same = inner_readers == readers or (inner_readers and inner_readers <= readers | _delivered_to(notice))
    return rfc3464.detect(inner) if same else None


def _readers(value: str) -> set[str]:
    return {reader.casefold() for reader in address.every(value)}


def _delivered_to(notice: Notice) -> set[str]:
    """Return to whom relays say that they took the notice (RFC 5321, 4.4): a gateway may write a To of its own."""
    traces = (FOR.search(value) for value in notice.fields.every("received"))
    return {trace[1].casefold() for trace in traces if trace}
