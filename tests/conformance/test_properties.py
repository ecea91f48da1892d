"""Any calls, cut anywhere, bent in any of the known ways, come out as the calls they were."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from agentkit.chat import Reply
from agentkit.chat.decoding.accumulator import ReplyAccumulator
from agentkit.chat.decoding.decoder import ResponseDecoder
from agentkit.events import Event
from tests.conformance.wire import Json, chunk, piece, sse, whole

Call = tuple[str, Json]
Pieces = list[Json]

names = st.sampled_from(["add", "weather", "now", "nowadays"])
values = st.integers(-9, 9) | st.text(max_size=4) | st.none() | st.lists(st.booleans(), max_size=2)
objects = st.dictionaries(st.sampled_from(["a", "b", "}{", '"', "{"]), values, max_size=3)
calls = st.lists(st.tuples(names, objects), min_size=1, max_size=4)


def plain(made: list[list[Json]]) -> Pieces:
    return [each for pieces in made for each in pieces]


def without(*members: str) -> Callable[[list[list[Json]]], Pieces]:
    return lambda made: [{key: each[key] for key in each if key not in members} for each in plain(made)]


def renumbered(index: Callable[[int], Any]) -> Callable[[list[list[Json]]], Pieces]:
    return lambda made: [{**each, "index": index(each["index"])} for each in plain(made)]


def interleaved(made: list[list[Json]]) -> Pieces:
    longest = max(len(pieces) for pieces in made)
    return [pieces[place] for place in range(longest) for pieces in made if place < len(pieces)]


def repeated(*members: str) -> Callable[[list[list[Json]]], Pieces]:
    """The id, the name or both in every piece."""

    def bend(made: list[list[Json]]) -> Pieces:
        bent: Pieces = []
        for first, *rest in made:
            bent.append(first)
            for each in rest:
                more = {"id": first["id"]} if "id" in members else {}
                function = {**each["function"], **({"name": first["function"]["name"]} if "name" in members else {})}
                bent.append({**each, **more, "function": function})
        return bent

    return bend


def sent_again(made: list[list[Json]]) -> Pieces:
    bent: Pieces = []
    for pieces in made:
        text = "".join(each["function"]["arguments"] for each in pieces)
        bent += [*pieces, piece(..., text, index=pieces[0]["index"])]
    return bent


def one_chunk_objects(made: list[list[Json]]) -> Pieces:
    return [
        piece(
            pieces[0]["function"]["name"],
            json.loads("".join(each["function"]["arguments"] for each in pieces)),
            index=0,
            id=pieces[0]["id"],
        )
        for pieces in made
    ]


DEVIATIONS: dict[str, Callable[[list[list[Json]]], Pieces]] = {
    "none": plain,
    "no index, id in every piece": lambda made: [
        {key: each[key] for key in each if key != "index"} for each in repeated("id")(made)
    ],
    "no index": without("index"),
    "one index": renumbered(lambda _: 0),
    "from one": renumbered(lambda index: index + 1),
    "falling": renumbered(lambda index: 9 - index),
    "sparse": renumbered(lambda index: index * 7),
    "texts": renumbered(str),
    "no id": without("id"),
    "no id, no index": without("id", "index"),
    "one index, no id": lambda made: [{**each, "index": 0} for each in without("id")(made)],
    "no type": without("type"),
    "interleaved": interleaved,
    "id in every piece": repeated("id"),
    "name in every piece": repeated("name"),
    "both in every piece": repeated("id", "name"),
    "sent again": sent_again,
    "objects": one_chunk_objects,
}


@st.composite
def pieces_of(draw: st.DrawFn, wanted: list[Call]) -> list[list[Json]]:
    """Each call in pieces: the first with its id and name, its arguments cut anywhere."""
    made: list[list[Json]] = []
    for index, (name, arguments) in enumerate(wanted):
        text = json.dumps(arguments)
        cuts = sorted(draw(st.sets(st.integers(1, len(text) - 1), max_size=4)))
        first = piece(name, "", index=index, id=f"call{index:05}", type="function")
        made.append(
            [first, *(piece(..., text[start:end], index=index) for start, end in pairwise([0, *cuts, len(text)]))]
        )
    return made


def merged(pieces: Pieces) -> list[Call]:
    merger = ReplyAccumulator()
    for each in pieces:
        merger.add(chunk({"tool_calls": [each]}))
    merger.add(chunk({}, end="tool_calls"))
    return [(call.name, json.loads(call.arguments)) for call in merger.finish().message.tool_calls]


@given(calls, st.sampled_from(sorted(DEVIATIONS)), st.data())
def test_calls_are_the_same_however_they_are_cut_and_bent(
    wanted: list[Call], deviation: str, data: st.DataObject
) -> None:
    if deviation in ("no id, no index", "one index, no id"):  # only another name says that another call begins
        assume(all(one[0] != other[0] for one, other in pairwise(wanted)))
    bent = DEVIATIONS[deviation](data.draw(pieces_of(wanted)))
    assert merged(bent) == wanted


def read(answer: bytes, cuts: list[int]) -> tuple[Reply, list[Event]]:
    events: list[Event] = []
    reader = ResponseDecoder(events.append, server="s", offered={"add": {}})
    body = answer.partition(b"\r\n\r\n")[2]
    reader.start(200, {})
    for start, end in pairwise([0, *cuts, len(body)]):
        reader.feed(body[start:end])
    return reader.finish(), events


@given(calls, st.text(max_size=20), st.data())
def test_a_stream_cut_anywhere_is_the_same_as_the_whole_reply(
    wanted: list[Call], text: str, data: st.DataObject
) -> None:
    made = [piece(name, json.dumps(given), index=at, id=f"call{at:05}") for at, (name, given) in enumerate(wanted)]
    stream = sse(
        chunk({"content": text[:5]}), chunk({"content": text[5:]}), chunk({"tool_calls": made}), chunk({}, end="stop")
    )
    size = len(stream.partition(b"\r\n\r\n")[2])
    cuts = sorted(data.draw(st.sets(st.integers(0, size), max_size=9)))
    reply, _ = read(stream, cuts)
    answer = b"\r\n\r\n" + json.dumps(whole({"content": text, "tool_calls": made}, end="stop")).encode()
    assert reply == read(answer, [])[0]
