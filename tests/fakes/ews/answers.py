"""The fake's answers to SOAP requests, written from the documentation of each operation."""

import base64
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.utils import getaddresses, parseaddr, parsedate_to_datetime
from functools import lru_cache
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from tests.fakes.ews.store import BadSyncState, Folder, Item, Store, header, item_class, paged

T = "{http://schemas.microsoft.com/exchange/services/2006/types}"
M = "{http://schemas.microsoft.com/exchange/services/2006/messages}"
SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"

_OPEN = (
    '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
    '<s:Header><h:ServerVersionInfo MajorVersion="15" MinorVersion="2" MajorBuildNumber="1748" MinorBuildNumber="10"'
    ' Version="V2017_07_11" xmlns:h="http://schemas.microsoft.com/exchange/services/2006/types"/></s:Header><s:Body>'
)
_CLOSE = "</s:Body></s:Envelope>"
_SPACES = (
    ' xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages"'
    ' xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"'
)


def operation(request: bytes) -> str:
    return etree.QName(etree.fromstring(request).find(f"{SOAP}Body")[0]).localname


def answer(store: Store, request: bytes) -> bytes:
    """Answer a SOAP request."""
    asked = etree.fromstring(request).find(f"{SOAP}Body")[0]
    name = etree.QName(asked).localname
    with store.lock:
        messages = {
            "GetFolder": get_folder,
            "FindFolder": find_folder,
            "SyncFolderItems": sync_folder_items,
            "FindItem": find_item,
            "GetItem": get_item,
        }[name](store, asked)
    return response(name, messages)


def response(name: str, messages: list[str]) -> bytes:
    body = f"<m:{name}Response{_SPACES}><m:ResponseMessages>{''.join(messages)}</m:ResponseMessages></m:{name}Response>"
    return (_OPEN + body + _CLOSE).encode()


def success(name: str, content: str) -> str:
    tag = f"m:{name}ResponseMessage"
    return f'<{tag} ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>{content}</{tag}>'


def failure(name: str, code: str, text: str = "No.", back_off: int | None = None) -> str:
    tag = f"m:{name}ResponseMessage"
    hint = f'<t:Value Name="BackOffMilliseconds">{back_off}</t:Value>'
    xml = "" if back_off is None else f"<m:MessageXml>{hint}</m:MessageXml>"
    rest = {
        "SyncFolderItems": "<m:SyncState/><m:IncludesLastItemInRange>true</m:IncludesLastItemInRange>",
        "GetItem": "<m:Items/>",
        "GetFolder": "<m:Folders/>",
    }.get(name, "")
    return (
        f'<{tag} ResponseClass="Error"><m:MessageText>{escape(text)}</m:MessageText><m:ResponseCode>{code}'
        f"</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>{xml}{rest}</{tag}>"
    )


def fault(code: str, text: str, back_off: int | None = None) -> bytes:
    """Return a SOAP fault, as which what concerns a whole request comes (with status 500)."""
    hint = f'<t:Value Name="BackOffMilliseconds">{back_off}</t:Value>'
    xml = "" if back_off is None else f"<t:MessageXml{_SPACES}>{hint}</t:MessageXml>"
    errors = "http://schemas.microsoft.com/exchange/services/2006/errors"
    return (
        '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<s:Fault><faultcode xmlns:a="http://schemas.microsoft.com/exchange/services/2006/types">a:{code}</faultcode>'
        f'<faultstring xml:lang="en-US">{escape(text)}</faultstring><detail>'
        f'<e:ResponseCode xmlns:e="{errors}">{code}</e:ResponseCode><e:Message xmlns:e="{errors}">{escape(text)}'
        f"</e:Message>{xml}</detail></s:Fault></s:Body></s:Envelope>"
    ).encode()


def get_folder(store: Store, asked: etree._Element) -> list[str]:
    messages = []
    for each in asked.find(f"{M}FolderIds"):
        folder = named(store, each)
        found = folder and f"<m:Folders><t:Folder>{_folder_id(folder.id)}</t:Folder></m:Folders>"
        messages.append(success("GetFolder", found) if found else failure("GetFolder", "ErrorFolderNotFound"))
    return messages


def find_folder(store: Store, asked: etree._Element) -> list[str]:
    view = asked.find(f"{M}IndexedPageFolderView")
    page, is_last = paged(list(store.folders.values()), int(view.get("Offset")), int(view.get("MaxEntriesReturned")))
    rows = "".join(
        f"<t:Folder>{_folder_id(each.id)}<t:ParentFolderId Id={quoteattr(each.parent)}/>"
        f"<t:FolderClass>{each.folder_class}</t:FolderClass><t:DisplayName>{escape(each.name)}</t:DisplayName>"
        f"<t:TotalCount>{len(each.items)}</t:TotalCount></t:Folder>"
        for each in page
    )
    return [success("FindFolder", _root(f"<t:Folders>{rows}</t:Folders>", len(store.folders), is_last))]


