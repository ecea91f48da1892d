"""Generated replies: a whole one as a server sends it, and the same one cut into the chunks of a stream."""

import base64
import json
import random
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
WORD = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=6)
NUMBER = st.integers(0, 1000)
LOGPROB = st.floats(-20, 0)
JSON = st.recursive(st.none() | st.booleans() | NUMBER | TEXT, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
ARGUMENTS = st.dictionaries(WORD, JSON, max_size=3)
COMPACT = st.booleans()


def maybe(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that have any of these members."""
    return st.fixed_dictionaries({}, optional=members)


@st.composite
def calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for place in range(draw(st.integers(1, 3))):
        head = {"id": f"call_{place}", **draw(maybe(extra_content=ARGUMENTS))}
        name = draw(WORD)
        if draw(st.booleans()):
            made.append({**head, "type": "custom", "custom": {"name": name, "input": draw(TEXT)}})
        else:
            arguments = _json(draw(ARGUMENTS), compact=draw(COMPACT))
            made.append({**head, "type": "function", "function": {"name": name, "arguments": arguments}})
    return made


def _json(value: Any, *, compact: bool) -> str:
    return json.dumps(value, separators=(",", ":") if compact else None, ensure_ascii=compact)


tokens = st.fixed_dictionaries(
    {
        "token": TEXT,
        "logprob": LOGPROB,
        "bytes": st.none() | st.lists(st.integers(0, 255), max_size=3),
        "top_logprobs": st.lists(st.fixed_dictionaries({"token": TEXT, "logprob": LOGPROB}), max_size=2),
    }
)
citations = st.fixed_dictionaries(
    {
        "type": st.just("url_citation"),
        "url_citation": st.fixed_dictionaries({"url": WORD, "title": TEXT, "start_index": NUMBER, "end_index": NUMBER}),
    }
)
spoken = st.fixed_dictionaries(
    {
        "id": WORD,
        "data": st.binary(max_size=9).map(lambda data: base64.b64encode(data).decode()),
        "transcript": TEXT,
        "expires_at": NUMBER,
    }
)
details = st.lists(
    maybe(text=TEXT, signature=WORD, format=WORD).map(lambda each: {"type": "reasoning.text", **each}), max_size=2
).map(lambda found: [{**each, "index": place} for place, each in enumerate(found)])
reasoning = st.dictionaries(st.sampled_from(["reasoning_content", "reasoning", "reasoning_text"]), TEXT, max_size=1)
messages = st.builds(
    lambda role, members, thought: {**role, **members, **thought},
    st.just({"role": "assistant"}),
    st.fixed_dictionaries(
        {"content": st.none() | TEXT},
        optional={
            "refusal": st.none() | TEXT,
            "tool_calls": calls(),
            "annotations": st.lists(citations, max_size=3),
            "audio": spoken,
            "reasoning_details": details,
            "images": st.lists(ARGUMENTS, max_size=2),
        },
    ),
    reasoning,
)
choices = st.fixed_dictionaries(
    {
        "message": messages,
        "finish_reason": st.sampled_from(["stop", "length", "tool_calls", "content_filter", "newer"]),
        "logprobs": st.none()
        | st.fixed_dictionaries(
            {"content": st.lists(tokens, max_size=3), "refusal": st.none() | st.lists(tokens, max_size=2)}
        ),
    },
    optional={"content_filter_results": ARGUMENTS},
)
usages = maybe(
    prompt_tokens=NUMBER,
    completion_tokens=NUMBER,
    total_tokens=NUMBER,
    prompt_tokens_details=st.none() | maybe(cached_tokens=NUMBER, audio_tokens=NUMBER, cache_write_tokens=NUMBER),
    completion_tokens_details=maybe(reasoning_tokens=NUMBER, accepted_prediction_tokens=NUMBER),
    cost=st.floats(0, 1),
)
heads = st.fixed_dictionaries(
    {"id": WORD, "created": NUMBER, "model": WORD},
    optional={
        "service_tier": WORD,
        "system_fingerprint": st.none() | WORD,
        "metadata": st.dictionaries(WORD, TEXT, max_size=2),
        "moderation": ARGUMENTS,
        "provider": WORD,
    },
)


@st.composite
def replies(draw: st.DrawFn) -> dict[str, Any]:
    """Whole replies, of one answer or several."""
    answers = draw(st.lists(choices, min_size=1, max_size=3))
    body: dict[str, Any] = {**draw(heads), "object": "chat.completion"}
    body["choices"] = [{"index": index, **answer} for index, answer in enumerate(answers)]
    return {**body, "usage": draw(usages)}


def chunks_of(reply: dict[str, Any], dice: random.Random) -> list[dict[str, Any]]:
    """The chunks of a stream that says the same, cut and mixed by chance."""
    head = {name: value for name, value in reply.items() if name not in ("choices", "usage", "object")}
    streams = [list(_choice_chunks(choice, dice)) for choice in reply["choices"]]
    mixed: list[dict[str, Any]] = []
    while any(streams):
        mixed.append(dice.choice([stream for stream in streams if stream]).pop(0))
    frame = {**head, "object": "chat.completion.chunk"}
    padding = {"obfuscation": "x" * dice.randrange(3)} if dice.random() < 0.5 else {}
    found = [{**frame, **padding, "choices": [each], "usage": None} for each in mixed]
    return [*found, {**frame, "choices": [], "usage": reply["usage"]}]


def _choice_chunks(choice: dict[str, Any], dice: random.Random) -> Iterator[dict[str, Any]]:
    known = ("index", "message", "finish_reason", "logprobs")
    rest = {name: value for name, value in choice.items() if name not in known}
    yield {"index": choice["index"], "delta": {"role": "assistant", "content": ""}, "finish_reason": None, **rest}
    tracks = [track for track in _tracks(choice["message"], dice) if track]
    probable = choice["logprobs"] or {}
    tracks.append([{"logprobs": {name: [each]}} for name in probable for each in probable[name] or ()])
    if choice["logprobs"] is not None:
        tracks[-1].append({"logprobs": {"content": [], "refusal": None}})
    while any(tracks):
        piece = dice.choice([track for track in tracks if track]).pop(0)
        piece = piece if "logprobs" in piece else {"delta": piece}
        yield {"index": choice["index"], "delta": {}, "finish_reason": None, **piece}
    yield {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}


def _tracks(message: dict[str, Any], dice: random.Random) -> Iterator[list[dict[str, Any]]]:
    """The deltas of each member; those of one member stay in their order, members mix freely."""
    for name, value in message.items():
        if name == "tool_calls":
            pieces = [piece for index, call in enumerate(value) for piece in _call_pieces(index, call, dice)]
            yield [{"tool_calls": [piece]} for piece in pieces]
        elif name == "audio":
            first = {"id": value["id"], "data": "", "expires_at": value["expires_at"]}
            data = [{"data": piece} for piece in _cut(value["data"], dice)]
            said = [{"transcript": piece} for piece in _cut(value["transcript"], dice)]
            yield [{"audio": each} for each in (first, *data, *said)]
        elif name == "annotations":
            yield [{name: [each]} for each in value]
        elif name == "reasoning_details":
            yield [{name: [piece]} for each in value for piece in _detail_pieces(each, dice)]
        elif name != "role":
            yield [{name: each} for each in (_cut(value, dice) if isinstance(value, str) else [value])]


def _call_pieces(index: int, call: dict[str, Any], dice: random.Random) -> Iterator[dict[str, Any]]:
    kind = call["type"]
    member = "input" if kind == "custom" else "arguments"
    yield {**call, "index": index, kind: {**call[kind], member: ""}}
    for piece in _cut(call[kind][member], dice):
        yield {"index": index, kind: {member: piece}}


def _detail_pieces(detail: dict[str, Any], dice: random.Random) -> Iterator[dict[str, Any]]:
    yield {name: value for name, value in detail.items() if name != "text"} | ({"text": ""} if "text" in detail else {})
    for piece in _cut(detail.get("text", ""), dice):
        yield {"type": detail["type"], "index": detail["index"], "text": piece}


def _cut(text: str, dice: random.Random) -> list[str]:
    places = sorted(dice.sample(range(1, len(text)), dice.randrange(len(text)))) if len(text) > 1 else []
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)] if text else []
