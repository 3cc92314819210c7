"""A month with a mailbox of Microsoft 365: every notice is seen, and the budget holds."""

import pytest

from connectors import _graph_cursor
from tests.connectors.month_exchange import Month
from tests.connectors.month_office365 import Office365Life
from tests.fakes.graph.server import FakeGraph


@pytest.mark.parametrize(("seed", "limit"), [(1, 5_000), (3, 200)])
def test_every_notice_is_seen_and_the_budget_holds(seed, limit, monkeypatch):
    monkeypatch.setattr(_graph_cursor, "NEARLY_ALL", limit * 9 // 10)
    with FakeGraph() as fake:
        fake.store.filtered_limit = limit
        month = Month(Office365Life(fake, seed), seed)
        month.run()
        happened = month.happened
        missed = [name for name in month.notices if not month.seen[name]]

    assert missed == [], happened
    assert set(month.seen) == set(month.notices)  # once each by its Message-ID, and nothing else was taken for one
    assert happened["ordinary"] > 2_000
    for what in ("notice moved", "expired", "busy", "outage", "hiccup", "unforeseen move", "asked a person"):
        assert happened[what] > 0, (what, happened)

    rereads = happened["read again"] + 1
    failures = happened["failed"] + happened["told to wait"] + happened["asked a person"]
    # Three folders a page; a poll that brought much asks once more; up to three empty pages come before each.
    bound = 3 * 4 * (happened["pages"] + 2 * rereads) + happened["fetches"] + 8 * failures
    assert fake.requests <= bound, (fake.requests, happened)
    if limit == 5_000:
        moved = happened["notice moved"] + happened["moved"] + happened["unforeseen move"]
        anew = happened["envelopes"] - happened["ordinary"] - happened["notice"] - moved
        assert anew <= rereads * (happened["ordinary"] + happened["notice"]) // 2  # of a week each, not of all
