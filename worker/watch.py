"""`watch`: holds a connection to each inbox whose server can tell of new mail, and makes the inbox due when it does.

It reads no mail and decides nothing: should it stop, polling finds everything, only later. One thread waits on all
connections; what takes time (connecting, renewing) is done by a few others.
"""

import logging
import selectors
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import SimpleQueue
from typing import Final

from sqlalchemy.exc import DBAPIError

from connectors import AuthRequired, ConnectorError, Doorbell, Misconfigured
from worker import schedule
from worker.pipeline import Context
from worker.store import inboxes
from worker.store.database import reading, writing
from worker.store.inboxes import Inbox, InboxState

log = logging.getLogger(__name__)

RENEW: Final = timedelta(minutes=9)
"""A server may give up after 30 minutes (RFC 2177), a router between much sooner."""
REFRESH: Final = timedelta(seconds=30)
"""How often the list of inboxes is read."""
HOPELESS: Final = timedelta(hours=1)
"""When a server is asked again that refuses us or has no such service."""
THREADS: Final = 8


@dataclass(slots=True)
class _Watched:
    """An inbox that is watched. `busy` while another thread has its doorbell; `fd` while it is waited on."""

    inbox: Inbox
    doorbell: Doorbell
    act_at: datetime
    open: bool = False
    busy: bool = False
    gone: bool = False
    fd: int | None = None
    failures: int = 0


class Watch:
    """Watches the active inboxes of a deployment until it is stopped; `tell` hears how many it waits on."""

    def __init__(
        self,
        context: Context,
        renew: timedelta = RENEW,
        refresh: timedelta = REFRESH,
        tell: Callable[[int], None] = lambda _: None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._context = context
        self._tell = tell
        self._progress = progress
        self._renew = renew
        self._refresh = refresh
        self._watched: dict[str, _Watched] = {}
        self._selector = selectors.DefaultSelector()
        self._done: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._waker, self._wakee = socket.socketpair()
        self._wakee.setblocking(False)
        self._stopping = threading.Event()

    @property
    def waiting(self) -> int:
        """How many inboxes are being waited on."""
        return sum(watched.fd is not None for watched in self._watched.values())

    def stop(self) -> None:
        """End `run`, from any thread or signal."""
        self._stopping.set()
        self._wake()

    def run(self) -> None:
        """Watch until `stop`; `progress` is called whenever the list of inboxes was read."""
        self._selector.register(self._wakee, selectors.EVENT_READ)
        refresh_at = self._context.now()
        told = -1
        with ThreadPoolExecutor(THREADS, "watch") as pool:
            while not self._stopping.is_set():
                if told != self.waiting:
                    told = self.waiting
                    self._tell(told)
                now = self._context.now()
                if now >= refresh_at:
                    if (active := self._active()) is not None:  # else what is watched stays watched
                        self._take_over(active)
                        self._progress()
                    refresh_at = now + self._refresh
                for watched in self._watched.values():
                    if not watched.busy and watched.act_at <= now:
                        self._begin(pool, watched)
                self._wait(min([refresh_at, *(each.act_at for each in self._watched.values() if not each.busy)]) - now)
        for watched in self._watched.values():
            watched.doorbell.close()
        self._selector.close()
        self._waker.close()
        self._wakee.close()

    def _active(self) -> list[Inbox] | None:
        try:
            with reading(self._context.engine) as connection:
                return [each for each in inboxes.find(connection) if each.state is InboxState.ACTIVE]
        except DBAPIError:
            log.exception("watch.database_failed")
            return None

    def _take_over(self, active: Iterable[Inbox]) -> None:
        wanted = {inbox.id: inbox for inbox in active}
        for inbox_id, watched in list(self._watched.items()):
            now = wanted.get(inbox_id)
            if now is None or now.settings != watched.inbox.settings:
                self._leave(watched)
                if watched.busy:
                    watched.gone = True  # whoever has it closes it
                else:
                    watched.doorbell.close()
                del self._watched[inbox_id]
        for inbox_id, inbox in wanted.items():
            if inbox_id not in self._watched and (doorbell := self._doorbell(inbox)) is not None:
                self._watched[inbox_id] = _Watched(inbox=inbox, doorbell=doorbell, act_at=self._context.now())

    def _doorbell(self, inbox: Inbox) -> Doorbell | None:
        try:
            return self._context.doorbell(inbox)
        except ConnectorError:
            return None  # settings that don't fit: polling says so

    def _begin(self, pool: ThreadPoolExecutor, watched: _Watched) -> None:
        """Open or renew in another thread; nobody waits on the connection meanwhile."""
        self._leave(watched)
        watched.busy = True
        act = watched.doorbell.renew if watched.open else watched.doorbell.open
        pool.submit(self._act, watched, act)

    def _act(self, watched: _Watched, act: Callable[[], object]) -> None:
        error: Exception | None = None
        try:
            act()
        except Exception as problem:  # noqa: BLE001 - one broken inbox must not stop the others
            error = problem
        self._done.put(lambda: self._acted(watched, error))
        self._wake()

    def _acted(self, watched: _Watched, error: Exception | None) -> None:
        watched.busy = False
        if watched.gone:
            watched.doorbell.close()
        elif error is not None:
            self._failed(watched, error)
        else:
            watched.open, watched.failures = True, 0
            watched.act_at = self._context.now() + self._renew
            self._listen(watched)
            # What came before we listened, or while we renewed, has rung for nobody.
            self._ring(watched)

    def _failed(self, watched: _Watched, error: Exception) -> None:
        self._leave(watched)
        watched.doorbell.close()
        watched.open = False
        now = self._context.now()
        if isinstance(error, AuthRequired | Misconfigured):
            watched.act_at = now + HOPELESS
        else:
            watched.act_at = schedule.after_failure(now, watched.failures, error, self._context.chance)
        watched.failures += 1
        log.warning("watch.failed", extra={"inbox": watched.inbox.id, "error": type(error).__name__})

    def _listen(self, watched: _Watched) -> None:
        try:
            watched.fd = watched.doorbell.fileno()
            self._selector.register(watched.fd, selectors.EVENT_READ, watched)
        except (ConnectorError, OSError, ValueError) as error:
            watched.fd = None
            self._failed(watched, error)

    def _leave(self, watched: _Watched) -> None:
        if watched.fd is not None:
            self._selector.unregister(watched.fd)
            watched.fd = None

    def _wait(self, longest: timedelta) -> None:
        for key, _ in self._selector.select(max(longest.total_seconds(), 0)):
            if key.data is None:
                self._wakee.recv(4096)
                while not self._done.empty():
                    self._done.get()()
            else:
                self._read(key.data)

    def _read(self, watched: _Watched) -> None:
        try:
            rung = watched.doorbell.rung()
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(watched, error)
        else:
            if rung:
                self._ring(watched)

    def _ring(self, watched: _Watched) -> None:
        try:
            with writing(self._context.engine) as connection:
                inboxes.make_due(connection, watched.inbox.id, self._context.now())
        except DBAPIError:
            log.exception("watch.database_failed")  # its next turn finds what has come

    def _wake(self) -> None:
        self._waker.send(b"!")
