"""Ids under which a provider sent our emails: learned from the headers of the Sent folder.

Some mail leaves before the CRM knows its Message-ID, some under another one than the CRM wrote: then a notice gives
back an id that nobody registered. Only copies of registered emails are recognised; what else was sent is nobody's
business.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import getaddresses, parsedate_to_datetime
from typing import Final

from connectors.base import Envelope
from worker.domain import Role, SentEmail, address_key, bare_id, utc
from worker.match.scored import plain
from worker.words import decode_words

OWN_ID: Final = "message-id"
EARLIER_IDS: Final = ("x-google-original-message-id", "x-microsoft-original-message-id", "x-original-message-id")
"""Where providers that give a message another id keep the one that it came with."""
TRACKING: Final = "x-crm-tracking-id"
APART: Final = timedelta(minutes=10)
"""How far a copy's date may be from the moment at which the CRM says that it sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    ids: tuple[str, ...]
    tracking: str
    addresses: frozenset[str]
    subject: str
    at: datetime | None


def learn(sends: Sequence[SentEmail], sent: Iterable[Envelope]) -> Iterator[tuple[SentEmail, str]]:
    """Yield (email, Message-ID) for each id under which one of `sends` lies in the Sent folder.

    Copies are told by tracking id, else by the id that the CRM knows, else by recipients, subject and time together,
    where no two emails and no two copies fit.
    """
    copies = [copy for envelope in sent if (copy := _copy(envelope)).ids]
    for send in sends:
        for copy in _certain(send, copies) or _alone(send, sends, copies):
            yield from ((send, found) for found in copy.ids if found != bare_id(send.message_id or ""))


def _certain(send: SentEmail, copies: Sequence[_Copy]) -> list[_Copy]:
    known = bare_id(send.message_id or "")
    return [copy for copy in copies if (send.tracking_id and copy.tracking == send.tracking_id) or (known in copy.ids)]


def _alone(send: SentEmail, sends: Sequence[SentEmail], copies: Sequence[_Copy]) -> list[_Copy]:
    """Return the one copy that looks like `send`, unless it looks like another email as well."""
    alike = [copy for copy in copies if not copy.tracking and _alike(send, copy)]
    if len(alike) != 1 or any(_alike(other, alike[0]) for other in sends if other.id != send.id):
        return []
    return alike


def _alike(send: SentEmail, copy: _Copy) -> bool:
    visible = {address_key(each.address) for each in send.recipients if each.role is not Role.BCC}
    return bool(
        visible
        and visible == copy.addresses
        and send.subject
        and plain(send.subject) == copy.subject
        and copy.at
        and abs(copy.at - send.sent_at) <= APART
    )


def _copy(envelope: Envelope) -> _Copy:
    headers = envelope.headers or {}
    written = (headers[name] for name in (OWN_ID, *EARLIER_IDS) if name in headers)
    return _Copy(
        ids=tuple(dict.fromkeys(found for value in written if (found := bare_id(value)))),
        tracking=headers.get(TRACKING, "").strip(),
        addresses=frozenset(_addresses(headers)),
        subject=plain(decode_words(headers.get("subject", ""))),
        at=_date(headers.get("date")) or envelope.received_at,
    )


def _addresses(headers: Mapping[str, str]) -> Iterator[str]:
    for _, address in getaddresses([headers.get("to", ""), headers.get("cc", "")]):
        if "@" in address:
            yield address_key(address)


def _date(value: str | None) -> datetime | None:
    try:
        return utc(parsedate_to_datetime(value or ""))
    except ValueError:
        return None
