"""``agentkit view``: traces as a page, written to a file or shown while the run runs."""

from __future__ import annotations

import secrets
import sys
import threading
import time
import webbrowser
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import parse_qs, urlsplit

import typer

from agentkit.cli.errors import handle_errors
from agentkit.cli.files import write_private
from agentkit.cli.options import DebugOption
from agentkit.errors import ConfigError
from agentkit.trace import Timeline, read_events, render_page, render_runs, timelines

__all__ = ["view"]

_OURS = "agentkit</title>"
_UNSEEN, _LEFT = 600.0, 180.0  # seconds without a request after which --follow ends; a hidden page polls once a minute


def view(
    traces: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE [FILE]", help="The file written by --trace; with two, their last runs are compared."
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Write the page here; - for standard output.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show the run live on a local page.")] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    debug: DebugOption = False,
) -> None:
    """Turn a trace into one HTML page: what ran when, and why.

    The page is self-contained and written next to the trace. With --follow, it is served to this machine only while the
    run runs; the command ends with Ctrl-C, or when the page is closed.

    \b
    agentkit run --trace run.jsonl "What is 19 + 23?"
    agentkit view run.jsonl --open
    agentkit view monday.jsonl tuesday.jsonl -o difference.html
    agentkit view --follow run.jsonl
    """  # noqa: D301
    with handle_errors(debug=debug):
        if len(traces) > 2:
            raise ConfigError("give one trace to show, or two to compare")
        if follow:
            if output:
                raise ConfigError("a page that follows a run is not written to a file: leave out -o or --follow")
            _serve(traces, open_browser=open_)
            return
        sources = _read(traces)
        for name, runs in sources:
            if not runs:
                raise ConfigError(f"no run has started in {name!r} yet; `agentkit view --follow` waits for one")
        page = render_page(sources)
        if output == "-":
            typer.echo(page, nl=False)
            return
        path = Path(output or Path(traces[0]).with_suffix(".html"))
        if not output:
            _check_ours(path)
        write_private(str(path), page, "page")
        typer.echo(str(path))
        if open_:
            webbrowser.open(path.resolve().as_uri())


def _read(traces: Sequence[str], *, wait: bool = False) -> list[tuple[str, Sequence[Timeline]]]:
    """Read the traces; with ``wait``, one that does not exist yet has no runs."""
    return [
        (Path(each).name, [] if wait and not Path(each).exists() else timelines(read_events(each))) for each in traces
    ]


def _check_ours(path: Path) -> None:
    """Refuse to overwrite a file that is not such a page.

    Raises:
        ConfigError: The file is not such a page.
    """
    if path.is_file() and _OURS not in path.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise ConfigError(f"{str(path)!r} exists and is not a page written by agentkit: name the page with -o")


class _Server(ThreadingHTTPServer):
    """Serves the page on this machine, to anyone who knows its address."""

    daemon_threads = True

    def __init__(self, traces: Sequence[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.traces = traces
        self.path = f"/{secrets.token_urlsafe(16)}/"
        self.host = f"127.0.0.1:{self.server_port}"
        self.until = time.monotonic() + _UNSEEN
        self._lock = threading.Lock()
        self._rendered = ("", "")

    def version(self) -> str:
        """Return a value that changes when a trace does."""
        found = [Path(each).stat() for each in self.traces if Path(each).exists()]
        return "-".join(f"{each.st_size}.{each.st_mtime_ns}" for each in found) or "none"

    def runs(self) -> tuple[str, str]:
        """Return the version of the traces and the page, which is rendered once per version."""
        with self._lock:
            version = self.version()
            if self._rendered[0] != version:
                self._rendered = (version, render_runs(_read(self.traces, wait=True)))
            return self._rendered


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer a request."""
        server = cast("_Server", self.server)
        server.until = time.monotonic() + _LEFT
        place = urlsplit(self.path)
        if self.headers.get("host") != server.host or not place.path.startswith(server.path):
            self._send(404, "text/plain", "not found")
        elif place.path == server.path:
            self._send(200, "text/html", render_page(_read(server.traces, wait=True), live=True))
        elif parse_qs(place.query).get("version") == [server.version()]:
            self._send(204, "text/html", "")
        else:
            version, runs = server.runs()
            self._send(200, "text/html", runs, version)

    def _send(self, status: int, kind: str, body: str, version: str = "") -> None:
        data = body.encode("utf-8", "replace")
        self.send_response(status)
        headers = {"content-type": f"{kind}; charset=utf-8", "content-length": str(len(data)), "x-version": version}
        headers |= {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing."""


def _serve(traces: Sequence[str], *, open_browser: bool) -> None:
    _read(traces, wait=True)  # refuse a file that is not a trace before the page is served
    with _Server(traces) as server:
        url = f"http://{server.host}{server.path}"
        typer.echo(url)
        sys.stdout.flush()
        typer.echo("Ctrl-C ends; so does closing the page", err=True)
        server.timeout = 0.5
        if open_browser:
            webbrowser.open(url)
        try:
            while time.monotonic() < server.until:
                server.handle_request()
        except KeyboardInterrupt:
            typer.echo("", err=True)
