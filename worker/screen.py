"""Screening: from an envelope alone, can this be a delivery report?

What is let through is downloaded and read by `detect`; what is not is forgotten. So the question is put loosely: any
one sign is enough.
"""

from collections.abc import Mapping
from typing import Final

from connectors.base import Envelope
from worker.signs import REPORT_TYPES, is_notice_subject, is_null_path, is_system_sender
from worker.words import decode_words

# Fields that only reports have; their values don't matter. Exchange writes Is-Ndr with an empty one.
TELLING_FIELDS: Final = ("x-failed-recipients", "x-ms-exchange-message-is-ndr")


def screen(envelope: Envelope) -> bool:
    """Whether the message can be a delivery report. Without a header or message class, nothing speaks against it."""
    if envelope.item_class is not None and envelope.item_class.upper().startswith("REPORT."):
        return True
    if envelope.headers is None:
        return envelope.item_class is None
    return _has_sign(envelope.headers)


def _has_sign(headers: Mapping[str, str]) -> bool:
    if any(name in headers for name in TELLING_FIELDS):
        return True
    if REPORT_TYPES.search(headers.get("content-type", "")):
        return True
    if is_null_path(headers.get("return-path")):
        return True
    if is_system_sender(decode_words(headers.get("from", ""))):
        return True
    return is_notice_subject(decode_words(headers.get("subject", "")))
