"""Each fault at each request in turn: whatever goes wrong, and wherever, nothing is skipped afterwards."""

from datetime import UTC, datetime, timedelta

import pytest

from connectors import (
    AuthRequired,
    ConnectorError,
    CursorExpired,
    Misconfigured,
    Throttled,
    Unavailable,
    _gmail_http,
    _gmail_questions,
    gmail,
)
from tests.connectors.mailboxes import GmailMailbox, ago, gmail_connector, ids, ids_of, message
from tests.fakes.gmail import faults

FAULTS = {
    "429": (faults.refuse(429, "rateLimitExceeded", Retry_After="7"), Throttled),
    "rate limit": (faults.refuse(403, "userRateLimitExceeded", domain="usageLimits"), Throttled),
    "daily limit": (faults.refuse(403, "dailyLimitExceeded", domain="usageLimits"), Throttled),
    "401": (faults.refuse(401, "authError"), AuthRequired),
    "scope": (faults.refuse(403, "insufficientPermissions"), AuthRequired),
    "no Gmail": (faults.refuse(400, "failedPrecondition"), Misconfigured),
    "404": (faults.refuse(404, "notFound"), (CursorExpired, Misconfigured)),
    "500": (faults.refuse(500, "backendError"), Unavailable),
    "503": (faults.status(503, b"<html>Sorry"), Unavailable),
    "503 with a time": (faults.refuse(503, "backendError", Retry_After="7"), Throttled),
    "reset": (faults.drop, Unavailable),
    "cut": (faults.cut, Unavailable),
    "cut unannounced": (faults.cut_unannounced, Unavailable),
    "no answer": (faults.hang, Unavailable),
    "not JSON": (faults.text(b"<html>Sign in</html>"), Unavailable),
    "empty": (faults.text(b""), Unavailable),
    "a list": (faults.text(b"[]"), Unavailable),
    "429 inside": (faults.inside(429, "rateLimitExceeded"), Throttled),
    "500 inside": (faults.inside(500, "backendError"), Unavailable),
    "all 429 inside": (faults.inside(429, "rateLimitExceeded", 1), Throttled),
}


def soon() -> str:
    """A quarter of an hour from now, as Gmail writes it."""
    return f"{datetime.now(UTC) + timedelta(seconds=900):%Y-%m-%dT%H:%M:%S}.000Z"


