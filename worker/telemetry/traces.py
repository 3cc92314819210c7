"""OpenTelemetry traces, where OTEL_EXPORTER_OTLP_ENDPOINT says where to send them. The SDK is an extra: `otel`.

A task is a span; what it rings for is its child, through the headers of Celery's messages. A notice has a trace of its
own, whose id is its correlation id: found → fetch → detect → notify → webhook, in whatever process and however late.
Each of those links to the task in which it was done. No span holds the words of an exception: they may quote mail.
"""

import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from worker import signals
from worker.config import ConfigProblem

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanContext

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
ROOT: Final = "found"
"""The span with which a notice's trace begins."""


class Traces:
    """Draws spans and sends them to `exporter`."""

    def __init__(self, exporter: "SpanExporter") -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        name = os.environ.get("OTEL_SERVICE_NAME", "bounce-worker")
        resource = Resource.create({"service.name": name, "service.version": version("bounce-worker")})
        self._next: ContextVar[SpanContext | None] = ContextVar("next", default=None)
        self._provider = TracerProvider(resource=resource, id_generator=_ids(self._next), shutdown_on_exit=True)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("bounce-worker")
        self._carrier = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, /, *, correlation_id: str | None = None, **attributes: str | int) -> Iterator[None]:
        """See `signals.Span`."""
        from opentelemetry import trace
        from opentelemetry.context import Context

        given: dict[str, Any] = {"attributes": attributes}
        token = None
        if correlation_id is not None:
            beginning = _beginning(correlation_id)
            if name == ROOT:
                given["context"] = Context()
                token = self._next.set(beginning)
            else:
                given["context"] = trace.set_span_in_context(trace.NonRecordingSpan(beginning), Context())
            here = trace.get_current_span().get_span_context()
            given["links"] = [trace.Link(here)] if here.is_valid else []
        given |= {"record_exception": False, "set_status_on_exception": False}
        with self._tracer.start_as_current_span(name, **given) as span:
            if token is not None:
                self._next.reset(token)
            try:
                yield
            except Exception as error:
                span.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise

    @contextmanager
    def task(self, name: str, headers: Mapping[str, Any]) -> Iterator[None]:
        """Draw a task, as the child of whoever sent it."""
        from opentelemetry import context

        token = context.attach(self._came_from(headers))
        try:
            with self.span(name):
                yield
        finally:
            context.detach(token)

    def _came_from(self, headers: Mapping[str, Any]) -> "Context":
        return self._carrier.extract({name: str(value) for name, value in headers.items() if value})

    def inject(self, headers: MutableMapping[str, Any]) -> None:
        """Put where we are into a message's headers."""
        self._carrier.inject(headers)

    def flush(self) -> None:
        """Send what waits: before a process ends."""
        self._provider.force_flush(5_000)


def _beginning(correlation_id: str) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(
        trace_id=int(correlation_id, 16),
        span_id=int(correlation_id[:16], 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def _ids(chosen: "ContextVar[SpanContext | None]") -> Any:  # noqa: ANN401 - a subclass of a type that may not be there
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Random ids, unless those of the next span are chosen."""

        def generate_trace_id(self) -> int:
            given = chosen.get()
            return given.trace_id if given else super().generate_trace_id()

        def generate_span_id(self) -> int:
            given = chosen.get()
            return given.span_id if given else super().generate_span_id()

    return Ids()


@cache
def configured() -> Traces | None:
    """Return this process's traces, or None where nobody asked for any. Raises `ConfigProblem`."""
    if not os.environ.get(ENDPOINT) and not os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigProblem(
            f"{ENDPOINT} is set, but OpenTelemetry isn't installed: install bounce-worker[otel], or take it away."
        ) from None
    return Traces(OTLPSpanExporter())


def span() -> signals.Span:
    """Return what the pipeline draws its spans with."""
    traces = configured()
    return traces.span if traces else signals.untraced
