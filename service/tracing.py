"""OpenTelemetry: spans of what has ended, with the times that were recorded, so that nothing waits for tracing.

It is on if a variable names where to send spans, and needs the packages of requirements-otel.txt. The variables of the
OpenTelemetry SDK apply, such as ``OTEL_SERVICE_NAME`` and ``OTEL_TRACES_SAMPLER``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from service.log import redacted

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["Span", "flush", "is_on", "send"]

_log = logging.getLogger("trainyard.tracing")

_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Span(NamedTuple):
    """What took place from ``begin`` to ``end``, in seconds since 1970.

    ``traceparent`` is that of the request that caused it (W3C Trace Context). ``server`` is whether it answered one.
    """

    name: str
    begin: float
    end: float
    attributes: Mapping[str, str | int | float]
    failed: bool
    traceparent: str | None = None
    server: bool = False


@cache
def is_on() -> bool:
    """Whether spans are sent. Says so in the log if they were to be, but the packages are not installed."""
    if not any(os.environ.get(name) for name in _VARIABLES):
        return False
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
    except ImportError as error:
        _log.warning("no spans are sent: %s is not installed; see requirements-otel.txt", error.name)
        return False
    return opentelemetry is not None


@cache
def _provider() -> TracerProvider:
    """Made by the process that uses it, since it has a thread."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from models.version import VERSION

    attributes = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", "trainyard"), SERVICE_VERSION: VERSION}
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def send(span: Span) -> None:
    """Queue a span to be sent; call it only if ``is_on``. Spans for which the queue has no room are dropped."""
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    given = span.attributes
    carrier = {} if span.traceparent is None else {"traceparent": span.traceparent}
    made = (
        _provider()
        .get_tracer("trainyard")
        .start_span(
            span.name,
            context=TraceContextTextMapPropagator().extract(carrier),
            kind=SpanKind.SERVER if span.server else SpanKind.INTERNAL,
            attributes={name: redacted(value) if isinstance(value, str) else value for name, value in given.items()},
            start_time=int(span.begin * 1e9),
        )
    )
    if span.failed:
        made.set_status(StatusCode.ERROR)
    made.end(int(span.end * 1e9))


def flush(seconds: float) -> None:
    """Send what is queued, for at most so many seconds."""
    if is_on():
        _provider().force_flush(int(seconds * 1e3))
