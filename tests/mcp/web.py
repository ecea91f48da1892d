"""An MCP server over HTTP that breaks one thing, without the SDK. It speaks the revisions before 2026."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

ECHO = {"name": "echo", "description": "Say it again.", "inputSchema": {"type": "object", "properties": {}}}
EVENTS = b"""event: message\r
data: {"jsonrpc":"2.0","method":"notifications/message",\r
data: "params":{"level":"info","data":"\xfe"}}\r
\r
: a comment\r
\r
"""
STATUS = {"401": 401, "403": 403, "404": 404, "405": 405, "429": 429, "500": 500}


@cache
def bomb() -> bytes:
    """200 MB of nothing."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(200)), packer.flush()])


class WebServer(ThreadingHTTPServer):
    """Plays one fault.

    Attributes:
        requests: The methods that were asked for, with the session that they were asked in.
        headers: The headers of the last request.
    """

    daemon_threads = True

    def __init__(self, fault: str, handler: type[BaseHTTPRequestHandler] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler or Handler)
        self.fault = fault
        self.requests: list[tuple[str, str]] = []
        self.headers: dict[str, str] = {}
        self.calls = 0
        self.whole = b""
        self.sessions = 0
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mcp"


class Handler(BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        continued = self.headers.get("last-event-id", "")
        if self.server.fault != "events that continue" or not continued:
            self.reply(405)
            return
        self.server.requests.append(("GET", continued))
        self.reply(200, b"id: e2\ndata: " + self.server.whole + b"\n\n", "text/event-stream")

    def do_DELETE(self) -> None:
        self.server.requests.append(("DELETE", self.headers.get("mcp-session-id", "")))
        self.reply(200)

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        session, method = self.headers.get("mcp-session-id", ""), message.get("method", "")
        self.server.requests.append((method, session))
        self.server.headers = {name.lower(): value for name, value in self.headers.items()}
        if not self.refuse():
            self.handle_message(message, method)

    def refuse(self) -> bool:
        """Play the faults that hold for every request."""
        fault = self.server.fault
        refusals: dict[str, tuple[int, bytes, str]] = {
            "html": (200, b"<html>Welcome</html>", "text/html; charset=utf-8"),
            "empty": (200, b"", "application/json"),
            **{name: (status, b"<html>Sign in \x1b[1m first</html>", "text/html") for name, status in STATUS.items()},
        }
        if fault in refusals:
            self.reply(*refusals[fault])
        elif fault == "redirect":
            self.reply(307, location="http://elsewhere.example/mcp")
        elif fault == "moved" and not self.path.endswith("/"):
            self.reply(307, location="/mcp/")
        elif fault == "silent":
            self.server.released.wait(30)
        else:
            return False
        return True

    def handle_message(self, message: Any, method: str) -> None:
        if "id" not in message:
            self.reply(202)
        elif method == "initialize":
            self.server.sessions += 1
            info = {"name": "web", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            self.answer(message, result, mcp_session_id=f"s{self.server.sessions}")
        elif method == "tools/list":
            self.answer(message, {"tools": [ECHO]})
        elif method == "tools/call":
            self.call(message)
        else:
            self.reply(400, b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32601, "message": "?"}}')

    def answer(self, message: Any, result: Any, **headers: str) -> None:
        self.reply(200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode(), **headers)

    def call(self, message: Any) -> None:
        server = self.server
        server.calls += 1
        said = "x" * 20_000_000 if server.fault == "large" else str(message["params"]["arguments"].get("text"))
        result = {"content": [{"type": "text", "text": said}]}
        whole = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        bodies: dict[str, tuple[bytes, str]] = {
            "not utf-8": (whole.replace(b'"text": "', b'"text": "\xff'), "application/json"),
            "other id": (whole.replace(f'"id": {message["id"]}'.encode(), b'"id": null'), "application/json"),
            "null": (json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": None}).encode(), "application/json"),
            "events": (EVENTS + b"data: not json\r\n\r\ndata: " + whole + b"\r\n\r\n", "text/event-stream"),
            "events that end": (b": nothing\n\n", "text/event-stream"),
            "events that continue": (b"id: e1\nretry: 10\ndata:\n\n", "text/event-stream"),
        }
        server.whole = whole
        if server.fault == "forgets" and server.calls == 1:
            self.reply(404)
        elif server.fault == "fails":
            self.reply(503, b"overloaded", "text/plain")
        elif server.fault in ("bomb", "gzip"):
            self.reply(200, bomb() if server.fault == "bomb" else gzip.compress(whole), content_encoding="gzip")
        elif server.fault == "breaks":
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "100000")
            self.end_headers()
            self.wfile.write(whole[:20])
            self.close_connection = True
        elif server.fault == "hangs":
            server.released.wait(30)
        else:
            self.reply(200, *bodies.get(server.fault, (whole, "application/json")))


Server = TypeVar("Server", bound=WebServer)


@contextmanager
def serving(server: Server) -> Generator[Server]:
    """Run a server in a thread until the block is left."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def web_server(fault: str) -> Generator[WebServer]:
    """A server that plays a fault until the block is left."""
    with serving(WebServer(fault)) as server:
        yield server
