"""The environment, read once into one frozen `Settings`."""

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Final

from connectors.network import Guard
from worker.schedule import Limits
from worker.store.keyring import KeyProblem, KeyRing, new_key

VARIABLES: Final = {
    "DATABASE_URL": "database (default: an SQLite file in the data folder); postgresql://user@host/name",
    "REDIS_URL": "broker (default: the in-memory transport, for `run`); redis://host:6379/0",
    "BOUNCE_WORKER_DATA": "data folder (default: ~/.local/share/bounce-worker)",
    "BOUNCE_WORKER_KEYS": "base64 keys of 32 bytes that encrypt credentials at rest, newest first",
    "BOUNCE_WORKER_POLL_SECONDS": "how often an inbox is polled through which something was sent (default: 120)",
    "BOUNCE_WORKER_POLL_LONGEST_SECONDS": "and one through which nothing was sent for weeks (default: 900)",
    "BOUNCE_WORKER_LIMITS": "inboxes read at once: total=2000,provider=1000,account=200,host=50 (the defaults)",
    "BOUNCE_WORKER_DATABASE_POOL": "database connections that a process keeps; twice as many at most (default: 5)",
    "BOUNCE_WORKER_ALLOW_HOSTS": "hosts and networks of your own that tenants' inboxes may be on, separated by commas",
    "BOUNCE_WORKER_RAW_DAYS": "days for which matched notices are kept, encrypted, for reclassify (default: 30)",
    "BOUNCE_WORKER_SENDS_DAYS": "days for which registered sends are kept; 0 for ever (default: 400)",
    "BOUNCE_WORKER_RULES": "your own rule files, read before ours, separated by colons",
    "BOUNCE_WORKER_PUBLIC_URL": "where the internet reaches `web`: https://bounces.acme.example (default: nowhere)",
    "BOUNCE_WORKER_GMAIL_TOPIC": "Pub/Sub topic that Gmail tells of new mail: projects/NAME/topics/NAME",
    "BOUNCE_WORKER_GMAIL_PUSHER": "the service account as which Pub/Sub calls us: its email address",
    "BOUNCE_WORKER_CRM_TASK": "the CRM's Celery task that takes events (default: none; they wait in the feed)",
    "BOUNCE_WORKER_CRM_QUEUE": "queue of that task (default: crm)",
    "BOUNCE_WORKER_CRM_BROKER": "broker of that queue, and of the sends that `intake` takes (default: REDIS_URL)",
    "BOUNCE_WORKER_WEBHOOK_CA": "file with the certificate authority of a private CRM that webhooks call",
    "BOUNCE_WORKER_SENDS_QUEUE": "queue from which `intake` takes sends (default: bounce-sends)",
    "BOUNCE_WORKER_LOG": "json or text (default: text for a person who looks on, else json)",
    "BOUNCE_WORKER_LOG_LEVEL": "debug (shows mail's words), info, warning or error (default: info)",
    "BOUNCE_WORKER_METRICS": "where each process serves /metrics: 127.0.0.1:9464 (default: nowhere)",
}
"""Every variable that is read, and what it is for: the help text prints this."""

SECRET: Final = ("DATABASE_URL", "REDIS_URL", "BOUNCE_WORKER_KEYS", "BOUNCE_WORKER_CRM_BROKER")
"""Of each of these, NAME_FILE may name a file that holds it: container engines hand over secrets so."""
LEVELS: Final = {name: logging.getLevelNamesMapping()[name.upper()] for name in ("debug", "info", "warning", "error")}

TOPIC: Final = re.compile(r"projects/[^/\s]+/topics/[^/\s]+")
MEMORY_BROKER: Final = "memory://"
SENDS_DAYS: Final = 30
"""Sends are kept for so long at least."""


