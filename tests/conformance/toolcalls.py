"""Q20 to Q27: tool calls and their pieces."""

import json
from typing import Any

from agentkit.chat import RetryPolicy
from agentkit.errors import InvalidReply
from tests.conformance.case import ADDED, ADDED_TWICE, Case, Outcome
from tests.conformance.wire import ONE_AND_ONE, TWO_AND_THREE, Json, add, calls, chunk, http, piece, sse, told, whole

HALVES = ('{"a": 2,', ' "b": 3}')
PARIS = '{"city": "Paris"}'
BOTH = (("add", {"a": 2, "b": 3}), ("weather", {"city": "Paris"}))
TOOLS = ("add", "weather")
ONCE = {"retry": RetryPolicy(retries=0)}


def pieces(*given: Json) -> dict[str, Any]:
    """A streamed reply only."""
    return {"stream": [calls(*given)]}


def both(*given: Json) -> dict[str, Any]:
    """The same calls in both modes, each in one piece."""
    return {"stream": [calls(*given)], "whole": [told(*given)]}


def ids(outcome: Outcome) -> list[str]:
    """The ids in the transcript that was sent."""
    return [call["id"] for message in outcome.bodies[-1]["messages"] for call in message.get("tool_calls", ())]


def signed(call: Json) -> Json:
    return {**call, "extra_content": {"google": {"thought_signature": "sig+/="}}}


def signature_is_back(outcome: Outcome) -> bool:
    return bool(outcome.message(1)["tool_calls"][0].get("extra_content") == {"google": {"thought_signature": "sig+/="}})


