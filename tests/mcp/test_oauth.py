"""The file of tokens, and the port that a browser is sent back to."""

from __future__ import annotations

import json
import socket
import stat
import threading
import webbrowser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from mcp.shared.auth import OAuthToken

from agentkit import Event
from agentkit.errors import DefinitionError
from agentkit.mcp import MCPError, MCPToolset, OAuth
from agentkit.mcp.oauth import TokenFile
from tests.mcp.login import LoginServer
from tests.mcp.servers import results, use
from tests.mcp.web import serving, web_server

pytestmark = pytest.mark.anyio


async def test_tokens_are_kept_in_a_file_that_only_its_owner_may_read(tmp_path: Path) -> None:
    oauth = OAuth(store=tmp_path / "deep" / "tokens.json")
    one, other = TokenFile(oauth, "https://one.example/mcp"), TokenFile(oauth, "https://other.example/mcp")
    assert await one.get_tokens() is None
    await one.set_tokens(OAuthToken(access_token="first"))
    await other.set_tokens(OAuthToken(access_token="second"))
    assert [(await each.get_tokens()) for each in (one, other)] == [
        OAuthToken(access_token="first"),
        OAuthToken(access_token="second"),
    ]
    assert stat.S_IMODE(oauth.store.stat().st_mode) == 0o600
    oauth.store.write_text("broken", encoding="utf-8")
    assert await one.get_tokens() is None


async def test_a_client_that_is_registered_already_is_not_stored(tmp_path: Path) -> None:
    oauth = OAuth(store=tmp_path / "tokens.json", client_id="me", client_secret="hidden")
    client = await TokenFile(oauth, "https://one.example/mcp").get_client_info()
    assert client is not None
    assert (client.client_id, client.token_endpoint_auth_method) == ("me", "client_secret_basic")
    await TokenFile(oauth, "https://one.example/mcp").set_client_info(client)
    assert not oauth.store.exists()
    assert "hidden" not in repr(oauth)


async def test_a_login_that_fails_is_one_sentence(tmp_path: Path) -> None:
    with web_server("401") as server, pytest.raises(MCPError, match="answered with HTTP 401") as caught:
        await use(MCPToolset(server.url, auth=OAuth(store=tmp_path / "tokens.json")))
    assert caught.value.status == 401


def test_oauth_is_for_urls() -> None:
    with pytest.raises(DefinitionError, match="auth= applies only to a URL"):
        MCPToolset("server", auth=OAuth())


# The login in a browser.


@pytest.fixture
def port() -> int:
    """A port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found: int = listener.getsockname()[1]
    return found


class Browser:
    """A browser and the person in front of it: it goes where it is sent, in a thread of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pages: list[tuple[int, str]] = []
        monkeypatch.setattr(webbrowser, "open", self.open)

    def open(self, address: str) -> bool:
        threading.Thread(target=self.visit, args=(address,), daemon=True).start()
        return True

    def visit(self, address: str) -> None:
        for wrong in ("favicon.ico", "callback"):  # what a browser asks for too
            back = parse_qs(urlsplit(address).query)["redirect_uri"][0]
            self.pages.append((httpx2.get(back.replace("callback", wrong)).status_code, ""))
        page = httpx2.get(address, follow_redirects=True)
        self.pages.append((page.status_code, page.text))


async def test_a_person_allows_the_access_in_a_browser_and_later_runs_need_nobody(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    browser = Browser(monkeypatch)
    store = tmp_path / "tokens.json"
    with serving(LoginServer()) as server:
        for _ in range(2):
            events: list[Event] = []
            toolset = MCPToolset(server.url, auth=OAuth(store=store, port=port, scopes=["read"], timeout=20))
            run = await use(toolset, events=events)
            assert results(run) == ["hello"]
            assert "first" not in f"{run.state.to_json()}{events}"
    assert [status for status, _ in browser.pages] == [404, 404, 200]
    assert browser.pages[-1][1] == "You can close this window."
    [asked] = server.asked
    assert (asked["scope"], asked["client_id"], asked["code_challenge_method"]) == ("read", "registered", "S256")
    assert asked["redirect_uri"] == f"http://127.0.0.1:{port}/callback"
    assert server.grants == ["authorization_code"]
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert f"to allow the access, open {server.site}/authorization?" in caplog.text


async def test_a_stored_token_that_has_expired_is_renewed_without_a_person(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Browser(monkeypatch)
    oauth = OAuth(store=tmp_path / "tokens.json", port=port, timeout=20)
    with serving(LoginServer()) as server:
        await use(MCPToolset(server.url, auth=oauth))
        stored = json.loads(oauth.store.read_text(encoding="utf-8"))
        stored[server.url]["expires"]["at"] = 1
        oauth.store.write_text(json.dumps(stored), encoding="utf-8")
        server.valid = ("second",)
        for _ in range(2):
            assert results(await use(MCPToolset(server.url, auth=oauth))) == ["hello"]
    assert (len(server.asked), server.grants) == (1, ["authorization_code", "refresh_token"])


@pytest.mark.parametrize(
    ("denies", "opens", "said"),
    [(True, True, "access was denied: not today"), (False, False, "nobody granted access within 0.3 seconds")],
)
async def test_a_login_that_does_not_happen_is_one_sentence(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch, denies: bool, opens: bool, said: str
) -> None:
    Browser(monkeypatch)
    if not opens:
        monkeypatch.setattr(webbrowser, "open", lambda _address: False)
    with serving(LoginServer()) as server, pytest.raises(MCPError, match=said):
        server.denies = denies
        oauth = OAuth(store=tmp_path / "tokens.json", port=port, timeout=20 if opens else 0.3)
        await use(MCPToolset(server.url, auth=oauth))
    assert not server.grants


async def test_a_port_that_is_in_use_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Browser(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as taken, serving(LoginServer()) as server:
        port = taken.getsockname()[1]
        with pytest.raises(MCPError, match=f"port {port} of this machine is in use"):
            await use(MCPToolset(server.url, auth=OAuth(store=tmp_path / "tokens.json", port=port)))
