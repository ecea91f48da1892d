import gzip
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentkit import Agent, ChatSettings, ToolError, handoff, tool
from agentkit.chat import Choice, ModelInfo, Reply, Usage
from agentkit.errors import ConfigError, Overloaded
from agentkit.events import RequestAdapted, Retrying, TextDelta
from agentkit.messages import AssistantMessage
from agentkit.otel import OpenTelemetry
from agentkit.testing import Answer, Chunks, ScriptedModel, call

pytestmark = pytest.mark.anyio


class Known(ScriptedModel):
    """A model that says who it is."""

    info = ModelInfo(provider="mistral", model="small", address="https://api.example.com/v1")

    async def reply(self, request: Any, emit: Any) -> Reply:
        emit(Retrying(1, 0.1, "503"))
        emit(RequestAdapted("without `seed`"))
        return await super().reply(request, emit)


def traceparent() -> str:
    """The current span, as a tool sees it."""
    return f"{trace.get_current_span().get_span_context().span_id:016x}"


@tool
async def here() -> str:
    """The span in the event loop."""
    return traceparent()


@tool
def in_thread() -> str:
    """The span in a thread."""
    return traceparent()


@tool(process=True)
def in_process() -> str:
    """The span in another process."""
    return traceparent()


@tool
def fail(kind: str) -> str:
    """Fail."""
    if kind == "tool":
        raise ToolError("the secret is out")
    raise KeyError("the secret is out")


class Recorded:
    """The spans and metrics of one middleware."""

    def __init__(self, **options: Any) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        meters = MeterProvider([self.reader])
        self.middleware = OpenTelemetry(tracer_provider=provider, meter_provider=meters, **options)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {each.name: each for each in self.exporter.get_finished_spans()}

    def attributes(self, name: str) -> Mapping[str, Any]:
        return self.spans[name].attributes or {}

    def metrics(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        assert data
        found = [each for r in data.resource_metrics for s in r.scope_metrics for each in s.metrics]
        return {each.name: list(each.data.data_points) for each in found}


def reply(text: str) -> Reply:
    usage = Usage(requests=1, prompt_tokens=70, completion_tokens=30, total_tokens=100, cached_tokens=5, cost=0.25)
    choice = Choice(message=AssistantMessage(text), finish_reason="stop")
    return Reply(choices=(choice,), usage=usage, model="small-2026", id="r1")


async def test_a_run_a_request_and_a_call_are_spans_by_the_conventions() -> None:
    to = Recorded()
    agent = Agent(
        Known([[call("here", id="c1")], reply("a secret")]),
        tools=[here],
        name="ada",
        middleware=[to.middleware],
        settings=ChatSettings(temperature=0.5, max_completion_tokens=99, stop="END"),
    )
    await agent.run("a secret question", run_id="r")
    first, second, _, run = to.exporter.get_finished_spans()[0], *to.exporter.get_finished_spans()[1:]
    assert [each.name for each in to.exporter.get_finished_spans()] == [
        *("chat small", "execute_tool here", "chat small", "invoke_agent ada")
    ]
    assert dict(to.attributes("chat small")) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mistral_ai",
        "gen_ai.request.model": "small",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.agent.name": "ada",
        "gen_ai.response.model": "small-2026",
        "gen_ai.response.id": "r1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 70,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "server.address": "api.example.com",
        "server.port": 443,
        "agentkit.turn": 2,
        "agentkit.retries": 1,
        "agentkit.adaptations": ("without `seed`",),
        "agentkit.usage.cost": 0.25,
    }
    assert to.attributes("execute_tool here")["gen_ai.tool.call.id"] == "c1"
    assert to.attributes("invoke_agent ada")["agentkit.run.status"] == "done"
    assert to.attributes("invoke_agent ada")["gen_ai.agent.name"] == "ada"
    for each in (first, second):
        assert each.parent
        assert run.context
        assert each.parent.span_id == run.context.span_id
    assert "secret" not in "".join(each.to_json() for each in to.exporter.get_finished_spans())


