"""Gmail's labels as folders: a message may have several, or none but that it is there."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from connectors.base import Folder, FolderRole

ROLES: Final = {"INBOX": FolderRole.INBOX, "SPAM": FolderRole.JUNK, "SENT": FolderRole.SENT}
PLACES: Final = (*ROLES, "TRASH", "DRAFT")
"""The system's labels that say where a message is; the others say what it is (starred, unread, a category)."""
UNREAD_BY_US: Final = frozenset({"SENT", "DRAFT", "CHAT"})


def shown(labels: Sequence[Mapping[str, Any]], count: Callable[[Sequence[str]], Mapping[str, int]]) -> list[Folder]:
    """Return what a person knows as folders. Counts cost a call each: those that have a role are counted."""
    kept = [each for each in labels if each.get("type") == "user" or each.get("id") in PLACES]
    counts = count([str(each["id"]) for each in kept if each.get("id") in ROLES])
    return [
        Folder(
            name=str(each.get("name", "")),
            role=ROLES.get(str(each.get("id", ""))),
            messages=counts.get(str(each.get("id", ""))),
            polled=each.get("id") not in UNREAD_BY_US,
        )
        for each in kept
    ]
