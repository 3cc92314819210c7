"""Polls that are enqueued: in one round trip, and none of it fails where the broker is away."""

import logging

import pytest
import redis

from worker import config, tasks
from worker.app import make_app

pytestmark = pytest.mark.live

CALLS = [("inbox-1", 1), ("inbox-2", 2), ("inbox-3", 3)]
NOWHERE = "redis://127.0.0.1:1/0"


def app_of(url: str):
    return make_app(config.read({"REDIS_URL": url, "DATABASE_URL": "postgresql://nowhere/x"}))


def test_all_of_a_lot_stands_in_the_queue(redis_url: str):
    app = app_of(redis_url)
    assert tasks._waiting(app) == 0
    tasks._ring_all(app, tasks.POLL, CALLS)
    assert tasks._waiting(app) == len(CALLS)
    with redis.Redis.from_url(redis_url) as server:
        assert server.llen("bounce:bounce") == len(CALLS)
        server.delete("bounce:bounce")


def test_a_lot_that_no_broker_takes_is_told_of_and_left(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        tasks._ring_all(app_of(NOWHERE), tasks.POLL, CALLS)
    assert [record.message for record in caplog.records] == ["broker.unreachable"]


def test_a_lot_whose_round_trip_breaks_is_told_of_and_the_next_one_goes_out(
    redis_url: str, caplog: pytest.LogCaptureFixture
):
    app = app_of(redis_url)
    with redis.Redis.from_url(redis_url) as server:
        server.set("bounce:bounce", "no list")  # Redis refuses each message that is pushed to it
        with caplog.at_level(logging.WARNING):
            tasks._ring_all(app, tasks.POLL, CALLS)
        assert [record.message for record in caplog.records] == ["broker.unreachable"]
        server.delete("bounce:bounce")
        tasks._ring_all(app, tasks.POLL, CALLS)
        assert server.llen("bounce:bounce") == len(CALLS)
        server.delete("bounce:bounce")
