"""Where a server is and who asks: a login in the address, and that it is shown nowhere."""

import base64
import json
import logging
from typing import Any

import httpx
import httpx2
import pytest

from agentkit.chat.client import ChatClient, open_model
from agentkit.chat.transport.address import Address, parse_address, without_secrets
from agentkit.chat.transport.retry import RetryPolicy
from agentkit.errors import AgentKitError, ConfigError
from tests.replay import ReplayServer, answer, completion, replay

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2:of mine"
QUOTED = "hunter2%3Aof%20mine"
BASIC = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
GOOD = completion({"content": "good"})


def address_of(server: ReplayServer) -> str:
    return server.url.replace("://", f"://me:{QUOTED}@")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("https://h/v1/", Address("https://h/v1", "https://h/v1/chat/completions")),
        ("https://me:pass@h:8/v1/", Address("https://h:8/v1", "https://h:8/v1/chat/completions", "me:pass")),
        ("https://a:p%40@[::1]/chat/completions", Address("https://[::1]", "https://[::1]/chat/completions", "a:p@")),
        ("https://token@h", Address("https://h", "https://h/chat/completions", "token")),
        ("https://@h/v1", Address("https://h/v1", "https://h/v1/chat/completions")),
        (" https://h/v1 \n", Address("https://h/v1", "https://h/v1/chat/completions")),
        ("https://h/v1/chat/completions/", Address("https://h/v1", "https://h/v1/chat/completions/")),
        ("https://h/d?api-version=1", Address("https://h/d", "https://h/d/chat/completions?api-version=1")),
        ("https://h/d/chat/completions?a=1&b=2", Address("https://h/d", "https://h/d/chat/completions?a=1&b=2")),
        ("http://0.0.0.0:8000/v1", Address("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1/chat/completions")),
        ("http://0.0.0.0", Address("http://127.0.0.1", "http://127.0.0.1/chat/completions")),
        ("http://[::]:1/v1", Address("http://[::1]:1/v1", "http://[::1]:1/v1/chat/completions")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip  # a table
def test_an_address_is_read_as_people_write_it(given: str, address: Address) -> None:
    assert parse_address(given) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:8000",
        "ftp://x/v1",
        "http:///v1",
        "http://[::1",
        "http://h:99999/v1",
        "http://h:0/v1",
        "http://h/#x",
        "http://a b/v1",
        "http://h/v1\nx",
    ],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="not the address of a server"):
        ChatClient(address, model="m")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:hunter2@h/v1?key=hunter2#hunter2", "https://h/v1"),
        ("localhost:8000/v1", "localhost:8000/v1"),
        ("me:hunter2@localhost:8000", "localhost:8000"),
        ("sk-hunter2", "***"),
        ("eyJhunter2.eyJhunter2.hunter2", "***"),
        ("hunter2?x=http://h", "***"),
        ("", ""),
    ],
)
def test_of_what_was_given_as_an_address_only_an_address_is_shown(address: str, shown: str) -> None:
    assert without_secrets(address) == shown


@pytest.mark.parametrize("library", [None, httpx, httpx2])
async def test_a_login_in_the_address_is_sent_as_http_wants_it(library: Any) -> None:
    http = library.AsyncClient(verify=False) if library else None
    with replay(GOOD) as server:
        client = ChatClient(address_of(server), model="m", http=http)
        assert (await client.create("hi")).text == "good"
        await client.aclose()
        if http:
            await http.aclose()
    assert server.requests[0][0]["authorization"] == BASIC


async def test_a_header_of_the_callers_goes_before_a_login() -> None:
    with replay(GOOD) as server:
        client = ChatClient(address_of(server), model="m", headers={"Authorization": "Token t"})
        await client.create("hi")
        await client.aclose()
    assert server.requests[0][0]["authorization"] == "Token t"


@pytest.mark.parametrize("where", ["https://me:hunter2@h/v1", "https://hunter2@h/v1"])
async def test_a_login_beside_a_key_is_refused_before_anything_is_sent(where: str) -> None:
    with pytest.raises(ConfigError, match="h: there is an API key, and the address has a user") as caught:
        ChatClient(where, model="m", api_key="k")
    assert "hunter2" not in str(caught.value)
    client = ChatClient(where, model="m", api_key=lambda: "k")  # the key is known when it is asked for
    with pytest.raises(ConfigError, match="give only one"):
        await client.create("hi")


async def test_a_provider_that_is_elsewhere_takes_a_login_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with replay(GOOD) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", address_of(server))
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        model = open_model("openai:m")
        assert isinstance(model, ChatClient)
        await model.create("hi")
        await model.aclose()
    assert server.requests[0][0]["authorization"] == BASIC


async def test_a_password_is_in_no_error_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = json.dumps({"error": {"message": f"not me:{PASSWORD}, not {BASIC}", "code": PASSWORD}}).encode()
    shown: list[object] = []
    with replay(answer(said, status="401 No"), b"") as server:
        client = ChatClient(address_of(server), model="m", retry=RetryPolicy(retries=0))
        for _ in range(3):  # refused, cut off, nobody there
            with pytest.raises(AgentKitError) as caught:
                await client.create("hi")
            shown += [caught.value, vars(caught.value)]
        await client.aclose()
    shown += [client, client.name, client.base_url, caplog.text]
    text = " ".join(map(str, shown))
    assert not any(secret in text for secret in ("hunter2", BASIC.removeprefix("Basic ")))


@pytest.mark.parametrize(
    "address",
    [
        "https://me:x@h/v1?api_key=hunter2#hunter2",
        "https://h/v1#hunter2",
        "me:hunter2@h/v1",
        "ftp://me:hunter2@h",
        "https://me:hunter2@[h/v1",
        "https://hunter2@",
    ],
)
def test_an_address_that_is_none_is_reported_without_its_password(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ChatClient(address, model="m")
    with pytest.raises(ConfigError) as other:
        open_model(address)
    assert "hunter2" not in f"{caught.value} {other.value}"


def test_an_address_in_place_of_a_name_is_reported_without_its_password() -> None:
    with pytest.raises(ConfigError, match=r"is an address: use ChatClient\('https://h/v1'") as caught:
        open_model("https://me:hunter2@h/v1")
    assert "hunter2" not in str(caught.value)
