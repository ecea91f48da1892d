"""The file of tokens, and the port that a browser is sent back to."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from mcp.shared.auth import OAuthToken

from agentkit.errors import DefinitionError
from agentkit.mcp import MCPError, MCPToolset, OAuth
from agentkit.mcp.oauth import TokenFile
from tests.mcp.servers import use
from tests.mcp.web import web_server

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