SILENT = {"429 inside", "500 inside", "all 429 inside"}
REQUESTS = {False: 17, True: 12}
"""How many requests the story below takes without a fault, without and with the prefilter."""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small pages, so that a short story has many."""
    monkeypatch.setattr(gmail, "PAGE", 12)
    monkeypatch.setattr(_gmail_http, "BATCH", 8)
    monkeypatch.setattr(_gmail_questions, "BATCH", 8)
    monkeypatch.setattr(_gmail_questions, "IDS", 15)


@pytest.mark.parametrize("prefilter", [False, True], ids=["headers", "prefilter"])
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_skipped_wherever_it_strikes(fault, prefilter, emulate, gmail):
    act, expected = FAULTS[fault]
    for index in range(REQUESTS[prefilter]):
        gmail.fake.show(emulate.fresh_mailbox(), {index: act})
        found, due, failed = story(gmail, prefilter=prefilter, read_timeout=0.1 if act is faults.hang else 5.0)
        assert set(found) == set(due), f"at request {index}"
        assert all(isinstance(each, expected) for each in failed), f"at request {index}: {failed}"
        # What is refused inside a batch waits in the cursor.
        assert failed or fault in SILENT, f"at request {index}"
        if not any(isinstance(each, CursorExpired) for each in failed):
            assert sorted(found) == sorted(due), f"at request {index}"


@pytest.mark.parametrize("prefilter", [False, True], ids=["headers", "prefilter"])
def test_the_story_is_as_long_as_the_faults_think(prefilter, gmail):
    found, due, failed = story(gmail, prefilter=prefilter)
    assert (sorted(found), failed, gmail.fake.requests) == (sorted(due), [], REQUESTS[prefilter])


@pytest.mark.parametrize(
    ("act", "least", "most"),
    [
        (faults.refuse(429, "rateLimitExceeded", Retry_After="3600"), 3600, 3600),
        (faults.refuse(403, "rateLimitExceeded", Retry_After="7"), 7, 7),
        (faults.refuse(429, "rateLimitExceeded"), 60, 60),
        (faults.refuse(403, "dailyLimitExceeded"), 3600, 3600),
        (faults.refuse(503, "backendError", Retry_After="9"), 9, 9),
    ],
)
def test_the_time_to_wait_is_what_gmail_said(act, least, most, gmail):
    gmail.fake.always = act
    with pytest.raises(Throttled) as caught:
        gmail.connector().poll(ago(days=1))
    assert timedelta(seconds=least) <= caught.value.retry_after <= timedelta(seconds=most)


def test_the_moment_that_gmail_names_is_waited_for(gmail):
    gmail.fake.always = faults.refuse(429, "rateLimitExceeded", f"User-rate limit exceeded.  Retry after {soon()}")
    with pytest.raises(Throttled) as caught:
        gmail.connector().poll(ago(days=1))
    assert timedelta(minutes=13) <= caught.value.retry_after <= timedelta(minutes=15)


@pytest.mark.parametrize(
    ("status", "reason", "kind", "words"),
    [
        (401, "authError", AuthRequired, "run out or is refused"),
        (403, "insufficientPermissions", AuthRequired, "gmail.readonly"),
        (403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", AuthRequired, "gmail.readonly"),
        (403, "accessNotConfigured", Misconfigured, "switched off: enable it"),
        (403, "SERVICE_DISABLED", Misconfigured, "switched off: enable it"),
        (403, "domainPolicy", Misconfigured, "administrator"),
        (403, "forbidden", Misconfigured, "check the app's rights"),
        (400, "failedPrecondition", Misconfigured, "has no Gmail"),
        (403, "quotaExceeded", Throttled, "for today"),
        (403, "userRateLimitExceeded", Throttled, "left in peace"),
        (500, "backendError", Unavailable, "out of order"),
    ],
)
def test_a_refusal_says_what_to_do_and_none_of_googles_words(status, reason, kind, words, gmail):
    gmail.fake.always = faults.refuse(status, reason, "Project 1234 of alice, see the console")
    with pytest.raises(kind) as caught:
        gmail.connector().poll(ago(days=1))
    assert words in str(caught.value)
    assert "1234" not in str(caught.value)
    assert str(caught.value).endswith(".")


def story(mailbox: GmailMailbox, *, prefilter: bool, **changes) -> tuple[list[str], list[str], list[ConnectorError]]:
    """Read a mailbox as the worker does, while mail comes and goes; return Message-IDs, those due, and what failed."""
    since = ago(days=2)
    subject = "Undeliverable: {}" if prefilter else "{}"
    old, kept, first, second = (
        [message(subject.format(f"{name} {number}")) for number in range(count)]
        for name, count in (("Old", 4), ("Kept", 18), ("New", 17), ("Junk", 3))
    )
    mailbox.deliver_all(old, at=ago(days=30))
    names: dict[str, str] = {}  # Message-IDs by Gmail's ids

    def deliver(raws, labels, at=None) -> None:
        names.update({mailbox.deliver(raw, labels, at): ids_of(raw)[0] for raw in raws})

    deliver(kept, ["INBOX", "UNREAD"], ago(hours=20))
    moved = list(names)[3]
    batches = [
        lambda: (mailbox.remove(kept[0]), deliver(first, ["INBOX", "UNREAD"])),
        lambda: (deliver(second, ["SPAM"]), mailbox.deliver(message("Sent"), ["SENT"])),
        lambda: mailbox.relabel(moved, add=["TRASH"], remove=["INBOX"]),
    ]
    found: list[str] = []
    failed: list[ConnectorError] = []
    cursor = None
    while True:
        connector = gmail_connector(mailbox.fake, prefilter=prefilter, **changes)
        try:
            page = connector.poll(cursor or since)
        except CursorExpired as error:
            failed.append(error)
            cursor = None
            continue
        except ConnectorError as error:
            failed.append(error)
            assert len(failed) < 20
            continue
        finally:
            connector.close()
        cursor = page.cursor
        if not prefilter:
            assert ids(page.envelopes) == sorted(names[each.ref] for each in page.envelopes if each.headers)
        found += [names[each.ref] for each in page.envelopes]
        if not page.has_more:
            if not batches:
                return found, ids_of(*kept, *first, *second), failed
            batches.pop(0)()
