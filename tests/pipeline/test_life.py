"""Any order of reports, retries, decisions, messages and clock steps comes to the same, once, and can be explained."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.notices import NOW
from tests.fakes.sends import sent
from tests.life import BEGAN, FULL, HARD, PENDING, SOFT, fact, minutes, report
from worker.attach import standing
from worker.domain import AccountRules, FactKind
from worker.store import bounces, facts, folding, schema, sends
from worker.store.database import open_engine, reading, writing
from worker.store.keyring import KeyRing, load_digester, new_key

SENDS = (1, 2)
KINDS = (PENDING, SOFT, HARD, FULL)

moments = st.integers(-60, 6_000).map(minutes)
reports = st.builds(
    lambda kind, at, number, name: report(kind, at, f"r-{number}-{name}", number),
    st.sampled_from(KINDS),
    moments,
    st.sampled_from(SENDS),
    st.integers(1, 9),
)
happenings = st.builds(fact, st.sampled_from((FactKind.WROTE, FactKind.UNBOUNCED)), moments)
deliveries = st.builds(
    lambda at, number: replace(
        fact(FactKind.DELIVERED, at), bounce_id=report(HARD, at, "r", number).bounce_id, id=f"delivered-{number}-{at}"
    ),
    moments,
    st.sampled_from(SENDS),
)
lives = st.lists(st.one_of(reports, reports, happenings, deliveries), min_size=1, max_size=9, unique_by=lambda f: f.id)


@pytest.fixture(scope="module")
def engine():
    made = open_engine("sqlite://")
    schema.metadata.create_all(made)
    with writing(made) as connection:
        made_digest = load_digester(connection, KeyRing.parse([new_key()]))
    made.digest = made_digest
    yield made
    made.dispose()


@st.composite
def two_orders(draw):
    """One life, in two orders, each cut into batches, some of which are told twice."""
    life = draw(lives)
    taken_back = [each for each in life if each.kind is FactKind.UNBOUNCED and draw(st.booleans())]
    life += [fact(FactKind.UNDONE, minutes(7_000), f"undo-{each.id}", about=each.id) for each in taken_back]
    orders = []
    for _ in range(2):
        order = draw(st.permutations(life))
        batches = []
        while order:
            size = draw(st.integers(1, 4))
            batches += [order[:size]] * draw(st.integers(1, 2))
            order = order[size:]
        orders.append(batches)
    return life, orders


def lived(engine, batches, now):
    """Live a life in a database that is empty; return what has come of it."""
    with writing(engine) as connection:
        for table in reversed(schema.metadata.sorted_tables):
            if table is not schema.meta:
                connection.execute(table.delete())
        sends.register(connection, [sent(number) for number in SENDS], engine.digest, NOW)
        for step, batch in enumerate(batches):
            folding.record(connection, "acme", batch, engine.digest, BEGAN + timedelta(hours=step))
        due = bounces.of_addresses(connection, "acme", ["bob@customer.example"]).values()
        folding.refold(connection, "acme", due, engine.digest, now)
    with reading(engine) as connection:
        rows = bounces.of_addresses(connection, "acme", ["bob@customer.example"])
        stands = {
            name: (b.send_id, b.verdict, b.ended_by, b.ended_at, b.report_id, b.evidence) for name, b in rows.items()
        }
        trail = {each.id for each in facts.of_address(connection, "acme", "bob@customer.example")}
        told = list(connection.execute(sa.select(schema.outbox.c.event_id)).scalars())
        return stands, bounces.address_states(connection, "acme"), trail, told


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(two_orders())
def test_any_order_comes_to_the_same_and_the_trail_explains_it(engine, given):
    life, orders = given
    now = minutes(8_000)
    (stands, states, trail, told), (stands_too, states_too, trail_too, told_too) = (
        lived(engine, batches, now) for batches in orders
    )
    assert stands == stands_too
    assert states == states_too
    assert trail == trail_too == {each.id for each in life}  # everything, once
    assert len({send for send, *_ in stands.values()}) == len(stands)  # one bounce a send and recipient
    for events in (told, told_too):
        assert len(events) == len(set(events))
    for name, (_, verdict, ended_by, *_) in stands.items():
        own = [each for each in life if each.bounce_id in (name, None)]
        explained = standing(own, BEGAN, AccountRules(account="acme"), now)
        assert (explained.verdict, explained.ended_by) == (verdict, ended_by)
