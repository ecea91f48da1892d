"""An agent that answers requests: each request starts a run, or continues one that waits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, cast

import anyio

from agentkit import Agent, ChatSettings, Limits, OutputSchema, RunResult, RunState, Tool, ToolContext
from agentkit.chat import AllowedTools, CustomTool, FunctionTool, Reply, ToolChoice
from agentkit.errors import ConfigError, DefinitionError, Refused, StateError
from agentkit.messages import AssistantMessage, DeveloperMessage, Message, SystemMessage, TextPart, UserMessage
from agentkit.run import Middleware, ModelTurn, NextModel
from agentkit.serve.backend import Caller, Job, Send, read_choice, read_settings, read_tools
from agentkit.serve.completion import Answer, Completion
from agentkit.serve.conversation import Continued, continued_run, new_run_id, read_messages
from agentkit.serve.errors import ApiError, bad_request
from agentkit.serve.reader import RunReader
from agentkit.serve.runs import Runs, WaitingRun, give_results
from agentkit.serve.wire import ChatBody, Decided, DecisionsBody, Extension, Json, parse_body
from agentkit.sessions import Sessions, StoredSession

__all__ = ["AgentBackend", "Deps"]

Deps = Callable[[Mapping[str, str]], Any]
"""Returns the dependencies of a run; called with the headers of the request, and may be async."""

_MOST_ANSWERS = 16  # runs of one request
_STOPPED = ("failed", "cancelled")  # the status of a run that the same request continues if it is sent again


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """How the run of a request starts.

    Attributes:
        agent: The agent, adapted to the request.
        options: The arguments of its run.
        tools: The names of the tools that belong to the client.
        waiting: What is stored of the run while it waits, except its state.
        continues: Whether the run has already done something, which is stored if it fails.
        state: The state it starts with; None if that is in a session.
    """

    agent: Agent[Any, Any]
    options: Mapping[str, Any]
    tools: Sequence[str]
    waiting: WaitingRun
    run_id: str
    continues: bool = False
    state: RunState | None = None


class AgentBackend:
    """Answers requests with the runs of an agent.

    Args:
        name: The model name that clients use.
        agent: The agent.
        runs: Where runs wait.
        sessions: The stored conversations, if the server has any.
        deps: Returns the dependencies of a run.
    """

    def __init__(
        self, name: str, agent: Agent[Any, Any], runs: Runs, sessions: Sessions | None, deps: Deps | None
    ) -> None:
        self.name, self.agent = name, agent
        self._runs, self._sessions, self._deps = runs, sessions, deps

    async def prepare(self, body: ChatBody, raw: Json, caller: Caller) -> Job:
        """Prepare the answer of a request.

        Raises:
            ApiError: Something in the request is wrong.
        """
        _refuse_unknown(body)
        messages = read_messages(raw["messages"])
        _check_last(messages)
        session = self._session(body, caller)
        if session is not None:
            return await self._in_session(session, body, raw, messages, caller)
        found = continued_run(messages)
        job = None if found is None else await self._continued(found, body, raw, messages, caller)
        return job or await self._new(body, raw, messages, caller)

    async def decide(self, run_id: str, run: WaitingRun, body: DecisionsBody, caller: Caller) -> Job:
        """Prepare the continuation of a run that waits for decisions.

        Raises:
            ApiError: A decision is invalid; nothing has changed.
        """
        session = self._sessions[run.session] if run.session and self._sessions is not None else None
        state = (await waiting_state(run_id, run, session)).copy()
        if state.pending:
            _decide(state, body.decisions, caller)
        asked = {"stream": body.stream, "stream_options": _dumped(body.stream_options), "tool_choice": None}
        raw = {**run.body, **asked, "messages": [{"role": "user", "content": "-"}]}
        again = parse_body(raw, ChatBody)
        again.agentkit = None if body.agentkit is None else Extension(events=body.agentkit.events)
        start = await self._start(again, raw, caller, run=run, run_id=run_id)
        options = {**start.options, "resume": state} | ({} if session is None else {"session": session})
        start = replace(start, options=options, continues=True, state=state)
        return self._job(again, caller, [start])

    async def _new(self, body: ChatBody, raw: Json, messages: Sequence[Message], caller: Caller) -> Job:
        """Answer with one new run for each answer requested."""
        starts: list[_Start] = []
        if (body.n or 1) > _MOST_ANSWERS:
            raise bad_request(f"Invalid value for 'n': an agent gives at most {_MOST_ANSWERS} answers.", "n")
        for _ in range(body.n or 1):
            run = WaitingRun(model=self.name, body=_without_messages(raw), prefix=len(messages))
            start = await self._start(body, raw, caller, run=run, run_id=new_run_id())
            starts.append(replace(start, options={**start.options, **_beginning(messages, start)}))
        return self._job(body, caller, starts)

    async def _continued(
        self, found: Continued, body: ChatBody, raw: Json, messages: Sequence[Message], caller: Caller
    ) -> Job | None:
        """Continue the run that waits for these results; None if there is none, so only the messages count."""
        run = await self._runs.take(caller.owner, found.run_id)
        if run is None:
            return None
        try:
            start = await self._resumed(run, found, body, raw, messages, caller)
        except BaseException:
            await self._put_back(run, found.run_id, caller)
            raise
        if start is None:
            await self._put_back(run, found.run_id, caller)
        return None if start is None else self._job(body, caller, [start])

    async def _put_back(self, run: WaitingRun, run_id: str, caller: Caller) -> None:
        """Put back a run that was taken for a request that does not continue it."""
        with anyio.CancelScope(shield=True):
            await self._runs.save(caller.owner, run_id, run)

    async def _resumed(
        self, run: WaitingRun, found: Continued, body: ChatBody, raw: Json, messages: Sequence[Message], caller: Caller
    ) -> _Start | None:
        """Set up a run that continues with results; None if it waits for others."""
        if run.state is None or run.model != self.name:
            return None
        state = run.state.copy()
        stopped = state.status in _STOPPED  # it already has these results: the request is repeated
        if not stopped and not give_results(state, found.results):
            return None
        state.messages = [*messages[: found.prefix], *state.messages[run.prefix :]]  # as the client has it now
        state.prior_messages = found.prefix
        _check_single(body, "a request that continues a run")
        for each in found.after if not stopped else ():
            if not isinstance(each, UserMessage):
                raise bad_request("After the results of calls, only user messages can follow.", "messages")
            state.add_message(each)
        again = replace(run, prefix=found.prefix, state=None)
        start = await self._start(body, raw, caller, run=again, run_id=found.run_id)
        known = {each.name: each.fingerprint for each in start.options["tools"]}
        state.fingerprints[state.agent] = {**state.fingerprints.get(state.agent, {}), **known}
        options = {**start.options, "resume": state, "limits": _renewed(self.agent.limits, state)}
        return replace(start, options=options, continues=True, state=state)

    async def _in_session(
        self, session: StoredSession, body: ChatBody, raw: Json, messages: Sequence[Message], caller: Caller
    ) -> Job:
        """Continue a stored conversation with the messages after the last assistant message."""
        _check_single(body, "a request in a session")
        last = max((at for at, each in enumerate(messages) if isinstance(each, AssistantMessage)), default=-1)
        said = [each for each in messages if isinstance(each, SystemMessage | DeveloperMessage)]
        new = [each for each in messages[last + 1 :] if isinstance(each, UserMessage)]
        found, before = continued_run(messages), await session.state()
        if found is not None and before is not None and before.run_id == found.run_id:
            if not give_results(before, found.results):
                raise ApiError(409, "The run of this session is not waiting for these results.", code="run_not_waiting")
            for each in new:
                before.add_message(each)
            options: dict[str, Any] = {"resume": before, "limits": _renewed(self.agent.limits, before)}
            run_id = found.run_id
        elif new:
            run_id = new_run_id()
            options = {"prompt": new[0] if len(new) == 1 else _together(new), "run_id": run_id}
        else:
            raise bad_request("A request in a session needs a user message.", "messages")
        run = WaitingRun(model=self.name, body=_without_messages(raw), session=session.name)
        start = await self._start(body, raw, caller, run=run, run_id=run_id)
        if said:
            given = self.agent.instructions
            parts = [given] if isinstance(given, str) or callable(given) else [*given]
            start = replace(start, agent=start.agent.replace(instructions=[*parts, *(each.text for each in said)]))
        options = {**start.options, **options, "session": session}
        return self._job(body, caller, [replace(start, options=options, state=before if "resume" in options else None)])

    async def _start(self, body: ChatBody, raw: Json, caller: Caller, *, run: WaitingRun, run_id: str) -> _Start:
        """Set up a run as requested."""
        tools = {each.name: each for each in _client_tools(raw, self.agent)}
        known = run.body.get("tools") or () if "tools" not in raw or raw["tools"] is None else ()
        stored = read_tools(cast("Sequence[Mapping[str, Any]]", known))
        tools = {each.name: _outside(each) for each in stored} | tools
        agent, choice = self.agent, read_choice(raw.get("tool_choice"), tools)
        if choice == "none":
            tools = {}
        elif choice not in (None, "auto"):
            choice = AllowedTools(list(tools), "required") if choice == "required" and agent.tools else choice
            agent = agent.replace(middleware=[*agent.middleware, _FirstTurn(choice)])
        metadata = {
            name: value for name, value in (body.metadata or {}).items() if name != "session" or not self._sessions
        }
        settings = read_settings({**raw, "metadata": metadata or None}, without=_NOT_SETTINGS)
        if (form := body.response_format) is not None and form.type != "text":
            agent, settings = _with_format(agent, settings, raw["response_format"])
        options: dict[str, Any] = {"settings": settings if raw.keys() - _FREE else None, "tools": list(tools.values())}
        if self._deps is not None:
            deps = self._deps(caller.headers)
            options["deps"] = await deps if inspect.isawaitable(deps) else deps
        return _Start(agent=agent, options=options, tools=list(tools), waiting=run, run_id=run_id)

    def _session(self, body: ChatBody, caller: Caller) -> StoredSession | None:
        """Find the session that a request names."""
        named = {
            "agentkit.session": body.agentkit.session if body.agentkit else None,
            "x-agentkit-session": caller.headers.get("x-agentkit-session"),
            "metadata.session": (body.metadata or {}).get("session") if self._sessions is not None else None,
        }
        given = {where: name for where, name in named.items() if name}
        if not given:
            return None
        if len(set(given.values())) > 1:
            raise bad_request(f"The request names several sessions: {', '.join(given)}.", next(iter(given)))
        if self._sessions is None:
            raise bad_request("This server has no sessions.", next(iter(given)), code="no_sessions")
        return self._sessions[next(iter(given.values()))]

    def _job(self, body: ChatBody, caller: Caller, starts: Sequence[_Start]) -> Job:
        return _AgentJob(self._runs, body, caller, starts)


class _AgentJob:
    """The runs that answer one request."""

    def __init__(self, runs: Runs, body: ChatBody, caller: Caller, starts: Sequence[_Start]) -> None:
        self.completion = Completion(body.model, body.metadata)
        self._runs, self._body, self._caller, self._starts = runs, body, caller, starts

    async def run(self, send: Send | None) -> Sequence[Answer]:
        """Run, and send each part of the answers as soon as it is known if the client streams."""
        answers = [Answer(index) for index in range(len(self._starts))]
        pairs = list(zip(answers, self._starts, strict=True))
        if len(pairs) == 1:
            await self._answer(*pairs[0], send)
            return answers
        failures: list[Exception] = []

        async def answer(answer: Answer, start: _Start) -> None:
            try:
                await self._answer(answer, start, send)
            except Exception as error:  # noqa: BLE001 - it is raised when the others have ended
                failures.append(error)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for pair in pairs:
                tasks.start_soon(answer, *pair)
        if failures:
            raise failures[0]
        return answers

    async def _answer(self, answer: Answer, start: _Start, send: Send | None) -> None:
        body, agent = self._body, start.agent
        reader = RunReader(
            answer,
            tools=start.tools,
            before=start.state.usage if start.state else None,
            streams=send is not None,
            events=bool(body.agentkit and body.agentkit.events),
            holds=agent.output_type is not str or _is_json(start.options["settings"]),
            logprobs=bool(body.logprobs),
        )
        try:
            result = await self._run(start, reader, send)
        except Refused as error:
            parts = list(reader.refuse(error.state.usage))
        else:
            if result.status == "paused":
                await self._save(start, result.state)
            parts = list(reader.end(result))
        if send is not None:
            for part in parts:
                await send(answer.index, part)

    async def _run(self, start: _Start, reader: RunReader, send: Send | None) -> RunResult[Any]:
        if send is None and not start.continues:
            return await start.agent.run(**start.options, on_event=reader.read)
        state = start.state
        try:
            async with start.agent.stream(**start.options) as stream:
                state = stream.state
                async for event in stream:
                    for part in reader.feed(event):
                        if send is not None:
                            await send(reader.answer.index, part)
                return await stream.result()
        except BaseException:
            if start.continues and state is not None:  # a repeated request continues where this one stopped
                with anyio.CancelScope(shield=True):
                    await self._save(start, state)
            raise

    async def _save(self, start: _Start, state: RunState) -> None:
        run = start.waiting if start.waiting.session else replace(start.waiting, state=state)
        await self._runs.save(self._caller.owner, start.run_id, run)


async def waiting_state(run_id: str, run: WaitingRun, session: StoredSession | None) -> RunState:
    """Return the state of a run that waits, or that stopped after a decision, so that it can continue.

    Raises:
        ApiError: It no longer waits.
    """
    state = run.state if session is None else await session.state()
    if state is None or state.run_id != run_id or not (state.pending or state.status in _STOPPED):
        raise ApiError(404, f"No run {run_id!r:.80} is waiting for a decision.", code="run_not_found")
    return state


def _decide(state: RunState, decisions: Sequence[Decided], caller: Caller) -> None:
    for at, each in enumerate(decisions):
        param = f"decisions[{at}]"
        if (each.approve is None) == (each.answer is None):
            raise bad_request(f"'{param}' needs either approve or answer.", param)
        try:
            if each.answer is not None:
                state.answer(each.id, each.answer, by=caller.owner)
            elif each.approve:
                state.approve(each.id, arguments=each.arguments, always=each.always or False, by=caller.owner)
            else:
                state.deny(each.id, each.reason, always=each.always or False, by=caller.owner)
        except (StateError, ConfigError) as error:
            raise bad_request(f"'{param}': {error}", param, code="decision_does_not_fit") from None


# What a request asks of the agent.

_FREE = {"model", "messages", "stream", "stream_options", "tools", "agentkit"}  # no settings
_NOT_SETTINGS = ("n", "tool_choice", "response_format", "stream_options")


def _refuse_unknown(body: ChatBody) -> None:
    for name in body.model_extra or ():
        raise bad_request(f"Unrecognized request argument supplied: {name}", name, code="unknown_parameter")
    for name in ("functions", "function_call"):
        if getattr(body, name) is not None:
            raise bad_request(f"'{name}' is deprecated and not supported by agents: use 'tools'.", name)


def _check_last(messages: Sequence[Message]) -> None:
    """Refuse messages that an agent has no answer to."""
    last, place = messages[-1], len(messages) - 1
    if isinstance(last, AssistantMessage):
        raise bad_request(f"'messages[{place}]' is the assistant's: an agent answers users and results.", _at(place))
    if isinstance(last, UserMessage) and isinstance(last.content, str) and not last.content.strip():
        raise bad_request(f"'messages[{place}]' is empty: an agent answers a user.", f"{_at(place)}.content")


def _check_single(body: ChatBody, what: str) -> None:
    if (body.n or 1) > 1:
        raise bad_request(f"Invalid value for 'n': {what} has one answer.", "n")


def _client_tools(raw: Json, agent: Agent[Any, Any]) -> list[Tool]:
    """Return the client's tools, which run there."""
    made: list[Tool] = []
    for at, definition in enumerate(read_tools(raw.get("tools") or ())):
        kind = "custom" if isinstance(definition, CustomTool) else "function"
        param = f"tools[{at}].{kind}"
        if definition.name in agent.tools or any(each.name == definition.name for each in made):
            raise bad_request(f"The name {definition.name!r} is taken by another tool.", f"{param}.name")
        try:
            made.append(_outside(definition))
        except DefinitionError as error:
            raise bad_request(f"Invalid schema: {error}.", f"{param}.parameters") from None
    return made


