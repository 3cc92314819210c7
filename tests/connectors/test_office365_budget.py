"""What reading a mailbox of Microsoft 365 may cost; see test_budget."""

import pytest

from tests.benchmarks.budget import EXPIRED, FIRST, IDLE, NOTICES, ORDINARY, office365, play
from tests.fakes.wire import Cost

LIMITS = {
    IDLE: Cost(round_trips=4, sent=3_000, received=2_500),
    ORDINARY: Cost(round_trips=5, sent=3_000, received=350_000),
    NOTICES: Cost(round_trips=14, sent=8_000, received=380_000),
    FIRST: Cost(round_trips=16, sent=12_000, received=3_500_000),
    EXPIRED: Cost(round_trips=10, sent=6_000, received=350_000),
}
A_MESSAGE = 4 * 1024


@pytest.mark.parametrize("scene", LIMITS, ids=lambda scene: scene.name)
def test_office365_stays_within_its_budget(scene):
    cost, limit = play(scene, office365), LIMITS[scene]
    assert cost.round_trips <= limit.round_trips
    assert cost.sent <= limit.sent
    assert cost.received <= limit.received


def test_an_ordinary_message_costs_its_header_and_never_its_body():
    idle, ordinary = (play(scene, office365) for scene in (IDLE, ORDINARY))
    assert ordinary.sent + ordinary.received - idle.sent - idle.received <= ORDINARY.ordinary * A_MESSAGE
