"""The world around the deployment, as it goes on: people write, notices come, a CRM registers what it sent."""

import threading
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any, Final

from tests.chaos.letters import INBOXES, Story
from tests.chaos.world import World

LOTS: Final = 50
MOST: Final = 100
"""Stories in a lot."""
STEPS: Final = 20
"""Lots of what is kept back for the end."""
BY_HAND: Final = 4
"""In one of so many lots somebody polls an inbox by hand."""


class Feeder:
    """Brings stories in lots, as far as it is told to; from the share `kept_back` on in small ones."""

    def __init__(self, world: World, stories: Sequence[Story], chance: Random, kept_back: float = 1.0) -> None:
        self._world = world
        self._stories = stories
        number = len(stories)
        first = int(number * kept_back)
        large, small = max(min(number // LOTS, MOST), 1), max((number - first) // STEPS, 1)
        self._starts = [*range(0, first, large), *range(first, number, small)]
        self._chance = chance
        self._share = 0.0
        self._told = threading.Condition()
        self._late: list[dict[str, Any]] = []
        self.problems: list[str] = []

    def go_to(self, share: float) -> None:
        """Bring this share of all stories, from 0 to 1."""
        with self._told:
            self._share = max(self._share, share)
            self._told.notify()

    def finish(self) -> None:
        self.go_to(1.0)

    def run(self) -> None:
        try:
            for number, (start, end) in enumerate(pairwise([*self._starts, len(self._stories)])):
                with self._told:
                    self._told.wait_for(lambda start=start: self._share >= start / len(self._stories))
                self._bring(self._stories[start:end])
                if number % BY_HAND == 0:
                    self._poll_by_hand()
            self._register(self._late)
        except Exception as error:  # noqa: BLE001 - a run without mail proves nothing
            self.problems.append(f"the mail stopped: {type(error).__name__}: {error}")

    def _bring(self, lot: Sequence[Story]) -> None:
        self._register([story.send for story in lot if story.send and not story.late])
        self._world.deliver(letter for story in lot for letter in story.letters)
        waited, self._late = self._late, [story.send for story in lot if story.send and story.late]
        self._register(waited)

    def _register(self, sends: Sequence[dict[str, Any]]) -> None:
        if not sends:
            return
        if self._chance.random() < 0.5:
            self._world.register(sends)
        else:
            self._world.register_by_queue(sends)

    def _poll_by_hand(self) -> None:
        account = self._chance.choice(sorted(INBOXES))
        self._world.run("poll", self._chance.choice(INBOXES[account]), "--account", account, "--once")
