"""Clients that nobody here wrote talk to a served agent whose model is the embedded one."""

from collections.abc import Iterator

import pytest

from agentkit import Agent, ChatSettings, serve
from tests.interop.test_serve import SCRIPTS, run_client
from tests.serve.asgi import TOKEN
from tests.serve.test_sockets import official, running


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    settings = ChatSettings(temperature=0, max_completion_tokens=40)
    with running(serve.app(Agent("local", settings=settings), token=TOKEN)) as where:
        yield where


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_client_that_nobody_here_wrote_talks_to_the_embedded_model(script: str, address: str) -> None:
    hello = official(address).chat.completions.create(model="agent", messages=[{"role": "user", "content": "hi"}])
    assert hello.choices[0].message.content
    run_client(script, address, hello.choices[0].message.content, "What is the weather in Paris?", "sunny")
