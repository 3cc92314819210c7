"""Gmail's watch: asked for by topic, each day anew, ended where nobody listens any more."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from connectors import AuthRequired, GmailSettings, Misconfigured, Throttled, Unavailable, subscriber
from tests.connectors.mailboxes import GmailMailbox, Password
from tests.fakes.gmail import faults

TOPIC = "projects/acme/topics/gmail"


def watching(gmail: GmailMailbox, token: str = "secret", **changes):
    where = {"address": gmail.fake.mailbox.address, "api": gmail.fake.url}
    grant = json.dumps({"type": "bearer", "access_token": token})
    made = subscriber(GmailSettings(**where | changes), Password(grant))
    gmail.fake.clients.append(made)
    return made


def test_a_mailbox_is_watched_for_a_week_and_prolonged_by_asking_again(gmail):
    one = watching(gmail)
    made = one.subscribe(TOPIC, "no call can bear it")
    assert gmail.fake.answers.watched == TOPIC
    assert timedelta(days=6) < made.expires_at - datetime.now(UTC) <= timedelta(days=7)
    gmail.fake.answers.watched = None
    assert one.renew(made.id, TOPIC).id == made.id
    assert gmail.fake.answers.watched == TOPIC
    assert gmail.fake.units == 200


def test_a_watch_is_ended(gmail):
    one = watching(gmail)
    one.unsubscribe(one.subscribe(TOPIC, "").id)
    assert gmail.fake.answers.watched is None


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.drop, Unavailable),
        (faults.refuse(429, "rateLimitExceeded"), Throttled),
        (faults.refuse(403, "insufficientPermissions"), AuthRequired),
        (faults.refuse(400, "invalidArgument"), Misconfigured),
        (faults.text(b'{"historyId": "1"}'), Unavailable),
        (faults.text(b'{"expiration": "soon"}'), Unavailable),
        (faults.text(b"<html>"), Unavailable),
    ],
)
def test_each_refusal_is_told_as_when_reading(gmail, fault, error):
    gmail.fake.always = fault
    with pytest.raises(error):
        watching(gmail).subscribe(TOPIC, "")


def test_a_sign_in_that_leads_to_another_mailbox_watches_nothing(gmail):
    with pytest.raises(Misconfigured, match="sign in as its user"):
        watching(gmail, address="other@sender.test").subscribe(TOPIC, "")
    assert gmail.fake.answers.watched is None
