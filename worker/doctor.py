"""`doctor`: looks at everything that a deployment rests on, and says in plain words what is wrong and what to do.

It only looks: it migrates nothing, makes no key, and writes nowhere, so it may run beside a deployment at any time.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from connectors import ConnectorError, dial
from connectors._http import Http
from worker.classify import RuleError, default_rule_paths, load_rules
from worker.config import Settings
from worker.store import condition
from worker.store.database import compatible_from, open_engine, reading
from worker.store.keyring import KeyProblem, KeyRing

APART: Final = timedelta(seconds=5)
"""How far clocks may be apart: leases and signatures of webhooks compare times."""
SILENT: Final = timedelta(minutes=15)
INTERVALS: Final = 5
"""An inbox is silent that nobody has polled for so many intervals, and at least for `SILENT`."""
SOON: Final = timedelta(days=7)
LATE: Final = timedelta(minutes=10)
FREE_BYTES: Final = 1024**3
SHOWN: Final = 5
ANSWER_SECONDS: Final = 5.0


class State(StrEnum):
    """How a check came out. Only a failed one means that bounces are missed."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: a sentence, and what to do about it."""

    name: str
    state: State
    said: str
    to_do: str | None = None


def ok(name: str, said: str) -> Check:
    """All is well."""
    return Check(name=name, state=State.OK, said=said)


def warn(name: str, said: str, to_do: str) -> Check:
    """Somebody should look at it."""
    return Check(name=name, state=State.WARNING, said=said, to_do=to_do)


def fail(name: str, said: str, to_do: str) -> Check:
    """It doesn't work."""
    return Check(name=name, state=State.FAILED, said=said, to_do=to_do)


def examine(settings: Settings, ring: Callable[[], KeyRing | None]) -> Iterator[Check]:
    """Yield each check as it ends. `ring` returns the keys, None where none are made yet, or raises `KeyProblem`."""
    now = datetime.now(UTC)
    yield _rules(settings)
    keys, check = _keys(ring)
    yield check
    yield from _broker(settings, now)
    yield from _public_url(settings)
    yield _disk(settings)
    file = condition.sqlite_file(settings.database_url)
    if file and not file.exists():
        yield warn("database", f"There is none yet: {file}.", "Nothing: the first command that needs it makes it.")
        return
    engine = open_engine(settings.database_url)
    try:
        yield from _database(engine, settings, keys, now)
    except DBAPIError as error:
        reason = str(error.orig).partition("\n")[0]
        yield fail("database", f"It can't be reached or used: {reason}.", "Look at the server, and at DATABASE_URL.")
    finally:
        engine.dispose()


def _rules(settings: Settings) -> Check:
    try:
        rules = load_rules((*settings.rule_files, *default_rule_paths()))
    except RuleError as problem:
        return fail(
            "rules", f"{str(problem).rstrip('.')}.", "Correct that file, or take it out of BOUNCE_WORKER_RULES."
        )
    own = f", {len(settings.rule_files)} files of your own among them" if settings.rule_files else ""
    return ok("rules", f"The {len(rules.version.split())} files of rules can be read{own}.")


def _keys(ring: Callable[[], KeyRing | None]) -> tuple[KeyRing | None, Check]:
    try:
        found = ring()
    except KeyProblem as problem:
        return None, fail("keys", str(problem), "Give every process the same BOUNCE_WORKER_KEYS.")
    if found is None:
        return None, ok("keys", "None are made yet; the first command that needs them makes them.")
    older = f", {len(found.keys) - 1} older" if len(found.keys) > 1 else ""
    return found, ok("keys", f"1 key for new secrets{older}.")


def _broker(settings: Settings, now: datetime) -> Iterator[Check]:
    if settings.embedded:
        yield ok("broker", "None: all runs in one process (REDIS_URL isn't set).")
        return
    try:
        with Redis.from_url(
            settings.broker_url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS
        ) as redis:
            told: Any = redis.info()
            seconds, microseconds = redis.time()
    except (RedisError, ValueError) as error:
        yield fail("broker", f"Redis can't be reached ({type(error).__name__}).", "Start it, or correct REDIS_URL.")
        return
    yield ok("broker", f"Redis {told.get('redfound')} answers.")
    if told.get("maxmemory_policy") != "noeviction":
        said = f"Redis may drop tasks when it is full ({told.get('maxmemory_policy')})."
        yield warn("broker memory", said, "Give it maxmemory-policy noeviction, and an instance of its own.")
    if not told.get("aof_enabled"):
        said = "Redis keeps nothing on disk: what is queued is lost with it, and found again only by the sweep."
        yield warn("broker disk", said, "Give it appendonly yes.")
    yield _clock("broker clock", datetime.fromtimestamp(seconds + microseconds / 1e6, UTC), now)


def _clock(name: str, theirs: datetime, ours: datetime) -> Check:
    apart = abs(theirs - datetime.now(UTC)) if abs(theirs - ours) > APART else abs(theirs - ours)
    if apart > APART:
        said = f"Its clock and this machine's are {apart.total_seconds():.0f} seconds apart."
        return warn(name, said, "Have both set by NTP: leases and signatures compare times.")
    return ok(name, "Its clock and this machine's agree.")


