"""Which of the inboxes that are due go first: never more than a limit allows, and nobody is starved."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from worker.schedule import ALL, LEAST_DEPTH, Limits, Place, choose, depth, full, load

places = st.builds(
    Place,
    st.sampled_from(["imap", "gmail", "exchange"]),
    st.sampled_from(["acme", "beta", "gamma"]),
    st.sampled_from([None, "a.example", "b.example"]),
)
limits = st.builds(
    Limits,
    total=st.integers(1, 20),
    provider=st.integers(1, 10),
    account=st.integers(1, 10),
    host=st.integers(1, 5),
)


@given(st.lists(places, max_size=40), st.lists(places, max_size=20), limits, st.integers(0, 40))
def test_no_limit_is_passed_and_none_is_left_that_would_fit(due, held, limits, most):
    before = load((place, 1) for place in held)
    waiting = {str(number): place for number, place in enumerate(due)}
    chosen = choose(waiting, before, limits, set(), most)
    after = before + Counter(key for each in chosen for key in waiting[each].keys)
    for key, number in after.items():
        assert number <= before[key] or key not in full(after - Counter([key]), limits, set()), key
    if len(chosen) < most:
        left = [place for each, place in waiting.items() if each not in chosen]
        assert all(full(after, limits, set()) & set(place.keys) for place in left)


@given(st.lists(places, min_size=1, max_size=40), limits)
def test_a_choice_comes_back_empty_only_where_a_limit_is_reached(held, limits):
    before = load((place, 1) for place in held)
    reached = full(before, limits, set())
    free = Place("maildir", "delta", None)
    assert bool(choose({"x": free}, before, limits, set(), 1)) is (ALL not in reached)


def test_of_a_host_that_hung_one_goes_and_finds_out():
    due = {str(number): Place("imap", "acme", "dead.example") for number in range(5)}
    assert choose(due, Counter(), Limits(), {"dead.example"}, 5) == ["0"]


def test_hosts_of_google_and_microsoft_are_limited_as_providers():
    due = {str(number): Place("gmail", f"account-{number}", "gmail.googleapis.com") for number in range(9)}
    assert len(choose(due, Counter(), Limits(host=2, provider=7), set(), 9)) == 7


def test_a_queue_holds_as_much_as_workers_take_and_little_where_there_are_none():
    assert depth(0, 0) == LEAST_DEPTH
    assert depth(LEAST_DEPTH, 0) == 2 * LEAST_DEPTH
    assert depth(1_000, 100) == 1_800
    assert depth(1_000, 1_000) == LEAST_DEPTH  # nobody works: what is due stays in the database
    assert depth(10, 500) == LEAST_DEPTH
