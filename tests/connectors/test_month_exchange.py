"""A month with an Exchange mailbox: every notice is seen, and the budget holds."""

import pytest

from tests.connectors.month_exchange import ExchangeLife, Month
from tests.fakes.ews.server import FakeExchange


@pytest.mark.parametrize("seed", [1, 2])
def test_every_notice_is_seen_and_the_budget_holds(seed):
    with FakeExchange(is_validating=False) as fake:
        month = Month(ExchangeLife(fake, seed), seed)
        month.run()
        happened = month.happened
        missed = [name for name in month.notices if not month.seen[name]]
        answered = sum(each.received for each in fake.exchanged)
        total = len(fake.store.folder("inbox").items) + len(fake.store.folder("junkemail").items)

    assert missed == [], happened
    assert set(month.seen) == set(month.notices)  # once each by its Message-ID, and nothing else was taken for one
    assert happened["ordinary"] > 2_000
    for what in ("notice moved", "expired", "busy", "outage", "hiccup", "unforeseen move", "gone", "asked a person"):
        assert happened[what] > 0, (what, happened)

    rereads = happened["read again"] + 1
    walk = 2 * (total // 512 + 1) + 2 * (total // 200 + 1)
    failures = happened["failed"] + happened["told to wait"] + happened["asked a person"]
    bound = 2 * happened["pages"] + happened["pages with mail"] + happened["fetches"] + rereads * walk + 6 * failures
    assert fake.requests <= bound, happened
    moved = happened["notice moved"] + happened["moved"] + happened["unforeseen move"]
    anew = happened["envelopes"] - happened["ordinary"] - happened["notice"] - moved
    assert anew <= rereads * (happened["ordinary"] + happened["notice"]) // 2  # of a week each, not of all
    assert answered < 4_000 * happened["envelopes"] + 15_000 * happened["fetches"] + 2_500 * happened["pages"] + (
        rereads * total * 600
    )
