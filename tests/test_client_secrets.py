"""No key, password or token is in any error, wherever it comes from and however a server repeats it."""

import base64
import functools
import json
import logging
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import httpx2
import pytest

from agentkit.chat import ChatClient, ReadLimits, RetryPolicy
from agentkit.errors import AgentKitError
from tests.replay import answer, completion, events, replay

pytestmark = pytest.mark.anyio

KEY = 'Zq7/x+K9"vT2\\mW4=pL8'
HEADER_KEY = KEY.replace('"', "-").replace("\\", "_")  # what a header may hold
PIECE = 6  # characters that may never be seen in a row


def via_http(**options: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda library: {"http": library.AsyncClient(trust_env=False, verify=False, **options)}


def via(**options: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda library: options


SOURCES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "api_key": via(api_key=HEADER_KEY),
    "a function": via(api_key=lambda: HEADER_KEY),
    "a header of its own": via(api_key=HEADER_KEY, key_header="x-goog-api-key"),
    "x-jwt": via(headers={"x-jwt": HEADER_KEY}),
    "x-pat": via(headers={"X-PAT": f"Bearer {HEADER_KEY}"}),
    "basic": via(headers={"Authorization": "Basic " + base64.b64encode(f"me:{HEADER_KEY}".encode()).decode()}),
    "login": via(),
    "query": via(),
    "headers of the client": via_http(headers={"x-signature": HEADER_KEY}),
    "cookies of the client": via_http(cookies={"sid": HEADER_KEY}),
    "parameters of the client": via_http(params={"sig": HEADER_KEY}),
    "auth of the client": via_http(auth=("me", HEADER_KEY)),
}


def forms(secret: str) -> dict[str, str]:
    return {
        "plain": secret,
        "json": json.dumps(secret)[1:-1],
        "slashes": secret.replace("/", "\\/"),
        "unicode": "".join(f"\\u{ord(each):04x}" for each in secret),
        "url": quote(secret, safe=""),
    }


@functools.cache
def answers(said: str) -> dict[str, Any]:
    """What a server sends that repeats a secret; ``said`` is in the form that JSON can hold."""
    quoted = said if "\\" in said else json.dumps(said)[1:-1]
    error = f'{{"error": {{"message": "no {quoted} here", "code": "{quoted}", "param": "{quoted}"}}}}'.encode()
    line = said.replace("\\", "").encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    return {
        "error": answer(error, status="401 No"),
        "error in 200": answer(error),
        "error in a stream": head + b"data: " + error + b"\n\n",
        "error event": head + b"event: error\ndata: " + said.encode() + b"\n\n",
        "broken event": head + b'data: {"' + said.encode() + b"\n\n",
        "long error": answer(b'{"error": {"message": "' + b"x " * 95 + quoted.encode() + b'"}}', status="400 No"),
        "truncated": answer(error[:-25], status="400 No"),
        "html": answer(b"<html><p>" + said.encode() + b"</p></html>", status="502 Bad"),
        "page": answer(b"<html>" + said.encode(), kind="text/html"),
        "status line": b"HTTP/1.1 x" + line + b" OK\r\n\r\n",
        "no http": line + b"\r\n\r\n",
        "header line": b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\n",
        "chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + line + b"\r\n",
        "content-encoding": answer(b"x", headers=f"content-encoding: {line.decode()}\r\n"),
        "location": answer(b"", status="302 Found", headers=f"location: https://h/?k={line.decode()}\r\n"),
        "request id": answer(b"{}", status="500 No", headers=f"x-request-id: {line.decode()}\r\n"),
        "reason": f"HTTP/1.1 500 {line.decode()}\r\ncontent-length: 0\r\n\r\n".encode(),
        "large": answer(b'"' + line * 100_000 + b'"'),
    }


KINDS = list(answers("x"))


def legible(text: str, secret: str) -> list[str]:
    return [piece for at in range(len(secret) - PIECE + 1) if (piece := secret[at : at + PIECE]) in text]


async def everything_said(sent: Any, source: str, library: Any, caplog: pytest.LogCaptureFixture) -> str:
    """All that can be seen of what went wrong: the error, its members, its traceback, its context, the log."""
    options = SOURCES[source](library)
    with replay(sent) as server:
        url = server.url
        if source == "login":
            url = url.replace("://", f"://me:{quote(HEADER_KEY, safe='')}@")
        if source == "query":
            url += f"?api_key={quote(HEADER_KEY, safe='')}"
        client = ChatClient(url, model="m", retry=RetryPolicy(retries=0), learn=False, **options)
        try:
            with pytest.raises(AgentKitError) as caught:
                await client.create("hi")
        finally:
            await client.aclose()
            if "http" in options:
                await options["http"].aclose()
    error = caught.value
    shown = [repr(client), client.base_url, client.info, error, vars(error), error.__context__, error.__cause__]
    return " ".join([*map(repr, shown), *traceback.format_exception_only(error), caplog.text])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.turns
async def test_a_secret_of_any_source_is_in_no_error(source: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    said = await everything_said(answers(HEADER_KEY)[kind], source, httpx2, caplog)
    assert not legible(said, HEADER_KEY), said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", [name for name in SOURCES if name.endswith("of the client")])
@pytest.mark.turns
async def test_a_secret_of_a_client_of_httpx_is_in_no_error(
    source: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    said = await everything_said(answers(HEADER_KEY)[kind], source, httpx, caplog)
    assert not legible(said, HEADER_KEY), said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", forms(HEADER_KEY))
@pytest.mark.turns
async def test_a_secret_in_any_form_is_in_no_error(form: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    written = forms(HEADER_KEY)[form]
    said = await everything_said(answers(written)[kind], "api_key", httpx2, caplog)
    assert not legible(said, HEADER_KEY)
    assert not legible(said, written) or form == "unicode"
    assert form != "unicode" or said.count("\\u00") < 6


@pytest.mark.parametrize("cut", range(8, len(HEADER_KEY)))
async def test_a_secret_that_a_server_truncated_is_in_no_error(cut: int, caplog: pytest.LogCaptureFixture) -> None:
    for part in (HEADER_KEY[:cut], HEADER_KEY[-cut:]):
        body = json.dumps({"error": {"message": f"wrong key {part}... see the page"}}).encode()
        said = await everything_said(answer(body, status="401 No"), "api_key", httpx2, caplog)
        assert not legible(said, HEADER_KEY)


async def test_a_secret_in_what_the_model_says_is_left_alone() -> None:
    with replay(completion({"content": f"I see {HEADER_KEY}"}), events({"content": f"I see {HEADER_KEY}"})) as server:
        client = ChatClient(server.url, model="m", api_key=HEADER_KEY, read_limits=ReadLimits())
        assert (await client.create("hi")).text == f"I see {HEADER_KEY}"
        async with client.stream("hi") as deltas:
            assert "".join([text async for text in deltas.text()]) == f"I see {HEADER_KEY}"
        await client.aclose()
