"""What a poll may cost. The README's table is printed by the same counting."""

import pytest

from tests.connectors.budget_exchange import FIRST, IDLE, MIXED, ORDINARY, budget


@pytest.fixture(scope="module")
def cost():
    return {each.case: each for each in budget()}


def test_an_idle_poll_is_one_request_a_folder(cost):
    assert cost[IDLE].round_trips == 2
    assert cost[IDLE].answered < 4_000


def test_an_ordinary_message_costs_4_kb_at_most_and_no_body(cost):
    assert cost[ORDINARY].round_trips == 3
    assert (cost[ORDINARY].answered - cost[IDLE].answered) / 100 < 4_000


def test_only_notices_are_downloaded(cost):
    assert cost[MIXED].round_trips == cost[ORDINARY].round_trips + 5
    downloaded = cost[MIXED].answered - cost[ORDINARY].answered
    assert downloaded < 5 * 15_000


def test_a_first_poll_walks_ids_only(cost):
    assert cost[FIRST].round_trips == 4 + 1 + 1  # 2,000 in fours of 512, an empty listing, and junk
    assert cost[FIRST].answered / 2_000 < 400
