"""The throw-away servers themselves."""

from email.message import EmailMessage

import psycopg
import pytest
import redis

from tests.live import needs

pytestmark = pytest.mark.live


def test_what_is_missing_is_skipped_on_a_laptop_and_fails_in_ci(monkeypatch):
    monkeypatch.setitem(needs.PACKAGES, "no-such-server", "nothing")
    for ci, outcome in (("", pytest.skip.Exception), ("true", pytest.fail.Exception)):
        monkeypatch.setenv("CI", ci)
        with pytest.raises(outcome, match="install nothing"):
            needs.binary("no-such-server")


def test_redis_answers(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()


@pytest.mark.parametrize("time", ["first", "second"])
def test_each_test_gets_an_empty_database(postgres_url, time):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE things (name text)")


def test_an_unknown_recipient_comes_back_as_a_notice(mail_stack):
    sender = mail_stack.fresh_inbox()
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, "nobody@customer.test", "Quarterly offer"
    message.set_content("Hello")
    mail_stack.submit(message, ["nobody@customer.test"], sender)
    mail_stack.wait_for_mail(1, sender)
    with mail_stack.imap(sender) as imap:
        imap.select("INBOX", readonly=True)
        (_, raw), *_ = imap.fetch("1", "(BODY.PEEK[])")[1]
    assert b"Status: 5.1.1" in raw
