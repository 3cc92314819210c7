"""What reading a Gmail mailbox may cost, in requests, bytes and quota units; see test_budget."""

import pytest

from tests.benchmarks.budget import EXPIRED, FIRST, IDLE, NOTICES, ORDINARY, gmail, play
from tests.fakes.wire import Cost

# A round trip more than requests, for the connection; another where notices are fetched.
LIMITS = {
    (IDLE, False): Cost(round_trips=2, sent=600, received=400, units=2),
    (ORDINARY, False): Cost(round_trips=4, sent=110_000, received=40_000, units=2_002),
    (NOTICES, False): Cost(round_trips=11, sent=120_000, received=45_000, units=2_202),
    (FIRST, False): Cost(round_trips=25, sent=1_100_000, received=350_000, units=20_013),
    (EXPIRED, False): Cost(round_trips=8, sent=110_000, received=40_000, units=2_030),
    (IDLE, True): Cost(round_trips=2, sent=600, received=400, units=2),
    (ORDINARY, True): Cost(round_trips=3, sent=4_000, received=5_000, units=7),
    (NOTICES, True): Cost(round_trips=9, sent=6_000, received=10_000, units=107),
    (FIRST, True): Cost(round_trips=3, sent=4_000, received=1_000, units=6),
    (EXPIRED, True): Cost(round_trips=4, sent=4_000, received=1_500, units=8),
}


@pytest.mark.parametrize(
    ("scene", "prefilter"), LIMITS, ids=lambda each: getattr(each, "name", "prefilter" if each else "headers")
)
def test_gmail_stays_within_its_budget(scene, prefilter, emulate):
    cost, limit = play(scene, gmail(emulate, prefilter=prefilter)), LIMITS[scene, prefilter]
    assert cost.units == limit.units
    assert cost.round_trips <= limit.round_trips
    assert cost.sent <= limit.sent
    assert cost.received <= limit.received
