"""llm: a prompt, a stream, and a tool that it runs itself."""

import sys

from llm.default_plugins.openai_models import Chat

HELLO, QUESTION, SUNNY = sys.argv[3:6]
model = Chat("agent", key=sys.argv[2], model_name="agent", api_base=sys.argv[1], supports_tools=True)
assert model.prompt("hi", stream=False, key=sys.argv[2]).text() == HELLO
assert "".join(model.prompt("hi", stream=True, key=sys.argv[2])) == HELLO


def weather(city: str) -> str:
    """Tell the weather."""
    return "sunny"


assert SUNNY in model.chain(QUESTION, tools=[weather], key=sys.argv[2]).text()
