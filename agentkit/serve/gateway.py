"""A model that answers requests directly: clients get well-formed replies even from an odd upstream server."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from agentkit.chat import ChatRequest, CustomTool, Model, Reply, ReplyStream
from agentkit.errors import AgentKitError, ConfigError
from agentkit.events import (
    AudioDelta,
    CallDelta,
    ChoiceDelta,
    DeltasDiscarded,
    Emit,
    Event,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
)
from agentkit.middleware import UNAVAILABLE
from agentkit.serve.backend import Caller, Job, Send, read_choice, read_settings, read_tools
from agentkit.serve.completion import Answer, Completion
from agentkit.serve.conversation import read_messages
from agentkit.serve.errors import bad_request
from agentkit.serve.reader import GatewayReader
from agentkit.serve.wire import ChatBody, Json

__all__ = ["GatewayBackend", "Recorder"]

_DELTAS = (TextDelta, ReasoningDelta, RefusalDelta, AudioDelta, CallDelta, ChoiceDelta)


class Recorder:
    """Appends each request and its reply to a file, one JSON object per line. Only its owner can read the file.

    Raises:
        ConfigError: The file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path, self._lock = path, threading.Lock()
        try:
            self._append("")
        except OSError as error:
            raise ConfigError(f"{str(path)!r} cannot be written: {error.strerror}") from error

    def write(self, model: str, request: ChatRequest, *, reply: Reply | None = None, error: str | None = None) -> None:
        """Append one request."""
        answered = None if reply is None else reply.to_record()
        record = {"at": round(time.time(), 3), "model": model, "request": json.loads(request.encode(model))}
        self._append(json.dumps({**record, "reply": answered, "error": error}, ensure_ascii=False) + "\n")

    def _append(self, line: str) -> None:
        with (
            self._lock,
            os.fdopen(
                os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "a", encoding="utf-8"
            ) as file,
        ):
            file.write(line)


class GatewayBackend:
    """Answers a request with one request to a model, or to the next one if that fails.

    Args:
        name: The name of the model that clients ask for.
        models: The model and its fallbacks.
        recorder: Records requests and replies.
    """

    def __init__(self, name: str, models: Sequence[Model], recorder: Recorder | None = None) -> None:
        self.name, self._models, self._recorder = name, models, recorder

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_details: object) -> None:
        """Close the connections of the models."""
        for each in self._models:
            if (close := getattr(each, "aclose", None)) is not None:
                await close()

    async def prepare(self, body: ChatBody, raw: Json, caller: Caller) -> Job:  # noqa: ARG002 - as of every backend
        """Prepare the answer of a request.

        Raises:
            ApiError: Something in the request is wrong.
        """
        if body.agentkit is not None:
            raise bad_request("A gateway runs no agent, so it has no events.", "agentkit")
        tools = read_tools(raw.get("tools") or ())
        choice = read_choice(raw.get("tool_choice"), {each.name for each in tools})
        extra = dict(body.model_extra or {}) or None
        settings = read_settings(raw, without=("tool_choice", "stream_options"), tool_choice=choice, extra_body=extra)
        request = ChatRequest(
            messages=read_messages(raw["messages"]), tools=tools, settings=settings, stream=bool(body.stream)
        )
        try:
            request.encode(body.model)
        except ConfigError as error:
            named = {"response_format": "response_format", "tool": "tools", "message": "messages"}
            raise bad_request(f"{error}.", next((named[each] for each in named if each in str(error)), None)) from None
        return _GatewayJob(self, Completion(body.model, body.metadata), request)

    async def ask(self, request: ChatRequest, emit: Emit) -> Reply:
        """Ask the models in order until one replies; what was already shown is not taken back."""
        shown = False

        def watch(event: Event) -> None:
            nonlocal shown
            shown = (shown or isinstance(event, _DELTAS)) and request.stream
            emit(event)

        for at, model in enumerate(self._models):
            try:
                reply = await model.reply(request, watch)
            except AgentKitError as error:
                if self._recorder is not None:
                    self._recorder.write(self.name, request, error=f"{type(error).__name__}: {error}")
                if shown or at == len(self._models) - 1 or not isinstance(error, UNAVAILABLE):
                    raise
                emit(DeltasDiscarded())
            else:
                if self._recorder is not None:
                    self._recorder.write(self.name, request, reply=reply)
                return reply
        raise AssertionError("there is a last model")


class _GatewayJob:
    def __init__(self, backend: GatewayBackend, completion: Completion, request: ChatRequest) -> None:
        self.completion = completion
        self._backend, self._request = backend, request

    async def run(self, send: Send | None) -> Sequence[Answer]:
        """Ask the model, and send each part of the answers as soon as it is known if the client streams."""
        custom = {each.name for each in self._request.tools if isinstance(each, CustomTool)}
        logprobs = bool(self._request.settings.logprobs)
        reader = GatewayReader(streams=send is not None, logprobs=logprobs, custom=custom)
        if send is None:
            for _ in reader.end(await self._backend.ask(self._request, reader.read)):
                pass
        else:
            async with ReplyStream(lambda emit: self._backend.ask(self._request, emit)) as stream:
                async for event in stream:
                    for index, part in reader.feed(event):
                        await send(index, part)
                for index, part in reader.end(await stream.reply()):
                    await send(index, part)
        return [reader.answers[index] for index in sorted(reader.answers)]
