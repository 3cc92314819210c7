"""The documented types of the fields that the fake answers with (learn.microsoft.com/graph/api/resources).

message, mailFolder, recipient, internetMessageHeader and singleValueLegacyExtendedProperty; nothing that doesn't fit
leaves the fake.
"""

import re
from collections.abc import Callable

Check = Callable[[object], bool]

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def text(value: object) -> bool:
    return isinstance(value, str)


def text_or_null(value: object) -> bool:
    return value is None or isinstance(value, str)


def flag(value: object) -> bool:
    return isinstance(value, bool)


def number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def moment(value: object) -> bool:
    return isinstance(value, str) and _MOMENT.fullmatch(value) is not None


def recipient(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"emailAddress"}
        and value["emailAddress"].keys() <= {"name", "address"}
        and all(isinstance(each, str) for each in value["emailAddress"].values())
    )


def pairs(*names: str) -> Check:
    def check(value: object) -> bool:
        return isinstance(value, list) and all(
            each.keys() == set(names) and all(isinstance(part, str) for part in each.values()) for each in value
        )

    return check


MESSAGE: dict[str, Check] = {
    "id": text,
    "subject": text_or_null,
    "body": lambda value: isinstance(value, dict) and value.keys() == {"contentType", "content"},
    "bodyPreview": text,
    "receivedDateTime": moment,
    "sentDateTime": moment,
    "internetMessageId": text_or_null,
    "conversationId": text,
    "parentFolderId": text,
    "isRead": flag,
    "hasAttachments": flag,
    "from": recipient,
    "sender": recipient,
    "toRecipients": lambda value: isinstance(value, list) and all(map(recipient, value)),
    "ccRecipients": lambda value: isinstance(value, list) and all(map(recipient, value)),
    "internetMessageHeaders": pairs("name", "value"),
    "singleValueExtendedProperties": pairs("id", "value"),
}

FOLDER: dict[str, Check] = {
    "id": text,
    "displayName": text,
    "parentFolderId": text,
    "childFolderCount": number,
    "unreadItemCount": number,
    "totalItemCount": number,
    "isHidden": flag,
}

NOTED: dict[str, Check] = {
    "@odata.type": text,
    "@odata.etag": text,
    "@removed": lambda value: isinstance(value, dict) and value.get("reason") in ("deleted", "changed"),
}


def misfits(entry: dict, table: dict[str, Check]) -> list[str]:
    """Return what isn't as documented."""
    known = table | NOTED
    return [f"{name}: {value!r}"[:200] for name, value in entry.items() if name not in known or not known[name](value)]