class ConfigProblem(Exception):
    """The environment can't be right; the text says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says. Holds no key: those are read by `key_ring` and go no further."""

    database_url: str
    broker_url: str
    data: Path
    poll_every: timedelta
    poll_longest: timedelta = timedelta(minutes=15)
    limits: Limits = field(default_factory=Limits)
    database_pool: int = 5
    rule_files: tuple[Path, ...] = ()
    guard: Guard = field(default_factory=Guard)
    keep_raw: timedelta | None = timedelta(days=30)
    keep_sends: timedelta | None = timedelta(days=400)
    public_url: str | None = None
    gmail_topic: str | None = None
    gmail_pusher: str | None = None
    crm_task: str | None = None
    crm_queue: str = "crm"
    crm_broker: str | None = None
    sends_queue: str = "bounce-sends"
    webhook_ca: str | None = None
    log_as_json: bool | None = None
    """None: unless a person looks on."""
    log_level: int = logging.INFO
    metrics: tuple[str, int] | None = None
    """Host and port."""

    @property
    def marks(self) -> Path:
        """The folder in which this machine's processes say that they make progress (see `worker.alive`)."""
        return self.data / "run"

    @property
    def call_us_at(self) -> Mapping[str, str]:
        """By provider: what it is to call when mail comes."""
        named = {"office365": self.public_url and f"{self.public_url}/doorbells/graph", "gmail": self.gmail_topic}
        return {provider: target for provider, target in named.items() if target}

    @property
    def embedded(self) -> bool:
        """Whether all runs in one process, without a broker."""
        return self.broker_url == MEMORY_BROKER


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment. Raises `ConfigProblem`."""
    environment = with_files(environment)
    data = Path(environment.get("BOUNCE_WORKER_DATA") or Path.home() / ".local/share/bounce-worker").absolute()
    seconds = _whole(environment, "BOUNCE_WORKER_POLL_SECONDS", 120, "whole seconds", 86_400)
    longest = _whole(environment, "BOUNCE_WORKER_POLL_LONGEST_SECONDS", 900, "whole seconds", 86_400)
    url = environment.get("DATABASE_URL") or f"sqlite:///{data / 'bounce-worker.sqlite3'}"
    if not url.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
        raise ConfigProblem("DATABASE_URL must begin with postgresql:// or sqlite:///.")
    broker = environment.get("REDIS_URL") or MEMORY_BROKER
    if not broker.startswith(("redis://", "rediss://", "unix://", MEMORY_BROKER)):
        raise ConfigProblem("REDIS_URL must begin with redis:// or rediss://.")
    public_url = (environment.get("BOUNCE_WORKER_PUBLIC_URL") or "").rstrip("/") or None
    topic, pusher = (environment.get(f"BOUNCE_WORKER_GMAIL_{name}") or None for name in ("TOPIC", "PUSHER"))
    if public_url and not public_url.startswith("https://"):
        raise ConfigProblem("BOUNCE_WORKER_PUBLIC_URL must begin with https://: nobody calls anything else.")
    if topic and not (public_url and pusher and TOPIC.fullmatch(topic)):
        raise ConfigProblem(
            "BOUNCE_WORKER_GMAIL_TOPIC must look like projects/NAME/topics/NAME, and needs BOUNCE_WORKER_PUBLIC_URL and"
            " BOUNCE_WORKER_GMAIL_PUSHER beside it."
        )
    raw_days = environment.get("BOUNCE_WORKER_RAW_DAYS") or "30"
    if not raw_days.isdigit() or int(raw_days) > 3_650:
        raise ConfigProblem(f"BOUNCE_WORKER_RAW_DAYS is {raw_days!r}: use whole days, 0 for none.")
    return Settings(
        database_url=url,
        broker_url=broker,
        data=data,
        poll_every=timedelta(seconds=seconds),
        poll_longest=timedelta(seconds=max(seconds, longest)),
        limits=_limits(environment.get("BOUNCE_WORKER_LIMITS") or ""),
        database_pool=_whole(environment, "BOUNCE_WORKER_DATABASE_POOL", 5, "a whole number", 100),
        rule_files=tuple(Path(p) for p in (environment.get("BOUNCE_WORKER_RULES") or "").split(":") if p),
        guard=_guard(environment.get("BOUNCE_WORKER_ALLOW_HOSTS") or ""),
        keep_raw=timedelta(days=int(raw_days)) if int(raw_days) else None,
        keep_sends=_keep_sends(environment.get("BOUNCE_WORKER_SENDS_DAYS") or "400"),
        public_url=public_url,
        gmail_topic=topic,
        gmail_pusher=pusher,
        crm_task=environment.get("BOUNCE_WORKER_CRM_TASK") or None,
        crm_queue=environment.get("BOUNCE_WORKER_CRM_QUEUE") or "crm",
        crm_broker=environment.get("BOUNCE_WORKER_CRM_BROKER") or None,
        webhook_ca=environment.get("BOUNCE_WORKER_WEBHOOK_CA") or None,
        sends_queue=environment.get("BOUNCE_WORKER_SENDS_QUEUE") or "bounce-sends",
        log_as_json=_log_as_json(environment.get("BOUNCE_WORKER_LOG") or ""),
        log_level=_log_level(environment.get("BOUNCE_WORKER_LOG_LEVEL") or "info"),
        metrics=metrics_address(environment.get("BOUNCE_WORKER_METRICS") or ""),
    )


def with_files(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with secrets read from the files that it names. Raises `ConfigProblem`."""
    read = {}
    for name in SECRET:
        file = environment.get(f"{name}_FILE")
        if not file:
            continue
        if environment.get(name):
            raise ConfigProblem(f"{name} and {name}_FILE are both set: take one of them away.")
        try:
            read[name] = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigProblem(f"The file of {name}_FILE, {file}, can't be read: {reason}.") from None
        if not read[name]:
            raise ConfigProblem(f"The file of {name}_FILE, {file}, is empty.")
    return {**environment, **read}


