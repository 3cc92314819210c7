"""Settings as an operator gives them, and the errors as a caller tells them apart."""

from datetime import timedelta

import pytest

from connectors import (
    Access,
    Cloud,
    ConnectorError,
    ExchangeSettings,
    GmailSettings,
    ImapSettings,
    MaildirSettings,
    Misconfigured,
    Office365Settings,
    Security,
    Throttled,
    Unavailable,
    from_json,
    to_json,
)
from connectors.settings import PROVIDERS, from_fields, provider_of

IMAP = ImapSettings(host="mx.test", username="alice", port=143, security=Security.STARTTLS, folders=("INBOX", "Søppel"))

EXCHANGE = ExchangeSettings(
    endpoint="https://mail.test/EWS/Exchange.asmx",
    address="alice@mail.test",
    username="MAIL\\alice",
    access=Access.IMPERSONATION,
)
NEEDED = {
    "imap": {"host": "h", "username": "u"},
    "gmail": {"address": "a@h"},
    "office365": {"address": "a@h"},
    "exchange": {"endpoint": "https://h", "address": "a@h", "username": "u"},
    "maildir": {"path": "/mail"},
}


GMAIL = GmailSettings(address="alice@mail.test", prefilter=True, units_per_minute=600)
OFFICE = Office365Settings(address="alice@mail.test", cloud=Cloud.CHINA, folders=("inbox", "inbox/Returned"))


@pytest.mark.parametrize("settings", [IMAP, EXCHANGE, GMAIL, OFFICE, MaildirSettings(path="/mail")])
def test_settings_survive_json(settings):
    assert from_json(provider_of(settings), to_json(settings)) == settings


@pytest.mark.parametrize(
    ("provider", "fields", "words"),
    [
        ("pop3", {}, r"'pop3': use one of gmail, office365, exchange, imap, maildir\.$"),
        ("imap", {"host": "mx.test"}, r"needs host and username\.$"),
        ("imap", {"host": "mx.test", "username": "a", "pasword": "x"}, r"no setting named pasword\.$"),
        ("imap", {"host": "mx.test", "username": "a", "security": "ssl"}, r"'ssl': use tls, starttls or none\.$"),
        ("imap", {"host": "h", "username": "u", "sign_in": "ntlm"}, r"use password, xoauth2 or oauthbearer\.$"),
        ("exchange", NEEDED["exchange"] | {"access": "all"}, r"access 'all': use delegate or impersonation\.$"),
        (
            "exchange",
            NEEDED["exchange"] | {"endpoint": "https://outlook.office365.com/EWS/Exchange.asmx"},
            r"office365",
        ),
        ("exchange", NEEDED["exchange"] | {"endpoint": "http://mail.test/EWS/Exchange.asmx"}, r"https"),
        ("office365", {"address": "a@h", "cloud": "de"}, r"'de': use global, us, us-dod or china\.$"),
        ("office365", {"address": "a@h", "api": "http://graph.test"}, r"https"),
        ("gmail", {"address": "a@h", "api": "gmail.test"}, r"https"),
        ("gmail", {}, r"needs address\.$"),
        ("maildir", {}, r"needs path\.$"),
        ("maildir", {"path": "/mail", "host": "x", "port": 1}, r"no setting named host, port\.$"),
    ],
)
def test_what_is_wrong_with_settings_is_one_sentence(provider, fields, words):
    with pytest.raises(Misconfigured, match=words):
        from_fields(provider, fields)


@pytest.mark.parametrize("provider", sorted(PROVIDERS.keys() - {"gmail"}))
def test_folders_are_frozen(provider):
    assert from_fields(provider, NEEDED[provider] | {"folders": ["A", "B"]}).folders == ("A", "B")


def test_one_folder_needs_no_list():
    assert from_fields("maildir", {"path": "/mail", "folders": "Bounces"}).folders == ("Bounces",)


def test_throttled_is_unavailable_with_a_time():
    error = Throttled("Later.", timedelta(minutes=3))
    assert isinstance(error, Unavailable)
    assert isinstance(error, ConnectorError)
    assert (str(error), error.retry_after) == ("Later.", timedelta(minutes=3))