CORRELATION = [
    # Q20, about no index
    Case(q=20, name="by-id", **pieces(piece("add", HALVES[0], id="a1"), piece(..., HALVES[1], id="a1"))),
    Case(q=20, name="by-name", **pieces(piece("add", HALVES[0]), piece(..., HALVES[1])), told=["ReplyRepaired.*id"]),
    Case(q=20, name="latest", **pieces(piece("add", "", id="a1"), piece(..., HALVES[0]), piece(..., HALVES[1]))),
    Case(
        q=20,
        name="index-null",
        **pieces(piece("add", HALVES[0], id="a1", index=None), piece(..., HALVES[1], index=None)),
    ),
    Case(
        q=20,
        name="two-by-id",
        tools=TOOLS,
        ran=BOTH,
        **both(piece("add", TWO_AND_THREE, id="a1"), piece("weather", PARIS, id="a2")),
    ),
    Case(
        q=20,
        name="two-interleaved-by-id",
        tools=TOOLS,
        ran=BOTH,
        **pieces(
            piece("add", HALVES[0], id="a1"),
            piece("weather", '{"city":', id="a2"),
            piece(..., HALVES[1], id="a1"),
            piece(..., '"Paris"}', id="a2"),
        ),
    ),
    Case(
        q=20,
        name="two-by-name",
        tools=TOOLS,
        ran=BOTH,
        **both(piece("add", TWO_AND_THREE), piece("weather", PARIS)),
        told=["ReplyRepaired.*id"],
    ),
    Case(
        q=20,
        name="the-same-tool-twice-without-ids",
        ran=ADDED_TWICE,
        **both(piece("add", ONE_AND_ONE), piece("add", TWO_AND_THREE)),
        told=["ReplyRepaired.*id"],
    ),
    Case(
        q=20,
        name="two-in-one-chunk",
        tools=TOOLS,
        ran=BOTH,
        stream=[
            sse(
                chunk({"tool_calls": [piece("add", TWO_AND_THREE, id="a1"), piece("weather", PARIS, id="a2")]}),
                chunk({}, end="stop"),
            )
        ],
    ),
    Case(
        q=20,
        name="two-without-arguments",
        tools=("now", "silent"),
        ran=[("now", {}), ("silent", {})],
        **both(piece("now", "", id="a1"), piece("silent", "", id="a2")),
    ),
    # Q21, about one index for several calls
    Case(
        q=21, name="same-index-new-id", tools=TOOLS, ran=BOTH, **both(add(), piece("weather", PARIS, id="a2", index=0))
    ),
    Case(q=21, name="same-index-new-id-same-tool", ran=ADDED_TWICE, **both(add(ONE_AND_ONE), add(id="a2"))),
    Case(q=21, name="same-index-new-id-same-call", ran=[*ADDED, *ADDED], **both(add(), add(id="a2"))),
    Case(
        q=21,
        name="same-index-new-id-in-pieces",
        ran=ADDED_TWICE,
        **pieces(
            add(""),
            piece(..., '{"a": 1,', index=0),
            piece(..., '"b": 1}', index=0),
            add("", id="a2"),
            piece(..., HALVES[0], index=0),
            piece(..., HALVES[1], index=0),
        ),
    ),
    Case(
        q=21,
        name="same-index-without-new-id",
        tools=TOOLS,
        ran=BOTH,
        **pieces(add(), piece("weather", PARIS, index=0)),
        told=["ReplyRepaired.*id"],
    ),
    Case(
        q=21,
        name="same-index-no-ids",
        tools=TOOLS,
        ran=BOTH,
        **both(piece("add", TWO_AND_THREE, index=0), piece("weather", PARIS, index=0)),
        told=["ReplyRepaired.*id"],
    ),
    Case(
        q=21,
        name="same-index-new-id-without-arguments",
        tools=("now", "silent"),
        ran=[("now", {}), ("silent", {})],
        **both(piece("now", "", id="a1", index=0), piece("silent", "", id="a2", index=0)),
    ),
    Case(
        q=21,
        name="same-index-new-id-without-arguments-same-tool",
        tools=("now",),
        ran=[("now", {}), ("now", {})],
        **both(piece("now", "", id="a1", index=0), piece("now", "", id="a2", index=0)),
    ),
    Case(
        q=21,
        name="two-objects-run-together",
        ran=(),
        **pieces(add(ONE_AND_ONE), piece(..., TWO_AND_THREE, index=0)),
        told=["ReplyRepaired.*arguments of add are not a JSON object"],
    ),
    Case(
        q=21,
        name="two-objects-in-one-text",
        ran=(),
        **both(add(ONE_AND_ONE + TWO_AND_THREE)),
        told=["ReplyRepaired.*arguments of add are not a JSON object"],
    ),
    Case(q=21, name="empty-object-first", **both(add("{}" + TWO_AND_THREE)), told=["ReplyRepaired"]),
    Case(
        q=21,
        name="empty-objects-only",
        tools=("now",),
        ran=[("now", {})],
        **both(piece("now", "{}{}{}", id="a1", index=0)),
        told=["ReplyRepaired"],
    ),
    # Q22, about odd indexes
    Case(q=22, name="from-one", tools=TOOLS, ran=BOTH, **both(add(index=1), piece("weather", PARIS, id="a2", index=2))),
    Case(q=22, name="sparse", tools=TOOLS, ran=BOTH, **both(add(index=3), piece("weather", PARIS, id="a2", index=700))),
    Case(q=22, name="falling", tools=TOOLS, ran=BOTH, **both(add(index=1), piece("weather", PARIS, id="a2", index=0))),
    Case(
        q=22,
        name="resetting",
        ran=ADDED_TWICE,
        stream=[
            sse(
                chunk({"tool_calls": [add(ONE_AND_ONE)]}),
                chunk({"tool_calls": [add(id="a2")]}),
                chunk({}, end="tool_calls"),
            )
        ],
    ),
    Case(
        q=22,
        name="texts",
        tools=TOOLS,
        ran=BOTH,
        **pieces(
            add(HALVES[0], index="0"),
            piece("weather", '{"city":', id="a2", index="1"),
            piece(..., HALVES[1], index="0"),
            piece(..., '"Paris"}', index="1"),
        ),
    ),
    Case(q=22, name="negative", **both(add(index=-1))),
    Case(
        q=22,
        name="interleaved",
        tools=TOOLS,
        ran=BOTH,
        **pieces(
            add(HALVES[0]),
            piece("weather", '{"city":', id="a2", index=1),
            piece(..., HALVES[1], index=0),
            piece(..., '"Paris"}', index=1),
        ),
    ),
    Case(q=22, name="counting-each-piece", **pieces(add(HALVES[0]), piece(None, HALVES[1], id="callAdd01", index=1))),
    # Q23, about ids
    *(
        Case(q=23, name=f"id-{name}", **both(add(id=odd)), told=["ReplyRepaired.*id"])
        for name, odd in (
            ("null", None),
            ("empty", ""),
            ("with-odd-characters", "functions.add:0"),
            ("of-400-characters", "x" * 400),
            ("of-spaces", "  "),
        )
    ),
    Case(
        q=23,
        name="id-missing",
        **both({key: value for key, value in add().items() if key != "id"}),
        told=["ReplyRepaired.*id"],
    ),
    Case(q=23, name="id-number", **both(add(id=7))),
    Case(q=23, name="id-zero", **both(add(id=0))),
    Case(
        q=23,
        name="id-of-litellm-with-a-thought",
        **both(add(id="call_1__thought__" + "EjQKMgF/+=" * 20)),
        told=["ReplyRepaired.*id"],
    ),
    Case(q=23, name="id-of-41-characters", **both(add(id="fc_" + "0" * 38)), told=["ReplyRepaired.*id"]),
    Case(
        q=23,
        name="id-of-40-characters",
        **both(add(id="call_" + "0" * 35)),
        also=lambda outcome: ids(outcome) == ["call_" + "0" * 35],
    ),
    Case(
        q=23,
        name="ids-equal",
        tools=TOOLS,
        ran=BOTH,
        **both(add(), piece("weather", PARIS, id="callAdd01", index=1)),
        told=["ReplyRepaired.*id"],
    ),
    Case(
        q=23,
        name="ids-equal-same-tool",
        ran=ADDED_TWICE,
        **both(add(ONE_AND_ONE), add(index=1)),
        told=["ReplyRepaired.*id"],
    ),
    Case(
        q=23, name="ids-equal-same-call", ran=[*ADDED, *ADDED], **both(add(), add(index=1)), told=["ReplyRepaired.*id"]
    ),
    Case(q=23, name="id-new-in-every-piece", **pieces(add(HALVES[0]), piece(..., HALVES[1], id="a2", index=0))),
    Case(
        q=23,
        name="id-new-in-every-piece-with-name",
        **pieces(add(HALVES[0]), piece("add", HALVES[1], id="a2", index=0)),
    ),
    Case(
        q=23,
        name="id-new-in-every-piece-without-index",
        **pieces(piece("add", HALVES[0], id="a1"), piece(..., HALVES[1], id="a2")),
    ),
    Case(
        q=23,
        name="ids-again-in-each-turn",
        ran=[*ADDED, *ADDED, *ADDED],
        stream=[calls(add()), calls(add()), calls(add())],
        whole=[told(add()), told(add()), told(add())],
        told=["ReplyRepaired.*id"],
        also=lambda outcome: len({*ids(outcome)}) == 3,
    ),
    Case(
        q=23,
        name="id-late",
        **pieces(piece("add", HALVES[0], index=0), piece(..., HALVES[1], index=0, id="a1")),
        told=["ReplyRepaired.*no id"],
    ),
    # Q24, about names
    Case(q=24, name="in-every-piece", **pieces(add(HALVES[0]), piece("add", HALVES[1], index=0))),
    Case(q=24, name="in-every-piece-with-id", **pieces(add(""), add(HALVES[0]), add(HALVES[1]))),
    Case(
        q=24,
        name="in-every-piece-with-id-without-index",
        **pieces(piece("add", HALVES[0], id="a1"), piece("add", HALVES[1], id="a1")),
    ),
    Case(
        q=24,
        name="late",
        **pieces(piece(..., "", id="a1", index=0), piece("add", ..., index=0), piece(..., TWO_AND_THREE, index=0)),
    ),
    Case(
        q=24,
        name="after-the-arguments",
        **pieces(piece(..., TWO_AND_THREE, id="a1", index=0), piece("add", "", index=0)),
    ),
    Case(
        q=24,
        name="in-pieces",
        tools=TOOLS,
        ran=[("weather", {"city": "Paris"})],
        **pieces(piece("wea", "", id="a1", index=0), piece("ther", "", index=0), piece(..., PARIS, index=0)),
    ),
    Case(
        q=24,
        name="growing",
        tools=TOOLS,
        ran=[("weather", {"city": "Paris"})],
        **pieces(piece("wea", "", id="a1", index=0), piece("weather", "", index=0), piece(..., PARIS, index=0)),
    ),
    Case(q=24, name="null-later", **pieces(add(HALVES[0]), piece(None, HALVES[1], index=0, id=None))),
    Case(q=24, name="empty-later", **pieces(add(HALVES[0]), piece("", HALVES[1], index=0, id=""))),
    Case(
        q=24,
        name="never",
        told=["ReplyRepaired.*name", "Retrying"],
        stream=[calls(piece(..., TWO_AND_THREE, id="a1", index=0)), calls(add())],
        whole=[told(piece("", TWO_AND_THREE, id="a1")), told(add())],
    ),
    Case(
        q=24,
        name="never-beside-a-good-one",
        told=["ReplyRepaired.*name"],
        **both(add(), piece(None, "{}", id="a2", index=1)),
    ),
    Case(q=24, name="not-a-text", told=["ReplyRepaired.*name"], **both(add(), piece(["x"], "{}", id="a2", index=1))),
    Case(
        q=24,
        name="unknown",
        ran=(),
        **both(piece("zzz", "{}", id="a1", index=0)),
        also=lambda outcome: "no tool" in outcome.message(2)["content"],
    ),
    Case(
        q=24,
        name="unknown-beside-a-good-one",
        **both(add(), piece("zzz", "{}", id="a2", index=1)),
        also=lambda outcome: "no tool" in outcome.message(3)["content"],
    ),
    Case(
        q=24,
        name="with-characters-no-server-takes",
        ran=(),
        **both(piece("a b\n", "{}", id="a1", index=0)),
        told=["ReplyRepaired.*name"],
    ),
    *(
        Case(q=24, name=f"near-{kind}", **both(piece(name, TWO_AND_THREE, id="a1", index=0)), told=["(?i)name"])
        for kind, name in (
            ("prefix", "functions.add"),
            ("other-prefix", "default_api.add"),
            ("colon-prefix", "tools:add"),
            ("case", "Add"),
            ("spaces", " add "),
        )
    ),
]

