"""Conversations with Exchange that are kept: recorded with the fake, validated with the schemas of EWS, and replayed.

The schemas aren't ours to keep in the repository, so what they have validated is. Run as a module where they are at
hand (see tests/fakes/ews/schemas.py), it records anew.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lxml import etree

from connectors import Access, Connector, ConnectorError, Envelope, Page, Throttled
from tests.connectors.mailboxes import exchange_connector
from tests.fakes.ews import faults, schemas
from tests.fakes.ews.server import Asked, FakeExchange
from tests.fakes.ews.store import Store

FOLDER = Path(__file__).parent / "ews"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Story:
    """`tell` reads by a connector and yields what a person would note down; `prepare` says what it reads."""

    prepare: Callable[[FakeExchange], None]
    tell: Callable[[FakeExchange | None, Connector], Iterator[str]]
    folders: tuple[str, ...] = ()
    access: Access = Access.DELEGATE

    def connector(self, fake: FakeExchange) -> Connector:
        return exchange_connector(fake, folders=self.folders, access=self.access)


def mail(number: int, **headers: str) -> bytes:
    fields = {"From": f"Bob {number} <bob{number}@customer.test>", "To": "alice@sender.test"}
    fields |= {"Subject": f"Grüße & <mail> {number}", "Date": "Fri, 20 Nov 2026 12:00:00 +0000"}
    fields |= {"Message-ID": f"<{number}@customer.test>"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in fields.items()) + b"\r\nHello.\r\n"


NOTICE = mail(
    99,
    From="Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@sender.test>",
    Content_Type="multipart/report; report-type=delivery-status; boundary=b",
    Auto_Submitted="auto-replied",
    In_Reply_To="<sent-1@sender.test>",
    References="<sent-1@sender.test>",
    X_MS_Exchange_Message_Is_Ndr="",
    Return_Path="<>",
    X_Failed_Recipients="gone@customer.test",
)


def three_kept(fake: FakeExchange) -> None:
    for number in (1, 2, 3):
        fake.store.deliver(mail(number), at=NOON + timedelta(hours=number))
    fake.store.deliver(mail(4), "junkemail", at=NOON)


def first_poll_then_news(fake: FakeExchange | None, connector: Connector) -> Iterator[str]:
    page = connector.poll(NOON + timedelta(hours=2))
    yield from _noted(page)
    if fake:
        fake.store.deliver(NOTICE, at=NOON + timedelta(hours=4))
        fake.store.mark_read(next(iter(fake.store.folder("inbox").items.values())))
        fake.store.delete(next(iter(fake.store.folder("junkemail").items.values())))
    page = connector.poll(page.cursor)
    yield from _noted(page)
    fetched = connector.fetch(page.envelopes[0].ref, 100_000)
    yield f"fetched {len(fetched.raw)} bytes, truncated: {fetched.truncated}"
    yield from _noted(connector.poll(page.cursor))


def chosen_folders(fake: FakeExchange) -> None:
    customers = fake.store.add_folder("Customers & Partners")
    nord = fake.store.add_folder("Nord", parent=customers.id)
    archive = fake.store.add_folder("Archiv", "archive")
    fake.store.add_folder("Calendar", folder_class="IPF.Appointment")
    fake.store.deliver(mail(5), nord.id, at=NOON)
    fake.store.deliver(mail(6), archive.id, at=NOON)


def read_chosen(_fake: FakeExchange | None, connector: Connector) -> Iterator[str]:
    yield from _noted(connector.poll(NOON))


def look_around(fake: FakeExchange) -> None:
    chosen_folders(fake)
    fake.store.deliver(mail(9, X_CRM_Tracking_ID="t-9", Cc="Eve <eve@customer.test>"), "sentitems", at=NOON)


def look_at_folders_and_what_was_sent(_fake: FakeExchange | None, connector: Connector) -> Iterator[str]:
    for each in connector.folders():
        yield f"{each.name}: {each.role}, {each.messages} messages, polled: {each.polled}"
    for each in connector.sent(NOON - timedelta(hours=1), NOON + timedelta(hours=1)):
        yield _told(each)


def troubled(fake: FakeExchange) -> None:
    item = fake.store.deliver(mail(7), at=NOON)
    fake.store.deliver(mail(8), at=NOON)

    def vanish(asked: Asked) -> None:
        fake.store.delete(item)
        asked.answer(asked.true_answer())

    fake.faults = {
        0: faults.busy(297_749),
        1: faults.error("ErrorServerBusy", "Later.", back_off=1_500),
        2: faults.soap_fault("ErrorImpersonateUserDenied", "The account does not have permission to impersonate."),
        6: vanish,
        7: faults.error("ErrorInvalidSyncStateData", "The sync state data is corrupt."),
    }


def go_through_trouble(_fake: FakeExchange | None, connector: Connector) -> Iterator[str]:
    for _ in range(3):
        yield _failed(lambda: connector.poll(NOON))
    page = connector.poll(NOON)
    yield from _noted(page)
    yield _failed(lambda: connector.poll(page.cursor))
    yield _failed(lambda: connector.fetch("AAMk" + "x" * 148, 1_000))


STORIES = {
    "first_poll_then_news": Story(three_kept, first_poll_then_news),
    "impersonation": Story(three_kept, first_poll_then_news, access=Access.IMPERSONATION),
    "chosen_folders": Story(chosen_folders, read_chosen, folders=("inbox", "customers & partners/nord", "archive")),
    "folders_and_sent": Story(look_around, look_at_folders_and_what_was_sent),
    "trouble": Story(troubled, go_through_trouble),
}


def record(name: str) -> bytes:
    """Return a story as one XML document: what was asked and answered, and what came out."""
    story = STORIES[name]
    with FakeExchange(stores=[Store()]) as fake:
        story.prepare(fake)
        noted = list(story.tell(fake, story.connector(fake)))
    root = etree.Element("story", name=name)
    for each in fake.exchanged:
        found = schemas.problems(each.request) + schemas.problems(each.answer)
        assert found == [], found
        exchange = etree.SubElement(root, "exchange", operation=each.operation, status=str(each.status))
        for content in (each.request, each.answer):
            exchange.append(etree.fromstring(content))
    for line in noted:
        etree.SubElement(root, "noted").text = line
    etree.indent(root, level=0)
    for exchange in root.iterfind("exchange"):
        etree.indent(exchange, level=1)
    return etree.tostring(root, xml_declaration=True, encoding="utf-8") + b"\n"


def replay(name: str) -> tuple[list[str], list[str]]:
    """Answer from the record whatever is asked; return what came out, and what should have."""
    root = etree.fromstring((FOLDER / f"{name}.xml").read_bytes(), etree.XMLParser(remove_blank_text=True))
    script = iter(root.findall("exchange"))
    wrong: list[str] = []

    def answer(asked: Asked) -> None:
        exchange = next(script)
        if _canonical(asked.request) != _canonical(etree.tostring(exchange[0])):
            wrong.append(f"{asked.operation}: {asked.request.decode()}")
        asked.answer(etree.tostring(exchange[1]), int(exchange.get("status")))

    story = STORIES[name]
    with FakeExchange(always=answer) as fake:
        noted = list(story.tell(None, story.connector(fake)))
    assert wrong == []
    assert list(script) == []
    return noted, [each.text for each in root.findall("noted")]


def _canonical(xml: bytes) -> bytes:
    return etree.tostring(etree.fromstring(xml), method="c14n2", strip_text=True)


def _noted(page: Page) -> Iterator[str]:
    yield from map(_told, page.envelopes)
    yield f"has more: {page.has_more}"


def _told(envelope: Envelope) -> str:
    headers = "; ".join(f"{name}: {value}" for name, value in sorted(envelope.headers.items()))
    return f"{envelope.item_class}, {envelope.size} bytes, {envelope.received_at}: {headers}"


def _failed(do: Callable[[], object]) -> str:
    try:
        do()
    except ConnectorError as error:
        wait = f" after {error.retry_after.total_seconds():g} s" if isinstance(error, Throttled) else ""
        return f"{type(error).__name__}{wait}: {error}"
    return "no error"


if __name__ == "__main__":
    assert schemas.folder(), "the schemas of EWS are needed to record: name their folder by EWS_SCHEMAS"
    FOLDER.mkdir(exist_ok=True)
    for each in STORIES:
        (FOLDER / f"{each}.xml").write_bytes(record(each))
        print(f"recorded {each}")
