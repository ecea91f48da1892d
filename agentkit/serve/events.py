"""The events of a run as JSON for a page, without the states, which contain everything the run knows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from agentkit import RunState, RunStream
from agentkit.chat import encode_json
from agentkit.events import (
    CallFinished,
    Event,
    RunFinished,
    RunStarted,
    TurnFinished,
    event_to_dict,
)
from agentkit.serve.completion import DONE, error_chunk, usage_to_wire
from agentkit.serve.errors import api_error

__all__ = ["event_to_json", "events", "pending_to_wire", "summary"]


def pending_to_wire(state: RunState) -> list[dict[str, Any]]:
    """The calls of a run that wait for a decision."""
    return [
        {
            "id": each.id,
            "name": each.name,
            "arguments": dict(each.arguments),
            "reason": each.reason,
            "path": list(each.path),
            **({"external": True} if each.external else {}),
        }
        for each in state.pending
    ]


def summary(state: RunState) -> dict[str, Any]:
    """Return how a run ended, or what it waits for."""
    return {
        "run_id": state.run_id,
        "status": state.status,
        "limit": state.limit if state.status == "limited" else "",
        "pending": pending_to_wire(state),
    }


def event_to_json(event: Event) -> Mapping[str, Any]:
    """Return an event for a page: `event_to_dict` without what others must not read."""
    origin = None if event.origin is None else event.origin._asdict()
    head: dict[str, Any] = {"version": 1, "event": type(event).__name__, "origin": origin}
    match event:
        case RunStarted():
            return head
        case TurnFinished():
            return {
                **head,
                "turn": event.turn,
                "usage": usage_to_wire(event.reply.usage),
                "finish_reason": event.reply.finish_reason,
            }
        case RunFinished():
            ended = {name: value for name, value in summary(event.state).items() if name != "run_id"}
            error = None if event.error is None else api_error(event.error).body()["error"]
            return {**head, **ended, "usage": usage_to_wire(event.state.usage), "error": error}
        case CallFinished():
            result = event.result.to_dict()
            shown = {name: result[name] for name in ("content", "is_error", "files")}
            return {**head, "call": event.call.to_record(), "result": shown, "seconds": event.seconds}
        case _:
            return event_to_dict(event)


async def events(stream: RunStream[Any]) -> AsyncGenerator[bytes]:
    """Yield a run as server-sent events, for a page of your own.

    Each event is ``data:`` and its JSON, as `agentkit.events.event_to_dict` writes it but without states; the last is
    ``data: [DONE]``. A run that fails ends with ``{"error": {...}}`` before it. The run is cancelled when the reader
    stops reading.

    ::

        StreamingResponse(serve.events(agent.stream(question)), media_type="text/event-stream")

    Args:
        stream: A stream that has not been started.
    """
    async with stream:
        try:
            async for event in stream:
                yield b"data: " + encode_json(event_to_json(event)) + b"\n\n"
        except Exception as error:  # noqa: BLE001 - a model and a tool may raise anything
            yield error_chunk(api_error(error).body())
    yield DONE
