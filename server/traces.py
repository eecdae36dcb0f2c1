"""Traces by OpenTelemetry (extra `otel`): a span a request, sent where the OTEL_EXPORTER_OTLP_… variables say."""

from typing import Any

from flask import Flask


class TracesError(Exception):
    """Traces are wanted, but the packages for them are missing."""


def trace_requests(app: Flask, exporter: Any = None) -> Any:
    """Have every request of the app traced; `exporter` takes the spans, OTLP over HTTP by default.

    Returns what holds them until they are sent.

    To be called in the process that answers: what sends spans is a thread, which a fork would not take along.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.flask import FlaskInstrumentor
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        msg = f"traces = true needs the extra `otel` ({error}): pip install 'hourfeed[otel]'"
        raise TracesError(msg) from error
    # OTEL_SERVICE_NAME, if set, wins over this name.
    provider = TracerProvider(resource=Resource({SERVICE_NAME: "hourfeed"}).merge(Resource.create()))
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    FlaskInstrumentor().instrument_app(app, tracer_provider=provider, excluded_urls="healthz,readyz,metrics")
    return provider
