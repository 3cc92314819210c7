"""The short run of `make test`: a whole deployment, a hundred faults and more, somebody killed at every fault point.

``CHAOS_SEED=7`` draws another plan. `make chaos` is the long one.
"""

import os
from random import Random

import pytest

from tests.chaos import points, report
from tests.chaos.letters import Author
from tests.chaos.oracle import judge
from tests.chaos.planted import PLANTS
from tests.chaos.run import Run
from tests.chaos.world import World
from tests.live.processes import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

SEED = int(os.environ.get("CHAOS_SEED", "1"))


def test_whatever_is_killed_cut_or_emptied_each_bounce_lands_once_and_each_event_is_told():
    with World() as world:
        result = Run(world, SEED, faults=110, notices=400).go()
        told = f"{report.table(result)}\n{report.journal(result)}\n{world.fleet.logs() if result.wrong else ''}"
    print(report.table(result))
    assert not result.wrong, told
    assert len(result.journal) >= 100, told
    assert points.wanted() <= result.killed_at.keys(), told


def test_what_is_planted_in_real_processes_is_found():
    """Without any fault: a notice that is forgotten, an event told twice and a call that isn't made are seen."""
    with World(plant=",".join(PLANTS)) as world:
        stories = list(Author(Random(SEED)).stories(60))
        world.register([story.send for story in stories if story.send])
        world.deliver(letter for story in stories for letter in story.letters)
        until(lambda: world.observer.entries() > 0 and world.observer.restless() is None, "all to come to rest", 60)
        found = judge([outcome for story in stories for outcome in story.outcomes], world.seen())
    for sentence in ("lost: nothing stands", "two ids for one happening", "no webhook was ever called"):
        assert any(each.startswith(sentence) for each in found), (sentence, found)
