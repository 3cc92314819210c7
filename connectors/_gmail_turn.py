"""One poll of a Gmail inbox: what is found, what is handed out, and where reading stands afterwards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from connectors import _gmail_query as query
from connectors._gmail_cursor import Awaited, Reading
from connectors._gmail_errors import NO_GMAIL, Refusal, Refused, meaning
from connectors._gmail_questions import Found, Looked, Questions, is_own
from connectors.base import Envelope, MessageRef
from connectors.errors import CursorExpired
from connectors.settings import GmailSettings

PAGES: Final = 5
"""Pages of the history that one poll asks for while they hold nothing for us, and pages of one search."""

ASKED_LIMIT: Final = 10_000
"""Pages after which a listing or a history has gone round in circles: there are five million messages in so many."""

SEEN_LIMIT: Final = 2_000
"""How many messages a cursor remembers to drop them when they are told of again; more may come twice."""

TRIES: Final = 3
STUBBORN: Final = 5
"""Up to so many messages whose headers Gmail fails to give again and again are handed out without them: a message that
Gmail itself can't read must not keep all others waiting."""

OVERLAP: Final = 3600
"""How far before the last complete reading a search begins, in seconds: clocks differ, and mail is dated on arrival."""

LAG: Final = 15 * 60
"""For how long new mail that no search has found is searched for again, in seconds. How far Gmail's index lags behind
its history is not documented."""

AWAITED_LIMIT: Final = 5_000
"""How many messages a cursor holds that a search may yet find."""


