"""An MCP server over HTTP that wants a token, and the authorization server that gives it; its person always agrees."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.mcp.web import Handler, WebServer

TOKENS: tuple[str, ...] = ("first", "second")


class LoginServer(WebServer):
    """Both servers, at one address.

    Attributes:
        asked: The queries with which a person was sent to the page that asks them.
        grants: What was exchanged for a token: ``"authorization_code"`` or ``"refresh_token"``.
        denies: Whether the person says no.
        valid: The tokens that let a client in.
    """

    def __init__(self) -> None:
        super().__init__("none", LoginHandler)
        self.asked: list[dict[str, str]] = []
        self.grants: list[str] = []
        self.denies = False
        self.valid = TOKENS

    @property
    def site(self) -> str:
        return self.url.removesuffix("/mcp")


class LoginHandler(Handler):
    server: LoginServer

    def send(self, value: Any, status: int = 200, **headers: str) -> None:
        self.reply(status, json.dumps(value).encode(), **headers)

    def do_GET(self) -> None:  # noqa: N802 - as its base has it
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        site = self.server.site
        if path.startswith("/.well-known/oauth-protected-resource"):
            self.send({"resource": self.server.url, "authorization_servers": [site]})
        elif path.startswith("/.well-known/oauth-authorization-server"):
            places = {name: f"{site}/{name.split('_')[0]}" for name in ("authorization_endpoint", "token_endpoint")}
            more = {"registration_endpoint": f"{site}/register", "code_challenge_methods_supported": ["S256"]}
            self.send({"issuer": site, "response_types_supported": ["code"], **places, **more})
        elif path == "/authorization":
            asked = {name: values[0] for name, values in query.items()}
            self.server.asked.append(asked)
            said = {"error": "access_denied", "error_description": "not today"} if self.server.denies else {"code": "c"}
            back = f"{asked['redirect_uri']}?{urlencode({**said, 'state': asked['state']})}"
            self.reply(302, location=back)
        else:
            self.reply(404)

    def do_POST(self) -> None:  # noqa: N802 - as its base has it
        if self.path == "/register":
            told = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.send({**told, "client_id": "registered", "token_endpoint_auth_method": "none"}, 201)
        elif self.path == "/token":
            self.give_token()
        elif self.headers.get("authorization") in [f"Bearer {each}" for each in self.server.valid]:
            super().do_POST()
        else:
            self.rfile.read(int(self.headers["content-length"]))
            place = f"{self.server.site}/.well-known/oauth-protected-resource"
            self.reply(401, www_authenticate=f'Bearer resource_metadata="{place}"')

    def give_token(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        grant = form["grant_type"][0]
        self.server.grants.append(grant)
        if grant == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
            assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == self.server.asked[-1]["code_challenge"]
        token = TOKENS[grant == "refresh_token"]
        kept = {"refresh_token": "again", "expires_in": 3600}
        self.send({"access_token": token, "token_type": "Bearer", **kept})
