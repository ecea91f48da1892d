"""What the official document says of answers is really held: an answer that is wrong in one place does not fit."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serve import official
from tests.serve.asgi import USER
from tests.serve.test_chat import client

pytestmark = pytest.mark.anyio


def members(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each member, at any depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*path, name)
        yield from members(inner, (*path, name))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The value with another member at the path."""
    made = copy.deepcopy(value)
    place = made
    for each in path[:-1]:
        place = place[each]
    place[path[-1]] = new
    return made


async def test_an_answer_with_a_member_of_a_wrong_type_does_not_fit() -> None:
    answer = await client("ok").chat(USER)
    paths = list(members(answer.json))
    assert len(paths) > 20
    for path in paths:
        with pytest.raises(AssertionError):
            official.check("CreateChatCompletionResponse", changed(answer.json, path, ()))
        if isinstance(path[-1], str):
            with pytest.raises(AssertionError):
                official.check("CreateChatCompletionResponse", changed(answer.json, (*path[:-1], "other"), 1))


@pytest.mark.parametrize("name", ["id", "object", "created", "model", "choices"])
async def test_a_completion_or_a_chunk_that_lacks_a_member_does_not_fit(name: str) -> None:
    whole, streamed = (await client("ok").chat()).json, (await client("ok").chat(stream=True)).chunks[0]
    for schema, value in (("CreateChatCompletionResponse", whole), ("CreateChatCompletionStreamResponse", streamed)):
        official.check(schema, value)
        with pytest.raises(AssertionError):
            official.check(schema, {key: value[key] for key in value if key != name})


async def test_the_chunks_of_a_stream_belong_together() -> None:
    data = (await client("ok").chat(stream=True)).data
    official.check_stream(data)
    other = json.dumps({**json.loads(data[0]), "id": "another"})
    with pytest.raises(AssertionError):
        official.check_stream([other, *data[1:]])
    error = json.dumps({"error": {"message": "m", "type": "t", "param": None, "code": None}})
    official.check_stream([data[0], error])
    for wrong in ([error, data[0]], [data[0], error, "[DONE]"], [data[0], json.dumps({"error": {"message": "m"}})]):
        with pytest.raises(AssertionError):
            official.check_stream(wrong)