@dataclass(slots=True)
class Turn:
    """One poll; `is_first` where there was no cursor.

    `reading` is where it stands by now, and `has_moved` says that this isn't where it began.
    """

    reading: Reading
    questions: Questions
    settings: GmailSettings
    now: int
    is_first: bool = False
    has_moved: bool = False

    def find(self) -> None:
        """Find messages that nobody has looked at, unless some wait already."""
        if self.reading.todo:
            return
        if self.reading.since is not None and self.reading.page is not None:
            self._list(self.reading.since)
            return
        for _ in range(PAGES):
            self._read_history()
            if self.reading.todo or self.reading.page is None:
                break
        if self.reading.awaited:
            self._search()
        again = self.reading.again
        if again is not None and again.until <= self.now and not self.reading.has_more:
            self._list_again(again)

    def look(self, refs: Sequence[str], found: Mapping[str, Looked | Refusal]) -> list[Envelope]:
        """Hand out what was asked for of `refs`: the rest is gone, or was refused for now and waits on."""
        looked = {ref: each for ref, each in found.items() if isinstance(each, Looked)}
        failed = {ref: each for ref, each in found.items() if isinstance(each, Refusal)}
        if failed and len(failed) == len(refs):
            if len(refs) > STUBBORN or any(each.is_busy for each in failed.values()):
                raise meaning(next(iter(failed.values())), self.settings)
            if self.reading.tries < TRIES:
                self.reading = replace(self.reading, tries=self.reading.tries + 1)
                return []
            looked, failed = {ref: Looked(envelope=Envelope(ref=MessageRef(ref))) for ref in refs}, {}
        wanted = [each.envelope for each in looked.values() if self._is_wanted(each)]
        self._remember([ref for ref, each in looked.items() if self._is_late(each)])
        self._settle(
            [ref for ref in refs if ref not in failed],
            [ref for ref, each in looked.items() if self._comes_again(each)],
        )
        return sorted(wanted, key=lambda each: each.received_at.timestamp() if each.received_at else 0.0)

    def hand_out(self, limit: int) -> list[Envelope]:
        """Hand out what a search has found, without a further look."""
        refs = list(self.reading.todo)[:limit]
        envelopes = [Envelope(ref=MessageRef(ref), thread_id=self.reading.todo[ref] or None) for ref in refs]
        self._remember(refs)
        self._settle(refs, refs if self.reading.since is not None or self.reading.page is not None else ())
        return envelopes

    @property
    def _query(self) -> str:
        return query.NOTICES if self.settings.prefilter else ""

    def _list(self, since: int) -> None:
        searched = query.after(since, self._query)
        found = self._page(lambda page: self.questions.messages(searched, page))
        self.reading = replace(self.reading, todo=self._unseen(found))
        self._end_listing()

    def _read_history(self) -> None:
        before = self.reading
        found = self._page(lambda page: self.questions.history(before.history, page))
        new = self._unseen(found)
        if not self.settings.prefilter:
            self.reading = replace(self.reading, todo=new)
        elif new:
            awaited = Awaited(since=max(0, before.complete - OVERLAP), until=self.now + LAG, ids=tuple(new))
            self.reading = replace(self.reading, awaited=(*before.awaited, awaited))
        if found.next_page is None:
            self.reading = replace(self.reading, history=found.history, complete=self.now, asked=0, seen=())

    def _search(self) -> None:
        """Let Gmail choose among what is awaited. Where it finds too much to tell, all of that is looked at."""
        awaited = self.reading.awaited
        ids = dict.fromkeys((ref for each in awaited for ref in each.ids), "")
        hits, is_all = self._hits(query.after(min(each.since for each in awaited), query.NOTICES))
        todo = {ref: thread for ref, thread in (hits if is_all else ids | hits).items() if ref in ids}
        left = [replace(each, ids=tuple(ref for ref in each.ids if ref not in todo)) for each in awaited]
        kept = _newest([each for each in left if each.ids and each.until > self.now])
        self.reading = replace(self.reading, todo=todo, awaited=kept)

    def _list_again(self, again: Awaited) -> None:
        """List the last of what the first listing was about: its newest may not have been in the index yet."""
        hits, _ = self._hits(query.between(again.since, again.until - LAG, self._query))
        known = {*again.ids, *(ref for each in self.reading.awaited for ref in each.ids)}
        todo = {ref: thread for ref, thread in hits.items() if ref not in known}
        self.reading = replace(self.reading, todo=todo, again=None)

    def _hits(self, searched: str) -> tuple[dict[str, str], bool]:
        """Return what a search finds, and whether that is all."""
        hits: dict[str, str] = {}
        page: str | None = ""
        for _ in range(PAGES):
            found = self.questions.messages(searched, page or "")
            hits |= found.messages
            page = found.next_page
            if page is None:
                return hits, True
        return hits, False

    def _page(self, ask: Callable[[str], Found]) -> Found:
        """Ask for the page to go on with; from the beginning where its token has died."""
        reading = self.reading
        if reading.asked >= ASKED_LIMIT:
            raise CursorExpired("Gmail's pages go round in circles: the inbox's recent mail is read again.")
        try:
            found = ask(reading.page or "")
        except Refused as refused:
            if not (reading.page and refused.refusal.status == 400) or refused.refusal.reasons & NO_GMAIL:
                raise
            found = ask("")
        self.reading = replace(reading, page=found.next_page, asked=reading.asked + 1)
        self.has_moved = True
        return found

    def _unseen(self, found: Found) -> dict[str, str]:
        seen = set(self.reading.seen)
        return {ref: thread for ref, thread in found.messages.items() if ref not in seen}

    def _is_wanted(self, looked: Looked) -> bool:
        at, since = looked.envelope.received_at, self.reading.since
        return not is_own(looked.labels) and (since is None or at is None or at.timestamp() >= since)

    def _comes_again(self, looked: Looked) -> bool:
        """Whether the history will tell of a message that was handed out."""
        if self.reading.since is not None:
            return looked.history > int(self.reading.history)
        return self.reading.page is not None

    def _is_late(self, looked: Looked) -> bool:
        """Whether listing again would find a message that was handed out."""
        again, at = self.reading.again, looked.envelope.received_at
        return again is not None and (at is None or at.timestamp() >= again.since - 1)

    def _remember(self, refs: Sequence[str]) -> None:
        again = self.reading.again
        if again is not None and refs:
            self.reading = replace(self.reading, again=replace(again, ids=(*again.ids, *refs)[:SEEN_LIMIT]))

    def _settle(self, done: Sequence[str], again: Sequence[str]) -> None:
        todo = {ref: thread for ref, thread in self.reading.todo.items() if ref not in set(done)}
        self.reading = replace(self.reading, todo=todo, tries=0, seen=(*self.reading.seen, *again)[-SEEN_LIMIT:])
        self._end_listing()

    def _end_listing(self) -> None:
        """Go over to the history; at once where the listing took longer than this poll."""
        if self.reading.since is not None and not self.reading.has_more:
            self.reading = replace(self.reading, since=None, asked=0, page=None if self.is_first else "")


def _newest(awaited: Sequence[Awaited]) -> tuple[Awaited, ...]:
    """Return the newest ones, as many as a cursor may hold. The others have been searched for at least once."""
    kept: list[Awaited] = []
    room = AWAITED_LIMIT
    for each in reversed(awaited):
        if room <= 0:
            break
        kept.append(replace(each, ids=each.ids[-room:]))
        room -= len(each.ids)
    return tuple(reversed(kept))
