"""What Graph's refusals mean (https://learn.microsoft.com/graph/errors), in words and in `ConnectorError`s.

Only the code of an error is read: its message may name people or quote mail.
"""

import json
import re
from datetime import timedelta
from typing import Final

from connectors._http import Answer, retry_after
from connectors.errors import (
    AuthRequired,
    ConnectorError,
    CursorExpired,
    MessageGone,
    Misconfigured,
    Throttled,
    Unavailable,
)

_CODE: Final = re.compile(r"[A-Za-z][\w.-]{0,79}", re.ASCII)

# Any status may carry these: 410, but 400 and 404 were seen as well.
_STATE_LOST: Final = frozenset(
    {"syncstatenotfound", "syncstateinvalid", "resyncrequired", "resyncchangesapplydifferences"}
)
_NOTHING_THERE: Final = frozenset(
    {"erroritemnotfound", "errorfoldernotfound", "errorinvalididmalformed", "errorinvalidid", "errorinvalididempty"}
)
_NO_MAILBOX: Final = frozenset(
    {
        "mailboxnotenabledforrestapi",
        "mailboxnotsupportedforrestapi",
        "errorinvaliduser",
        "errornonexistentmailbox",
        "resourcenotfound",
        "request_resourcenotfound",
        "authorization_identitynotfound",
        "organizationfromtenantguidnotfound",
    }
)
_BUSY: Final = frozenset(
    {"applicationthrottled", "mailboxconcurrency", "toomanyrequests", "activitylimitreached", "errorserverbusy"}
)


def code_of(body: bytes) -> str | None:
    """Return an error's code, an empty one where Graph gives none; None where this is no answer of Graph."""
    try:
        error = json.loads(body)["error"]
        found = _CODE.match(error.get("code") or "")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    return found[0] if found else ""


def refusal(answer: Answer, host: str, address: str) -> ConnectorError:  # noqa: PLR0911 - a list of cases
    """Return what an answer other than success means."""
    status, code = answer.status_code, code_of(answer.body)
    told = f"({status} {code})" if code else f"({status})"
    key = (code or "").lower()
    if (wait := _wait(answer, key)) is not None:
        return Throttled(f"{host} asks to be left in peace for a while {told}.", wait)
    if status >= 500:
        return Unavailable(f"{host} is out of order; it will be tried again {told}.")
    if code is None and status != 401:
        return Unavailable(f"{host} sent an answer that isn't Microsoft Graph's {told}: check the address, or wait.")
    if status == 410 or key in _STATE_LOST:
        return CursorExpired(f"{host} no longer knows where reading stopped: recent mail is read again {told}.")
    if status == 401:
        return AuthRequired(f"{host} refuses the access token for {address}: connect the inbox again {told}.")
    if key in _NO_MAILBOX:
        return Misconfigured(
            f"There is no mailbox of {address} in Exchange Online: correct the address, give its user a licence, or,"
            f" for a mailbox on a server of one's own, choose the provider exchange {told}."
        )
    if status == 403:
        return Misconfigured(
            f"The app may not read the mailbox {address}: have an administrator grant it Mail.Read and consent to that,"
            f" and put the mailbox into its scope where RBAC for Applications limits it {told}."
        )
    if key in _NOTHING_THERE:
        return MessageGone(f"There is nothing by that id in the mailbox any more {told}.")
    return Unavailable(f"{host} doesn't answer what was asked; it will be tried again {told}.")


def _wait(answer: Answer, key: str) -> timedelta | None:
    """Return how long to wait, where the answer asks for that (https://learn.microsoft.com/graph/throttling)."""
    told = answer.headers.get("Retry-After")
    if answer.status_code == 429 or key in _BUSY or (answer.status_code >= 500 and told):
        return retry_after(told)
    return None
