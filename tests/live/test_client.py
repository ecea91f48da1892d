"""The client's own doors against a real llama.cpp server, without anything of agentkit in between."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from agentkit.chat import ChatClient
from agentkit.events import TextDelta
from agentkit.local import find_weights

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """One of the two: the model answers slowly, and the rest of the suite runs on both."""
    return "trio"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(find_weights())
    params.n_ctx = 2048
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # more would wait for each other, and busily
    params.cache_ram_mib = 0
    params.verbosity = -1
    params.warmup = False
    params.ui = False
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


async def test_create_and_stream_give_the_same_reply(address: str) -> None:
    client = ChatClient(address, model="smollm2")
    options: dict[str, Any] = {"temperature": 0, "max_completion_tokens": 12}
    whole = await client.create("Say hello.", **options)
    async with client.stream("Say hello.", **options) as deltas:
        pieces = [delta.text async for delta in deltas if isinstance(delta, TextDelta)]
        streamed = await deltas.reply()
    await client.aclose()
    assert whole.text
    assert streamed.text == whole.text == "".join(pieces)
    assert len(pieces) > 1
    assert streamed.finish_reason == whole.finish_reason
    assert streamed.usage.total_tokens == whole.usage.total_tokens  # the second finds the prompt in a cache


async def test_a_limit_of_tokens_is_kept_to(address: str) -> None:
    client = ChatClient(address, model="smollm2")
    reply = await client.create("Say hello.", max_completion_tokens=3, temperature=0)
    await client.aclose()
    assert reply.finish_reason == "length"
    assert reply.usage.completion_tokens == 3
    assert reply.adaptations == ()