def _log_as_json(text: str) -> bool | None:
    if text not in ("", "json", "text"):
        raise ConfigProblem(f"BOUNCE_WORKER_LOG is {text!r}: use json or text.")
    return text == "json" if text else None


def _log_level(text: str) -> int:
    if text.lower() not in LEVELS:
        raise ConfigProblem(f"BOUNCE_WORKER_LOG_LEVEL is {text!r}: use {', '.join(LEVELS)}.")
    return LEVELS[text.lower()]


def metrics_address(text: str) -> tuple[str, int] | None:
    """Read HOST:PORT; a port alone is one of this machine's own. Raises `ConfigProblem`."""
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65_535:
        raise ConfigProblem(f"BOUNCE_WORKER_METRICS is {text!r}: use HOST:PORT, such as 127.0.0.1:9464.")
    return host.strip("[]") or "127.0.0.1", int(port)


def _whole(environment: Mapping[str, str], name: str, default: int, what: str, most: int) -> int:
    given = environment.get(name) or str(default)
    if not given.isdecimal() or not 1 <= int(given) <= most:
        raise ConfigProblem(f"{name} is {given!r}: use {what} from 1 to {most}.")
    return int(given)


def _keep_sends(text: str) -> timedelta | None:
    if not text.isdecimal() or int(text) > 3_650:
        raise ConfigProblem(
            f"BOUNCE_WORKER_SENDS_DAYS is {text!r}: use whole days, at most 3650; 0 keeps sends for ever."
        )
    if 0 < int(text) < SENDS_DAYS:
        raise ConfigProblem(
            f"BOUNCE_WORKER_SENDS_DAYS is {text}: use at least {SENDS_DAYS}, or 0 to keep sends for ever. Servers retry"
            " for days, people are away for weeks, and a notice that answers a dropped send can't be matched any more."
        )
    return timedelta(days=int(text)) if int(text) else None


def _limits(text: str) -> Limits:
    names = [each.name for each in fields(Limits)]
    chosen: dict[str, int] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        name, _, number = item.partition("=")
        if name not in names or not number.isdecimal() or int(number) < 1:
            raise ConfigProblem(f"BOUNCE_WORKER_LIMITS: {item!r} is no limit; write {'=N,'.join(names)}=N, from 1.")
        chosen[name] = int(number)
    return Limits(**chosen)


def _guard(text: str) -> Guard:
    try:
        return Guard.parse([item.strip() for item in text.split(",") if item.strip()])
    except ValueError as error:
        raise ConfigProblem(f"BOUNCE_WORKER_ALLOW_HOSTS: {error}; write host names and networks.") from None


def existing_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> KeyRing | None:
    """Return the keys that there are; None where they are made on first use. Raises `KeyProblem`."""
    given = with_files(environment).get("BOUNCE_WORKER_KEYS")
    if given:
        return KeyRing.parse(re.split(r"[,\s]+", given))
    if not settings.database_url.startswith("sqlite"):
        raise KeyProblem("Set BOUNCE_WORKER_KEYS: with a shared database every process needs the same keys.")
    file = settings.data / "keys"
    return KeyRing.parse(file.read_text().split()) if file.exists() else None


def key_ring(settings: Settings, environment: Mapping[str, str] = os.environ) -> KeyRing:
    """Return the keys that encrypt secrets. On SQLite they are made on first use, in a file that only we may read."""
    existing = existing_keys(settings, environment)
    if existing:
        return existing
    file = settings.data / "keys"
    prepare_data(settings)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w") as handle:
            handle.write(new_key() + "\n")
    return KeyRing.parse(file.read_text().split())


def prepare_data(settings: Settings) -> None:
    """Make the data folder, for us alone. Raises `ConfigProblem`."""
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigProblem(
            f"The data folder {settings.data} can't be made ({error.strerror}): set BOUNCE_WORKER_DATA."
        ) from error
