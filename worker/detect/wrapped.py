"""Notices that a gateway hands on as an attachment, such as InterScan does with what it has scanned.

A bounce of a bounce looks alike; but there the inner notice was sent to somebody else than the outer one.
"""

from typing import Final

from worker.detect import address, rfc3464
from worker.detect.notice import Notice
from worker.domain import DeliveryReport

NAME: Final = "wrapped"


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`."""
    if notice.returned is None or notice.is_report or not notice.is_system_sender:
        return None
    inner = Notice(notice.returned)
    if not (inner.is_report and inner.status_parts and inner.is_system_sender):
        return None
    return rfc3464.detect(inner) if _reader(inner) == _reader(notice) else None


def _reader(notice: Notice) -> set[str]:
    return {reader.casefold() for reader in address.every(notice.fields.first("to") or "")}
