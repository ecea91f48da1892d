"""The messages of a request: their order, as the API requires it, and the calls that belong to runs of this server.

The id of a call sent to a client names the run that waits for its result, the turn, and the place of the call in that
turn. So when a client sends its whole conversation again, it says which run it continues, to every process that can
read the stored runs.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from agentkit.messages import AssistantMessage, Message, ToolMessage, read_message
from agentkit.serve.errors import bad_request

__all__ = ["CallPlace", "Continued", "call_id", "check_order", "continued_run", "new_run_id", "read_messages"]

_RUN = "run_"
_CALL = re.compile(r"call_(?P<token>[0-9a-f]{24})_(?P<turn>\d{1,6})_(?P<place>\d{1,4})")


class CallPlace(NamedTuple):
    """The place of a call in its run: the turn, counted from 1, and the call in that turn, counted from 0."""

    turn: int
    place: int


@dataclass(frozen=True, slots=True)
class Continued:
    """A request that continues a run.

    Attributes:
        run_id: The run.
        prefix: The number of messages in the request before the run.
        results: The client's results, by the place of their call.
        turn: The turn of these calls.
        after: The messages after the results.
    """

    run_id: str
    prefix: int
    results: Mapping[CallPlace, ToolMessage]
    turn: int
    after: Sequence[Message]


def new_run_id() -> str:
    """Return an id that nobody can guess: whoever knows it may continue the run."""
    return _RUN + secrets.token_hex(12)


def call_id(run_id: str, turn: int, place: int) -> str:
    """Return the id of a call for the client."""
    return f"call_{run_id.removeprefix(_RUN)}_{turn}_{place}"


def read_messages(raw: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Read messages that were validated.

    Raises:
        ApiError: Their order is wrong, so no server would accept them.
    """
    check_order(raw)
    return [read_message({key: value for key, value in each.items() if value is not None}) for each in raw]


def check_order(messages: Sequence[Mapping[str, Any]]) -> None:
    """Check that each call has exactly one result, before any other message, and that each result has a call.

    Raises:
        ApiError: A message is in the wrong place; ``param`` names it.
    """
    waiting: dict[str, int] = {}  # the open calls, and the message that made them
    for place, message in enumerate(messages):
        param = f"messages[{place}]"
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                raise bad_request(
                    f"Invalid parameter: '{param}' answers the call {message['tool_call_id']!r:.80}, which is not an "
                    "open call of the preceding assistant message.",
                    f"{param}.tool_call_id",
                )
            del waiting[message["tool_call_id"]]
            continue
        if waiting:
            raise _unanswered(waiting)
        if message["role"] != "assistant":
            continue
        calls = [str(each["id"]) for each in message.get("tool_calls") or ()]
        if len(set(calls)) < len(calls):
            raise bad_request(f"Invalid parameter: two calls of '{param}' have the same id.", f"{param}.tool_calls")
        if not calls and all(message.get(name) is None for name in ("content", "refusal", "audio", "function_call")):
            raise bad_request(f"Invalid parameter: '{param}' has neither content nor calls.", f"{param}.content")
        waiting = dict.fromkeys(calls, place)
    if waiting:
        raise _unanswered(waiting)


def _unanswered(waiting: Mapping[str, int]) -> Exception:
    place = next(iter(waiting.values()))
    return bad_request(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"These did not have response messages: {', '.join(waiting)}",
        f"messages[{place}].tool_calls",
    )


def continued_run(messages: Sequence[Message]) -> Continued | None:
    """Find the run whose calls the last messages answer; None if they answer no calls, or calls of several runs."""
    last = max((at for at, each in enumerate(messages) if isinstance(each, AssistantMessage)), default=-1)
    results = [each for each in messages[last + 1 :] if isinstance(each, ToolMessage)]
    found = [_CALL.fullmatch(each.tool_call_id) for each in results]
    first = found[0] if found else None
    if first is None or not all(each and each.group("token", "turn") == first.group("token", "turn") for each in found):
        return None
    token = first["token"]
    return Continued(
        run_id=_RUN + token,
        prefix=next(at for at, each in enumerate(messages) if _calls_of(each, token)),
        results={
            CallPlace(int(each["turn"]), int(each["place"])): result
            for each, result in zip(found, results, strict=True)
            if each
        },
        turn=int(first["turn"]),
        after=[each for each in messages[last + 1 :] if not isinstance(each, ToolMessage)],
    )


def _calls_of(message: Message, token: str) -> bool:
    calls = message.tool_calls if isinstance(message, AssistantMessage) else ()
    return any((found := _CALL.fullmatch(call.id)) and found["token"] == token for call in calls)
