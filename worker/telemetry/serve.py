"""/metrics, on a port of its own: the API's port is for the internet, and figures about a company's mail aren't."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.exc import DBAPIError

from worker.pipeline import Context
from worker.store import gauges
from worker.store.database import reading
from worker.telemetry.metrics import PREFIX

SOON: Final = timedelta(days=3)
KEPT_SECONDS: Final = 5.0
"""For how long figures of the database are told again: several scrapers must not ask it at once."""


class Standing(Collector):
    """The figures of the database, asked when somebody scrapes."""

    def __init__(self, context: Callable[[], Context]) -> None:
        self._context = context
        self._asked_at = -KEPT_SECONDS
        self._known: list[gauges.Reading] = []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See `Collector`."""
        try:
            found = self._readings()
        except DBAPIError:
            found = None
        up = GaugeMetricFamily(f"{PREFIX}_database_up", "Whether the database answers this process.")
        up.add_metric([], 0 if found is None else 1)
        yield up
        families: dict[str, GaugeMetricFamily] = {}
        for each in found or ():
            names, values = [name for name, _ in each.labels], [value for _, value in each.labels]
            text = gauges.MEANING[each.name]
            family = families.setdefault(each.name, GaugeMetricFamily(f"{PREFIX}_{each.name}", text, labels=names))
            family.add_metric(values, each.value)
        yield from families.values()

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Say nothing beforehand: registering must not ask the database."""
        yield from ()

    def _readings(self) -> list[gauges.Reading]:
        if time.monotonic() - self._asked_at >= KEPT_SECONDS:
            context = self._context()
            now = context.now()
            with reading(context.engine) as connection:
                self._known = list(gauges.readings(connection, now, now + SOON))
            self._asked_at = time.monotonic()
        return self._known


def serve(host: str, port: int, context: Callable[[], Context] | None = None) -> int:
    """Serve /metrics in a thread; return the port. With a context, the database's figures as well.

    Raises OSError where the port is taken.
    """
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    if context is not None:
        registry.register(Standing(context))
    server, _ = start_http_server(port, host, registry)
    # A pool's child that is forked later must not hold the port when its parent is gone.
    os.register_at_fork(after_in_child=server.socket.close)
    return int(server.server_port)
