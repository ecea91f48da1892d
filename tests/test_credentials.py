"""Where a key may come from, and what is said when what came is not one."""

import threading
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from agentkit.chat.client import ChatClient
from agentkit.chat.transport.address import Credentials
from agentkit.chat.transport.redaction import Redactor
from agentkit.chat.transport.response import Deadlines
from agentkit.errors import AuthenticationFailed, ConfigError
from tests.replay import answer, completion, replay

pytestmark = pytest.mark.anyio

KEY = "sk-of-mine-1234"
GOOD = completion({"content": "good"})


async def of_an_async_function() -> str:
    await anyio.lowlevel.checkpoint()
    return KEY


class Asked:
    async def __call__(self) -> SecretStr:
        return SecretStr(KEY)


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        f"{KEY}\n",
        SecretStr(KEY),
        lambda: KEY,
        lambda: SecretStr(KEY),
        of_an_async_function,
        Asked(),
        lambda: of_an_async_function(),  # noqa: PLW0108 - a plain function that gives an awaitable
    ],
    ids=["string", "line", "secret", "function", "function of a secret", "async", "async object", "awaitable"],
)
async def test_a_key_may_come_in_any_form(key: Any) -> None:
    with replay(GOOD) as server:
        client = ChatClient(server.url, model="m", api_key=key)
        assert (await client.create("hi")).text == "good"
        await client.aclose()
    assert server.requests[0][0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", [b"sk-1", 5, ["sk-1"], SecretStr("gööd")])
def test_what_is_not_a_key_is_refused_where_it_is_given(key: Any) -> None:
    with pytest.raises(ConfigError, match="API key"):
        ChatClient("http://h/v1", model="m", api_key=key)


def failing() -> str:
    raise OSError(f"vault: {KEY}")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (lambda: None, "h: the result of the function for the API key is NoneType, not a string"),
        (lambda: b"sk-1", "is bytes, not a string"),
        (failing, "h: the function for the API key raised OSError; it must return a string"),
        (lambda: "two\nlines", "the API key holds a line break"),
    ],
    ids=["none", "bytes", "failing", "lines"],
)
async def test_a_function_that_gives_no_key_is_reported_in_a_sentence(key: Any, said: str) -> None:
    client = ChatClient("http://h/v1", model="m", api_key=key)
    with pytest.raises(ConfigError, match=said) as caught:
        await client.create("hi")
    assert KEY not in str(caught.value)


async def test_what_a_function_says_as_a_config_error_is_passed_on() -> None:
    def ask() -> str:
        raise ConfigError("log in first: run `vault login`")

    with pytest.raises(ConfigError, match="vault login"):
        await ChatClient("http://h/v1", model="m", api_key=ask).create("hi")


async def test_a_function_that_blocks_holds_up_nobody_else() -> None:
    release, others = threading.Event(), 0

    def ask() -> str:
        assert release.wait(10)
        return KEY

    with replay(GOOD) as server:
        client = ChatClient(server.url, model="m", api_key=ask)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.create, "hi")
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
                others += 1
            release.set()
        await client.aclose()
    assert others == 50


async def test_a_function_that_never_comes_back_has_the_deadline_of_the_request() -> None:
    release = threading.Event()
    client = ChatClient("http://h/v1", model="m", api_key=lambda: str(release.wait(20)), deadlines=Deadlines(total=0.1))
    with pytest.raises(ConfigError, match="raised TimeoutError"), anyio.fail_after(10):
        await client.create("hi")
    release.set()


async def test_a_key_of_a_function_is_as_secret_as_any_other() -> None:
    with replay(answer(f'{{"error": "{KEY} is wrong"}}'.encode(), status="401 No")) as server:
        client = ChatClient(server.url, model="m", api_key=of_an_async_function)
        with pytest.raises(AuthenticationFailed, match=r"\*\*\* is wrong"):
            await client.create("hi")
        await client.aclose()


async def test_a_key_can_have_a_header_of_its_own() -> None:
    credentials = Credentials(KEY, "", header="Api-Key", server="h")
    assert await credentials.headers(Redactor(), seconds=1) == {"api-key": KEY}
