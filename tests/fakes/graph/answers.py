"""The fake's answers, written from the documentation of each request (learn.microsoft.com/graph/api)."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from email.header import decode_header, make_header
from email.utils import getaddresses, parsedate_to_datetime
from functools import lru_cache
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from tests.fakes.graph import queries
from tests.fakes.graph.fields import FOLDER, MESSAGE, misfits
from tests.fakes.graph.reports import lossy
from tests.fakes.graph.store import BadState, Folder, Item, Round, Store, header

Reply = tuple[int, dict[str, str], bytes]

PAGE = 10
"""Entries of a page where nobody asks for another number."""

_ROUTE = re.compile(
    r"/v1\.0/users(?:/(?P<user>[^/()]+)|\('(?P<user_key>[^/]+?)'\))/"
    r"(?:mailFolders(?:(?:/(?P<folder>[^/()]+)|\('(?P<folder_key>[^/]+?)'\))(?P<rest>(?:/.+)?))?"
    r"|messages/(?P<message>[^/]+)(?P<value>/\$value)?)"
)
_HEADERS_SET = "{00020386-0000-0000-c000-000000000046}"


@dataclass(frozen=True)
class Request:
    """A GET: its target as it came, whether it asked for immutable ids, and how many entries it would have a page."""

    target: str
    base: str
    immutable: bool
    page_size: int | None

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> str:
        return urlsplit(self.target).query


class Unfit(Exception):
    """The fake was about to answer with what isn't documented."""


def error(status: int, code: str, message: str = "No.", **headers: str) -> Reply:
    """Return an error as graph/errors has it."""
    inner = {"date": "2026-11-23T00:00:00", "request-id": "0", "client-request-id": "0"}
    body = {"error": {"code": code, "message": message, "innerError": inner}}
    return status, headers, json.dumps(body).encode()


def answer(store: Store, request: Request) -> Reply:
    """Answer a request."""
    found = _ROUTE.fullmatch(request.path)
    if found is None:
        return error(400, "BadRequest", f"Resource not found for the segment {request.path}.")
    user = unquote(found["user"] or found["user_key"])
    if user != store.address:
        return error(404, "ErrorInvalidUser", f"The requested user '{user}' is invalid.")
    try:
        with store.lock:
            return _answer(store, request, found)
    except BadState:
        return error(410, "SyncStateNotFound", "The sync state generation is not found; generation=518;[highest=523].")
    except queries.Refused as reason:
        return error(400, "ErrorInvalidUrlQuery", str(reason))


def _answer(store: Store, request: Request, found: re.Match[str]) -> Reply:  # noqa: PLR0911 - a list of cases
    if found["message"]:
        return _message(store, request, unquote(found["message"]), is_content=bool(found["value"]))
    name, rest = found["folder"] or found["folder_key"], found["rest"]
    if name is None:
        return _folders(request, store, store.children("root"))
    try:
        folder = store.folder(unquote(name))
    except KeyError:
        return error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    match rest:
        case "":
            given = queries.options(request.query, {"$select"})
            return _json(request, _chosen(_folder(store, folder), queries.selected(given, of_folder=True), FOLDER))
        case "/childFolders":
            return _folders(request, store, store.children(folder.id))
        case "/messages/delta":
            return _delta(store, request, folder)
        case "/messages":
            return _listing(request, store, folder)
    return error(400, "BadRequest", f"Resource not found for the segment '{rest}'.")


def _delta(store: Store, request: Request, folder: Folder) -> Reply:
    state, given = _state(store, request, folder)
    size = request.page_size or int(given.get("$top", PAGE))
    ids, after = store.take(state, size)
    rows = []
    for item_id in ids:
        item = folder.items.get(item_id)
        if item is None:
            rows.append({"@odata.type": "#microsoft.graph.message", "id": item_id, "@removed": {"reason": "deleted"}})
        else:
            rows.append({"@odata.type": "#microsoft.graph.message"} | _row(request, item, given))
    is_over = after.waiting is None
    kind, name = ("$deltatoken", "deltaLink") if is_over else ("$skiptoken", "nextLink")
    place = f"users('{quote(store.address)}')/mailFolders('{folder.id}')/messages/delta"
    link = f"{request.base}/v1.0/{place}?{kind}={store.token(after)}"
    return _json(request, {f"@odata.{name}": link, "value": rows}, MESSAGE, rows)


