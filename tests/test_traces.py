"""Traces, over real HTTP to a receiver on loopback that reads OTLP."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.fakes.notices import dsn
from tests.fakes.otlp import Collector
from tests.fakes.sends import sent
from tests.fakes.world import World
from tests.pipeline.conftest import world
from worker import pipeline
from worker.config import ConfigProblem
from worker.telemetry import traces

__all__ = ["world"]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        traces.configured.cache_clear()
        yield running
        traces.configured.cache_clear()


def test_a_notice_is_one_trace_across_its_tasks(world: World, collector: Collector):
    made = traces.configured()
    assert made is not None
    world.context = replace(world.context, span=made.span)
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    with made.task("poll_inbox", {}):
        world.work()
    made.flush()
    (correlation_id,) = {each["correlation_id"] for each in world.delivered}
    of_notice = [span for span in collector.spans if span.trace_id.hex() == correlation_id]
    assert [span.name for span in of_notice] == ["found", "fetch", "detect", "notify", "notify"]
    (found,) = collector.named("found")
    assert found.parent_span_id == b""
    assert {span.parent_span_id for span in of_notice if span is not found} == {found.span_id}
    # Each says in which task it was done; the batch's own spans are the task's.
    (task,) = collector.named("poll_inbox")
    assert {link.trace_id for span in of_notice for link in span.links} == {task.trace_id}
    assert {span.trace_id for name in ("poll", "settle") for span in collector.named(name)} == {task.trace_id}


def test_a_task_is_the_child_of_whoever_sent_it(collector: Collector):
    made = traces.configured()
    assert made is not None
    headers: dict[str, str] = {}
    with made.task("poll_inbox", {}):
        made.inject(headers)
    with made.task("process_reports", headers):
        pass
    made.flush()
    (sender,), (receiver,) = collector.named("poll_inbox"), collector.named("process_reports")
    assert (receiver.trace_id, receiver.parent_span_id) == (sender.trace_id, sender.span_id)


def test_an_errors_words_are_not_in_its_span(collector: Collector):
    made = traces.configured()
    assert made is not None
    with pytest.raises(ValueError, match="bob@"), made.span("fetch"):
        raise ValueError("bob@customer.example")
    made.flush()
    (span,) = collector.named("fetch")
    assert (span.status.message, list(span.events)) == ("ValueError", [])
    assert b"bob@" not in span.SerializeToString()


def test_nothing_is_drawn_unless_somebody_asks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    traces.configured.cache_clear()
    assert traces.configured() is None


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    traces.configured.cache_clear()
    with pytest.raises(ConfigProblem, match=r"install bounce-worker\[otel\]"):
        traces.configured()
    traces.configured.cache_clear()
