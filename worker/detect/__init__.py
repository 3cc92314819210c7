"""Recognising: `detect` says what a message reports, whatever its format."""

from typing import Final, Protocol

from worker.detect import arf, auto_reply, fluflbounce, held, mdn, mime, plain, report, rfc3464, sns, unread, wrapped
from worker.detect.notice import Notice
from worker.domain import DeliveryReport, Kind

__all__ = ["DETECTORS", "Detector", "detect"]


class Detector(Protocol):
    """Reads one format."""

    def __call__(self, notice: Notice, /) -> DeliveryReport | None:
        """Return what `notice` reports, or None where it isn't of this format."""


# In order, from the most authoritative to the least; the first report wins.
DETECTORS: Final[tuple[Detector, ...]] = (
    arf.detect,
    sns.detect,
    mdn.detect,
    held.detect_challenge,
    rfc3464.detect,
    wrapped.detect,
    auto_reply.detect,
    held.detect,
    plain.detect,
    fluflbounce.detect,
    unread.detect,
    auto_reply.detect_unsigned,
)


def detect(raw: bytes) -> DeliveryReport:
    """Return what `raw` reports; its kind is NONE where it is ordinary mail. Never raises."""
    notice = Notice(mime.read(raw))
    for detector in DETECTORS:
        if (found := detector(notice)) is not None:
            return found
    return report.build(notice, Kind.NONE, "none")
