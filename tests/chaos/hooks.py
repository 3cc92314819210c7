"""The fault points, hooked into the product from outside: not a line of it knows of them."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from celery.worker.request import Request
from sqlalchemy.engine.default import DefaultDialect

from tests.chaos import points
from tests.chaos.clock import Clock
from tests.chaos.orders import Orders, carry_out
from worker import tasks, wiring
from worker.crm_intake import Intake
from worker.pipeline import Context


class Hooks:
    """What stands at each point: an order is looked for, and carried out."""

    def __init__(self, orders: Orders, clock: Clock) -> None:
        self._orders = orders
        self._clock = clock
        self._main = os.getpid()

    def reach(self, point: str) -> None:
        if order := self._orders.take(point):
            carry_out(order, main=self._main)

    @contextmanager
    def around(self, name: str | None):
        if name is None:
            yield
            return
        self.reach(f"{name}:before")
        yield
        self.reach(f"{name}:after")

    def install(self) -> None:
        self._at_commits()
        self._at_sends()
        self._at_acknowledgements()
        self._at_calls()
        self._at_the_crms_queue()

    def _at_commits(self) -> None:
        commit = DefaultDialect.do_commit

        def do_commit(dialect: DefaultDialect, connection: Any) -> None:
            with self.around(opened_by(sys._getframe(1))):
                commit(dialect, connection)

        DefaultDialect.do_commit = do_commit

    def _at_sends(self) -> None:
        ring_all = tasks._ring_all

        def _ring_all(app: Any, task: str, calls: Any) -> None:
            names = (frame.f_code.co_name for frame in _callers(sys._getframe(1)))
            rung_by = next(name for name in names if name not in points.RINGERS)
            with self.around(f"tasks.{rung_by}>{points.short(task)}"):
                ring_all(app, task, calls)

        tasks._ring_all = _ring_all

    def _at_acknowledgements(self) -> None:
        acknowledge = Request.acknowledge

        def acknowledged(request: Request) -> None:
            with self.around(f"ack.{points.short(request.name)}"):
                acknowledge(request)

        Request.acknowledge = acknowledged

    def _at_calls(self) -> None:
        webhooks = importlib.import_module("worker.pipeline.webhooks")
        webhooks.call = self._called("webhook.call", webhooks.call)
        headers = webhooks.headers_of
        # Receivers have a clock that is right, and refuse what is five minutes old.
        webhooks.headers_of = lambda event_id, body, secrets, _now: headers(event_id, body, secrets, datetime.now(UTC))
        make = wiring.make_context
        wiring.make_context = lambda settings: self._hooked(make(settings))

    def _at_the_crms_queue(self) -> None:
        for name in points.INTAKE:
            verb = name.partition(".")[2]
            setattr(Intake, verb, self._called(name, getattr(Intake, verb)))

    def _hooked(self, context: Context) -> Context:
        deliver = self._called("crm.deliver", context.deliver) if context.deliver else None
        connect = context.connect
        return replace(
            context,
            now=self._clock.now,
            deliver=deliver,
            connect=lambda inbox: _Hooked(connect(inbox), self),
        )

    def _called(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            with self.around(name):
                return real(*args, **more)

        return call


class _Hooked:
    """A connector with a point before and after each of its verbs."""

    def __init__(self, connector: Any, hooks: Hooks) -> None:
        self._connector = connector
        self._hooks = hooks

    def __getattr__(self, name: str) -> Any:
        return self._hooks._called(f"connector.{name}", getattr(self._connector, name))


def opened_by(frame: FrameType | None) -> str | None:
    """Return the place that opened the transaction which is being committed; None for one that only reads."""
    sites = (_site(each.f_code.co_filename, each.f_lineno) for each in _callers(frame))
    return next(filter(None, sites), None)


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _site(file: str, line: int) -> str | None:
    return next((site.name for site in points.sites() if site.file == file and site.first <= line <= site.last), None)
