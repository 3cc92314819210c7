"""Notices in a language that no file knows: a mail system gives back a message and names whom it was for.

Nothing of its words is understood, so that nobody is touched by it: a person decides (see `worker.classify.engine`).
"""

from typing import Final

from worker.detect import address, report
from worker.detect.notice import ANNOUNCEMENT, Notice
from worker.detect.original import original
from worker.detect.plain import delay_or_failure, own_addresses, spoken_of
from worker.domain import UNREAD, Action, DeliveryReport, Kind, address_key
from worker.signs import is_null_path

NAME: Final = UNREAD


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`. Asked only where no other reader knew a word."""
    if not notice.is_system_sender or "list-id" in notice.fields or not notice.gives_back:
        return None
    if not (is_null_path(notice.fields.first("return-path")) or notice.is_automatic or notice.is_report):
        return None
    sent_to = {address_key(a) for a in address.every(original(notice).to or "")} - own_addresses(notice)
    named = [a for a in address.every(notice.prose[:ANNOUNCEMENT]) if address_key(a) in sent_to]
    if not named:
        return None
    action = delay_or_failure(notice)
    whole = notice.prose if len(named) == 1 else ""
    kind = Kind.DELAYED if action is Action.DELAYED else Kind.BOUNCE
    return report.build(notice, kind, NAME, [spoken_of(a, "", action, whole=whole) for a in named])