async def test_what_was_said_is_in_the_spans_if_asked_for_with_secrets_masked() -> None:
    to = Recorded(content=True)
    key = "sk-proj-aB3dE5fG7hJ9kL1mN3pQ"
    script: list[Answer] = [[call("fail", id="c", kind="tool")], f"the key is {key}"]
    agent = Agent(Known(script), tools=[fail], instructions="Be brief.", middleware=[to.middleware])
    await agent.run("Which key?")
    said = to.attributes("chat small")
    assert '"content": "the key is ***"' in said["gen_ai.output.messages"]
    assert '"content": "Which key?"' in said["gen_ai.input.messages"]
    assert '"type": "tool_call_response"' in said["gen_ai.input.messages"]
    assert said["gen_ai.system_instructions"] == '[{"type": "text", "content": "Be brief."}]'
    assert '"name": "fail"' in said["gen_ai.tool.definitions"]
    called = to.attributes("execute_tool fail")
    assert called["gen_ai.tool.call.arguments"] == '{"kind": "tool"}'
    assert to.spans["execute_tool fail"].status.description == "the secret is out"
    assert key not in "".join(each.to_json() for each in to.exporter.get_finished_spans())


async def test_the_span_of_a_call_is_current_in_the_loop_in_a_thread_and_in_a_process() -> None:
    to = Recorded()
    names = ["here", "in_thread", "in_process"]
    model = ScriptedModel([[call(each) for each in names], "done"])
    agent = Agent(model, tools=[here, in_thread, in_process], middleware=[to.middleware])
    result = await agent.run("go")
    seen = [each.text for each in result.messages if each.role == "tool"]
    spans = [to.spans[f"execute_tool {name}"].context for name in names]
    assert seen == [f"{each.span_id:016x}" for each in spans if each]


@pytest.mark.parametrize("name", ["tracer_provider", "meter_provider"])
def test_what_is_no_provider_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}=3: must be a (Tracer|Meter)Provider of OpenTelemetry, or None$"):
        OpenTelemetry(**{name: 3})  # type: ignore[arg-type]


async def test_a_nested_agent_is_inside_the_call_that_runs_it() -> None:
    to = Recorded()
    inner = Agent(
        ScriptedModel([[call("here")], "inner"]),
        tools=[here],
        name="inner",
        description="Inner.",
        middleware=[to.middleware],
    )
    model = ScriptedModel([[call("inner", prompt="a")], "outer"])
    outer = Agent(model, tools=[inner.as_tool()], name="outer", middleware=[to.middleware])
    await outer.run("go")
    inside = {"invoke_agent inner": "execute_tool inner", "execute_tool here": "invoke_agent inner"}
    inside["execute_tool inner"] = "invoke_agent outer"
    for name, parent in inside.items():
        context, above = to.spans[parent].context, to.spans[name].parent
        assert context
        assert above
        assert above.span_id == context.span_id, name
    assert to.spans["invoke_agent outer"].parent is None
    assert len({each.context.trace_id for each in to.exporter.get_finished_spans() if each.context}) == 1


@pytest.mark.parametrize(
    ("script", "name", "kind"),
    [
        ([[call("fail", kind="tool")], "ok"], "execute_tool fail", "ToolError"),
        ([[call("fail", kind="other")], "ok"], "execute_tool fail", "KeyError"),
        ([Overloaded("busy", status=503)], "chat", "Overloaded"),
        ([Overloaded("busy", status=503)], "invoke_agent", "Overloaded"),
    ],
    ids=["tool error", "exception", "model", "run"],
)
async def test_an_error_has_its_type_and_no_content(script: Sequence[Answer], name: str, kind: str) -> None:
    to = Recorded()
    agent = Agent(ScriptedModel(script), tools=[fail], middleware=[to.middleware])
    try:
        await agent.run("go")
    except Overloaded:
        assert kind == "Overloaded"
    assert to.attributes(name)["error.type"] == kind
    assert to.spans[name].status.status_code == trace.StatusCode.ERROR
    assert "secret" not in to.spans[name].to_json()
    durations = to.metrics()["gen_ai.client.operation.duration"]
    assert name == "invoke_agent" or kind in {each.attributes.get("error.type") for each in durations}


