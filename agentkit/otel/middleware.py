"""`OpenTelemetry`: a span for each run, model request and tool call, and metrics of them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
from opentelemetry import context as otel_context
from opentelemetry import metrics, propagate, trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from agentkit.chat import Reply
from agentkit.errors import ConfigError, RunPaused
from agentkit.events import (
    AudioDelta,
    CallDelta,
    ChoiceDelta,
    Emit,
    Event,
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    Retrying,
    TextDelta,
)
from agentkit.otel.attributes import (
    Attributes,
    content_of_reply,
    content_of_request,
    model_attributes,
    reply_attributes,
    request_attributes,
    usage_attributes,
)
from agentkit.run import Middleware, ModelTurn, NextModel, NextRun, NextTool, Run, RunState, ToolRequest
from agentkit.tools import ToolResult, around_process_call
from agentkit.trace import Mask

__all__ = ["OpenTelemetry"]

_NAME = "agentkit"
_DELTAS = (TextDelta, ReasoningDelta, RefusalDelta, AudioDelta, CallDelta, ChoiceDelta)
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


class OpenTelemetry(Middleware):
    """Writes spans and metrics of runs, following the semantic conventions for generative AI.

    Spans are ``invoke_agent``, ``chat`` and ``execute_tool``, correctly nested even across agents in tools, threads,
    and tools with ``process=True``. Metrics are durations, tokens, and the time to the first chunk. It should be the
    first middleware of an agent, so that its spans include the work of the others.

    Args:
        content: Whether spans include content: instructions, messages, arguments, results and error messages, with
            secrets masked (see `agentkit.trace.Mask`). Without it, they have only names and figures.
        tracer_provider: Receives the spans; by default the application's.
        meter_provider: Receives the metrics; likewise.

    Raises:
        ConfigError: A provider has the wrong type.
    """

    def __init__(
        self,
        *,
        content: bool = False,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        for name, provider, kind in (
            ("tracer_provider", tracer_provider, trace.TracerProvider),
            ("meter_provider", meter_provider, metrics.MeterProvider),
        ):
            if not isinstance(provider, kind | None):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(f"{name}={provider!r:.80}: must be a {kind.__name__} of OpenTelemetry, or None")
        self._mask = Mask() if content else None
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._first_chunk = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            unit="s",
            description="Time to receive the first chunk.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    async def around_run(self, run: Run[Any], inner: NextRun) -> RunState:  # noqa: D102
        agent = run.agent
        attributes: Attributes = {"gen_ai.operation.name": "invoke_agent", "agentkit.run.id": run.run_id}
        if agent:
            attributes["gen_ai.agent.name"] = agent
        run.local[self] = [agent]
        with self._span(f"invoke_agent {agent}".rstrip(), SpanKind.INTERNAL, attributes) as span:
            try:
                state = await inner()
                span.set_attribute("agentkit.run.status", state.status)
                if state.limit:
                    span.set_attribute("agentkit.run.limit", state.limit)
            finally:
                span.set_attributes(usage_attributes(run.state.usage))
                if len(run.local[self]) > 1:
                    span.set_attribute("agentkit.handoff.agents", run.local[self])
        return state

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        agents = turn.run.local.setdefault(self, [turn.run.agent])
        if agents[-1] != turn.run.agent:
            agents.append(turn.run.agent)
        common = {"gen_ai.operation.name": "chat", **model_attributes(turn.model)}
        attributes = {**common, **request_attributes(turn.request), "agentkit.turn": turn.turn}
        if turn.run.agent:
            attributes["gen_ai.agent.name"] = turn.run.agent
        name = f"chat {common.get('gen_ai.request.model', '')}".rstrip()
        started, watch = anyio.current_time(), _Watch(streamed=turn.request.stream)
        with self._span(name, SpanKind.CLIENT, attributes, common, self._duration) as span:
            if self._mask is not None and span.is_recording():
                span.set_attributes(content_of_request(turn.request, self._mask))
            try:
                reply = await inner(replace(turn, emit=watch.over(turn.emit)))
            finally:
                span.set_attributes(watch.attributes(started))
            span.set_attributes(reply_attributes(reply))
            if self._mask is not None and span.is_recording():
                span.set_attributes(content_of_reply(reply, self._mask))
            self._measure(reply, common, watch.first, started)
        return reply

    async def around_tool(self, call: ToolRequest, inner: NextTool) -> ToolResult:  # noqa: D102
        common: Attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": call.tool.name}
        attributes: Attributes = {
            **common,
            "gen_ai.tool.call.id": call.call.id,
            "gen_ai.tool.description": call.tool.description,
            "gen_ai.tool.type": "function",
        }
        if self._mask is not None:
            attributes["gen_ai.tool.call.arguments"] = str(self._mask(call.call.written))
        name = f"execute_tool {call.tool.name}"
        with self._span(name, SpanKind.INTERNAL, attributes, common, self._duration) as span:
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            token = around_process_call.set(partial(_inside, carrier))
            try:
                result = await inner(call)
            finally:
                around_process_call.reset(token)
            if result.is_error:
                span.set_attribute("error.type", "tool_error")
                span.set_status(StatusCode.ERROR)
            if self._mask is not None:
                span.set_attribute("gen_ai.tool.call.result", str(self._mask(result.content)))
        return result

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        common: Attributes | None = None,
        duration: metrics.Histogram | None = None,
    ) -> Generator[Span]:
        """Make a span current inside the block, and record how it ends and how long it took."""
        started, failed = anyio.current_time(), Attributes()
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except RunPaused:
                span.set_attribute("agentkit.run.status", "paused")
                raise
            except BaseException as error:
                failed["error.type"] = type(error).__qualname__
                span.set_attributes(failed)
                if isinstance(error, Exception):  # otherwise it was cancelled
                    span.set_status(StatusCode.ERROR, "" if self._mask is None else self._mask(str(error)))
                raise
            finally:
                if duration is not None:
                    duration.record(anyio.current_time() - started, {**(common or {}), **failed})

    def _measure(self, reply: Reply, common: Attributes, first: float | None, started: float) -> None:
        attributes = {**common, "gen_ai.response.model": reply.model} if reply.model else dict(common)
        if reply.usage.total_tokens:
            for kind, count in (("input", reply.usage.prompt_tokens), ("output", reply.usage.completion_tokens)):
                self._tokens.record(count, {**attributes, "gen_ai.token.type": kind})
        if first is not None:
            self._first_chunk.record(first - started, attributes)


class _Watch:
    """Watches the events of a model request."""

    def __init__(self, *, streamed: bool) -> None:
        self._streamed = streamed
        self.first: float | None = None
        self.retries = 0
        self.adapted: list[str] = []

    def over(self, emit: Emit) -> Emit:
        def watched(event: Event) -> None:
            if self._streamed and self.first is None and isinstance(event, _DELTAS):
                self.first = anyio.current_time()
            elif isinstance(event, Retrying):
                self.retries += 1
            elif isinstance(event, RequestAdapted):
                self.adapted.append(event.what)
            emit(event)

        return watched

    def attributes(self, started: float) -> Attributes:
        made: Attributes = {"agentkit.retries": self.retries} if self.retries else {}
        if self.adapted:
            made["agentkit.adaptations"] = self.adapted
        if self.first is not None:
            made["gen_ai.response.time_to_first_chunk"] = self.first - started
        return made


@contextmanager
def _inside(carrier: Mapping[str, str]) -> Generator[None]:
    """Make the current span of another process current in this one, so that a call here is nested in it."""
    token = otel_context.attach(propagate.extract(carrier))
    try:
        yield
    finally:
        otel_context.detach(token)
