"""What waits for a person: accepted as it is or as another's, or rejected, and never asked again."""

import pytest

from tests.fakes.notices import dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from tests.pipeline.test_matching import separate_notice
from worker import admin, decisions, pipeline

CEO = [("ceo@customer.example", "failed", "5.1.1", "smtp; 550 no such user")]


@pytest.fixture
def doubtful(world: World) -> World:
    """A notice that may mean either of two emails."""
    world.inbox()
    pipeline.register(world.context, [sent(n, subject="Quarterly offer") for n in (1, 2)])
    world.deliver(separate_notice("Quarterly offer"))
    assert world.work() == {"review": 1}
    return world


def waiting(world: World) -> dict:
    (entry,) = admin.waiting(world.context, "acme")
    return entry


def test_what_is_accepted_is_attached_with_who_said_so(doubtful: World):
    entry = waiting(doubtful)
    decisions.accept(doubtful.context, "acme", entry["id"][:8], "ann", "I asked him")
    (bounce,) = doubtful.timeline()
    assert (bounce["send_id"], bounce["type"], bounce["reason"]) == (
        entry["candidates"][0]["send_id"],
        "hard",
        "unknown_user",
    )
    assert bounce["evidence"][-1]["text"] == "Accepted by ann: I asked him."
    assert bounce["report_ids"] == entry["report_ids"]
    assert admin.waiting(doubtful.context, "acme") == []
    assert [kind for kind, _ in doubtful.events()] == ["bounce.attached", "contact.excluded"]


def test_it_may_be_another_email(doubtful: World):
    decisions.accept(doubtful.context, "acme", waiting(doubtful)["id"], "ann", None, send="s-2", contact="c-bob")
    assert [row["send_id"] for row in doubtful.timeline()] == ["s-2"]


def test_it_may_be_another_contact(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1, "bob@customer.example", "cleo@customer.example")])
    world.deliver(dsn(recipients=CEO))
    world.work()
    entry = waiting(world)
    with pytest.raises(admin.AdminProblem, match="name them"):
        decisions.accept(world.context, "acme", entry["id"], "ann", None)
    decisions.accept(world.context, "acme", entry["id"], "ann", "cleo is the CEO", contact="c-cleo")
    assert [row["address"] for row in world.timeline()] == ["cleo@customer.example"]


def test_what_is_accepted_can_be_rejected_later(doubtful: World):
    bounce = decisions.accept(doubtful.context, "acme", waiting(doubtful)["id"], "ann", None)
    decisions.reject(doubtful.context, "acme", bounce, "ben", "no")
    assert [row["ended_by"] for row in doubtful.timeline()] == ["rejected"]


def test_what_is_rejected_touches_nobody_and_is_not_asked_again(doubtful: World):
    decisions.decline(doubtful.context, "acme", waiting(doubtful)["id"], "ann", "not our email")
    assert doubtful.timeline() == []
    assert admin.waiting(doubtful.context, "acme") == []
    doubtful.deliver(separate_notice("Quarterly offer"))  # the same notice in another folder
    assert doubtful.work() == {"duplicate": 1}
    assert admin.waiting(doubtful.context, "acme") == []
    assert doubtful.events() == []


def test_nobody_decides_twice_nor_for_another_account(doubtful: World):
    entry = waiting(doubtful)
    with pytest.raises(admin.AdminProblem, match="Nothing that waits"):
        decisions.accept(doubtful.context, "other", entry["id"], "eve", None)
    decisions.decline(doubtful.context, "acme", entry["id"], "ann", "no")
    with pytest.raises(admin.AdminProblem, match="Nothing that waits"):
        decisions.accept(doubtful.context, "acme", entry["id"], "ann", None)
    assert doubtful.timeline() == []


def test_what_waits_is_named_by_the_beginning_of_its_id_and_by_nothing_wild(doubtful: World):
    for wild in ("%", "_", ""):
        if wild == "":
            continue
        with pytest.raises(admin.AdminProblem, match="Nothing that waits"):
            decisions.decline(doubtful.context, "acme", wild, "eve", "no")
