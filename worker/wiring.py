"""Settings → `Context`: the one place where database, keys, rules, connectors and the CRM's queue are put together."""

import os
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from sqlalchemy.exc import DBAPIError

from connectors import Connector, Dial, Doorbell, Settings, Subscriber, connect, dial, doorbell, from_json, subscriber
from worker import config
from worker.classify import default_rule_paths, load_rules
from worker.pipeline import Context
from worker.signals import Signal, Tell
from worker.store.credentials import DatabaseCredentials
from worker.store.database import IncompatibleDatabase, migrate, open_engine, words_of, writing
from worker.store.inboxes import Inbox
from worker.store.keyring import load_digester
from worker.telemetry import logs, traces


def make_context(settings: config.Settings) -> Context:
    """Open the database, bring it up to date, and return what the pipeline needs. Raises what the parts raise."""
    if settings.database_url.startswith("sqlite"):
        config.prepare_data(settings)
    ring = config.key_ring(settings)
    rules = load_rules((*settings.rule_files, *default_rule_paths()))
    engine = open_engine(settings.database_url, settings.database_pool)
    try:
        migrate(engine)
        with writing(engine) as connection:
            digest = load_digester(connection, ring)
    except IncompatibleDatabase as problem:
        raise config.ConfigProblem(str(problem)) from None
    except DBAPIError as error:
        raise config.ConfigProblem(
            f"The database of DATABASE_URL can't be reached or used: {words_of(error)}"
        ) from error

    def open_inbox(inbox: Inbox) -> Connector:
        return connect(*reached(inbox))

    def open_doorbell(inbox: Inbox) -> Doorbell | None:
        return doorbell(*reached(inbox))

    def open_subscriber(inbox: Inbox) -> Subscriber | None:
        return subscriber(*reached(inbox))

    def reached(inbox: Inbox) -> tuple[Settings, DatabaseCredentials, Dial]:
        secrets = DatabaseCredentials(engine, ring, inbox.id)
        return from_json(inbox.provider, inbox.settings), secrets, dial_for(inbox)

    def dial_for(inbox: Inbox) -> Dial:
        return dial if inbox.trusted else settings.guard

    return Context(
        engine=engine,
        ring=ring,
        digest=digest,
        rules=rules,
        connect=open_inbox,
        dial=dial_for,
        doorbell=open_doorbell,
        subscriber=open_subscriber,
        call_us_at=settings.call_us_at,
        webhook_dial=lambda is_trusted: dial if is_trusted else settings.guard,
        webhook_ca=settings.webhook_ca,
        deliver=_crm_queue(settings),
        poll_every=settings.poll_every,
        poll_longest=settings.poll_longest,
        limits=settings.limits,
        keep_raw=settings.keep_raw,
        keep_sends=settings.keep_sends,
        tell=_teller(settings),
        span=traces.span(),
    )


def _teller(settings: config.Settings) -> Tell:
    """Return who hears what happens: the logs, and the metrics where somebody may ask for them."""
    if settings.metrics is None:
        return logs.tell
    from worker.telemetry import metrics  # not before: see `worker.cli.process`

    def tell(signal: Signal) -> None:
        logs.tell(signal)
        metrics.count(signal)

    return tell


def _crm_queue(settings: config.Settings) -> Callable[[str, Mapping[str, Any]], None] | None:
    if settings.crm_task is None:
        return None
    broker = settings.crm_broker or settings.broker_url
    if broker == config.MEMORY_BROKER:
        raise config.ConfigProblem(
            "BOUNCE_WORKER_CRM_TASK is set, but no broker: set BOUNCE_WORKER_CRM_BROKER as well."
        )
    from celery import Celery

    from worker.notify.crm_queue import CrmQueue

    # An application of its own: none of our queue settings, such as the key prefix, hold in the CRM's.
    app = Celery("bounce-worker-to-crm", broker=broker, set_as_current=False)
    app.conf.update(
        task_serializer="json", broker_transport_options={"socket_timeout": 10, "socket_connect_timeout": 5}
    )
    return CrmQueue(app, settings.crm_task, settings.crm_queue)


def lazy_context(settings: config.Settings) -> Callable[[], Context]:
    """Return a function that makes the context once a process: a database connection must not cross a fork."""
    made: dict[int, Context] = {}
    lock = Lock()

    def context() -> Context:
        with lock:
            process = os.getpid()
            if process not in made:
                for inherited in made.values():  # it is our parent's: forget it without closing what isn't ours
                    inherited.engine.dispose(close=False)
                made.clear()
                made[process] = make_context(settings)
            return made[process]

    return context
