"""flufl.bounce as the last resort: it knows seventeen formats, but answers with addresses alone.

It takes replies that quote a bounce for bounces and raises on some headers, so it only sees what has a mail system's
envelope, and only the first bytes of that.
"""

from email import message_from_bytes
from typing import Final

from worker.detect import report
from worker.detect.notice import Notice
from worker.detect.plain import speaks_of_failure, spoken_of
from worker.detect.prose import about
from worker.domain import Action, DeliveryReport, Kind

NAME: Final = "flufl.bounce"
MAX_BYTES: Final = 64 * 1024  # its patterns take five seconds for 7 MB


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`."""
    if not speaks_of_failure(notice):
        return None
    delayed, failed = _scan(notice.part.source[:MAX_BYTES])
    action = Action.FAILED if failed else Action.DELAYED
    found = sorted(address.decode("utf-8", "replace") for address in failed or delayed)
    if not found:
        return None
    alone = notice.prose if len(found) == 1 else ""
    recipients = [spoken_of(a, about(notice.prose, a), action, whole=alone) for a in found]
    return report.build(notice, Kind.BOUNCE if failed else Kind.DELAYED, NAME, recipients)


def _scan(raw: bytes) -> tuple[frozenset[bytes], frozenset[bytes]]:
    from flufl.bounce import all_failures

    try:
        delayed, failed = all_failures(message_from_bytes(raw))
    except Exception:  # noqa: BLE001 - a missing From is an IndexError there, a non-ASCII one an AttributeError
        return frozenset(), frozenset()
    return frozenset(delayed), frozenset(failed)
