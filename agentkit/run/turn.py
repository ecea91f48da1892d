"""One turn: the tools that the model is offered, the request, and the reply that enters the transcript."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from agentkit.chat.decoding.tool_calls import CallIds, normalize_tool_calls
from agentkit.chat.events import DeltasDiscarded, Event, ReplyRepaired, TextDelta
from agentkit.chat.json_values import write_json
from agentkit.chat.messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, UserMessage
from agentkit.chat.reply import Choice, Reply, Usage
from agentkit.chat.request import ChatRequest
from agentkit.chat.settings import ChatSettings, without_force
from agentkit.errors import ConfigError, MalformedToolCall, Refused, ToolFailed
from agentkit.run.artifacts import with_reader
from agentkit.run.deferred import with_search
from agentkit.run.events import CallRepaired, ToolChanged, TurnFinished, TurnStarted
from agentkit.run.handoffs import readable_by
from agentkit.run.limits import Limits, estimated_usage, priced_usage
from agentkit.run.middleware import wrap_model
from agentkit.run.output import TextOutput, count_invalid_output
from agentkit.run.run import ModelTurn, Run
from agentkit.run.spec import AgentSpec, RunSpec
from agentkit.run.step import AskModel
from agentkit.run.transcript import (
    CONTINUES,
    CUT,
    TRUNCATED,
    SentMessages,
    is_reply,
    is_sent,
    last_reply_at,
    open_calls,
)
from agentkit.tools.arguments import fit_arguments
from agentkit.tools.context import RunContext
from agentkit.tools.repair import LONGEST_NAME, match_tool_name, repair_text, valid_tool_name
from agentkit.tools.tool import Tool

_LENGTH = "length"  # in the meta of a reply: it reached its limit of tokens inside a call or an output
_LARGEST_FACTOR = 16
_KNOWN = "agentkit.known_tools"  # in `Run.local`: the agent and its tools in the last turn
_EMPTY = "agentkit.empty_reply"  # in `Run.local`: the last reply was empty, and the model was asked again


async def offered_tools(run: Run[Any], agent: AgentSpec) -> Mapping[str, Tool]:
    """The tools of the turn: those of the agent and of its sources whose condition, if they have one, is true.

    Deferred tools are offered once found. A run that is resumed with open calls evaluates the conditions again, with
    the context that they had when the model was asked.

    Raises:
        ToolFailed: A condition raised.
        ConfigError: Two tools have the same name.
    """
    state, tools = run.state, dict(agent.tools)
    run.model = agent.model
    for source in agent.sources:
        for each in await source.tools(run):
            if each.name in tools:
                raise ConfigError(f"two tools are named {each.name!r}, the second is from {source!r}; rename one")
            tools[each.name] = each
    known = [state.agent, *tools.values()]
    if run.local.get(_KNOWN) != known:  # mostly the same objects as in the last turn
        run.local[_KNOWN] = known
        new = {name: tool.fingerprint for name, tool in tools.items()}
        old = state.fingerprints.get(state.agent, new)
        for event in tool_changes(old, new) if old != new else ():
            run.emit(event)
        state.fingerprints[state.agent] = new
    if state.artifacts:
        tools = with_reader(tools)
    if not [each for each in tools.values() if each.condition or each.deferred]:
        return tools
    context = run.context()
    if open_calls(state.messages):
        asked = state.messages[: last_reply_at(state.messages)]
        context = replace(context, view=replace(run, state=replace(state, messages=asked)))
    else:
        context = replace(context, turn=state.turns + 1)
    offered = {name: each for name, each in tools.items() if _is_offered(run, each, context)}
    return with_search(offered, context.messages)


def _is_offered(run: Run[Any], tool: Tool, context: RunContext[Any]) -> bool:
    if tool.condition is None:
        return True
    try:
        return tool.condition(context)
    except Exception as error:
        failed = f"the condition of tool {tool.name} raised {type(error).__name__}: {error}"
        raise ToolFailed(failed, state=run.state) from error


def tool_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[ToolChanged]:
    """Describe how the tools of a resumed run differ from before, given the fingerprints of both by name."""
    changes = [ToolChanged(name, "removed") for name in sorted(old.keys() - new.keys())]
    changes += [ToolChanged(name, "added") for name in sorted(new.keys() - old.keys())]
    changes += [ToolChanged(name, "changed") for name, one in old.items() if new.get(name, one) != one]
    return changes


async def ask_model(
    run: Run[Any], spec: RunSpec, agent: AgentSpec, step: AskModel, limits: Limits, tools: Mapping[str, Tool]
) -> None:
    """Make one request to the model; its reply enters the transcript.

    Raises:
        ModelError: There is no usable reply, or it is a refusal. Text that was shown stays as a truncated message.
    """
    state = run.state
    number = run.turn = state.turns + 1
    state.limit, state.final_turn = step.limit, bool(step.limit)
    slot = spec.journal.reserve(f"{state.run_id}:turn:{number}", "model")
    turn = _Turn(run, spec, agent, tools)
    turn.take_inbox()
    run.emit(TurnStarted(number))
    request = await turn.request(step)
    asked, problem = ModelTurn(run, number, agent.model, request, tools, turn.emit, agent.requires_approval), ""
    try:
        reply = await slot.run(functools.partial(agent.output.ask, asked, wrap_model(agent.middleware)))
    except MalformedToolCall as error:
        if step.limit or not error.generation:
            raise
        # What the model wrote becomes its turn, so that it reads it.
        words = error.generation if error.partial in error.generation else f"{error.partial}\n{error.generation}"
        reply, problem = Reply(choices=(Choice(message=AssistantMessage(words)),)), str(error).rstrip(".")
    except BaseException as error:
        turn.record_shown(request, getattr(error, "partial", ""))
        raise
    state.turns = number
    turn.record(request, reply)
    run.spend(priced_usage(reply, request, state, limits), model=reply.model)
    run.emit(TurnFinished(number, reply))
    if problem:
        state.failed_turns += 1
        note = f"Your tool call was not run: {problem}. Call it again with one valid JSON object as its arguments."
        run.add(run.stamp(UserMessage(note)))
    message = reply.choices[0].message
    if message.refusal and not message.tool_calls and not message.text:
        raise Refused(f"the model declined to answer: {message.refusal}")


class _Turn:
    """One request and its reply."""

    def __init__(self, run: Run[Any], spec: RunSpec, agent: AgentSpec, tools: Mapping[str, Tool]) -> None:
        self.run, self.state, self.spec, self.agent, self.tools = run, run.state, spec, agent, tools
        self.shown: list[str] = []  # the text of the reply so far

    def emit(self, event: Event) -> None:
        """Emit an event of the request."""
        if isinstance(event, TextDelta):
            self.shown.append(event.text)
        elif isinstance(event, DeltasDiscarded):
            self.shown.clear()
        self.run.emit(event)

    def take_inbox(self) -> None:
        """Move the messages that were added meanwhile into the transcript."""
        run, messages, inbox = self.run, self.state.messages, self.state.inbox
        answered = bool(inbox) and (not messages or is_reply(messages[-1]) or not is_sent(messages[-1]))
        while inbox:
            message = inbox.pop(0)
            run.add(run.stamp(message) if answered else run.stamp(message, **{CONTINUES: True}))
            answered = False

    async def request(self, step: AskModel) -> ChatRequest:
        """The request. Instructions and notes are sent and not stored: nobody said them."""
        settings, notes = self.agent.settings, [step.note] if step.note else []
        sent = self.sent()
        instructions = await self.instructions() if self.agent.instructions else ""
        if step.limit:
            settings = replace(settings, tool_choice="none")
            notes = [f"You have reached {step.limit}. No more tools can be called. Answer now with what you have."]
        elif self.state.turns and settings.tool_choice not in (None, "none"):
            settings = replace(settings, tool_choice=without_force(settings.tool_choice))
        first = [SystemMessage(instructions)] if instructions else []
        return ChatRequest(
            messages=[*first, *sent.messages, *map(UserMessage, notes)],
            tools=[tool.definition for tool in self.tools.values()],
            settings=self.with_room(settings),
            stream=self.spec.stream,
            used_ids=frozenset(sent.call_ids),
        )

    def sent(self) -> SentMessages:
        """The messages that the agent reads."""
        run, agent, agents = self.run, self.agent, self.spec.agents
        sent = run.local.get((SentMessages, agent.name))
        if sent is None:
            prepare = functools.partial(readable_by, agent, agents) if len(agents) > 1 else None
            sent = run.local[SentMessages, agent.name] = SentMessages(prepare)
        sent.follow(self.state.messages)
        return sent

    async def instructions(self) -> str:
        """The instructions of the agent, as one string."""
        parts: list[str] = []
        for each in self.agent.instructions:
            part: Any = each if isinstance(each, str) else each(self.run.context())
            if inspect.isawaitable(part):
                part = await part
            if not isinstance(part, str):
                raise ConfigError(f"instructions must be strings, and {each!r:.80} returned {part!r:.80}")
            parts.append(part)
        return "\n\n".join(filter(None, parts))

    def with_room(self, settings: ChatSettings) -> ChatSettings:
        """The settings with a larger token limit, doubled for each of the last replies that reached it too early."""
        limits = {"max_tokens": settings.max_tokens, "max_completion_tokens": settings.max_completion_tokens}
        factor = 1
        for message in reversed(self.state.messages) if any(limits.values()) else ():
            if isinstance(message, AssistantMessage):
                if not message.meta.get(_LENGTH) or factor == _LARGEST_FACTOR:
                    break
                factor *= 2
        if factor == 1:
            return settings
        larger: Any = {name: limit * factor for name, limit in limits.items() if limit is not None}
        return replace(settings, **larger)

    def record_shown(self, request: ChatRequest, partial: str) -> None:
        """Add the text of a reply that never ended: somebody may have read it. Its calls are dropped.

        The error's own text is used if it is the same, so that a long one is in memory only once.
        """
        ends = [*accumulate(map(len, self.shown), initial=0)]
        same = ends[-1] == len(partial) and all(map(partial.startswith, self.shown, ends))
        if text := partial if same else "".join(self.shown):
            message = self.run.stamp(AssistantMessage(text), **{TRUNCATED: True})
            self.state.messages.append(message)
            self.run.spend(estimated_usage(Usage(requests=1), request, message))

    def record(self, request: ChatRequest, reply: Reply) -> None:
        """Add a reply to the transcript. Calls of a truncated reply are answered here, so that they never run."""
        run, state, choice = self.run, self.state, reply.choices[0]
        message, calls = choice.message, choice.message.tool_calls
        if calls:
            calls = self.repaired(request, calls)
        content = message.content or (None if calls or message.refusal or message.audio else "")
        was_empty = run.local.pop(_EMPTY, False)
        if not calls and isinstance(content, str) and not content.strip():
            asks_again = not was_empty and not state.final_turn
            run.emit(ReplyRepaired("the model answered with nothing" + ("; it is asked again" if asks_again else "")))
            if asks_again:
                run.local[_EMPTY] = True
                return
        labels: dict[str, Any] = {"model": reply.model} if reply.model else {}
        message = replace(message, content=content, tool_calls=calls)
        if choice.truncated:
            self.record_cut(choice, message, labels)
        else:
            state.messages.append(run.stamp(message, **labels))

    def repaired(self, request: ChatRequest, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        """The calls of a reply, normalized and repaired."""
        agent, output = self.agent, self.agent.output.tool
        ids = CallIds({*request.used_ids}, f"{self.state.run_id}:{self.state.turns}")
        made, notes = normalize_tool_calls(calls, ids)
        callable_tools = self.tools if output is None else {**self.tools, output.name: output}
        made, events = repair_tool_calls(made, callable_tools, switched_off=agent.tools, forgive=agent.repair)
        for event in (*map(ReplyRepaired, notes), *events):
            self.run.emit(event)
        return made

    def record_cut(self, choice: Choice, message: AssistantMessage, labels: dict[str, Any]) -> None:
        """Add a reply that stopped early: its calls never run, and it holds no output."""
        run, state, output = self.run, self.state, self.agent.output
        cut, calls = choice.truncated, message.tool_calls
        asks_again = choice.finish_reason == "length" and (calls or not isinstance(output, TextOutput))
        asks_again = asks_again and not state.final_turn
        labels = labels | ({_LENGTH: True} if asks_again else {}) | ({} if calls else {CUT: cut})
        state.messages.append(run.stamp(message, **labels))
        if calls:
            state.messages.extend([ToolMessage(f"Error: not run: {cut}; {choice.advice}", call.id) for call in calls])
            state.failed_turns += 1
            if output.tool is not None and output.tool.name in [call.name for call in calls]:
                count_invalid_output(run, output, cut)
        elif not asks_again:
            state.limit = cut


def repair_tool_calls(
    calls: Collection[ToolCall],
    tools: Mapping[str, Tool],
    *,
    switched_off: Collection[str] = (),
    forgive: bool = True,
) -> tuple[tuple[ToolCall, ...], list[CallRepaired]]:
    """Repair the model's mistakes where a repair cannot change what it meant.

    The repaired calls go into the transcript, so the next request shows the model how they are written.

    Args:
        calls: The calls, their ids and JSON already normalized by `normalize_tool_calls`.
        tools: The tools that the model was offered.
        switched_off: The names of the run's other tools. One of them is never taken for a tool that was offered.
        forgive: False leaves everything as it is, apart from names that servers would refuse.

    Returns:
        The calls, and an event for each repair.
    """
    events: list[CallRepaired] = []
    names = dict.fromkeys([*tools, *switched_off])
    made: list[ToolCall] = []
    for each in calls:
        call = each if each.name in names else _renamed(each, names, tools, events, forgive=forgive)
        tool = tools.get(call.name)
        readable = forgive and tool is not None and not tool.is_custom and call.input is None
        made.append(_with_arguments(call, tool, events) if tool and readable else call)
    return tuple(made), events


def _renamed(
    call: ToolCall, names: Collection[str], tools: Mapping[str, Tool], events: list[CallRepaired], *, forgive: bool
) -> ToolCall:
    """The call with the name of the only tool that it can mean, or else with a name that servers accept."""
    prefixes = {tool.prefix for tool in tools.values() if tool.prefix}
    name = (match_tool_name(call.name, names, prefixes) if forgive else None) or valid_tool_name(call.name)
    if name == call.name:
        return call
    events.append(CallRepaired(f"the name {call.name[:LONGEST_NAME]!r} became {name}", call.id, name))
    return replace(call, name=name)


def _with_arguments(call: ToolCall, tool: Tool, events: list[CallRepaired]) -> ToolCall:
    try:
        written, forgiven = repair_text(call.malformed) if call.malformed else (call.parsed, [])
        fitted, changed = fit_arguments(written, tool.shape)
        if not call.malformed and not changed:
            return call
        arguments = write_json(fitted)
    except ValueError:  # unreadable, or a number is too large
        return call  # the model reads what is wrong with its text
    changes = [*forgiven, *changed] or ["with characters that are not Unicode"]
    events.extend(CallRepaired(f"the arguments of {call.name} were {each}", call.id, call.name) for each in changes)
    return replace(call, arguments=arguments, malformed="")
