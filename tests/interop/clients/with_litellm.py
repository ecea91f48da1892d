"""litellm: completion, stream, tools."""

import sys

import litellm

HELLO, QUESTION, SUNNY = sys.argv[3:6]
known = {"model": "openai/agent", "api_base": sys.argv[1], "api_key": sys.argv[2]}
messages = [{"role": "user", "content": "hi"}]
assert litellm.completion(messages=messages, **known).choices[0].message.content == HELLO
stream = litellm.completion(messages=messages, stream=True, stream_options={"include_usage": True}, **known)
assert "".join(each.choices[0].delta.content or "" for each in stream if each.choices) == HELLO
tool = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
messages = [{"role": "user", "content": QUESTION}]
message = litellm.completion(messages=messages, tools=[tool], **known).choices[0].message
messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}]
answer = litellm.completion(messages=messages, tools=[tool], **known).choices[0].message.content
assert SUNNY in answer
