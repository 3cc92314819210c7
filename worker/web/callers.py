"""Who calls, and what they may: a key in the Authorization header (RFC 6750), bound to its account."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from worker import keys
from worker.keys import Scope
from worker.pipeline import Context
from worker.store import accounts, api_keys
from worker.store.database import reading, writing
from worker.web.problems import Problem

BURST: Final = 100
"""Requests that a key may send at once…"""
A_SECOND: Final = 20.0
"""…and goes on with. For each process; a proxy in front may be stricter."""
KEYS: Final = 10_000
CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}

bearer = HTTPBearer(auto_error=False, description="An API key, as `bounce-worker keys create` prints it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever sends a request: all that a route does, it does in this account."""

    account: str
    key_id: str
    key_name: str
    scopes: frozenset[Scope]

    @property
    def person(self) -> str:
        """Who decides, for the trail."""
        return f"API key {self.key_name} ({self.key_id})"


class Limiter:
    """A token bucket for each key."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key_id: str) -> float:
        """Take a token; return 0, or the seconds until there is one."""
        now = self._clock()
        with self._lock:
            left, then = self._buckets.pop(key_id, (float(BURST), now))
            left = min(float(BURST), left + (now - then) * A_SECOND)
            wait = 0.0 if left >= 1 else (1 - left) / A_SECOND
            self._buckets[key_id] = (left - 1 if not wait else left, now)
            if len(self._buckets) > KEYS:
                self._buckets.popitem(last=False)
            return wait


def callers(context: Callable[[], Context], limiter: Limiter) -> Callable[[Scope], Callable[..., Caller]]:
    """Return what makes a route's dependency: the caller, if their key has a scope."""

    def may(scope: Scope) -> Callable[..., Caller]:
        def caller(
            request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)] = None
        ) -> Caller:
            key = _key(context(), given.credentials if given else "")
            if wait := limiter.wait(key.id):
                raise Problem(
                    429, f"Try again in {wait:.1f} s, or send more in one request.", {"Retry-After": str(int(wait) + 1)}
                )
            if scope not in key.scopes:
                raise Problem(403, f"The key {key.name} lacks the scope {scope}: create one that has it.")
            account = key.account or request.headers.get("Bounce-Account")
            if not account:
                raise Problem(400, "An operator's key speaks for no account: name one in the header Bounce-Account.")
            if key.account is None and not _exists(context(), account):
                raise Problem(404, f"There is no account {account!r}."[:500])
            return Caller(account=account, key_id=key.id, key_name=key.name, scopes=key.scopes)

        return caller

    return may


def _key(context: Context, text: str) -> keys.ApiKey:
    read = keys.read(text)
    if read is None:
        raise Problem(401, "Send a key as 'Authorization: Bearer bw_…'.", CHALLENGE)
    now = context.now()
    with reading(context.engine) as connection:
        key = api_keys.get(connection, read[0])
    if key is None or not key.holds(read[1], now):
        raise Problem(401, "This key doesn't exist, has ended or was revoked: create another.", CHALLENGE)
    if api_keys.is_use_worth_noting(key, now):
        with writing(context.engine) as connection:
            api_keys.used(connection, key, now)
    return key


def _exists(context: Context, account: str) -> bool:
    with reading(context.engine) as connection:
        return accounts.exists(connection, account)
