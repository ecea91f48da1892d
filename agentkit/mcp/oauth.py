"""OAuth with the SDK's provider: a file of tokens, and a local server that the browser is redirected to."""

from __future__ import annotations

import json
import logging
import time
import webbrowser
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread
from anyio.abc import SocketStream
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.exceptions import OAuthFlowError
from mcp.client.auth.utils import union_scopes
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
)
from pydantic import AnyUrl, BaseModel, ValidationError

from agentkit.chat import write_atomically
from agentkit.mcp.auth import OAuth
from agentkit.mcp.wire import Wire

__all__ = ["TokenFile", "make_provider"]

Stored = TypeVar("Stored", bound=BaseModel)


class _Expiry(BaseModel):
    at: float  # seconds since 1970


log = logging.getLogger("agentkit.mcp")

_HEAD = 16 * 1024  # bytes of a request of the browser


def make_provider(oauth: OAuth, url: str, wire: Wire) -> OAuthClientProvider:
    """Create the provider that signs the requests to a server."""
    back = AnyUrl(f"http://127.0.0.1:{oauth.port}/callback")
    asked: list[str] = []

    async def redirect(address: str) -> None:
        asked.append(address)

    async def callback() -> AuthorizationCodeResult:
        with wire.waiting_for_a_person():
            address = await (oauth.authorize or _Browser(oauth))(asked[-1])
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        if "error" in query:
            raise OAuthFlowError(f"access was denied: {query.get('error_description') or query['error']}")
        return AuthorizationCodeResult(code=query.get("code", ""), state=query.get("state"), iss=query.get("iss"))

    return _Provider(
        oauth,
        url,
        OAuthClientMetadata(
            client_name="agentkit",
            redirect_uris=[back],
            scope=" ".join(oauth.scopes) or None,
            token_endpoint_auth_method="client_secret_basic" if oauth.client_secret else None,
        ),
        TokenFile(oauth, url),
        redirect,
        callback,
        oauth.client_metadata_url or None,
    )


class _Provider(OAuthClientProvider):
    """The provider of the SDK. It also asks for the scopes that a user chose, and renews a token that was stored."""

    def __init__(self, oauth: OAuth, url: str, metadata: OAuthClientMetadata, file: TokenFile, *rest: Any) -> None:
        super().__init__(url, metadata, file, *rest)
        self._scopes = " ".join(oauth.scopes)
        self._file = file
        file.server = lambda: self.context.oauth_metadata

    async def _initialize(self) -> None:
        await super()._initialize()
        self.context.oauth_metadata = self._file.get_server()
        if self.context.oauth_metadata is not None and self.context.current_tokens is not None:
            self.context.update_token_expiry(self.context.current_tokens)

    async def _perform_authorization(self) -> Any:
        about = self.context.client_metadata
        if self._scopes:  # the SDK asks for those that the server names; a valid token needs more than it has
            about.scope = union_scopes(self._scopes, about.scope if self.context.is_token_valid() else None)
        return await super()._perform_authorization()


class TokenFile:
    """The tokens and the registration for one server, in a file that only its owner may read."""

    def __init__(self, oauth: OAuth, url: str) -> None:
        self._oauth, self._url = oauth, url
        self.server: Callable[[], OAuthMetadata | None] = lambda: None  # which gives the tokens

    async def get_tokens(self) -> OAuthToken | None:
        """The stored token, with the seconds that it is still valid."""
        stored = self._read("tokens", OAuthToken)
        expires = self._read("expires", _Expiry)
        if stored is not None and expires is not None:
            stored.expires_in = int(expires.at - time.time())
        return stored

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Store a token, when it expires, and the server that renews it."""
        server = self.server()
        self._write(
            tokens=tokens,
            expires=None if tokens.expires_in is None else _Expiry(at=time.time() + tokens.expires_in),
            server=server,
        )

    def get_server(self) -> OAuthMetadata | None:
        """The server that gave the stored token."""
        return self._read("server", OAuthMetadata)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Return the registration of the client: the given one, or the stored one."""
        if not self._oauth.client_id:
            return self._read("client", OAuthClientInformationFull)
        secret = self._oauth.client_secret
        return OAuthClientInformationFull(
            client_id=self._oauth.client_id,
            client_secret=secret or None,
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            redirect_uris=[AnyUrl(f"http://127.0.0.1:{self._oauth.port}/callback")],
        )

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Store a registration."""
        if not self._oauth.client_id:
            self._write(client=client_info)

    def _servers(self) -> dict[str, Any]:
        try:
            raw: object = json.loads(self._oauth.store.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}

    def _read(self, name: str, kind: type[Stored]) -> Stored | None:
        server = self._servers().get(self._url)
        stored = cast("dict[str, Any]", server).get(name) if isinstance(server, dict) else None
        try:
            return None if stored is None else kind.model_validate(stored)
        except ValidationError:
            return None  # of another version: a person allows the access again

    def _write(self, **values: BaseModel | None) -> None:
        servers = self._servers()
        server = servers.get(self._url)
        known = cast("dict[str, Any]", server) if isinstance(server, dict) else {}
        written = {name: each and each.model_dump(mode="json", exclude_none=True) for name, each in values.items()}
        servers[self._url] = {**known, **written}
        path = self._oauth.store
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, json.dumps(servers, indent=2))


class _Browser:
    """Has a person grant access in a browser, and receives the answer on a local port."""

    def __init__(self, oauth: OAuth) -> None:
        self._oauth = oauth
        self._address = ""
        self._answered = anyio.Event()

    async def __call__(self, address: str) -> str:
        try:
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self._oauth.port)
        except OSError as error:
            raise OAuthFlowError(f"port {self._oauth.port} of this machine is in use: {error.strerror}") from None
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._take)
            log.warning("to allow the access, open %s", address)
            await anyio.to_thread.run_sync(webbrowser.open, address)
            with anyio.move_on_after(self._oauth.timeout):
                await self._answered.wait()
            tasks.cancel_scope.cancel()
        if not self._address:
            raise OAuthFlowError(f"nobody granted access within {self._oauth.timeout:g} seconds")
        return self._address

    async def _take(self, stream: SocketStream) -> None:
        async with stream:
            head = b""
            with anyio.move_on_after(10):
                while b"\r\n\r\n" not in head and len(head) < _HEAD:
                    head += await stream.receive()
            path = head.split(b" ", 2)[1].decode("ascii", "replace") if head.count(b" ") > 1 else ""
            is_answer = path.startswith("/callback?")
            text = "You can close this window." if is_answer else "There is nothing here."
            status = "200 OK" if is_answer else "404 Not Found"
            answer = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(text)}\r\n\r\n{text}"
            await stream.send(f"{answer}".encode())
            if is_answer:
                self._address = path
                self._answered.set()