def sync_folder_items(store: Store, asked: etree._Element) -> list[str]:
    folder = named(store, asked.find(f"{M}SyncFolderId")[0])
    if folder is None:
        return [failure("SyncFolderItems", "ErrorFolderNotFound")]
    limit = int(asked.findtext(f"{M}MaxChangesReturned"))
    assert 1 <= limit <= 512
    try:
        changes, state, is_last = store.changes(folder, asked.findtext(f"{M}SyncState"), limit)
    except BadSyncState:
        return [failure("SyncFolderItems", "ErrorInvalidSyncStateData")]
    rows = "".join(_change(kind, item_id) for kind, item_id in changes)
    state = f"<m:SyncState>{state}</m:SyncState>"
    last = f"<m:IncludesLastItemInRange>{str(is_last).lower()}</m:IncludesLastItemInRange>"
    return [success("SyncFolderItems", f"{state}{last}<m:Changes>{rows}</m:Changes>")]


def find_item(store: Store, asked: etree._Element) -> list[str]:
    folder = named(store, asked.find(f"{M}ParentFolderIds")[0])
    if folder is None:
        return [failure("FindItem", "ErrorFolderNotFound")]
    found = store.received_since(folder, _bound(asked, "IsGreaterThanOrEqualTo"))
    until = _bound(asked, "IsLessThanOrEqualTo")
    found = [each for each in found if until is None or each.received.replace(microsecond=0) <= until]
    if asked.find(f"{M}SortOrder/{T}FieldOrder").get("Order") == "Descending":
        found.reverse()
    view = asked.find(f"{M}IndexedPageItemView")
    page, is_last = paged(found, int(view.get("Offset")), int(view.get("MaxEntriesReturned")))
    rows = "".join(f"<t:Message>{_item_id(each.id)}{_received(each)}</t:Message>" for each in page)
    return [success("FindItem", _root(f"<t:Items>{rows}</t:Items>", len(found), is_last, len(page)))]


def get_item(store: Store, asked: etree._Element) -> list[str]:
    names = tuple(each.get("PropertyName") for each in asked.iter(f"{T}ExtendedFieldURI"))
    fields = frozenset(each.get("FieldURI") for each in asked.iter(f"{T}FieldURI"))
    wants_content = asked.find(f".//{T}FieldURI[@FieldURI='item:MimeContent']") is not None
    messages = []
    for each in asked.find(f"{M}ItemIds"):
        item = store.find(each.get("Id"))
        if item is None:
            is_id = each.get("Id").startswith("AAMk")
            messages.append(failure("GetItem", "ErrorItemNotFound" if is_id else "ErrorInvalidIdMalformed"))
            continue
        if wants_content:
            content = f'<t:MimeContent CharacterSet="UTF-8">{base64.b64encode(item.raw).decode()}</t:MimeContent>'
            message = f"<t:Message>{content}{_item_id(item.id)}</t:Message>"
        else:
            message = f"<t:Message>{properties(item, names, fields)}</t:Message>"
        messages.append(success("GetItem", f"<m:Items>{message}</m:Items>"))
    return messages


def properties(item: Item, names: tuple[str | None, ...], fields: frozenset[str]) -> str:
    """Return an item's properties in the schema's order; header fields decoded, as Exchange keeps them."""
    named = tuple(each for each in names if each)
    return _properties(item.raw, named, fields, len(named) < len(names)).format(
        id=_item_id(item.id), received=_received(item), conversation=f'<t:ConversationId Id="AAQk{item.id[4:92]}"/>'
    )


