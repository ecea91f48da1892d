"""Drafts of an output while the model writes it: always a valid part of it, at a linear cost."""

from __future__ import annotations

import json
import time
from typing import Any, Literal

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from agentkit import Agent, ChatClient
from agentkit.errors import OutputInvalid
from agentkit.events import TextDelta
from agentkit.run import TypedOutput
from agentkit.testing import Chunks, ScriptedModel, Server, call
from tests.outputs import Invoice, Line, Refusal, total

pytestmark = pytest.mark.anyio


class Report(BaseModel):
    kind: Literal["report", "draft"]
    number: int
    text: str
    tags: list[str] = []
    done: bool = False


REPORT = {"kind": "report", "number": 123456, "text": 'He said "h\u00e9" \U0001f600', "tags": ["a", "b"], "done": True}


async def drafts_of(model: Any, output_type: Any) -> list[Any]:
    async with Agent(model, output_type=output_type).stream("go") as events:
        return [draft async for draft in events.output()]


def is_part(draft: Any, whole: Any, *, strings: bool = True) -> bool:
    """Whether a draft holds nothing that is not in the whole."""
    if isinstance(draft, dict):
        return isinstance(whole, dict) and all(key in whole and is_part(draft[key], whole[key]) for key in draft)
    if isinstance(draft, list):
        pairs = zip(draft, whole, strict=False)
        return isinstance(whole, list) and len(draft) <= len(whole) and all(is_part(a, b) for a, b in pairs)
    if isinstance(draft, str) and strings:
        return isinstance(whole, str) and whole.startswith(draft)
    return type(draft) is type(whole) and bool(draft == whole)


def chunks(text: str, size: int = 1) -> Chunks:
    return Chunks(*(text[at : at + size] for at in range(0, len(text), size)))


async def test_drafts_grow_and_the_last_one_is_the_validated_output() -> None:
    *drafts, last = await drafts_of(ScriptedModel([chunks(json.dumps(REPORT))]), Report)
    assert last == Report.model_validate(REPORT)
    assert all(is_part(each, REPORT) for each in drafts)
    assert drafts[0] == {}
    assert drafts[-1] == REPORT
    assert [each for each in drafts if each.get("kind", "report") != "report"] == []
    assert {each["number"] for each in drafts if "number" in each} == {123456}
    assert len({each.get("text") for each in drafts}) > 5
    assert all("done" not in each or each["done"] is True for each in drafts)


def test_code_that_is_not_async_reads_the_same_drafts() -> None:
    chunks = Chunks('{"kind": "report", "num', 'ber": 123', '456, "text": "x"}')
    with Agent(ScriptedModel([chunks]), output_type=Report).stream_sync("go") as stream:
        drafts = list(stream.output())
        assert stream.result().output == drafts[-1] == Report(kind="report", number=123456, text="x")
    assert drafts[:-1] == anyio.run(drafts_of, ScriptedModel([chunks]), Report)[:-1] != []
    unread = Agent(ScriptedModel(["{}", "{}"]), output_type=TypedOutput(Report, retries=1)).stream_sync("go")
    with pytest.raises(OutputInvalid):
        list(unread.output())


async def test_earlier_drafts_stay_as_they_were() -> None:
    lines = [{"what": f"line {n}", "price": n} for n in range(5)]
    *drafts, _ = await drafts_of(ScriptedModel([chunks(json.dumps({"value": lines}), 7)]), list[Line])
    sizes = [len(json.dumps(each)) for each in drafts]
    assert sizes == sorted(sizes)
    assert drafts[-1] == lines


async def test_drafts_of_a_call_and_of_text() -> None:
    with Server([call("final_answer", what="tea", price=2.5)]) as server:
        client = ChatClient(server.url, model="m")
        *drafts, last = await drafts_of(client, TypedOutput(Line, way="tool"))
        await client.aclose()
    assert last == Line(what="tea", price=2.5)
    assert drafts
    assert drafts[-1] == {"what": "tea", "price": 2.5}
    assert await drafts_of(ScriptedModel([Chunks("a", "b", "c")]), str) == ["a", "ab", "abc", "abc"]


@pytest.mark.parametrize(
    ("output_type", "text", "last"),
    [
        (int, '{"value": 42}', 42),
        (Invoice | Refusal, '{"value": {"reason": "blurred"}}', Refusal(reason="blurred")),
        (total, '{"prices": [1, 2.5]}', "3.5 EUR"),
        (tuple[Literal["ab"], str], '{"value": ["ab", "cd"]}', ("ab", "cd")),
    ],
    ids=["int", "union", "function", "tuple"],
)
async def test_each_kind_has_drafts(output_type: Any, text: str, last: Any) -> None:
    written = json.loads(text)
    written = written.get("value", written)
    *drafts, made = await drafts_of(ScriptedModel([chunks(text)]), TypedOutput(output_type, way="json"))
    assert made == last
    assert all(is_part(each, written) for each in drafts)


async def test_when_the_model_starts_again_so_do_the_drafts() -> None:
    texts = [chunks('{"what": "tea"}', 5), chunks('{"what": "milk", "price": 1}', 5)]
    *drafts, last = await drafts_of(ScriptedModel(texts), TypedOutput(Line, way="json"))
    assert last == Line(what="milk", price=1)
    assert drafts.count({}) == 2


async def test_prose_around_the_value_is_not_in_the_drafts() -> None:
    text = 'Sure:\n```json\n{"what": "tea", "price": 1}\n```\nDone {really}.'
    *drafts, _ = await drafts_of(ScriptedModel([chunks(text)]), TypedOutput(Line, way="prompted"))
    assert all(is_part(each, {"what": "tea", "price": 1}) for each in drafts)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES), st.integers(1, 9), st.booleans())
def test_every_draft_is_a_part_of_the_value(value: dict[str, Any], size: int, ascii_only: bool) -> None:
    drafts = TypedOutput(dict[str, Any], way="json").drafts()
    text = json.dumps(value, ensure_ascii=ascii_only)
    found = [drafts.feed(TextDelta(text[at : at + size])) for at in range(0, len(text), size)]
    made = [draft for draft, there in found if there]
    assert all(is_part(each, value) for each in made)
    assert made[-1] == value


def test_the_cost_is_linear_in_the_length() -> None:
    def seconds(records: int) -> float:
        drafts = TypedOutput(list[Report]).drafts()
        text = json.dumps({"value": [REPORT] * records})
        began = time.process_time()
        for at in range(0, len(text), 4):
            drafts.feed(TextDelta(text[at : at + 4]))
        return time.process_time() - began

    few = min(seconds(200) for _ in range(3))
    assert seconds(3200) < few * 16 * 3
