"""Phrases, all looked for in one pass over a text (Aho and Corasick, 1975): its cost doesn't grow with their number."""

import re
from collections.abc import Iterable
from typing import Final

from ahocorasick_rs import BytesAhoCorasick


class Phrases:
    """Some phrases, in order. They and the texts are folded alike by whoever asks."""

    __slots__ = ("_automaton", "_phrases", "_starts")

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = tuple(phrases)
        encoded = [phrase.encode() for phrase in self._phrases]  # of bytes: it needn't count characters, nor refuse any
        self._automaton = BytesAhoCorasick(encoded)
        self._starts: dict[str, tuple[str, ...]] = {}
        for phrase in self._phrases:
            self._starts[phrase[:START]] = (*self._starts.get(phrase[:START], ()), phrase)

    def within(self, text: str) -> bool:
        """Whether one of them stands anywhere in `text`."""
        return bool(self._found(text))

    def places(self, text: str) -> list[int]:
        """Return the places (in their order) of all that stand in `text`, in the order in which they end there."""
        return [place for place, _, _ in self._found(text, overlapping=True)]

    def _found(self, text: str, *, overlapping: bool = False) -> list[tuple[int, int, int]]:
        return self._automaton.find_matches_as_indexes(text.encode("utf-8", "replace"), overlapping=overlapping)

    def may_begin(self, text: str) -> bool:
        """Whether one of them might begin `text`: a look that costs next to nothing."""
        return text[:START] in self._starts

    def beginning(self, text: str) -> str | None:
        """Return the longest with which `text` begins, or None."""
        return max(filter(text.startswith, self._starts.get(text[:START], ())), key=len, default=None)


START: Final = 2
"""No phrase is shorter: "配信" is a whole word."""


class Wordings:
    """One pattern of many branches, each of which begins where a word begins; asked without regard to case.

    Such a pattern is tried at every character, branch by branch. Three things make that ten times cheaper: the text is
    put in lower case before, not compared without case; only starts of words are tried; and where any match holds one
    of the words `needs`, texts without them aren't searched at all.
    """

    __slots__ = ("_needs", "_pattern")

    def __init__(self, pattern: str, needs: Iterable[str] = ()) -> None:
        self._pattern = re.compile(rf"(?<![a-z])(?=\w)(?:{pattern})")
        self._needs = Phrases(needs) if needs else None

    def within(self, text: str) -> bool:
        """Whether one of them stands anywhere in `text`."""
        folded = text.lower()
        if self._needs is not None and not self._needs.within(folded):
            return False
        return self._pattern.search(folded) is not None
