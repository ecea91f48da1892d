"""What agents and gateways share: the caller, the backend, and the parameters of a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeAlias, cast

from agentkit.chat import (
    AllowedTools,
    ChatSettings,
    CustomTool,
    FunctionTool,
    Grammar,
    NamedTool,
    ToolChoice,
    ToolDefinition,
)
from agentkit.errors import ConfigError
from agentkit.serve.completion import Answer, Completion, Part
from agentkit.serve.errors import bad_request
from agentkit.serve.wire import ChatBody, Json

__all__ = ["Backend", "Caller", "Job", "Send", "read_choice", "read_settings", "read_tools"]

Send: TypeAlias = Callable[[int, Part], Awaitable[None]]
"""Sends a part of the answer with this index."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request.

    Attributes:
        owner: Identifies the token without revealing it; empty if none is needed.
        headers: The headers, with names in lower case.
    """

    owner: str
    headers: Mapping[str, str]


class Job(Protocol):
    """A prepared answer."""

    completion: Completion

    async def run(self, send: Send | None) -> Sequence[Answer]:
        """Create the answers.

        Args:
            send: Sends each part as it is created; None to send them together.
        """
        ...


class Backend(Protocol):
    """Answers the requests for one model."""

    @property
    def name(self) -> str:
        """The name of the model."""
        ...

    async def prepare(self, body: ChatBody, raw: Json, caller: Caller) -> Job:
        """Prepare the answer of a request.

        Args:
            body: The validated request.
            raw: The request as the client wrote it.
            caller: The sender.

        Raises:
            ApiError: Something in it is wrong.
        """
        ...


_NO_SETTINGS = ChatSettings()
_PASSED_ON = frozenset(each.name for each in fields(ChatSettings)) - {"extra_body", "extra_headers"}


def read_settings(raw: Json, *, without: Collection[str], **more: Any) -> ChatSettings:
    """Read the parameters to pass on to the model.

    Args:
        raw: The request as the client wrote it.
        without: Parameters that are not passed on, because the server implements them itself.
        **more: Further settings.

    Raises:
        ApiError: Some of them exclude each other; ``param`` names one.
    """
    names = _PASSED_ON - set(without)
    given: dict[str, Any] = {name: raw[name] for name in raw if name in names and raw[name] is not None}
    if not given and not more:
        return _NO_SETTINGS
    try:
        return ChatSettings(**given, **more)
    except ConfigError as error:
        param = min((name for name in given if name in str(error)), key=str(error).index, default=None)
        raise bad_request(f"Invalid value: {error}.", param, code="invalid_value") from None


def read_choice(raw: Any, names: Collection[str]) -> ToolChoice | None:
    """Read a tool choice that was validated.

    Args:
        raw: The choice; None if there is none.
        names: The names of the request's tools.

    Raises:
        ApiError: There are no tools to choose from, or it names another one.
    """
    if raw is None:
        return None
    if raw in ("none", "auto"):
        return "none" if raw == "none" else "auto"
    if not names:
        raise bad_request("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    if raw == "required":
        return "required"
    chosen = raw["allowed_tools"]["tools"] if raw["type"] == "allowed_tools" else [raw]
    named = [NamedTool(each[each["type"]]["name"], each["type"]) for each in chosen]
    for each in named:
        if each.name not in names:
            raise bad_request(f"'tool_choice' names {each.name!r}, which is not one of 'tools'.", "tool_choice")
    return AllowedTools(named, raw["allowed_tools"]["mode"]) if raw["type"] == "allowed_tools" else named[0]


def read_tools(raw: Sequence[Mapping[str, Any]]) -> list[ToolDefinition]:
    """Read tools that were validated."""
    return [_custom(each["custom"]) if each["type"] == "custom" else _function(each["function"]) for each in raw]


def _function(raw: Mapping[str, Any]) -> FunctionTool:
    parameters: Json = raw.get("parameters") or {"type": "object", "properties": {}}
    return FunctionTool(raw["name"], raw.get("description") or "", parameters, raw.get("strict"))


def _custom(raw: Mapping[str, Any]) -> CustomTool:
    grammar: Json | None = cast("Json", raw.get("format") or {}).get("grammar")
    form = None if grammar is None else Grammar(grammar["syntax"], grammar["definition"])
    return CustomTool(raw["name"], raw.get("description") or "", form)
