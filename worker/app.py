"""The Celery application: queues and settings, no logic. `celery -A worker.app` finds `app` here."""

from typing import Any, Final

from celery import Celery

from worker import config, tasks, wiring

SOFT_LIMIT_SECONDS: Final = 200
HARD_LIMIT_SECONDS: Final = 240
VISIBILITY_SECONDS: Final = 900
"""How long Redis waits for an acknowledgement before it hands a task out again; above the hard limit, or it loops."""

COMMON: Final[dict[str, Any]] = {
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_ignore_result": True,
    "task_acks_late": True,
    "task_default_queue": "bounce",
    "enable_utc": True,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "broker_connection_retry_on_startup": True,
}

REDIS: Final[dict[str, Any]] = {
    "task_reject_on_worker_lost": True,
    "task_time_limit": HARD_LIMIT_SECONDS,
    "task_soft_time_limit": SOFT_LIMIT_SECONDS,
    # As many tasks as there are children, and none besides: that is worker_disable_prefetch. Kombu's own count must not
    # bound them as well (5.7): it never forgets a message that couldn't be acknowledged, and where all it allows are
    # such, the broker is asked for nothing more, nor its absence noticed.
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 0,
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "broker_transport_options": {
        "visibility_timeout": VISIBILITY_SECONDS,
        "unacked_restore_throttle": 1,
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "global_keyprefix": "bounce:",
    },
}

MEMORY: Final[dict[str, Any]] = {
    "broker_transport_options": {"polling_interval": 0.01},
    "worker_prefetch_multiplier": 0,
}


def make_app(settings: config.Settings) -> Celery:
    """Return the Celery application with its tasks; the database is opened by the first task that needs it."""
    app = Celery("bounce-worker", broker=settings.broker_url, set_as_current=False)
    app.conf.update(COMMON | (MEMORY if settings.embedded else REDIS))
    tasks.register(app, wiring.lazy_context(settings))
    return app


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attribute hook (PEP 562)
    if name in ("app", "celery"):  # made only when Celery's own command line asks for it
        return make_app(config.read())
    raise AttributeError(name)
