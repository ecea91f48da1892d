"""The official client for Python: create, stream, parse, tools."""

import json
import sys

import openai
from pydantic import BaseModel


class Place(BaseModel):
    city: str


class weather(BaseModel):  # noqa: N801 - the name of the tool
    city: str


HELLO, QUESTION, SUNNY = sys.argv[3:6]
client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2])
ask = {"model": "agent", "messages": [{"role": "user", "content": "hi"}]}
assert client.chat.completions.create(**ask).choices[0].message.content == HELLO
chunks = client.chat.completions.create(**ask, stream=True)
assert "".join(each.choices[0].delta.content or "" for each in chunks) == HELLO
asked = {"model": "agent", "messages": [{"role": "user", "content": QUESTION}]}
assert client.chat.completions.parse(**asked, response_format=Place).choices[0].message.parsed == Place(city="Paris")
messages = list(asked["messages"])
tools = [openai.pydantic_function_tool(weather)]
first = client.chat.completions.parse(model="agent", messages=messages, tools=tools).choices[0].message
assert json.loads(first.tool_calls[0].function.arguments) == {"city": "Paris"}
messages += [first, {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "sunny"}]
answer = client.chat.completions.create(model="agent", messages=messages, tools=tools)
assert SUNNY in answer.choices[0].message.content
assert "agent" in [each.id for each in client.models.list()]
