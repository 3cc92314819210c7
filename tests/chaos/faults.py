"""What goes wrong besides deaths at fault points: servers, lines, clocks, receivers, and deaths at any moment."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import Final

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from tests.chaos.letters import INBOXES
from tests.chaos.world import World
from tests.live.servers import Postgres

Harm = Callable[[World, Random], str]
"""Does harm and undoes it, where the deployment can't; returns what it did, in a few words."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault, and how often it comes among the others."""

    name: str
    weight: int
    harm: Harm


def _pause(chance: Random, least: float, most: float) -> None:
    """Let a fault last: how long it does is the fault, there is nothing to wait for."""
    time.sleep(chance.uniform(least, most))


def _signalled(sign: signal.Signals) -> Harm:
    def harm(world: World, chance: Random) -> str:
        pid = chance.choice(world.fleet.all_processes() or [0])
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
        return f"process {pid}"

    return harm


def _killed_with_children(world: World, chance: Random) -> str:
    group = chance.choice(world.fleet.groups() or [0])
    if group:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    return f"group {group}"


def _frozen(world: World, chance: Random) -> str:
    """Stop a process until its leases are over, and let it go on beside whoever took them."""
    groups = world.fleet.groups()
    if not groups:
        return "nobody"
    group = chance.choice(groups)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGSTOP)
    _pause(chance, 0.3, 1.0)
    world.clock.jump(timedelta(minutes=7))
    _pause(chance, 1.0, 2.5)
    world.fleet.let_go_on(group)
    return f"group {group}, beyond its leases"


def _late_to_begin(world: World, chance: Random) -> str:
    """Have polls stand in the queue until little is left of their leases: whoever begins one must renew it."""
    workers = world.fleet.groups("worker")
    for group in workers:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGSTOP)
    _pause(chance, 1.5, 2.5)
    world.clock.jump(timedelta(minutes=3))
    for group in workers:
        world.fleet.let_go_on(group)
    return f"{len(workers)} workers"


def _redis(work: Callable[[Redis], object]) -> Harm:
    def harm(world: World, _: Random) -> str:
        with suppress(RedisError), Redis(port=world.redis.port, socket_timeout=5) as redis:
            work(redis)
        return ""

    return harm


def _redis_away(sign: signal.Signals, least: float, most: float) -> Harm:
    def harm(world: World, chance: Random) -> str:
        world.redis.stop(sign)
        _pause(chance, least, most)
        world.redis.start()
        return ""

    return harm


def _crm_redis_away(world: World, chance: Random) -> str:
    world.crm.stop(signal.SIGKILL)
    _pause(chance, 0.5, 2.0)
    world.crm.start()
    return ""


def _postgres_away(sign: signal.Signals) -> Harm:
    def harm(world: World, chance: Random) -> str:
        world.postgres.stop(sign)
        _pause(chance, 0.0, 1.5)
        world.postgres.start()
        return ""

    return harm


def _sessions_ended(world: World, _: Random) -> str:
    """End every session of the database, as its administrator may."""
    with (
        suppress(psycopg.OperationalError),
        psycopg.connect(Postgres(world.postgres.port).url("postgres"), autocommit=True) as connection,
    ):
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = 'chaos' AND client_port <> inet_client_port()"
        )
    return ""


def _cut(world: World, chance: Random, name: str | None = None) -> str:
    proxy = world.proxies[name or chance.choice(list(world.proxies))]
    after = chance.choice((0, 0, chance.randrange(1, 400), chance.randrange(400, 8_000)))
    return f"{proxy.name}: {proxy.cut(after)} connections after {after} bytes"


def _half_open(world: World, _: Random) -> str:
    return f"{world.proxies['redis'].forget()} connections"


def _held(world: World, chance: Random) -> str:
    proxy = chance.choice(list(world.proxies.values()))
    proxy.hold()
    _pause(chance, 0.5, 4.0)
    if chance.random() < 0.5:
        proxy.cut()
    proxy.go_on()
    return proxy.name


