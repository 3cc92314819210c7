"""A month with a Gmail mailbox: every notice is seen, and the quota holds."""

import pytest

from tests.connectors.month_exchange import Month
from tests.connectors.month_gmail import GmailLife


@pytest.mark.parametrize(("seed", "prefilter"), [(1, False), (2, True)], ids=["headers", "prefilter"])
def test_every_notice_is_seen_and_the_quota_holds(seed, prefilter, gmail):
    month = Month(GmailLife(gmail, seed, prefilter), seed)
    month.run()
    happened, fake = month.happened, gmail.fake

    assert [name for name in month.notices if not month.seen[name]] == [], happened
    assert set(month.seen) == set(month.notices)  # once each by its Message-ID, and nothing else was taken for one
    assert happened["ordinary"] > 2_000
    for what in ("notice moved", "expired", "busy", "outage", "hiccup", "unforeseen move", "asked a person"):
        assert happened[what] > 0, (what, happened)

    # Gmail's ids stay when a message moves, so that only what is read again comes again.
    again = sum(month.seen.values()) - len(month.notices)
    assert again == 0 if not happened["read again"] else again <= happened["read again"] * len(month.notices)
    asked = 20 * (happened["fetches"] + (0 if prefilter else happened["envelopes"]))
    failures = happened["failed"] + happened["told to wait"] + happened["asked a person"]
    pages = happened["pages"] * (12 if prefilter else 2) + happened["read again"] * 50
    assert fake.units <= asked + pages + failures * 300 + happened["hiccup"] * 2_000, happened
