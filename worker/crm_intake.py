"""Sends from the CRM's own task queue: an application of its own on the CRM's Redis, with one task and one queue.

The CRM's side is one line, and imports nothing of ours::

    app.send_task("bounce_worker.register_sends", args=[[send, …]], queue="bounce-sends", serializer="json")

At least once. Celery's own consumer on Redis (kombu 5.7) isn't: it pops a message and then notes that it was taken.
Where its connection breaks between the two, or with the answer under way, the message is gone. Here it moves to a
second list in one step, and leaves that when its sends are registered. What an intake that died has left there is put
back: by whoever starts next, also under the hands of another intake. So a message may be worked off twice, which
registers nothing twice. Only JSON is read: a pickle is refused unopened.
"""

import base64
import json
import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from kombu.compression import decompress
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.serialization import loads
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from worker import pipeline
from worker.config import ConfigProblem
from worker.pipeline import Context
from worker.store.database import DatabaseProblem

log = logging.getLogger(__name__)

REGISTER: Final = "bounce_worker.register_sends"
AWAY: Final = (DatabaseProblem, ConfigProblem)
"""What says that the database can't be used just now."""
LONGEST_WAIT: Final = 60.0
"""Seconds between two tries while the database is away."""
PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""What kombu adds to a queue's name for each priority; the first is what tasks have that name none."""
WAIT_SECONDS: Final = 1.0
AWAY_SECONDS: Final = 2.0
"""How long a broker is left in peace that can't be reached."""
SOCKET: Final[dict[str, Any]] = {
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    # No second try behind our back: what the first one moved would lie in the second list, and nobody would know.
    "retry": Retry(NoBackoff(), 0),
}


class NoMessage(ValueError):
    """What stands in the queue isn't a message of sends; the text says why."""


class Intake:
    """Takes sends from `queue`, until it is told to stop. `progress` is called when something was done, or looked for.

    Any number of these may run.
    """

    def __init__(
        self, url: str, queue: str, context: Callable[[], Context], progress: Callable[[], None] = lambda: None
    ) -> None:
        self._redis: Any = Redis.from_url(url, **SOCKET)  # redis-py's types know of no bytes in lists
        self._queues = [f"{queue}{priority}" for priority in PRIORITIES]
        self._taken = f"{queue}.taken"
        self._failed = f"{queue}.failed"
        self._context = context
        self._progress = progress

    def run(self, stop: threading.Event) -> None:
        """Work off what comes."""
        while not stop.is_set():
            try:
                self._put_back()
                while not stop.is_set():
                    if (raw := self._take()) is not None and self._work_off(raw, stop):
                        self._done(raw)
                    self._progress()
            except RedisError as error:
                log.warning("broker.unreachable", extra={"error": type(error).__name__})
                self._redis.close()
                stop.wait(AWAY_SECONDS)

    def _put_back(self) -> None:
        while self._redis.lmove(self._taken, self._queues[0], "LEFT", "RIGHT") is not None:
            pass

    def _take(self) -> Any:  # noqa: ANN401 - bytes, or None
        for queue in self._queues[1:]:
            if (raw := self._redis.lmove(queue, self._taken, "RIGHT", "LEFT")) is not None:
                return raw
        return self._redis.blmove(self._queues[0], self._taken, WAIT_SECONDS, "RIGHT", "LEFT")

    def _work_off(self, raw: bytes, stop: threading.Event) -> bool:
        """Register the sends of a message; return False where it is left for later, because we are to stop."""
        try:
            message_id, sends = _read(raw)
        except NoMessage as problem:
            log.warning("message.refused", extra={"error": str(problem)})
            return True
        wait = 1.0
        while not stop.is_set():
            try:
                done = pipeline.take_message(self._context(), sends, message_id)
            except AWAY as error:
                log.warning("sends.put_off", extra={"task": message_id, "error": type(error).__name__})
            except Exception:
                # A fault of ours: it must neither stop what comes after nor be lost.
                log.exception("message.failed", extra={"task": message_id})
                self._redis.rpush(self._failed, raw)
                return True
            else:
                if done.refused:
                    log.warning("sends.refused", extra={"task": message_id, "refused": len(done.refused)})
                return True
            self._progress()
            stop.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        return False

    def _done(self, raw: bytes) -> None:
        self._redis.lrem(self._taken, 1, raw)


def _read(raw: bytes) -> tuple[str, list[Any]]:
    """Return the id and the sends of a message of Celery (protocol 2), as kombu writes it to Redis."""
    try:
        message = json.loads(raw)
        headers, properties = message["headers"], message["properties"]
        if headers["task"] != REGISTER:
            raise NoMessage("It is for another task.")
        body = message["body"]
        if properties.get("body_encoding") == "base64":
            body = base64.b64decode(body)
        if compression := headers.get("compression"):
            body = decompress(body, compression)  # type: ignore[no-untyped-call]
        content = loads(  # type: ignore[no-untyped-call]
            body, message["content-type"], message["content-encoding"], accept={"application/json"}
        )
        (sends,) = content[0]
        message_id = str(headers["id"])
    except ContentDisallowed:
        raise NoMessage("It isn't JSON: send tasks with serializer='json'.") from None
    except (ValueError, KeyError, TypeError, AttributeError, DecodeError, RecursionError) as error:
        raise NoMessage(f"It is no message of a task with one list of sends ({type(error).__name__}).") from None
    return message_id, sends if isinstance(sends, list) else [sends]