def _public_url(settings: Settings) -> Iterator[Check]:
    if settings.public_url is None:
        yield ok("public URL", "None is set: no provider calls us, and polling finds what comes.")
        return
    http = Http(dial, call_limit=ANSWER_SECONDS)
    try:
        status = http.ask("GET", f"{settings.public_url}/v1/health", {}, None, limit=4096, cut=True).status_code
    except (ConnectorError, OSError, ValueError) as error:
        said = f"{settings.public_url} can't be reached from here: {error}"
        yield warn("public URL", said, "Where it should be reachable, look at its name, its proxy and its certificate.")
    else:
        said = f"{settings.public_url} answers {status} to /v1/health."
        to_do = "Have the proxy pass /v1, /doorbells and /sign-in to `bounce-worker web`."
        yield ok("public URL", said) if status == 200 else warn("public URL", said, to_do)
    finally:
        http.close()


def _disk(settings: Settings) -> Check:
    folder = settings.data if settings.data.exists() else settings.data.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return warn("disk", f"{folder} can't be looked at ({error.strerror}).", "Set BOUNCE_WORKER_DATA.")
    said = f"{free / 1024**3:.1f} GiB are free for {settings.data}."
    is_needed = settings.database_url.startswith("sqlite")  # else only marks of progress lie there
    if is_needed and free < FREE_BYTES:
        return warn("disk", said, "Make room: the database is there.")
    return ok("disk", said)


def _database(engine: Engine, settings: Settings, ring: KeyRing | None, now: datetime) -> Iterator[Check]:
    found, wanted = condition.versions(engine)
    yield ok("database", f"{engine.dialect.name} answers.")
    if found != wanted:
        check = _migrations(found, wanted, compatible_from(engine) if found else None)
        yield check
        if check.state is not State.OK:
            return
    else:
        yield ok("migrations", f"The tables are those of this version ({wanted}).")
    with reading(engine) as connection:
        if not condition.is_writable(connection):
            yield fail("database", "It is read only.", "Point DATABASE_URL at the primary server.")
        if (theirs := condition.clock(connection)) is not None:
            yield _clock("database clock", theirs, now)
        if ring:
            yield from _secrets(connection, ring)
        yield from _inboxes(connection, settings, now)
        yield from _backlogs(connection, now)


def _migrations(found: str | None, wanted: str, oldest: str | None) -> Check:
    if found is None:
        return warn("migrations", "The database is empty.", "Nothing: the first process that starts makes the tables.")
    if found < wanted:
        said = f"The tables are of an older version ({found}, wanted {wanted})."
        return warn("migrations", said, "Start one process of this version: it migrates them. Make a backup before.")
    if oldest is not None and oldest <= wanted:
        return ok(
            "migrations", f"The tables are of a newer version ({found}), with which this one ({wanted}) works on."
        )
    said = f"The tables are of a newer version ({found}) than this program ({wanted})."
    return fail("migrations", said, "Run the newer program, or restore the backup that was made before it.")


def _secrets(connection: Connection, ring: KeyRing) -> Iterator[Check]:
    number, closed, kept = condition.locked_secrets(connection, ring)
    if closed:
        said = f"{closed} of {number} stored secrets can't be opened."
        yield fail("secrets", said, "Put the key back that encrypted them (BOUNCE_WORKER_KEYS, after the newest).")
    else:
        yield ok("secrets", f"All {number} stored secrets can be opened.")
    if kept:
        said = f"{kept} kept notices can't be opened: reclassify will pass them over."
        yield warn("kept notices", said, "Keep an old key for as long as notices are kept (BOUNCE_WORKER_RAW_DAYS).")


def _inboxes(connection: Connection, settings: Settings, now: datetime) -> Iterator[Check]:
    patience = max(SILENT, INTERVALS * settings.poll_longest)
    if names := condition.silent(connection, now - patience):
        said = f"Nobody has polled {_some(names)} for more than {patience.total_seconds() / 60:.0f} minutes."
        yield fail("polling", said, "See that a scheduler and workers run, and whether they keep up.")
    else:
        yield ok("polling", "Every active inbox was polled lately.")
    if stopped := condition.needing_attention(connection):
        said = f"Not read any more: {_some([f'{each.account}/{each.name}' for each in stopped])}."
        yield fail("inboxes", said, "See what each says (bounce-worker inbox list), and sign in again.")
    if names := condition.ending_sign_ins(connection, now + SOON):
        said = f"The sign-ins of {_some(names)} end within a week."
        yield warn("sign-ins", said, "Have their users sign in again before: bounce-worker inbox sign-in.")


def _backlogs(connection: Connection, now: datetime) -> Iterator[Check]:
    found = condition.figures(connection, now, now + SOON)
    late = LATE.total_seconds()
    limits: Sequence[tuple[str, str, float, str, str]] = (
        ("notices", "notice_age_seconds", late, "notices wait to be worked off", "See that enough workers run."),
        ("CRM queue", "event_age_seconds.queue", late, "events wait for the CRM's queue", "Look at the CRM's broker."),
        ("feed", "event_age_seconds.feed", late, "events wait to be numbered", "See that a scheduler runs."),
        ("webhooks", "delivery_age_seconds", late, "events wait for webhooks", "See bounce-worker webhooks list."),
    )
    for name, figure, limit, what, to_do in limits:
        age = found.get(figure, 0.0)
        if age > limit:
            yield warn(name, f"Since {age / 60:.0f} minutes {what}.", to_do)
    if dead := found.get("deliveries.dead"):
        to_do = "See bounce-worker webhooks list; deliver them again once the receiver works."
        yield warn("webhooks", f"{dead:.0f} deliveries to webhooks were given up.", to_do)
    if number := found.get("notices.quarantined"):
        said = f"{number:.0f} notices could not be worked off and lie in quarantine."
        yield warn("quarantine", said, "Look for notice.unreadable and batch.failed in the logs, and report them.")
    if all(found.get(figure, 0.0) <= limit for _, figure, limit, _, _ in limits):
        yield ok("backlogs", "Nothing waits for long.")


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more