PARTS = [
    # Q25, about arguments
    Case(q=25, name="object", **both(add({"a": 2, "b": 3}))),
    Case(q=25, name="object-after-the-name", **pieces(add(...), piece(..., {"a": 2, "b": 3}, index=0))),
    *(
        Case(
            q=25, name=f"none-as-{name}", tools=("now",), ran=[("now", {})], **both(piece("now", odd, id="a1", index=0))
        )
        for name, odd in (
            ("null", None),
            ("empty", ""),
            ("object", {}),
            ("text", "{}"),
            ("text-null", "null"),
            ("missing", ...),
            ("spaces", " \n"),
        )
    ),
    *(
        Case(
            q=25,
            name=f"none-as-{name}",
            tools=("now",),
            ran=[("now", {})],
            **both(piece("now", odd, id="a1", index=0)),
            told=["ReplyRepaired"],
        )
        for name, odd in (("list", []), ("text-list", "[]"), ("quotes", '""'))
    ),
    Case(q=25, name="encoded-twice", **both(add(json.dumps(TWO_AND_THREE))), told=["ReplyRepaired.*twice"]),
    Case(
        q=25,
        name="encoded-twice-in-pieces",
        **pieces(add(json.dumps(TWO_AND_THREE)[:7]), piece(..., json.dumps(TWO_AND_THREE)[7:], index=0)),
        told=["ReplyRepaired.*twice"],
    ),
    Case(q=25, name="first-null", **pieces(add(None), piece(..., HALVES[0], index=0), piece(..., HALVES[1], index=0))),
    Case(
        q=25, name="nulls-between", **pieces(add(HALVES[0]), piece(..., None, index=0), piece(..., HALVES[1], index=0))
    ),
    Case(
        q=25,
        name="sent-again-at-the-end",
        **pieces(add(HALVES[0]), piece(..., HALVES[1], index=0), piece(..., TWO_AND_THREE, index=0)),
    ),
    Case(q=25, name="sent-again-with-id-and-name", **pieces(add(HALVES[0]), piece(..., HALVES[1], index=0), add())),
    Case(
        q=25,
        name="sent-again-written-otherwise",
        **pieces(add(HALVES[0]), piece(..., HALVES[1], index=0), piece(..., '{"b":3,"a":2}', index=0)),
        told=["ReplyRepaired"],
    ),
    Case(
        q=25,
        name="empty-object-then-pieces",
        **pieces(add({}), piece(..., HALVES[0], index=0), piece(..., HALVES[1], index=0)),
        told=["ReplyRepaired"],
    ),
    Case(q=25, name="growing", **pieces(add(HALVES[0]), piece(..., TWO_AND_THREE, index=0)), told=["ReplyRepaired"]),
    Case(
        q=25,
        name="line-ends-inside",
        tools=TOOLS,
        ran=[("weather", {"city": "Par\nis"})],
        **both(piece("weather", '{"city": "Par\nis"}', id="a1", index=0)),
        told=["ReplyRepaired"],
    ),
    *(
        Case(q=25, name=name, **both(add(text)), told=["(?i)(mended|repaired).*arguments"])
        for name, text in (
            ("fenced", f"```json\n{TWO_AND_THREE}\n```"),
            ("trailing-mark", f"{TWO_AND_THREE}<|im_end|>"),
            ("trailing-brace", TWO_AND_THREE + "}"),
            ("trailing-comma", '{"a": 2, "b": 3,}'),
            ("python-literals", "{'a': 2, 'b': 3}"),
            ("unquoted-keys", "{a: 2, b: 3}"),
            ("wrapped-in-arguments", '{"arguments": {"a": 2, "b": 3}}'),
            ("wrapped-in-input", '{"input": {"a": 2, "b": 3}}'),
            ("wrapped-as-text", json.dumps({"arguments": TWO_AND_THREE})),
        )
    ),
    Case(q=25, name="numbers-as-text", **both(add('{"a": "2", "b": "3"}'))),
    Case(
        q=25,
        name="trailing-tag",
        ran=(),
        **both(add(f"{TWO_AND_THREE}</tool_call>")),
        told=["ReplyRepaired.*arguments"],
    ),
    Case(
        q=25,
        name="trailing-words",
        ran=(),
        **both(add(f"{TWO_AND_THREE} no, not this")),
        told=["ReplyRepaired.*arguments"],
    ),
    Case(q=25, name="trailing-digit", ran=(), **both(add(f"{TWO_AND_THREE}0")), told=["ReplyRepaired.*arguments"]),
    Case(q=25, name="unfinished", ran=(), **both(add('{"a": 2, "b": ')), told=["ReplyRepaired.*arguments"]),
    Case(q=25, name="a-list-of-values", ran=(), **both(add("[2, 3]")), told=["ReplyRepaired.*arguments"]),
    Case(q=25, name="not-a-number", ran=(), **both(add('{"a": NaN, "b": 3}')), told=["ReplyRepaired.*arguments"]),
    # Q26, about types of calls
    Case(q=26, name="type-missing", **both({key: value for key, value in add().items() if key != "type"})),
    *(
        Case(q=26, name=f"type-{name}", **both(add(type=odd)))
        for name, odd in (("empty", ""), ("null", None), ("function-call", "function_call"))
    ),
    Case(
        q=26,
        name="custom-that-nobody-offered",
        error=InvalidReply,
        reads="custom",
        client=ONCE,
        stream=[calls({"index": 0, "id": "a1", "type": "custom", "custom": {"name": "sql", "input": "select 1"}})],
        whole=[told({"id": "a1", "type": "custom", "custom": {"name": "sql", "input": "select 1"}})],
    ),
    Case(
        q=26,
        name="function-call",
        told=["ReplyRepaired.*id"],
        stream=[
            sse(
                chunk({"function_call": {"name": "add", "arguments": HALVES[0]}}),
                chunk({"function_call": {"arguments": HALVES[1]}}),
                chunk({}, end="function_call"),
            )
        ],
        whole=[
            http(
                whole(
                    {"content": None, "function_call": {"name": "add", "arguments": TWO_AND_THREE}}, end="function_call"
                )
            )
        ],
    ),
    Case(
        q=26,
        name="function-call-beside-the-same-call",
        stream=[
            sse(
                chunk({"function_call": {"name": "add", "arguments": TWO_AND_THREE}, "tool_calls": [add()]}),
                chunk({}, end="tool_calls"),
            )
        ],
        whole=[told(add(), function_call={"name": "add", "arguments": TWO_AND_THREE})],
    ),
    Case(
        q=26,
        name="function-call-null",
        stream=[sse(chunk({"function_call": None, "tool_calls": [add()]}), chunk({}, end="tool_calls"))],
        whole=[told(add(), function_call=None)],
    ),
    Case(
        q=26,
        name="flat",
        **both({"index": 0, "id": "a1", "type": "function", "name": "add", "arguments": TWO_AND_THREE}),
        told=["ReplyRepaired"],
    ),
    # Q27, about signatures
    Case(q=27, name="in-the-call", **both(signed(add())), extra=["extra_content"], also=signature_is_back),
    Case(
        q=27,
        name="in-a-piece-of-its-own",
        **pieces(add(), signed({"index": 0})),
        extra=["extra_content"],
        also=signature_is_back,
    ),
    Case(
        q=27,
        name="in-a-piece-without-index",
        **pieces(add(), signed({"id": "callAdd01"})),
        extra=["extra_content"],
        also=signature_is_back,
    ),
    Case(
        q=27,
        name="in-the-last-piece",
        **pieces(add(HALVES[0]), signed(piece(..., HALVES[1], index=0))),
        extra=["extra_content"],
        also=signature_is_back,
    ),
    Case(
        q=27,
        name="with-an-id-that-is-mended",
        **both(signed(add(id=""))),
        extra=["extra_content"],
        also=signature_is_back,
        told=["ReplyRepaired.*id"],
    ),
    Case(
        q=27,
        name="of-the-first-of-two",
        ran=ADDED_TWICE,
        **both(signed(add(ONE_AND_ONE)), add(index=1, id="a2")),
        extra=["extra_content"],
        also=signature_is_back,
    ),
]