def _slow(world: World, chance: Random) -> str:
    proxy = chance.choice(list(world.proxies.values()))
    proxy.delay = chance.uniform(0.005, 0.05)
    _pause(chance, 0.5, 2.0)
    proxy.go_on()
    return proxy.name


def _refused(world: World, chance: Random, name: str | None = None, least: float = 0.3, most: float = 2.0) -> str:
    proxy = world.proxies[name or chance.choice(list(world.proxies))]
    proxy.refuses = True
    proxy.cut()
    _pause(chance, least, most)
    proxy.go_on()
    return proxy.name


def _jumped(least: int, most: int) -> Harm:
    def harm(world: World, chance: Random) -> str:
        minutes = chance.uniform(least, most)
        world.clock.jump(timedelta(minutes=minutes))
        return f"{minutes:+.0f} minutes"

    return harm


def _renumbered(world: World, chance: Random) -> str:
    account = chance.choice(sorted(INBOXES))
    inbox = chance.choice(INBOXES[account])
    world.post.renumber(account, inbox, chance.randrange(1_000_000, 2_000_000_000))
    return f"{account}/{inbox}"


def _misbehaving(world: World, chance: Random) -> str:
    receiver = chance.choice(list(world.receivers.values()))
    moods: tuple[int | str, ...] = (500, 503, 429, "cut", "hang", 204)
    mood = chance.choice(moods[:-1])
    seed = chance.random()
    receiver.behave = lambda number: Random(f"{seed} {number}").choice((mood, mood, *moods))
    _pause(chance, 0.3, 2.0)
    receiver.behave = lambda _: 204
    return str(mood)


FAULTS: Final = (
    Fault("SIGKILL to a process, at any moment", 8, _signalled(signal.SIGKILL)),
    Fault("SIGKILL to a process and its children", 4, _killed_with_children),
    Fault("SIGTERM to a process", 4, _signalled(signal.SIGTERM)),
    Fault("frozen beyond its leases", 3, _frozen),
    Fault("polls stand in the queue", 3, _late_to_begin),
    Fault("Redis: FLUSHALL", 8, _redis(lambda redis: redis.flushall())),
    Fault("Redis: restarted", 3, _redis_away(signal.SIGTERM, 0.0, 0.5)),
    Fault("Redis: killed and away for seconds", 3, _redis_away(signal.SIGKILL, 1.0, 4.0)),
    Fault("Redis: all clients dropped", 4, _redis(lambda redis: redis.client_kill_filter(_type="normal", skipme=True))),
    Fault("Redis: connections half open", 2, _half_open),
    Fault("Redis: paused", 3, _redis(lambda redis: redis.client_pause(1_500))),
    Fault("the CRM's Redis: killed", 3, _crm_redis_away),
    Fault("PostgreSQL: restarted", 3, _postgres_away(signal.SIGINT)),
    Fault("PostgreSQL: crashed", 3, _postgres_away(signal.SIGQUIT)),
    Fault("PostgreSQL: all sessions ended", 4, _sessions_ended),
    Fault("connections cut", 12, _cut),
    Fault("connections held", 5, _held),
    Fault("connections slow", 3, _slow),
    Fault("connections refused", 6, _refused),
    Fault("clock put on", 5, _jumped(1, 20)),
    Fault("clock put back", 4, _jumped(-5, -1)),
    Fault("every UID of a folder void", 2, _renumbered),
    Fault("a receiver misbehaves", 7, _misbehaving),
)

RARE: Final = (
    Fault("connections cut", 1, partial(_cut, name="imap")),
    Fault("connections refused", 1, partial(_refused, name="imap")),
    Fault("connections refused", 1, partial(_refused, name="crm", least=3.0, most=5.0)),
    Fault("Redis: FLUSHALL", 1, _redis(lambda redis: redis.flushall())),
    Fault("polls stand in the queue", 1, _late_to_begin),
)
"""What leads to fault points that are seldom passed."""