def _state(store: Store, request: Request, folder: Folder) -> tuple[Round, dict[str, str]]:
    tokens = [(name, value) for name, value in parse_qsl(request.query) if name in ("$deltatoken", "$skiptoken")]
    if tokens:
        queries.options(request.query, {"$deltatoken", "$skiptoken"})
        state = store.resume(tokens[0][1], folder, queries.delta_since)
        return state, dict(state.options)
    given = queries.options(request.query, {"$select", "$expand", "$filter", "$orderby", "$top", "changeType"})
    if given.get("changeType") not in (None, "created", "updated", "deleted"):
        raise queries.Refused("changeType")
    if given.get("$orderby", "receivedDateTime desc") != "receivedDateTime desc":
        raise queries.Refused("$orderby")
    queries.selected(given)
    queries.expanded(given)
    return store.begin(folder, given, queries.delta_since(given)), given


def _listing(request: Request, store: Store, folder: Folder) -> Reply:
    allowed = {"$select", "$expand", "$filter", "$orderby", "$top", "$skip"}
    given = queries.options(request.query, allowed)
    items = store.listed(folder)
    for name, operator, bound in queries.conditions(given):
        items = [each for each in items if queries.holds(operator, _date(each, name), bound)]
    if ordering := queries.order(given):
        items.sort(key=lambda each: _date(each, ordering[0]), reverse=ordering[1])
    return _paged(request, given, [_row(request, each, given) for each in _slice(request, given, items)], len(items))


def _folders(request: Request, store: Store, folders: list[Folder]) -> Reply:
    given = queries.options(request.query, {"$select", "$top", "$skip", "includeHiddenFolders"})
    names = queries.selected(given, of_folder=True)
    page = _slice(request, given, folders)
    rows = [_chosen(_folder(store, each), names, FOLDER, keep={"@odata.type"}) for each in page]
    return _paged(request, given, rows, len(folders), FOLDER)


def _slice(request: Request, given: dict[str, str], found: list) -> list:
    start, size = int(given.get("$skip", 0)), int(given.get("$top", request.page_size or PAGE))
    return found[start : start + size]


def _paged(request: Request, given: dict[str, str], rows: list[dict], total: int, table=MESSAGE) -> Reply:
    body: dict = {"value": rows}
    end = int(given.get("$skip", 0)) + len(rows)
    if end < total:
        options = urlencode(given | {"$skip": str(end)}, safe="$'(),:")
        body["@odata.nextLink"] = f"{request.base}{request.path}?{options}"
    return _json(request, body, table, rows)


def _message(store: Store, request: Request, item_id: str, *, is_content: bool) -> Reply:
    item = store.find(item_id, immutable=request.immutable)
    if item is None and not re.fullmatch(r"AA[MQk][kA][A-Za-z0-9_=-]+", item_id):
        return error(400, "ErrorInvalidIdMalformed", "Id is malformed.")
    if item is None:
        return error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    if is_content:
        queries.options(request.query, set())
        return 200, {"Content-Type": "text/plain"}, content(item)
    given = queries.options(request.query, {"$select", "$expand"})
    return _json(request, _row(request, item, given), MESSAGE)


def content(item: Item) -> bytes:
    return lossy(item.raw) if item.item_class.startswith("REPORT.") else item.raw


def _json(request: Request, body: dict, table=None, rows: list[dict] | None = None) -> Reply:
    for row in [body] if rows is None and table is not None else rows or []:
        if wrong := misfits(row, table):
            raise Unfit(wrong)
    context = {"@odata.context": f"{request.base}/v1.0/$metadata#Collection(message)"} if rows is not None else {}
    return 200, {"Content-Type": "application/json; odata.metadata=minimal"}, json.dumps(context | body).encode()


