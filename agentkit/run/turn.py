"""One turn: the tools that the model is offered, the request, and the reply that enters the transcript."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from agentkit.chat.decoding.tool_calls import CallIds, normalize_tool_calls
from agentkit.chat.events import DeltasDiscarded, Event, ReplyRepaired, TextDelta
from agentkit.chat.json_values import write_json
from agentkit.chat.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from agentkit.chat.reply import Choice, Reply, Usage
from agentkit.chat.request import ChatRequest
from agentkit.chat.settings import ChatSettings, without_force
from agentkit.errors import ConfigError, MalformedToolCall, Refused, ToolFailed
from agentkit.run.artifacts import with_reader
from agentkit.run.deferred import with_search
from agentkit.run.events import CallRepaired, ToolChanged, TurnFinished, TurnStarted
from agentkit.run.handoffs import readable_by
from agentkit.run.limits import Limits, estimated_usage, priced_usage
from agentkit.run.middleware import ModelTurn, Run, wrap_model
from agentkit.run.output import Output, TextOutput, count_invalid_output
from agentkit.run.spec import AgentSpec, RunSpec
from agentkit.run.state import RunState
from agentkit.run.step import AskModel
from agentkit.run.transcript import CONTINUES, CUT, TRUNCATED, is_reply, is_sent, labeled, last_reply_at, open_calls
from agentkit.tools.arguments import fit_arguments
from agentkit.tools.context import RunContext
from agentkit.tools.repair import LONGEST_NAME, match_tool_name, repair_text, valid_tool_name
from agentkit.tools.tool import Tool

_LENGTH = "length"  # in the meta of a reply: it reached its limit of tokens inside a call or an output
_LARGEST_FACTOR = 16
_EMPTY = "agentkit.empty_reply"  # in `Run.local`: the last reply was empty, and the model was asked again


async def offered_tools(run: Run[Any], agent: AgentSpec) -> Mapping[str, Tool]:
    """The tools of the turn: those of the agent and of its sources whose condition, if they have one, is true.

    Deferred ones are offered once they were found. A run that is resumed with open calls asks again, and conditions
    then see what they saw when the model was asked.

    Raises:
        ToolFailed: A condition raised.
        ConfigError: Two tools have one name.
    """
    run.model = agent.model
    tools: dict[str, Tool] = dict(agent.tools)
    for source in agent.sources:
        for each in await source.tools(run):
            if each.name in tools:
                raise ConfigError(f"two tools are named {each.name!r}, the second is from {source!r}; rename one")
            tools[each.name] = each
    _report_changes(run, tools)
    offered = with_reader(tools, run.artifacts)
    if not any(each.condition or each.deferred for each in offered.values()):
        return offered
    context = run.context()
    if open_calls(run.state.messages):
        asked = run.state.messages[: last_reply_at(run.state.messages)]
        context = replace(context, view=replace(run, state=replace(run.state, messages=asked)))
    else:
        context = replace(context, turn=run.state.turns + 1)
    offered = {name: each for name, each in offered.items() if _is_offered(run, each, context)}
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


def _report_changes(run: Run[Any], tools: Mapping[str, Tool]) -> None:
    known = run.local.get(_report_changes)  # the tools of the last turn: mostly the same objects
    if known == (run.agent, list(tools.values())):
        return
    run.local[_report_changes] = (run.agent, list(tools.values()))
    new = {name: tool.fingerprint for name, tool in tools.items()}
    for event in tool_changes(run.state.fingerprints.get(run.agent, new), new):
        run.emit(event)
    run.state.fingerprints[run.agent] = new


async def ask_model(
    run: Run[Any], spec: RunSpec, agent: AgentSpec, step: AskModel, limits: Limits, tools: Mapping[str, Tool]
) -> None:
    """Make one request to the model; its reply enters the transcript.

    Raises:
        ModelError: There is no usable reply, or it is a refusal. Text that was shown stays as a truncated message.
    """
    state = run.state
    turn = run.turn = state.turns + 1
    state.limit, state.final_turn = step.limit, bool(step.limit)
    slot = spec.journal.reserve(f"{state.run_id}:turn:{turn}", "model")
    _take_inbox(run)
    run.emit(TurnStarted(turn))
    request = await _request(run, spec, agent, step, tools)
    shown: list[str] = []

    def emit(event: Event) -> None:
        if isinstance(event, TextDelta):
            shown.append(event.text)
        elif isinstance(event, DeltasDiscarded):
            shown.clear()
        run.emit(event)

    ask = wrap_model(agent.middleware)
    try:
        reply = await slot.run(
            lambda: agent.output.ask(
                ModelTurn(run, turn, agent.model, request, tools, emit, agent.requires_approval), ask
            )
        )
        problem = ""
    except MalformedToolCall as error:
        if step.limit or not error.generation:
            raise
        reply, problem = _unparsed(error), str(error).rstrip(".")
    except BaseException as error:
        if text := _joined(shown, getattr(error, "partial", "")):  # somebody may have read it; its calls are dropped
            message = labeled(AssistantMessage(text), **{TRUNCATED: True})
            state.messages.append(run.stamp(message))
            run.spend(estimated_usage(Usage(requests=1), request, message))
        raise
    state.turns = turn
    _record(run, agent, reply, tools)
    run.spend(priced_usage(reply, request, state, limits), model=reply.model)
    run.emit(TurnFinished(turn, reply))
    if problem:
        state.failed_turns += 1
        note = f"Your tool call was not run: {problem}. Call it again with one valid JSON object as its arguments."
        run.add(run.stamp(UserMessage(note)))
    if reply.message.refusal and not reply.text and not reply.message.tool_calls:
        raise Refused(f"the model declined to answer: {reply.message.refusal}")


def _unparsed(error: MalformedToolCall) -> Reply:
    """The turn of a model whose call the server could not parse: its words, so that the model sees what it wrote."""
    words = error.generation if error.partial in error.generation else f"{error.partial}\n{error.generation}"
    return Reply(choices=(Choice(message=AssistantMessage(words)),))


def _joined(fragments: Sequence[str], whole: str) -> str:
    """The fragments as one string: ``whole`` if that is what they come to, so that a long text is in memory once."""
    at = 0
    for each in fragments:
        if not whole.startswith(each, at):
            return "".join(fragments)
        at += len(each)
    return whole if at == len(whole) else "".join(fragments)


async def _request(
    run: Run[Any], spec: RunSpec, agent: AgentSpec, step: AskModel, tools: Mapping[str, Tool]
) -> ChatRequest:
    """The request of the turn. Instructions and notes are sent and not stored: nobody said them."""
    settings = agent.settings
    messages = [message for message in run.state.messages if is_sent(message)]
    if len(spec.agents) > 1:
        messages = [readable_by(agent, spec.agents, message) for message in messages]
    instructions = await _instructions(run, agent)
    if instructions:
        messages.insert(0, SystemMessage(instructions))
    if step.note:
        messages.append(UserMessage(step.note))
    if step.limit:
        settings = replace(settings, tool_choice="none")
        note = f"You have reached {step.limit}. No tool can be called any more. Answer now with what you have."
        messages.append(UserMessage(note))
    elif run.state.turns and settings.tool_choice not in (None, "none"):
        settings = replace(settings, tool_choice=without_force(settings.tool_choice))
    return ChatRequest(
        messages=messages,
        tools=[tool.definition for tool in tools.values()],
        settings=_with_room(settings, run.state.messages),
        stream=spec.stream,
        used_ids=_used_ids(run.state),
    )


def _used_ids(state: RunState) -> set[str]:
    """The ids that no other call may get, however few messages a compaction sends."""
    replies = [message for message in state.messages if isinstance(message, AssistantMessage)]
    return {call.id for each in replies for call in each.tool_calls} | state.approvals.keys() | state.decisions.keys()


async def _instructions(run: Run[Any], agent: AgentSpec) -> str:
    parts: list[str] = []
    for each in agent.instructions:
        part: Any = each if isinstance(each, str) else each(run.context())
        if inspect.isawaitable(part):
            part = await part
        if not isinstance(part, str):
            raise ConfigError(f"instructions must be strings, and {each!r:.80} returned {part!r:.80}")
        parts.append(part)
    return "\n\n".join(filter(None, parts))


def _with_room(settings: ChatSettings, messages: Sequence[Message]) -> ChatSettings:
    """The settings with a larger limit of tokens, doubled for each reply at the end that reached it too early."""
    replies = (each for each in reversed(messages) if isinstance(each, AssistantMessage))
    factor = min(2 ** sum(1 for _ in takewhile(lambda each: each.meta.get(_LENGTH), replies)), _LARGEST_FACTOR)
    larger = {
        name: limit * factor
        for name in ("max_tokens", "max_completion_tokens")
        if (limit := getattr(settings, name)) is not None
    }
    return replace(settings, **larger) if factor > 1 and larger else settings


def _take_inbox(run: Run[Any]) -> None:
    """Move the messages that were added meanwhile into the transcript."""
    messages = run.state.messages
    answered = not messages or is_reply(messages[-1]) or not is_sent(messages[-1])
    while run.state.inbox:
        message = run.stamp(run.state.inbox.pop(0))
        run.add(message if answered else labeled(message, **{CONTINUES: True}))
        answered = False


def _record(run: Run[Any], agent: AgentSpec, reply: Reply, tools: Mapping[str, Tool]) -> None:
    """Add a reply to the transcript. Calls of a truncated reply are answered here, so that they never run."""
    state, message, output = run.state, reply.message, agent.output
    calls = message.tool_calls
    callable_tools = tools if output.tool is None else {**tools, output.tool.name: output.tool}
    if calls:
        calls, notes = normalize_tool_calls(calls, CallIds(_used_ids(state), f"{state.run_id}:{state.turns}"))
        for note in notes:
            run.emit(ReplyRepaired(note))
        calls, repairs = repair_tool_calls(calls, callable_tools, switched_off=agent.tools, forgive=agent.repair)
        for event in repairs:
            run.emit(event)
    content = message.content or (None if calls or message.refusal or message.audio else "")
    if not calls and isinstance(content, str) and not content.strip():
        again = not run.local.pop(_EMPTY, False) and not state.final_turn
        run.emit(ReplyRepaired("the model answered with nothing" + ("; it is asked again" if again else "")))
        if again:
            run.local[_EMPTY] = True
            return
    run.local.pop(_EMPTY, None)
    labels: dict[str, Any] = {"model": reply.model} if reply.model else {}
    message = replace(message, content=content, tool_calls=calls)
    if reply.choices[0].truncated:
        _record_cut(run, output, reply.choices[0], labeled(message, **labels))
    else:
        state.messages.append(run.stamp(labeled(message, **labels)))


def _record_cut(run: Run[Any], output: Output[Any], choice: Choice, message: AssistantMessage) -> None:
    """Add a reply that stopped early: its calls never run, and it holds no output."""
    state, cut, calls = run.state, choice.truncated, message.tool_calls
    asks_again = choice.finish_reason == "length" and (calls or not isinstance(output, TextOutput))
    asks_again = asks_again and not state.final_turn
    labels = ({_LENGTH: True} if asks_again else {}) | ({} if calls else {CUT: cut})
    state.messages.append(run.stamp(labeled(message, **labels)))
    if calls:
        state.messages.extend(ToolMessage(f"Error: not run: {cut}; {choice.advice}", call.id) for call in calls)
        state.failed_turns += 1
        if output.tool is not None and any(call.name == output.tool.name for call in calls):
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
    """Repair what the model got wrong, as far as that cannot change what it meant.

    The repaired calls stand in the transcript, so that the next request shows the model how they are written.

    Args:
        calls: The calls, their ids and JSON already normalized by `normalize_tool_calls`.
        tools: The tools that the model was offered.
        switched_off: The names of the run's other tools. One of them is never taken for a tool that was offered.
        forgive: False leaves everything as it is, apart from names that servers would refuse to take back.

    Returns:
        The calls, and an event for each repair.
    """
    notes: list[CallRepaired] = []
    names = dict.fromkeys([*tools, *switched_off])
    prefixes = {tool.prefix for tool in tools.values() if tool.prefix}
    made: list[ToolCall] = []
    for call in calls:
        named = _named(call, names, prefixes, notes, forgive=forgive)
        made.append(_with_arguments(named, tools, notes) if forgive else named)
    return tuple(made), notes


def _named(
    call: ToolCall, names: Collection[str], prefixes: Collection[str], notes: list[CallRepaired], *, forgive: bool
) -> ToolCall:
    if call.name in names:
        return call
    name = (match_tool_name(call.name, names, prefixes) if forgive else None) or valid_tool_name(call.name)
    if name == call.name:
        return call
    notes.append(CallRepaired(f"the name {call.name[:LONGEST_NAME]!r} became {name}", call.id, name))
    return replace(call, name=name)


def _with_arguments(call: ToolCall, tools: Mapping[str, Tool], notes: list[CallRepaired]) -> ToolCall:
    if call.input is not None or call.name not in tools or tools[call.name].is_custom:
        return call
    try:
        written, forgiven = repair_text(call.malformed) if call.malformed else (call.parsed, [])
        fitted, changed = fit_arguments(written, tools[call.name].shape)
        if not call.malformed and not changed:
            return call
        arguments = write_json(fitted)
    except ValueError:  # unreadable, or a number is too large
        return call  # the model reads what is wrong with its text
    changes = [*forgiven, *changed] or ["with characters that are not Unicode"]
    notes.extend(CallRepaired(f"the arguments of {call.name} were {each}", call.id, call.name) for each in changes)
    return replace(call, arguments=arguments, malformed="")
