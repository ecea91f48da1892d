"""Faults 45 to 56: the protocol of tool calls. They are streamed or whole, as was asked for.

The tools that are called are ``pay(amount: int)`` and ``note(text: str)``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from agentkit.testing.server.streams import delta
from agentkit.testing.server.table import TEXT, Table
from agentkit.testing.server.wire import Wire, as_chunks, as_events, head, whole

__all__ = ["TABLE"]

TABLE = Table()
_Call: TypeAlias = dict[str, Any]
_PART = 32 * 1024


def _pay(amount: object = 1, *, name: str | None = "pay", arguments: object = None, **members: Any) -> _Call:
    """A call in its wire form; ``arguments`` replaces what would stand there."""
    written = json.dumps({"amount": amount}) if arguments is None else arguments
    return {"type": "function", "function": {"name": name, "arguments": written}, **members}


def _whole(calls: Sequence[_Call], reason: str, **members: Any) -> bytes:
    message = {"role": "assistant", "content": None, "tool_calls": calls, **members}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return whole(json.dumps({"id": "r1", "choices": [choice]}), connection="close")


def _streamed(deltas: Iterable[dict[str, Any]], reason: str) -> Iterator[bytes]:
    yield head(content_type="text/event-stream", transfer_encoding="chunked", connection="close")
    yield from as_chunks(as_events([*(delta(**each) for each in deltas), delta(reason=reason)]))


def _deltas(call: _Call) -> Iterator[_Call]:
    """A call as its streamed deltas: head and arguments apart."""
    function = call["function"]
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        yield call
        return
    yield {**call, "function": {**function, "arguments": ""}}
    for start in range(0, len(arguments), _PART):
        index = {"index": call["index"]} if "index" in call else {}
        yield {**index, "function": {"arguments": arguments[start : start + _PART]}}


def _calls(
    number: int,
    name: str,
    sentence: str,
    calls: Callable[[], Sequence[_Call]],
    *,
    deltas: Iterable[_Call] = (),
    reason: str = "tool_calls",
    text: str | None = None,
) -> None:
    """Add a fault: these calls in one reply, streamed in their natural deltas or in ``deltas``."""

    def play(wire: Wire) -> None:
        if not wire.request.stream:
            wire.send(_whole(calls(), reason, content=text))
            return
        parts = deltas or (part for call in calls() for part in _deltas(call))
        texts = [{"text": text}] if text else []
        wire.pour(_streamed([*texts, *({"tool_calls": [part]} for part in parts)], reason))

    TABLE.add(number, name, sentence, play)


def _one(number: int, name: str, sentence: str, call: _Call, **options: Any) -> None:
    _calls(number, name, sentence, lambda: [{"index": 0, "id": "call_1", **call}], **options)


def _two(number: int, name: str, sentence: str, first: _Call, second: _Call, **options: Any) -> None:
    calls = [{"id": "call_1", **_pay(1), **first}, {"id": "call_2", **_pay(2), **second}]
    _calls(number, name, sentence, lambda: calls, **options)


def _part(arguments: str, **members: Any) -> _Call:
    return {"function": {"arguments": arguments}, **members}


_two(45, "ids_equal", "Two calls have the same id.", {"index": 0}, {"index": 1, "id": "call_1"})
_one(46, "id_null", "The id is null.", _pay(id=None))
_one(46, "id_empty", "The id is empty.", _pay(id=""))
_one(46, "id_number", "The id is a number.", _pay(id=7))
_one(46, "id_1_mb", "The id is 1 MB long.", _pay(id="x" * 1_000_000))
_one(46, "id_odd", "The id has spaces, quotes and control characters.", _pay(id='a "b"\n\x1b[2J\u202e'))
_two(47, "indexes_equal", "Two calls have the same index.", {"index": 0}, {"index": 0})
_two(48, "indexes_missing", "The calls have no index.", {}, {})
_two(48, "indexes_with_gaps", "The indexes are 3 and 9.", {"index": 3}, {"index": 9})
_two(48, "indexes_backwards", "The second call comes first.", {"index": 1}, {"index": 0})
_two(
    48,
    "calls_interleaved",
    "Chunks of two calls alternate.",
    {"index": 0},
    {"index": 1},
    deltas=[
        {"index": 0, "id": "call_1", **_pay(arguments='{"amount"')},
        {"index": 1, "id": "call_2", **_pay(arguments='{"am')},
        _part(": 1}", index=0),
        _part('ount": 2}', index=1),
    ],
)
_one(
    49,
    "name_split",
    "The name comes in two chunks.",
    _pay(),
    deltas=[
        {"index": 0, "id": "call_1", **_pay(name="pa", arguments="")},
        {"index": 0, **_pay(name="y", arguments="")},
        _part('{"amount": 1}', index=0),
    ],
)
_one(
    49,
    "name_repeated",
    "The name is repeated in each chunk.",
    _pay(),
    deltas=[{"index": 0, "id": "call_1", **_pay(arguments=part)} for part in ('{"am', 'ount":', " 1}")],
)
_one(
    49,
    "name_late",
    "The name comes after the arguments.",
    _pay(),
    deltas=[
        {"index": 0, "id": "call_1", **_pay(name=None, arguments='{"amount": ')},
        {"index": 0, **_pay(name="pay", arguments="1}")},
    ],
)
_one(
    50,
    "id_everywhere",
    "The id is repeated in each chunk, which have no index.",
    _pay(),
    deltas=[
        {"id": "call_1", **_pay(name=name, arguments=part)} for name, part in (("pay", '{"am'), (None, 'ount": 1}'))
    ],
)
_one(
    50,
    "id_new_everywhere",
    "Each chunk has an id of its own.",
    _pay(),
    deltas=[
        {"index": 0, "id": f"call_{index}", **_pay(name=name, arguments=part)}
        for index, (name, part) in enumerate([("pay", '{"am'), (None, 'ount"'), (None, ": 1}")])
    ],
)

for _name, _what, _arguments in (
    ("empty", "are empty", ""),
    ("null", "are null", "null"),
    ("array", "are an array", "[1]"),
    ("cut", "are truncated, though the reply claims to be complete", '{"amount": 1'),
    ("wrong_type", "have the wrong type", '{"amount": "much"}'),
    ("object", "are an object instead of a string", {"amount": 1}),
    ("twice", "are encoded twice", json.dumps('{"amount": 1}')),
    ("keys_twice", "have the same key twice", '{"amount": 1, "amount": 2}'),
    ("nan", "have a NaN", '{"amount": NaN}'),
    ("1e999", "have a number too large for a float", '{"amount": 1e999}'),
    ("2_70", "have a number too large for 64 bits", '{"amount": 1180591620717411303424}'),
    ("digits", "have a number of 10,000 digits", '{"amount": ' + "9" * 10_000 + "}"),
    ("surrogate", "have half of a surrogate pair", '{"amount": 1, "x": "\\ud83d"}'),
):
    _one(51, f"arguments_{_name}", f"The arguments {_what}.", _pay(arguments=_arguments))

_calls(
    51,
    "arguments_deep",
    "The arguments are nested 100,000 deep.",
    lambda: [_pay(arguments='{"amount": ' + "[" * 100_000 + "]" * 100_000 + "}", index=0, id="call_1")],
)
_calls(
    51,
    "arguments_10_mb",
    "The arguments are 10 MB long.",
    lambda: [_pay(name="note", arguments=json.dumps({"text": "x" * 10_000_000}), index=0, id="call_1")],
)

_one(52, "name_unknown", "There is no tool of this name.", _pay(name="launch_rocket"))
_one(52, "name_near", "The name is written differently.", _pay(name="functions.Pay"))
_one(52, "name_odd", "The name has control characters.", _pay(name="pay\x1b[2J\n\u202e"))
_one(52, "name_long", "The name has 100,000 characters.", _pay(name="pay" * 33_333))
_one(52, "name_missing", "There is no name.", _pay(name=None))
_two(52, "name_unknown_beside_good", "One of two names is unknown.", {"index": 0}, {"index": 1, **_pay(2, name="rob")})

_one(53, "calls_with_stop", "The finish_reason of calls is `stop`.", _pay(), reason="stop")
_one(53, "text_with_calls", "Text comes with the calls.", _pay(), text="I pay now. ")
_calls(53, "calls_missing", "The finish_reason is `tool_calls`, but there are none.", list, text=TEXT)


@TABLE.plays(54)
def function_call(wire: Wire) -> None:
    """The call has the old form of 2023, `function_call`."""
    call = _pay()["function"]
    if wire.request.stream:
        first, second = {**call, "arguments": '{"amount"'}, {"arguments": ": 1}"}
        wire.send(*_streamed([{"function_call": first}, {"function_call": second}], "function_call"))
    else:
        wire.send(_whole([], "function_call", tool_calls=None, function_call=call))


_one(55, "length_with_call", "The reply hit its limit after a call that looks whole.", _pay(), reason="length")
_one(
    55,
    "length_in_call",
    "The reply hit its limit inside a call.",
    _pay(arguments='{"amount": 1'),
    reason="length",
)
_one(55, "filter_with_call", "The reply was truncated by a filter, after a call.", _pay(), reason="content_filter")
_calls(
    56,
    "calls_128",
    "128 calls in one reply.",
    lambda: [{"index": index, "id": f"call_{index}", **_pay(index)} for index in range(128)],
)
