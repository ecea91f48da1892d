"""The process, or the processes, in which a server runs. uvicorn and httptools do the HTTP."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from agentkit.errors import ConfigError
from agentkit.serve.http import Server
from agentkit.serve.security import is_loopback

if TYPE_CHECKING:
    import uvicorn

__all__ = ["http_config", "listen", "run", "serve_forever"]

_BACKLOG = 2048


def run(server: Server, *, host: str = "127.0.0.1", port: int = 8000, drain: float = 30) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        server: What `app` or `gateway` made.
        host: The address to listen on.
        port: The port; 0 for a free one.
        drain: Seconds that requests may still take after SIGTERM; then they are cancelled.

    Raises:
        ConfigError: The address is not available, or others could reach a server that needs no token.
    """
    check_reach(host, is_open=server.is_open)
    serve_forever(server, listen(host, port), drain=drain)


def check_reach(host: str, *, is_open: bool) -> None:
    """Refuse a server that anyone could use.

    Raises:
        ConfigError: Others can reach it, and it needs no token.
    """
    if is_open and not is_loopback(host):
        raise ConfigError(
            f"a server that others can reach needs a token: listen on 127.0.0.1 instead of {host}, or set one"
        )


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address.

    Raises:
        ConfigError: It is not available, or uvicorn is not installed.
    """
    for name in ("uvicorn", "httptools"):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"serving needs {name}: pip install 'agentkit[serve]'")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        made = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {host}, port {port}: {error}") from error
    made.set_inheritable(True)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections have it too: no chunk waits for the next
    return made


def serve_forever(
    server: ASGIApp | str, listener: socket.socket, *, drain: float = 30, workers: int = 1, log: str = "warning"
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        server: The server; for several workers, ``module:function`` of the function that creates it in each.
        listener: Where clients connect.
        drain: Seconds that requests may still take after SIGTERM.
        workers: The number of processes.
        log: The level of uvicorn's log.
    """
    import uvicorn  # noqa: PLC0415 - an app that is mounted in another one needs no server of its own
    from uvicorn.supervisors import Multiprocess  # noqa: PLC0415

    config = http_config(server, drain=drain, workers=workers, log=log)
    serve: Callable[[], None] = (
        Multiprocess(config, [listener]).run if workers > 1 else lambda: uvicorn.Server(config).run([listener])
    )
    with listener:
        serve()


def http_config(server: ASGIApp | str, *, drain: float = 30, workers: int = 1, log: str = "warning") -> uvicorn.Config:
    """How uvicorn serves it; the arguments are those of `serve_forever`."""
    import uvicorn  # noqa: PLC0415 - see above

    return uvicorn.Config(
        server,
        factory=isinstance(server, str),
        workers=workers,
        http="agentkit.serve.protocol:BoundedProtocol",
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=max(1, int(drain)),
        log_level=log,
        access_log=False,
        server_header=False,
    )
