from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import Throttled, Unavailable
from tests.fakes.notices import NOW
from worker.schedule import (
    HANGS,
    LONGEST_BACKOFF,
    LONGEST_HUNG,
    SPREAD,
    WARM,
    WARM_INTERVAL,
    Interval,
    after_failure,
    after_standstill,
    after_success,
    hung_until,
)

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


seconds = st.integers(1, 86_400).map(lambda number: timedelta(seconds=number))
ages = st.timedeltas(min_value=timedelta(days=-1), max_value=timedelta(days=400))
intervals = st.tuples(seconds, seconds).map(lambda pair: Interval(shortest=min(pair), longest=max(pair)))


@given(intervals, ages, ages)
def test_the_longer_nothing_was_sent_the_seldomer_and_within_bounds(interval: Interval, one, other):
    sooner, later = interval.after(min(one, other)), interval.after(max(one, other))
    assert interval.shortest <= sooner <= later <= interval.longest


@given(intervals, ages.filter(lambda age: age <= WARM))
def test_while_delays_are_reported_it_stays_short(interval: Interval, age):
    assert interval.after(age) <= max(WARM_INTERVAL, interval.shortest)


def test_an_inbox_through_which_something_was_just_sent_is_polled_as_often_as_may_be():
    assert Interval().after(timedelta(minutes=59)) == Interval().shortest
    assert Interval().after(timedelta(days=30)) == Interval().longest


def test_a_hundred_thousand_inboxes_that_are_polled_at_once_do_not_come_back_at_once():
    every = timedelta(minutes=5)
    at_second = Counter(int((after_standstill(NOW, every, f"inbox-{n}") - NOW).total_seconds()) for n in range(100_000))
    assert len(at_second) >= 254  # 85 % of five minutes
    assert max(at_second.values()) < 2 * 100_000 / 300


def test_a_host_that_hangs_is_left_in_peace_for_longer_and_longer_but_never_for_long():
    assert [hung_until(NOW, hangs) for hangs in range(1, HANGS)] == [None] * (HANGS - 1)
    waits = [until - NOW for hangs in range(HANGS, 40) if (until := hung_until(NOW, hangs))]
    assert waits == sorted(waits)
    assert waits[0] == timedelta(minutes=1)
    assert waits[-1] == LONGEST_HUNG
