"""Every refusal of Gmail's API in words and in `ConnectorError`s.

Sources: https://developers.google.com/workspace/gmail/api/guides/handle-errors for the reasons in ``errors``, and
https://cloud.google.com/apis/design/errors for those in ``details``.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from connectors._http import LONGEST_WAIT, retry_after
from connectors.errors import AuthRequired, ConnectorError, Misconfigured, Throttled, Unavailable
from connectors.settings import GmailSettings

BUSY: Final = frozenset(
    {"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "concurrentLimitExceeded"}
)
SPENT: Final = frozenset({"dailyLimitExceeded", "quotaExceeded"})
"""Quotas of a day, which begin anew at midnight in California."""
SPENT_WAIT: Final = timedelta(hours=1)

SCOPE: Final = frozenset({"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"})
SWITCHED_OFF: Final = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})
NO_GMAIL: Final = frozenset({"failedPrecondition", "FAILED_PRECONDITION"})

_RETRY_AFTER: Final = re.compile(r"[Rr]etry after (\d{4}-\d\d-\d\dT[\d:.]{8,20}Z)")
_WORD: Final = re.compile(r"[A-Za-z_]{1,60}")


class Refused(Exception):
    """A request that Gmail answered by an error; callers that know better than `meaning` catch it."""

    def __init__(self, refusal: "Refusal") -> None:
        super().__init__(f"HTTP {refusal.status}")
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer other than success. `wait` is what it said of when to come back."""

    status: int
    reasons: frozenset[str] = frozenset()
    wait: timedelta | None = None

    @property
    def is_for_later(self) -> bool:
        """Whether the same request may succeed later without anybody's doing."""
        return self.is_busy or self.status >= 500 or self.status in (408, 425)

    @property
    def is_busy(self) -> bool:
        return self.status == 429 or (self.status == 403 and bool(self.reasons & (BUSY | SPENT)))


def read_refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Read an error answer; one that isn't Google's JSON has no reasons."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, LookupError, TypeError, RecursionError):
        error = None
    if not isinstance(error, dict):
        error = {}
    told = headers.get("retry-after") or headers.get("Retry-After")
    wait = retry_after(told) if told else _wait_in(str(error.get("message", "")))
    return Refusal(status=status, reasons=frozenset(_reasons(error)), wait=wait)


def meaning(refusal: Refusal, settings: GmailSettings) -> ConnectorError:  # noqa: PLR0911 - a list of cases
    """Return what a refusal means for the caller. Google's own words stay out: they may name more than they should."""
    status, reasons, address = refusal.status, refusal.reasons, settings.address
    why = ", ".join(sorted(reason for reason in reasons if _WORD.fullmatch(reason))[:3])
    told = f"(HTTP {status}{', ' if why else ''}{why})"
    if refusal.is_busy and reasons & SPENT:
        return Throttled(
            f"The Google Cloud project has used up its quota of Gmail for today: ask Google for more, or wait {told}.",
            refusal.wait or SPENT_WAIT,
        )
    if refusal.is_busy:
        return Throttled(f"Gmail asks to be left in peace for a while {told}.", refusal.wait or retry_after(None))
    if refusal.is_for_later:
        if refusal.wait is not None:
            return Throttled(f"Gmail is out of order and says when to come back {told}.", refusal.wait)
        return Unavailable(f"Gmail is out of order; it will be tried again {told}.")
    if status == 401:
        return AuthRequired(f"Gmail refuses the sign-in of {address}: connect the inbox again {told}.")
    if reasons & SCOPE:
        return AuthRequired(
            f"The sign-in of {address} doesn't allow reading mail: connect the inbox again and grant gmail.readonly,"
            f" without gmail.metadata beside it {told}."
        )
    if reasons & SWITCHED_OFF:
        return Misconfigured(f"The Google Cloud project has the Gmail API switched off: enable it there {told}.")
    if "domainPolicy" in reasons:
        return Misconfigured(
            f"The Workspace of {address} doesn't let this app at Gmail: ask its administrator to allow it {told}."
        )
    if reasons & NO_GMAIL:
        return Misconfigured(
            f"{address} has no Gmail, or it is switched off: ask the Workspace administrator to switch it on {told}."
        )
    return Misconfigured(f"Gmail refuses to let {address} be read: check the app's rights in Google Cloud {told}.")


def _reasons(error: Mapping[str, Any]) -> Iterator[str]:
    for name in ("errors", "details"):
        listed = error.get(name)
        for item in listed if isinstance(listed, list) else []:
            if isinstance(item, dict) and isinstance(item.get("reason"), str):
                yield item["reason"]
    if isinstance(error.get("status"), str):
        yield error["status"]


def _wait_in(message: str) -> timedelta | None:
    """Read when to come back out of a rate limit's message: Gmail says it there rather than in Retry-After."""
    found = _RETRY_AFTER.search(message)
    if not found:
        return None
    try:
        wait = datetime.fromisoformat(found[1]) - datetime.now(UTC)
    except ValueError:
        return None
    return min(max(wait, timedelta(seconds=1)), LONGEST_WAIT)