async def test_a_run_says_which_agents_had_it() -> None:
    to = Recorded()
    model = ScriptedModel([[call("transfer_to_billing")], "paid"])
    billing = Agent(model, name="billing", description="Bills.")
    front = Agent(model, name="front", tools=[handoff(billing)], middleware=[to.middleware])
    await front.run("go")
    assert to.attributes("invoke_agent front")["agentkit.handoff.agents"] == ("front", "billing")
    asked = [each for each in to.exporter.get_finished_spans() if each.name == "chat"]
    assert [(each.attributes or {})["gen_ai.agent.name"] for each in asked] == ["front", "billing"]
    assert "execute_tool transfer_to_billing" in to.spans


async def test_metrics_are_durations_tokens_and_the_time_to_the_first_chunk() -> None:
    to = Recorded()
    agent = Agent(Known([reply("x")]), middleware=[to.middleware])
    await agent.run("go")
    found = to.metrics()
    assert [each.attributes["gen_ai.operation.name"] for each in found["gen_ai.client.operation.duration"]] == ["chat"]
    tokens = {each.attributes["gen_ai.token.type"]: each.sum for each in found["gen_ai.client.token.usage"]}
    assert tokens == {"input": 70, "output": 30}
    streamed = Recorded()
    async with Agent(Known([Chunks("a", "b")]), middleware=[streamed.middleware]).stream("go") as stream:
        assert [each.text async for each in stream if isinstance(each, TextDelta)] == ["a", "b"]
    assert streamed.attributes("chat small")["gen_ai.response.time_to_first_chunk"] >= 0
    assert len(streamed.metrics()["gen_ai.client.operation.time_to_first_chunk"]) == 1
    assert "gen_ai.client.token.usage" not in streamed.metrics()  # nobody reported them


async def test_a_run_that_pauses_is_not_an_error() -> None:
    @tool(requires_approval=True)
    def pay() -> str:
        """Pay."""
        return "paid"

    to = Recorded()
    inner = Agent(ScriptedModel([[call("pay")]]), tools=[pay], name="inner", description="Inner.")
    outer = Agent(
        ScriptedModel([[call("inner", prompt="a")]]), tools=[inner.as_tool()], name="outer", middleware=[to.middleware]
    )
    assert (await outer.run("go")).status == "paused"
    assert {each.status.status_code for each in to.exporter.get_finished_spans()} == {trace.StatusCode.UNSET}
    assert to.attributes("execute_tool inner")["agentkit.run.status"] == "paused"
    assert to.attributes("invoke_agent outer")["agentkit.run.status"] == "paused"


@contextmanager
def receiver() -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """A receiver of OTLP over HTTP."""
    bodies: dict[str, list[bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            zipped = self.headers.get("content-encoding") == "gzip"
            bodies.setdefault(self.path, []).append(gzip.decompress(body) if zipped else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", bodies
        finally:
            server.shutdown()
            thread.join(5)


def test_spans_and_metrics_arrive_at_a_receiver_of_otlp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with receiver() as (url, bodies):
        spans = TracerProvider()
        spans.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
        meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"))])
        middleware = OpenTelemetry(tracer_provider=spans, meter_provider=meters)
        Agent(Known([[call("here")], reply("x")]), tools=[here], name="ada", middleware=[middleware]).run_sync("go")
        spans.shutdown()
        meters.shutdown()
    names: list[str] = []
    for body in bodies["/v1/traces"]:
        request = ExportTraceServiceRequest.FromString(body)
        names += [each.name for r in request.resource_spans for s in r.scope_spans for each in s.spans]
    assert names == ["chat small", "execute_tool here", "chat small", "invoke_agent ada"]
    sent = ExportMetricsServiceRequest.FromString(bodies["/v1/metrics"][-1])
    measured = {each.name for r in sent.resource_metrics for s in r.scope_metrics for each in s.metrics}
    assert measured == {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"}
