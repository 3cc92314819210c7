from datetime import timedelta
from random import Random

import pytest

from connectors import Throttled, Unavailable
from tests.fakes.notices import NOW
from worker.schedule import LONGEST_BACKOFF, SPREAD, after_failure, after_success

EVERY = timedelta(minutes=2)


def test_polls_are_spread_around_their_interval():
    waits = {after_success(NOW, EVERY, Random(seed)) - NOW for seed in range(50)}
    assert len(waits) > 40
    assert all(EVERY * 0.85 <= wait <= EVERY * 1.15 for wait in waits)


def test_failures_in_a_row_back_off_up_to_an_hour():
    waits = [after_failure(NOW, failures, Unavailable("x"), Random(1)) - NOW for failures in range(12)]
    assert waits[0] < timedelta(minutes=1)
    assert waits == sorted(waits)
    assert waits[-1] <= LONGEST_BACKOFF * 1.15


def test_inboxes_that_fail_together_do_not_come_back_together():
    waits = {after_failure(NOW, 3, Unavailable("x"), Random(seed)) - NOW for seed in range(50)}
    assert len(waits) > 40
    assert all(timedelta(minutes=4) * 0.85 <= wait <= timedelta(minutes=4) * 1.15 for wait in waits)


@pytest.mark.parametrize(
    "patience", [timedelta(seconds=1), timedelta(minutes=10), timedelta(hours=3), timedelta(days=1)]
)
@pytest.mark.parametrize("failures", [0, 1, 5, 99])
def test_a_server_that_asks_for_patience_gets_it_to_the_second_and_hardly_more(patience, failures):
    asked = Throttled("x", retry_after=patience)
    waits = [after_failure(NOW, failures, asked, Random(seed)) - NOW for seed in range(50)]
    backoff = [after_failure(NOW, failures, Unavailable("x"), Random(seed)) - NOW for seed in range(50)]
    assert all(wait >= max(patience, least) for wait, least in zip(waits, backoff, strict=True))
    assert all(wait <= max(patience + SPREAD, least) for wait, least in zip(waits, backoff, strict=True))
    assert len(set(waits)) > 40
