"""The answers of Gmail's API to reading, out of a mailbox of emulate."""

import base64
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.gmail import schema
from tests.fakes.gmail.search import Searched, finds, searched
from tests.live.emulate import Mailbox

UNITS = {
    # https://developers.google.com/workspace/gmail/api/reference/quota, since 1 May 2026
    "gmail.users.getProfile": 1,
    "gmail.users.history.list": 2,
    "gmail.users.labels.list": 1,
    "gmail.users.labels.get": 1,
    "gmail.users.messages.list": 5,
    "gmail.users.messages.get": 20,
}
_FOLD = re.compile(rb"\r?\n(?=[ \t])")


@dataclass(frozen=True)
class Stored:
    """What never changes in a message."""

    raw: bytes
    thread: str
    at: int
    is_sent: bool


@dataclass
class Answers:
    """Answers calls. `oldest` is the first history id that is still known; `unindexed` are ids that no search finds."""

    mailbox: Mailbox
    oldest: int = 0
    unindexed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._stored: dict[str, Stored] = {}
        self._tokens: dict[str, list[str] | int] = {}
        self._numbers = itertools.count(1)

    def call(self, name: str, path: Mapping[str, str], query: list[tuple[str, str]]) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer of one call."""
        given: dict[str, Any] = dict(query)
        given["metadataHeaders"] = [value for key, value in query if key == "metadataHeaders"]
        given["historyTypes"] = [value for key, value in query if key == "historyTypes"]
        act: Callable[[Mapping[str, str], dict[str, Any]], tuple[int, dict[str, Any]]] = {
            "gmail.users.getProfile": self._profile,
            "gmail.users.history.list": self._history,
            "gmail.users.messages.list": self._messages,
            "gmail.users.messages.get": self._message,
            "gmail.users.labels.list": self._labels,
            "gmail.users.labels.get": self._label,
        }[name]
        if path["userId"] not in ("me", self.mailbox.address):
            return error(403, "Delegation denied", "forbidden")
        status, answer = act(path, given)
        if status == 200 and "fields" in given:
            answer = schema.masked(answer, schema.parse_mask(given["fields"]))
        return status, answer

    def expire_tokens(self) -> None:
        """Let all page tokens die."""
        self._tokens.clear()

    def expire_history(self) -> None:
        """Forget the history up to now."""
        self.oldest = int(self._current()) + 1

    def _current(self) -> str:
        _, answer = self.mailbox.get("history", {"startHistoryId": "0", "maxResults": 1})
        return self._smaller(answer["historyId"])

    def _smaller(self, history: str) -> str:
        return str(max(1, self.oldest, int(history) - self.mailbox.emulate.base))

    def _profile(self, path, given):
        return 200, {"emailAddress": self.mailbox.address, "historyId": self._current(), "messagesTotal": 0}

    def _history(self, path, given):
        start = int(given["startHistoryId"])
        if start < self.oldest:
            return error(404, "Requested entity was not found.", "notFound")
        offset = 0
        if "pageToken" in given:
            found = self._tokens.get(given["pageToken"])
            if not isinstance(found, int):
                return error(400, "Invalid pageToken", "invalidArgument")
            offset = found
        asked = {"startHistoryId": start + self.mailbox.emulate.base, "maxResults": given.get("maxResults", "100")}
        asked |= {"historyTypes": given["historyTypes"], "pageToken": str(offset)}
        _, answer = self.mailbox.get("history", asked)
        for record in answer["history"]:
            record["id"] = self._smaller(record["id"])
            for message in record.pop("messages"):
                message.pop("historyId", None)
            for added in record.get("messagesAdded", ()):
                added["message"].pop("historyId", None)
                added["message"].pop("internalDate", None)
        if not answer["history"]:
            del answer["history"]
        if answer.get("nextPageToken"):
            answer["nextPageToken"] = self._token(int(answer["nextPageToken"]))
        return 200, answer | {"historyId": self._smaller(answer["historyId"])}

    def _messages(self, path, given):
        query = given.get("q", "")
        count = int(given.get("maxResults", "100"))
        if "pageToken" in given:
            rest = self._tokens.get(given["pageToken"])
            if not isinstance(rest, list):
                return error(400, "Invalid pageToken", "invalidArgument")
        else:
            rest = self._found(query, given.get("includeSpamTrash", "false"))
        page, rest = rest[:count], rest[count:]
        found = [{"id": ref, "threadId": each.thread} for ref in page if (each := self.stored(ref))]
        answer: dict[str, Any] = {"resultSizeEstimate": len(page) + len(rest)}
        if found:
            answer["messages"] = found
        if rest:
            answer["nextPageToken"] = self._token(rest)
        return 200, answer

    def _found(self, query: str, everywhere: str) -> list[str]:
        """Ask emulate for what it understands, and let the model of Gmail's search choose among that."""
        understood = " ".join(re.findall(r"(?<!\S)(?:after|before|in):\S+", query))
        refs: list[str] = []
        asked = {"q": understood, "includeSpamTrash": everywhere, "maxResults": 500, "pageToken": ""}
        while True:
            _, answer = self.mailbox.get("messages", {key: value for key, value in asked.items() if value})
            refs += [each["id"] for each in answer["messages"]]
            if not answer.get("nextPageToken"):
                break
            asked["pageToken"] = answer["nextPageToken"]
        refs = [ref for ref in refs if ref not in self.unindexed]
        if "{" not in query:
            return refs
        return [ref for ref in refs if (stored := self.stored(ref)) and finds(query, _to_search(stored))]

    def stored(self, ref: str) -> Stored | None:
        """Return a message, also one that is gone by now."""
        if ref not in self._stored:
            status, answer = self.mailbox.get(f"messages/{ref}", {"format": "raw"})
            if status != 200:
                return None
            raw = base64.urlsafe_b64decode(answer["raw"])
            is_sent = "SENT" in answer["labelIds"]
            self._stored[ref] = Stored(raw, answer["threadId"], int(answer["internalDate"]), is_sent)
        return self._stored[ref]

    def _message(self, path, given):
        ref = path["id"]
        status, answer = self.mailbox.get(f"messages/{ref}", {"format": "minimal"})
        if status != 200:
            return error(404, "Requested entity was not found.", "notFound")
        stored = self.stored(ref)
        assert stored is not None
        answer["historyId"] = self._smaller(answer["historyId"])
        answer["sizeEstimate"] = len(stored.raw)
        match given.get("format", "full"):
            case "raw":
                answer["raw"] = base64.urlsafe_b64encode(stored.raw).decode()
            case "metadata":
                wanted = {name.lower() for name in given["metadataHeaders"]}
                headers = [
                    {"name": name, "value": value}
                    for name, value in header_fields(stored.raw)
                    if not wanted or name.lower() in wanted
                ]
                answer["payload"] = {"mimeType": "text/plain", "headers": headers}
            case "minimal":
                pass
            case other:
                raise AssertionError(f"nobody should ask for the format {other}")
        return 200, answer

    def _labels(self, path, given):
        _, answer = self.mailbox.get("labels")
        names = ("id", "name", "type", "messageListVisibility", "labelListVisibility")
        return 200, {"labels": [{name: each[name] for name in names if name in each} for each in answer["labels"]]}

    def _label(self, path, given):
        status, answer = self.mailbox.get(f"labels/{path['id']}")
        return (200, answer) if status == 200 else error(404, "Requested entity was not found.", "notFound")

    def _token(self, place: list[str] | int) -> str:
        token = f"{next(self._numbers):020d}"
        self._tokens[token] = place
        return token


