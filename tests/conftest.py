"""Real servers for the tests that need them: each is started at most once a run, when first asked for."""

import signal
from collections.abc import Iterator

import pytest

from tests.live.emulate import Emulate, emulated_google
from tests.live.mailstack import MailStack
from tests.live.servers import Postgres, RedisServer, postgres_server, redis_process, redis_server
from tests.live.weak import weak_server


def pytest_configure() -> None:
    """End in order when we are told to end, so that every server is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("told to end (SIGTERM)"))


@pytest.fixture(scope="session")
def mail_stack() -> Iterator[MailStack]:
    """Dovecot and Postfix on loopback."""
    with MailStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def weak_port() -> Iterator[int]:
    """A weak IMAP server on loopback."""
    with weak_server() as port:
        yield port


@pytest.fixture(scope="session")
def emulate() -> Iterator[Emulate]:
    """emulate's Google service on loopback, with mailboxes for all tests."""
    with emulated_google() as running:
        yield running


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """An own Redis; the tests that share it choose names that don't meet, or flush it."""
    with redis_server() as url:
        yield url


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis for this test alone, which it may stop and start again; what it held is gone then."""
    with redis_process("own-redis") as server:
        yield server


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(_postgres: Postgres) -> Iterator[str]:
    """A fresh, empty PostgreSQL database for this test alone."""
    with _postgres.fresh_database() as url:
        yield url
