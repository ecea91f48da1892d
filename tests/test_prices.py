import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agentkit import Agent, Limits, tool
from agentkit.chat import Choice, ModelInfo, Reply, Usage
from agentkit.errors import ConfigError
from agentkit.messages import AssistantMessage
from agentkit.prices import Prices, cost_of
from agentkit.run import Price, RunState
from agentkit.testing import Answer, ScriptedModel, call

pytestmark = pytest.mark.anyio
OPENAI = ModelInfo(provider="openai", model="gpt-4o-mini", address="https://api.openai.com/v1")
HOME = ModelInfo(provider="127.0.0.1:8000", model="gpt-4o-mini", address="http://127.0.0.1:8000/v1")


class At(ScriptedModel):
    """A model at an address."""

    def __init__(self, info: ModelInfo, script: Sequence[Answer]) -> None:
        super().__init__(script)
        self.info = info


def reply(model: str, *, cost: float | None = None, cached: int = 0) -> Reply:
    usage = Usage(
        requests=1,
        prompt_tokens=1_000_000,
        completion_tokens=0,
        total_tokens=1_000_000,
        cached_tokens=cached,
        cost=cost,
    )
    return Reply(choices=(Choice(message=AssistantMessage("x")),), usage=usage, model=model)


@tool
def look() -> str:
    """Look."""
    return "seen"


@pytest.mark.parametrize(
    ("info", "given", "own", "cost"),
    [
        (OPENAI, reply("gpt-4o-mini-2024-07-18"), {}, 0.15),
        (OPENAI, reply(""), {}, 0.15),
        (OPENAI, reply("gpt-4o-mini", cached=1_000_000), {}, 0.075),
        (OPENAI, reply("gpt-4o-mini", cost=7.0), {}, 7.0),
        (OPENAI, reply("gpt-4o-mini"), {"gpt-4o-mini": Price(prompt=3, completion=0)}, 3.0),
        (HOME, reply("gpt-4o-mini"), {}, None),
        (HOME, reply("gpt-4o-mini"), {"gpt-4o-mini": Price(prompt=0, completion=0)}, 0.0),
        (OPENAI, reply("no-such-model"), {}, 0.15),
        (ModelInfo(provider="openai", model="no-such", address=OPENAI.address), reply("no-such"), {}, None),
    ],
    ids=["exact", "by request", "cached", "reported", "own", "own server", "free", "alias", "unknown"],
)
async def test_a_cost_is_reported_or_known_by_a_price_or_unknown(
    info: ModelInfo, given: Reply, own: dict[str, Price], cost: float | None
) -> None:
    result = await Agent(At(info, [given]), middleware=[Prices(own)]).run("go")
    assert result.usage.cost == (None if cost is None else pytest.approx(cost))


async def test_tokens_that_nobody_reported_have_no_cost() -> None:
    result = await Agent(At(OPENAI, ["hello"]), middleware=[Prices()]).run("go")
    assert result.usage.total_tokens
    assert result.usage.cost is None


async def test_a_limit_counts_the_cost() -> None:
    message = AssistantMessage(None, (call("look"),))
    asks = replace(reply("gpt-4o-mini"), choices=(Choice(message=message),))
    limits = Limits(cost=0.4, on_limit="stop")
    agent = Agent(At(OPENAI, [asks] * 9), tools=[look], middleware=[Prices()], limits=limits)
    result = await agent.run("go")
    assert (result.status, result.limit, result.state.turns) == ("limited", "the cost limit of 0.4", 3)


async def test_usage_is_counted_for_each_model_and_stays_with_the_state() -> None:
    inner = Agent(At(HOME, [reply("local-7b")]), name="inner", description="Inner.", middleware=[Prices()])
    message = AssistantMessage(None, (call("inner", id="c", prompt="a"),))
    asks = replace(reply("gpt-4o-mini"), choices=(Choice(message=message),))
    outer = Agent(At(OPENAI, [asks, reply("gpt-4o-mini")]), tools=[inner.as_tool()], middleware=[Prices()])
    result = await outer.run("go")
    costs = {name: (usage.requests, usage.cost) for name, usage in result.usage_by_model.items()}
    assert costs == {"gpt-4o-mini": (2, pytest.approx(0.3)), "local-7b": (1, None)}
    assert result.usage.total_tokens == sum(each.total_tokens for each in result.usage_by_model.values())
    assert RunState.load(result.state.to_json()).usage_by_model == result.usage_by_model


def test_a_cost_can_be_asked_for_directly() -> None:
    usage = Usage(requests=1, prompt_tokens=1000, completion_tokens=500, total_tokens=1500)
    assert cost_of(usage, OPENAI) == pytest.approx(0.00045)
    assert cost_of(usage, HOME) is None


def test_a_price_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be a Price"):
        Prices({"m": 3})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match=r"^own='m': pass your prices as {'model': Price\(prompt"):
        Prices("m")  # type: ignore[arg-type]


@pytest.mark.parametrize(("module", "library"), [("prices", "genai_prices"), ("otel", "opentelemetry")])
def test_a_missing_extra_is_named(module: str, library: str) -> None:
    program = f"import sys; sys.modules[{library!r}] = None; import agentkit.{module}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"install the extra agentkit[{module}]" in done.stderr.splitlines()[-1]