def error(status: int, message: str, reason: str, domain: str = "global") -> tuple[int, dict[str, Any]]:
    """Return an error as Google writes it."""
    words = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
    more = {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
    listed = [{"message": message, "domain": domain, "reason": reason}]
    named = (words | more).get(status, "UNKNOWN")
    return status, {"error": {"code": status, "message": message, "errors": listed, "status": named}}


def header_fields(raw: bytes) -> list[tuple[str, str]]:
    """Return the fields of a message's header as they stand, folds included, with what is no UTF-8 replaced."""
    fields = []
    block = re.split(rb"(?:\A|\r?\n)\r?\n", raw, maxsplit=1)[0]
    for line in re.split(rb"\r?\n(?![ \t])", block):
        name, colon, value = line.partition(b":")
        if colon and name.strip() and b" " not in name.strip():
            fields.append((name.strip().decode("ascii", "replace"), value.strip().decode("utf-8", "replace")))
    return fields


def _to_search(stored: Stored) -> Searched:
    first: dict[str, str] = {}
    for name, value in header_fields(stored.raw):
        first.setdefault(name.lower(), re.sub(r"\r?\n(?=[ \t])", "", value))
    labels = frozenset({"SENT"} if stored.is_sent else ())
    return searched(first.get("from", ""), first.get("subject", ""), labels, stored.at)
