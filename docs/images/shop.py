"""The agent of the recorded conversation: a script takes the place of its model, so that it is the same every time."""

from typing import Annotated

import anyio

from agentkit import Agent, AssistantMessage, Reply, TextDelta, ToolCall, ToolContext, Usage, UserMessage, tool
from agentkit.chat import ChatRequest, Choice
from agentkit.events import Emit

TABLE = """Two orders are late:

| order | customer | days |
|---|---|---|
| 17 | Ada | 3 |
| 23 | Grace | **9** |

Both are in Paris, where it rains: I would *call Grace first*.
"""
CALLS = (
    ToolCall("call_1", "late_orders", '{"city": "Paris"}'),
    ToolCall("call_2", "weather", '{"city": "Paris"}'),
)


@tool
async def late_orders(city: Annotated[str, "A city."], context: ToolContext[None]) -> str:
    """List the orders of a city that are late."""
    for page in range(5):
        context.progress(page / 5, f"page {page + 1} of 5")
        await anyio.sleep(0.4)
    return f"in {city}: 17 (Ada, 3 days), 23 (Grace, 9 days)"


@tool
async def weather(city: Annotated[str, "A city."]) -> str:
    """Report the weather of a city."""
    await anyio.sleep(0.6)
    return f"Rain in {city}, 9 °C"


@tool(requires_approval=lambda _, given: f"it calls a customer\n- 23 late\n+ 23 {given['note']}")
async def call_customer(order: Annotated[int, "The order."], note: Annotated[str, "A note."]) -> str:
    """Call the customer of an order."""
    return f"called about {order}: {note}"


class Script:
    """Calls two tools, answers with a table, and wants to call a customer when it is asked to."""

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        """Play the next part."""
        last = request.messages[-1]
        calls, text = (), TABLE
        if isinstance(last, UserMessage):
            wanted = ToolCall("call_3", "call_customer", '{"order": 23, "note": "promised for Monday"}')
            calls, text = (CALLS, "Let me look.") if "late" in last.text else ((wanted,), "")
        for word in text.split(" "):
            emit(TextDelta(f"{word} "))
            await anyio.sleep(0.02)
        usage = Usage(requests=1, prompt_tokens=180, completion_tokens=60, total_tokens=240)
        return Reply(choices=(Choice(message=AssistantMessage(text, calls)),), usage=usage)


agent = Agent(Script(), tools=[late_orders, weather, call_customer], name="orders")
