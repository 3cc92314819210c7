"""flufl.bounce as the last resort: it knows seventeen formats, but answers with addresses alone.

It takes replies that quote a bounce for bounces and raises on some headers, so it only sees what has a mail system's
envelope, and only the first bytes of that.
"""

import logging
from email import message_from_bytes
from typing import Final

from worker.detect import report
from worker.detect.notice import Notice
from worker.detect.plain import speaks_of_failure, spoken_of
from worker.detect.prose import about
from worker.domain import Action, DeliveryReport, Kind

NAME: Final = "flufl.bounce"
MAX_BYTES: Final = 32 * 1024  # its patterns take five seconds for 7 MB
MAX_PARTS: Final = 10
MAX_LINES: Final = 1_000
MAX_LINE: Final = 998  # RFC 5322, 2.1.1; its patterns take quadratic time in the length of a line


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`."""
    raw = notice.part.source[:MAX_BYTES]
    if (
        not speaks_of_failure(notice)
        or raw.count(b"\n") > MAX_LINES
        or len(notice.leaves) > MAX_PARTS
        or notice.part.warnings
        or any(len(line) > MAX_LINE for line in raw.split(b"\n"))
    ):
        return None
    delayed, failed = _scan(raw)
    action = Action.FAILED if failed else Action.DELAYED
    found = sorted(address.decode("utf-8", "replace") for address in failed or delayed if address.strip())
    if not found:
        return None
    alone = notice.prose if len(found) == 1 else ""
    recipients = [spoken_of(a, about(notice.prose, a), action, whole=alone) for a in found]
    return report.build(notice, Kind.BOUNCE if failed else Kind.DELAYED, NAME, recipients)


def _scan(raw: bytes) -> tuple[frozenset[bytes], frozenset[bytes]]:
    from flufl.bounce import all_failures

    logging.getLogger("flufl.bounce").disabled = True  # it logs what it swallows, with a traceback

    try:
        delayed, failed = all_failures(message_from_bytes(raw))
    except Exception:  # noqa: BLE001 - a missing From is an IndexError there, a non-ASCII one an AttributeError
        return frozenset(), frozenset()
    return frozenset(delayed), frozenset(failed)
