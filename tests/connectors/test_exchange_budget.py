"""What reading an Exchange mailbox may cost; see test_budget."""

import pytest

from tests.benchmarks.budget import FIRST, IDLE, NOTICES, ORDINARY, exchange, letter, play
from tests.connectors.mailboxes import ExchangeMailbox, ago, read_all
from tests.fakes.ews.server import FakeExchange
from tests.fakes.wire import Cost, Wire

LIMITS = {
    IDLE: Cost(round_trips=3, sent=3_000, received=3_000),
    ORDINARY: Cost(round_trips=4, sent=24_000, received=350_000),
    NOTICES: Cost(round_trips=10, sent=32_000, received=400_000),
    FIRST: Cost(round_trips=18, sent=260_000, received=4_000_000),
}
A_MESSAGE = 4 * 1024


@pytest.mark.parametrize("scene", LIMITS, ids=lambda scene: scene.name)
def test_exchange_stays_within_its_budget(scene):
    cost, limit = play(scene, exchange), LIMITS[scene]
    assert cost.round_trips <= limit.round_trips
    assert cost.sent <= limit.sent
    assert cost.received <= limit.received


def test_an_ordinary_message_costs_its_properties_and_never_its_body():
    idle, ordinary = (play(scene, exchange) for scene in (IDLE, ORDINARY))
    assert ordinary.sent + ordinary.received - idle.sent - idle.received <= ORDINARY.ordinary * A_MESSAGE


@pytest.fixture
def mailbox():
    with FakeExchange(is_validating=False) as fake:
        yield ExchangeMailbox(fake, Wire())


def test_an_idle_poll_is_one_request_a_folder(mailbox):
    _, cursor = read_all(mailbox.connector(), ago(days=1))
    mailbox.fake.clear()
    mailbox.connector().poll(cursor)
    assert mailbox.fake.operations() == ["SyncFolderItems", "SyncFolderItems"]


def test_a_first_poll_walks_ids_only(mailbox):
    mailbox.deliver_all(map(letter, range(2_000)), at=ago(days=90))
    mailbox.wire.take()
    read_all(mailbox.connector(), ago(days=1))
    cost = mailbox.wire.take()
    assert mailbox.fake.requests == 4 + 1 + 1  # 2,000 in fours of 512, an empty listing, and junk
    assert cost.received / 2_000 < 400
