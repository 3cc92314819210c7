"""Sends that come by the CRM's queue: nobody waits for an answer, so what is refused becomes an event."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.world import World
from worker import pipeline
from worker.store import outbox
from worker.store.database import reading

SEND = {
    "id": "s-1",
    "account": "acme",
    "inbox": "alice",
    "kind": "one_to_one",
    "sent_at": "2026-11-22T10:00:00Z",
    "recipients": [{"address": "bob@customer.example", "contact_id": "c-1"}],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ALMOST = st.fixed_dictionaries({}, optional={name: JSON | st.just(value) for name, value in SEND.items()})


def told(world: World) -> list[tuple[str, list]]:
    with reading(world.context.engine) as connection:
        return [(row.account, row.payload["refused"]) for row in outbox.all_rows(connection)]


def test_what_is_refused_is_told_to_the_account_that_it_names(world: World):
    done = pipeline.take_message(world.context, [SEND, SEND | {"kind": "letter"}, {"account": "misspelt"}], "m-1")
    assert (done.kept, len(done.refused)) == (1, 2)
    (acme, mine), (misspelt, theirs) = told(world)
    assert (acme, [each["row"] for each in mine]) == ("acme", [1])
    # Nobody has made that account, so a name that was written wrongly is told of too.
    assert (misspelt, theirs[0]["row"], theirs[0]["id"]) == ("misspelt", 2, None)


def test_a_message_that_is_delivered_again_tells_the_same_event(world: World):
    for _ in range(2):
        pipeline.take_message(world.context, [SEND | {"kind": "letter"}], "m-1")
    assert len(told(world)) == 1


@pytest.mark.parametrize("row", [None, "x", 7, [], {}, {"account": None}, {"account": 7}, {"account": "x" * 256}])
def test_of_a_row_that_names_no_account_only_the_log_can_tell(world: World, row: object):
    done = pipeline.take_message(world.context, [row], "m-1")
    assert [each.row for each in done.refused] == [0]
    assert told(world) == []


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(JSON | ALMOST, max_size=3))
def test_whatever_comes_is_answered(world: World, rows: list):
    done = pipeline.take_message(world.context, rows, "m-1")
    assert done.kept + len(done.refused) == len(rows)