def _outside(definition: FunctionTool | CustomTool) -> Tool:
    if isinstance(definition, CustomTool):
        made = Tool.custom(definition.name, definition.description, _not_here, grammar=definition.grammar)
        return replace(made, is_external=True)
    strict = bool(definition.strict)
    return Tool.external(definition.name, definition.description, definition.parameters, strict=strict)


def _not_here(_context: ToolContext[Any], _input: str) -> str:
    raise AssertionError("the client runs it")


class _FirstTurn(Middleware):
    """Applies ``tool_choice`` to the first model request of a run only; a run that continues is past it."""

    def __init__(self, choice: ToolChoice) -> None:
        self._choice: ToolChoice | None = choice

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:
        if self._choice is not None:
            settings = replace(turn.request.settings, tool_choice=self._choice)
            turn = replace(turn, request=replace(turn.request, settings=settings))
            self._choice = None
        return await inner(turn)


def _with_format(
    agent: Agent[Any, Any], settings: ChatSettings, form: Mapping[str, Any]
) -> tuple[Agent[Any, Any], ChatSettings]:
    """Have an agent answer in the requested format; a schema is enforced whatever the upstream model supports."""
    if agent.output_type is not str:
        raise bad_request("This model has its own output format.", "response_format")
    if form["type"] == "json_object":
        return agent, replace(settings, response_format=dict(form))
    wanted = form["json_schema"]
    try:
        output = OutputSchema(
            wanted.get("schema") or {"type": "object"},
            name=wanted["name"],
            description=wanted.get("description") or "",
        )
    except (DefinitionError, ConfigError) as error:
        raise bad_request(f"Invalid schema: {error}.", "response_format.json_schema.schema") from None
    return agent.replace(output_type=output), settings


