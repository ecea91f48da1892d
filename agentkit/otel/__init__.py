"""Spans and metrics of runs for OpenTelemetry (extra ``agentkit[otel]``).

``Agent(..., middleware=[OpenTelemetry()])`` sends them to the providers of the application, following the semantic
conventions for generative AI.
"""

from agentkit.errors import ConfigError

try:
    from agentkit.otel.middleware import OpenTelemetry
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "opentelemetry":
        raise
    raise ConfigError("agentkit.otel needs opentelemetry-api: install the extra agentkit[otel]") from error

__all__ = ["OpenTelemetry"]