def _chosen(row: dict, names: list[str], table: dict, keep: set[str] = frozenset()) -> dict:  # type: ignore[assignment]
    chosen = {name: value for name, value in row.items() if name in {*names, "id", *keep}}
    if wrong := misfits(chosen, table):
        raise Unfit(wrong)
    return chosen


def _folder(store: Store, folder: Folder) -> dict:
    kind = {"@odata.type": "#microsoft.graph.mailSearchFolder"} if folder.is_search else {}
    return kind | {
        "id": folder.id,
        "displayName": folder.name,
        "parentFolderId": folder.parent,
        "childFolderCount": len(store.children(folder.id)),
        "unreadItemCount": sum(not each.is_read for each in folder.items.values()),
        "totalItemCount": len(folder.items),
        "isHidden": False,
    }


def _row(request: Request, item: Item, given: dict[str, str]) -> dict:
    known = _properties(item.raw)
    names = queries.selected(given)
    row = {"@odata.etag": f'W/"CQAAABYAAAD{item.seq}"'}
    values = known | {
        "id": item.immutable if request.immutable else item.legacy,
        "receivedDateTime": item.received.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sentDateTime": _date(item, "sentDateTime").strftime("%Y-%m-%dT%H:%M:%SZ"),
        "conversationId": f"AAQk{item.immutable[4:80]}=",
        "parentFolderId": item.folder,
        "isRead": item.is_read,
        "hasAttachments": False,
    }
    if not item.has_headers:
        values.pop("internetMessageHeaders", None)
    row |= {name: values[name] for name in ("id", *names) if name in values}
    if wanted := queries.expanded(given):
        found = [each for each in map(lambda tag: _extended(item, tag), wanted) if each]  # noqa: C417 - reads the same
        if found:
            row["singleValueExtendedProperties"] = found
    return row


def _extended(item: Item, asked: str) -> dict[str, str] | None:
    """Return an extended property; its id comes back in another spelling than it was asked by."""
    if named := re.fullmatch(r"String (\{[0-9A-Fa-f-]{36}\}) Name (\S+)", asked):
        value = header(item.raw)[named[2]]
        if named[1].lower() != _HEADERS_SET or value is None:
            return None
        return {"id": f"String {named[1].lower()} Name {named[2]}", "value": " ".join(str(value).split())}
    tag = re.fullmatch(r"(String|Integer|Long) 0x([0-9A-Fa-f]+)", asked)
    if tag is None:
        raise queries.Refused(f"extended property {asked}")
    value = {0x1A: item.item_class, 0xE08: str(len(item.raw))}.get(int(tag[2], 16))
    return None if value is None else {"id": f"{tag[1]} 0x{int(tag[2], 16):x}", "value": value}


@lru_cache(maxsize=3000)
def _properties(raw: bytes) -> dict:
    message = header(raw)
    found: dict = {"subject": _decoded(message["Subject"]), "internetMessageId": message["Message-ID"]}
    for name, key in (("from", "From"), ("sender", "Sender")):
        if people := _people(message[key]):
            found[name] = people[0]
    found["toRecipients"], found["ccRecipients"] = _people(message["To"]), _people(message["Cc"])
    found["body"] = {"contentType": "text", "content": raw.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")}
    pairs = [{"name": name, "value": str(value).replace("\r\n", "")} for name, value in message.items()]
    return found | ({"internetMessageHeaders": pairs} if pairs else {})


def _people(value: object) -> list[dict]:
    return [
        {"emailAddress": {"name": name or address, "address": address}}
        for name, address in getaddresses([_decoded(value) or ""])[:500]
    ]


def _decoded(value: object) -> str | None:
    if value is None:
        return None
    try:
        return str(make_header(decode_header(str(value).replace("\r\n", ""))))
    except (ValueError, LookupError):
        return str(value)


def _date(item: Item, name: str) -> datetime:
    if name == "sentDateTime":
        try:
            sent = parsedate_to_datetime(str(header(item.raw)["Date"]))
        except (ValueError, TypeError):
            return item.received
        return sent.astimezone(item.received.tzinfo)
    return item.received