def _is_json(settings: ChatSettings | None) -> bool:
    return settings is not None and settings.response_format is not None


def _beginning(messages: Sequence[Message], start: _Start) -> dict[str, Any]:
    """Return the arguments of a run that starts with these messages."""
    if isinstance(messages[-1], UserMessage):
        return {"prompt": messages[-1], "history": messages[:-1], "run_id": start.run_id}
    brought = start.options["tools"]
    known = {each.name: each.fingerprint for each in (*start.agent.tools.values(), *brought)}
    name = start.agent.name
    return {
        "resume": RunState(
            messages=list(messages),
            prior_messages=len(messages),
            run_id=start.run_id,
            agent=name,
            fingerprints={name: known},
        )
    }


def _together(messages: Sequence[UserMessage]) -> UserMessage:
    """Join several user messages into one."""
    parts = [(TextPart(each.content),) if isinstance(each.content, str) else each.content for each in messages]
    return UserMessage(tuple(chain.from_iterable(parts)))


def _renewed(limits: Limits, state: RunState) -> Limits:
    """Return the limits for another request of a run: each request starts with the full limits."""
    used: Mapping[str, float] = {
        "turns": state.turns,
        "calls": state.calls,
        "tokens": state.usage.total_tokens,
        "cost": state.usage.cost or 0.0,
        "seconds": state.seconds,
    }
    changed: dict[str, Any] = {
        name: getattr(limits, name) + spent for name, spent in used.items() if getattr(limits, name) is not None
    }
    return replace(limits, **changed)


def _without_messages(raw: Json) -> Json:
    return {name: value for name, value in raw.items() if name not in ("messages", "agentkit", "stream")}


def _dumped(options: Any) -> Any:
    return None if options is None else options.model_dump(exclude_none=True)


def _at(place: int) -> str:
    return f"messages[{place}]"
