"""A served agent whose model is the embedded one, asked by the official client."""

from typing import Any

import openai

from agentkit import Agent, serve
from tests.serve.asgi import TOKEN
from tests.serve.test_sockets import official, running


def test_the_official_client_talks_to_the_embedded_model() -> None:
    ask: dict[str, Any] = {
        "model": "agent",
        "messages": [{"role": "user", "content": "Say hello."}],
        "temperature": 0,
        "max_completion_tokens": 12,
    }
    with running(serve.app(Agent("local"), token=TOKEN)) as address:
        client: openai.OpenAI = official(address)
        whole = client.chat.completions.create(**ask)
        chunks = list(client.chat.completions.create(**ask, stream=True))
    text = whole.choices[0].message.content
    assert text
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == text
    assert whole.usage
    assert whole.usage.completion_tokens > 0
