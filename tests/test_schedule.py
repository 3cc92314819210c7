from datetime import timedelta
from random import Random

from connectors import Throttled, Unavailable
from tests.fakes.notices import NOW
from worker.schedule import LONGEST_BACKOFF, after_failure, after_success

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


def test_a_server_that_asks_for_patience_gets_it():
    asked = Throttled("x", retry_after=timedelta(hours=3))
    assert after_failure(NOW, 0, asked, Random(1)) >= NOW + timedelta(hours=3)
