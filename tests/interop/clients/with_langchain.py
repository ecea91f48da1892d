"""langchain-openai: invoke, stream, tools, structured output."""

import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return "sunny"


class Place(BaseModel):
    """A place."""

    city: str


HELLO, QUESTION, SUNNY = sys.argv[3:6]
model = ChatOpenAI(model="agent", base_url=sys.argv[1], api_key=sys.argv[2])
assert model.invoke("hi").text == HELLO
assert "".join(each.text for each in model.stream("hi")) == HELLO
question = HumanMessage(QUESTION)
first = model.bind_tools([weather]).invoke([question])
told = ToolMessage(weather.invoke(first.tool_calls[0]["args"]), tool_call_id=first.tool_calls[0]["id"])
assert SUNNY in model.bind_tools([weather]).invoke([question, first, told]).text
assert model.with_structured_output(Place, method="json_schema").invoke(QUESTION).city == "Paris"
