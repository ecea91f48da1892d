"""Put what went wrong with a server into one sentence.

Exceptions from the SDK, pydantic or a task group say where in a library something happened. A person needs to know what
the server did: its HTTP status, or how its process exited and what it wrote last.
"""

from __future__ import annotations

from typing import Any, cast

from mcp.shared.exceptions import MCPError as SdkError
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT, UNSUPPORTED_PROTOCOL_VERSION
from pydantic import ValidationError

from agentkit.chat import escape_controls
from agentkit.errors import AgentKitError
from agentkit.mcp.errors import MCPError
from agentkit.mcp.http import SAID, STATUS
from agentkit.mcp.target import Command, Target
from agentkit.mcp.wire import Wire

__all__ = ["as_error", "first_of", "status_of"]

_LONGEST = 500


def first_of(error: BaseException) -> BaseException:
    """Return the first error of a group of any depth."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def status_of(error: BaseException | None) -> int | None:
    """Return the HTTP status that an SDK error stands for; 0 if there was no answer at all."""
    data: Any = error.data if isinstance(error, SdkError) else None
    return cast("dict[str, Any]", data).get(STATUS) if isinstance(data, dict) else None


def as_error(error: BaseException | None, what: str, target: Target, name: str, wire: Wire) -> MCPError:
    """The error in one sentence.

    Args:
        error: What was raised, if anything was.
        what: What the server did or failed to do, if the error does not say it better.
        target: The server.
        name: What it is called.
        wire: What is known of the connection.
    """
    error = None if error is None else first_of(error)
    if isinstance(error, MCPError):
        return error
    if isinstance(error, AgentKitError):  # a missing sandbox, for example
        return MCPError(f"the MCP server {target} cannot be started: {error}", server=name)
    status = status_of(error)
    if isinstance(error, OSError) and isinstance(target, Command):
        text = _not_started(error, target)
    elif wire.ended.is_set() and isinstance(target, Command):
        text = f"{_exit(wire)}"
    elif status:
        text = _refusal(status, cast("SdkError", error))
    elif status == 0:
        text = f"cannot be reached: {cast('SdkError', error).message}; is it running, and is the URL right?"
    else:
        text = _said(error) or what
    stderr = wire.stderr
    last = f"; it wrote: {' / '.join(stderr.splitlines()[-3:])[-_LONGEST:]}" if stderr else ""
    return MCPError(
        wire.mask(f"the MCP server {target} {text}{last}"),
        server=name,
        status=status or None,
        exit_status=wire.exit_status,
        stderr=stderr,
    )


def _not_started(error: OSError, target: Command) -> str:
    program = target.arguments[0]
    if isinstance(error, FileNotFoundError) and target.cwd is not None and not target.cwd.is_dir():
        return f"cannot be started: there is no directory {str(target.cwd)!r}"
    if isinstance(error, FileNotFoundError):
        return f"cannot be started: there is no program {program!r}; install it, or give its whole path"
    return f"cannot be started: {error.strerror or error}"


def _exit(wire: Wire) -> str:
    if wire.exit_status is None:
        return "has closed its output"
    if wire.exit_status < 0:
        return f"was ended by signal {-wire.exit_status}"
    return f"has ended with exit status {wire.exit_status}"


def _refusal(status: int, error: SdkError) -> str:
    said = ""
    data: Any = error.data
    if isinstance(data, dict):
        said = str(cast("dict[str, Any]", data).get(SAID, ""))
    beginning = escape_controls(" ".join(said.split()))[:200]
    message = escape_controls(error.message)[:_LONGEST]
    if status < 400:
        return f"is none: {message}; is the URL right?" + (f" The answer begins: {beginning}" if beginning else "")
    meaning = {
        401: "it wants a token, or another one: give it with headers= or auth=",
        403: "the token is not allowed to do this",
        404: "there is nothing at this URL",
        405: "this URL takes no MCP requests",
        429: "it takes no more requests for now",
    }.get(status, "the server failed" if status >= 500 else "the request was refused")
    detail = beginning if message == f"HTTP {status}" else message
    return f"answered with HTTP {status} ({meaning})" + (f": {detail}" if detail else "")


def _said(error: BaseException | None) -> str:
    if isinstance(error, SdkError):
        if error.code == UNSUPPORTED_PROTOCOL_VERSION:
            return f"speaks another revision of the protocol: {escape_controls(error.message)[:_LONGEST]}"
        if error.code == CONNECTION_CLOSED:
            return "has closed the connection"
        if error.code == REQUEST_TIMEOUT:
            return "did not answer in time"
        return f"refused: {escape_controls(error.message)[:_LONGEST] or f'error {error.code}'}"
    if isinstance(error, ValidationError):
        where = ".".join(str(each) for each in error.errors()[0]["loc"][-3:])
        return (
            f"gave an answer that is not one of MCP (at {where})" if where else "gave an answer that is not one of MCP"
        )
    if error is None:
        return ""
    detail = escape_controls(str(error))[:_LONGEST]
    return f"cannot be used: {type(error).__name__}: {detail}" if detail else f"cannot be used: {type(error).__name__}"