@lru_cache(maxsize=1000)
def _properties(raw: bytes, names: tuple[str, ...], fields: frozenset[str], has_transport: bool) -> str:  # noqa: FBT001 - part of a cache's key
    message = header(raw)
    transport = raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    extended = (
        '<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0x7d" PropertyType="String"/>'
        f"<t:Value>{_xml(transport)}</t:Value></t:ExtendedProperty>"
        if has_transport
        else ""
    )
    extended += "".join(
        '<t:ExtendedProperty><t:ExtendedFieldURI DistinguishedPropertySetId="InternetHeaders"'
        f' PropertyName="{name}" PropertyType="String"/><t:Value>{_text(message[name])}</t:Value></t:ExtendedProperty>'
        for name in names
        if message[name] is not None
    )
    sent = _date(message["Date"])
    to = message.get_all("To", [""])[0]
    parts = (
        ("", "{id}"),
        ("item:ItemClass", f"<t:ItemClass>{item_class(message)}</t:ItemClass>"),
        ("item:Subject", _element("Subject", message["Subject"])),
        ("item:DateTimeReceived", "{received}"),
        ("item:Size", f"<t:Size>{len(raw)}</t:Size>"),
        ("item:InReplyTo", _element("InReplyTo", message["In-Reply-To"])),
        ("item:DateTimeSent", f"<t:DateTimeSent>{sent}</t:DateTimeSent>" if sent else ""),
        ("item:DisplayTo", _element("DisplayTo", str(to)[:30_000])),
        ("", extended),
        ("item:ConversationId", "{conversation}"),
        ("item:TextBody", _text_body(raw)),
        ("message:Sender", _mailbox("Sender", message["Sender"])),
        ("message:ToRecipients", _mailbox("ToRecipients", message["To"])),
        ("message:CcRecipients", _mailbox("CcRecipients", message["Cc"])),
        ("message:From", _mailbox("From", message["From"])),
        ("message:InternetMessageId", _element("InternetMessageId", message["Message-ID"])),
        ("message:References", _element("References", message["References"])),
    )
    return "".join(text for field, text in parts if not field or field in fields)


def named(store: Store, element: etree._Element) -> Folder | None:
    is_word = element.tag == f"{T}DistinguishedFolderId"
    for each in store.folders.values():
        if element.get("Id") == (each.word if is_word else each.id):
            return each
    return None


def _bound(asked: etree._Element, operator: str) -> datetime | None:
    constant = asked.find(f"{M}Restriction//{T}{operator}/{T}FieldURIOrConstant/{T}Constant")
    return None if constant is None else datetime.fromisoformat(constant.get("Value"))


def _root(content: str, total: int, is_last: object, count: int = 0) -> str:
    return (
        f'<m:RootFolder IndexedPagingOffset="{count}" TotalItemsInView="{total}"'
        f' IncludesLastItemInRange="{str(is_last).lower()}">{content}</m:RootFolder>'
    )


def _change(kind: str, item_id: str) -> str:
    if kind == "Delete":
        return f"<t:Delete>{_item_id(item_id)}</t:Delete>"
    if kind == "ReadFlagChange":
        return f"<t:ReadFlagChange>{_item_id(item_id)}<t:IsRead>true</t:IsRead></t:ReadFlagChange>"
    return f"<t:{kind}><t:Message>{_item_id(item_id)}</t:Message></t:{kind}>"


def _item_id(item_id: str) -> str:
    return f'<t:ItemId Id="{item_id}" ChangeKey="CQAAABYAAAD{item_id[-29:]}"/>'


def _folder_id(folder_id: str) -> str:
    return f'<t:FolderId Id="{folder_id}" ChangeKey="AQAAABYAAAD{folder_id[-29:]}"/>'


def _received(item: Item) -> str:
    return f"<t:DateTimeReceived>{item.received.strftime('%Y-%m-%dT%H:%M:%SZ')}</t:DateTimeReceived>"


def _element(tag: str, value: object) -> str:
    return "" if value is None else f"<t:{tag}>{_text(value)}</t:{tag}>"


def _text_body(raw: bytes) -> str:
    text = raw.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")[:10_000]
    return f'<t:TextBody BodyType="Text">{_xml(text)}</t:TextBody>'


def _mailbox(tag: str, value: object) -> str:
    if value is None:
        return ""
    found = [parseaddr(_decoded(value))] if tag in ("From", "Sender") else getaddresses([_decoded(value)])
    boxes = "".join(
        "<t:Mailbox>"
        + (f"<t:Name>{_xml(name)}</t:Name>" if name else "")
        + (f"<t:EmailAddress>{_xml(address)}</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType>" if address else "")
        + "</t:Mailbox>"
        for name, address in found
    )
    return f"<t:{tag}>{boxes}</t:{tag}>"


def _date(value: object) -> str:
    try:
        return parsedate_to_datetime(str(value)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, TypeError):
        return ""


def _decoded(value: object) -> str:
    try:
        text = str(make_header(decode_header(str(value).replace("\r\n", ""))))
    except (ValueError, LookupError):
        text = str(value)
    return text


def _text(value: object) -> str:
    return _xml(_decoded(value))


def _xml(text: str) -> str:
    legal = "".join(
        letter if (letter >= " " or letter in "\t\r\n") and not "\ud800" <= letter <= "\udfff" else "\ufffd"
        for letter in text
    )
    return escape(legal.encode("utf-8", "replace").decode(), {"{": "{{", "}": "}}", "\r": "&#13;"})
