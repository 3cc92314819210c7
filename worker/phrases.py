"""Phrases, all looked for in one pass over a text (Aho and Corasick, 1975): its cost doesn't grow with their number."""

import re
from collections.abc import Iterable
from typing import Final

from ahocorasick_rs import AhoCorasick, Implementation


class Phrases:
    """Some phrases, in order. They and the texts are folded alike by whoever asks."""

    __slots__ = ("_automaton", "_phrases", "_starts")

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = tuple(phrases)
        self._automaton = AhoCorasick(self._phrases, implementation=Implementation.DFA)
        self._starts: dict[str, tuple[str, ...]] = {}
        for phrase in self._phrases:
            self._starts[phrase[:START]] = (*self._starts.get(phrase[:START], ()), phrase)

    def within(self, text: str) -> bool:
        """Whether one of them stands anywhere in `text`."""
        return bool(self._automaton.find_matches_as_indexes(text))

    def places(self, text: str) -> set[int]:
        """Return the places (in their order) of all that stand in `text`."""
        return {place for place, _, _ in self._automaton.find_matches_as_indexes(text, overlapping=True)}

    def may_begin(self, text: str) -> bool:
        """Whether one of them might begin `text`: a look that costs next to nothing."""
        return text[:START] in self._starts

    def beginning(self, text: str) -> str | None:
        """Return the longest with which `text` begins, or None."""
        return max(filter(text.startswith, self._starts.get(text[:START], ())), key=len, default=None)


START: Final = 2
"""How much of a phrase `may_begin` looks at; none that is asked for there may be shorter: "配信" is a whole word."""


class Guarded:
    """A pattern that is only asked where one of the words that it can't match without stands in the text.

    A pattern of many branches tries them all at every character; the words, in lower case, cost a fiftieth of that.
    That there is no match without them is tested.
    """

    __slots__ = ("needs", "pattern")

    def __init__(self, needs: Iterable[str], pattern: str) -> None:
        self.needs: Final = Phrases(needs)
        self.pattern: Final = re.compile(pattern, re.IGNORECASE)

    def search(self, text: str) -> re.Match[str] | None:
        """Return the pattern's first match in `text`."""
        return self.pattern.search(text) if self.needs.within(text.lower()) else None
