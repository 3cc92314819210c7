"""`watch`: who rings is polled at once, and what breaks is opened again without troubling the others."""

import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from connectors import AuthRequired, Unavailable
from tests.fakes.world import World
from worker import admin
from worker.store import inboxes
from worker.store.database import reading, writing
from worker.watch import Watch

LATER = timedelta(hours=5)


class FakeDoorbell:
    """A doorbell over a pair of sockets: what the test writes at one end is heard at the other."""

    def __init__(self) -> None:
        self.opened = self.renewed = self.closed = 0
        self.refuse: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()
        self.button, self._ear = socket.socketpair()

    def open(self) -> None:
        self.hold.wait(10)
        self.opened += 1
        if self.refuse:
            raise self.refuse

    def fileno(self) -> int:
        return self._ear.fileno()

    def rung(self) -> bool:
        heard = self._ear.recv(100)
        if heard == b"bye":
            raise Unavailable("Bye.")
        return heard == b"mail"

    def renew(self) -> bool:
        self.renewed += 1
        return False

    def close(self) -> None:
        self.closed += 1

    def dispose(self) -> None:
        self.button.close()
        self._ear.close()


class Watched:
    """A world whose inboxes have doorbells, and a clock that goes by itself."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.doorbells: dict[str, FakeDoorbell] = {}
        object.__setattr__(world.context, "doorbell", lambda inbox: self.doorbells.get(inbox.name))
        object.__setattr__(world.context, "now", lambda: datetime.now(UTC))

    def inbox(self, name: str) -> str:
        self.doorbells[name] = FakeDoorbell()
        found = self.world.inbox(name)
        self.put_off(found.id)
        return found.id

    def put_off(self, inbox_id: str, **more: object) -> None:
        with writing(self.world.context.engine) as connection:
            inboxes.change(connection, inbox_id, next_poll_at=datetime.now(UTC) + LATER, **more)

    def is_due(self, inbox_id: str) -> bool:
        with reading(self.world.context.engine) as connection:
            found = inboxes.get(connection, inbox_id)
        assert found is not None
        return found.next_poll_at <= datetime.now(UTC)

    @contextmanager
    def running(self, **options: timedelta):
        options = {"refresh": timedelta(milliseconds=50)} | options
        watch = Watch(self.world.context, **options)
        thread = threading.Thread(target=watch.run)
        thread.start()
        try:
            yield watch
        finally:
            watch.stop()
            thread.join(10)
            assert not thread.is_alive()


def until(true, what: str, limit: float = 10.0) -> None:
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.005)


@pytest.fixture
def watched(world: World):
    made = Watched(world)
    yield made
    for bell in made.doorbells.values():
        bell.dispose()


def test_who_rings_is_due_at_once_and_nobody_else(watched: Watched):
    alice, bob = watched.inbox("alice"), watched.inbox("bob")
    with watched.running() as watch:
        until(lambda: watched.is_due(alice) and watched.is_due(bob), "both are due once they are watched")
        assert watch.waiting == 2
        watched.put_off(alice)
        watched.put_off(bob)
        watched.doorbells["alice"].button.send(b"mail")
        until(lambda: watched.is_due(alice), "alice rang")
        watched.doorbells["bob"].button.send(b"still here")
        watched.put_off(alice)
        watched.doorbells["alice"].button.send(b"mail")
        until(lambda: watched.is_due(alice), "alice rang again")
        assert not watched.is_due(bob)
    assert [bell.closed for bell in watched.doorbells.values()] == [1, 1]


def test_a_slow_server_delays_nobody(watched: Watched):
    slow, quick = watched.inbox("slow"), watched.inbox("quick")
    watched.doorbells["slow"].hold.clear()
    with watched.running():
        until(lambda: watched.is_due(quick), "the quick one is watched")
        assert not watched.is_due(slow)
        watched.doorbells["slow"].hold.set()
        until(lambda: watched.is_due(slow), "the slow one comes later")


def test_a_connection_that_breaks_is_opened_again_after_a_while(watched: Watched, monkeypatch):
    monkeypatch.setattr("worker.schedule.FIRST_BACKOFF", timedelta(milliseconds=20))
    alice = watched.inbox("alice")
    with watched.running():
        until(lambda: watched.is_due(alice), "watched")
        watched.doorbells["alice"].button.send(b"bye")
        until(lambda: watched.doorbells["alice"].opened >= 2, "opened again")
        watched.put_off(alice)
        watched.doorbells["alice"].button.send(b"mail")
        until(lambda: watched.is_due(alice), "rings again")


def test_a_connection_is_renewed_before_it_is_given_up(watched: Watched):
    watched.inbox("alice")
    with watched.running(renew=timedelta(milliseconds=20)):
        until(lambda: watched.doorbells["alice"].renewed >= 3, "renewed")


def test_a_server_that_asks_for_peace_is_not_polled_for_a_ring(watched: Watched):
    alice = watched.inbox("alice")
    watched.put_off(alice, failures=1)
    with watched.running() as watch:
        until(lambda: watch.waiting == 1, "watched")
        watched.doorbells["alice"].button.send(b"mail")
        bob = watched.inbox("bob")
        until(lambda: watched.is_due(bob), "a later ring was heard")
    assert not watched.is_due(alice)


def test_refused_credentials_are_not_tried_again_and_again(watched: Watched):
    alice, bob = watched.inbox("alice"), watched.inbox("bob")
    watched.doorbells["alice"].refuse = AuthRequired("No.")
    with watched.running():
        until(lambda: watched.is_due(bob) and watched.doorbells["alice"].closed == 1, "asked once")
        for _ in range(3):
            watched.put_off(bob)
            watched.doorbells["bob"].button.send(b"mail")
            until(lambda: watched.is_due(bob), "goes on")
    assert watched.doorbells["alice"].opened == 1
    assert not watched.is_due(alice)


def test_inboxes_come_and_go(watched: Watched):
    watched.inbox("alice")
    with watched.running() as watch:
        until(lambda: watch.waiting == 1, "alice")
        watched.inbox("bob")
        until(lambda: watch.waiting == 2, "bob came")
        admin.pause(watched.world.context, admin.the_inbox(watched.world.context, "alice", None))
        until(lambda: watch.waiting == 1 and watched.doorbells["alice"].closed == 1, "alice was paused")


def test_a_provider_without_a_doorbell_is_left_to_polling(watched: Watched):
    watched.world.inbox("carol")
    bob = watched.inbox("bob")
    with watched.running() as watch:
        until(lambda: watched.is_due(bob), "watched")
        assert watch.waiting == 1
