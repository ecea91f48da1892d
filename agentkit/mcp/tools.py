"""Turn the tools that a server lists into `Tool`s, and results of calls into `ToolResult`s. Imports no SDK."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentkit.chat import escape_controls
from agentkit.errors import ConfigError, DefinitionError
from agentkit.mcp.normalize import clean_text
from agentkit.messages import AudioPart, ContentPart, FilePart, ImagePart
from agentkit.tools import Access, Approval, Tool, ToolContext, ToolOptions, ToolResult

__all__ = ["CallTool", "Listed", "Policy", "make_tools", "misfit", "to_tool_result", "valid_names"]

CallTool = Callable[[str, dict[str, Any], ToolContext[Any]], Awaitable[ToolResult]]

log = logging.getLogger("agentkit.mcp")

_DESCRIPTION = 16_000  # characters of a description that are sent to a model
_NAME = 64
_LARGEST_FILE = 20 * 1024 * 1024  # bytes of an image, sound or file of a result
_SOUND = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


@dataclass(frozen=True, slots=True)
class Listed:
    """A tool as its server lists it.

    Attributes:
        name: The server's name for it.
        description: What the model reads; the title if there is no description.
        schema: The JSON Schema of its arguments.
        output_schema: The JSON Schema of its structured result, if it promises one.
        hints: The annotations that are booleans, ``readOnlyHint`` for example.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None = None
    hints: Mapping[str, bool] = field(default_factory=dict[str, bool])


@dataclass(frozen=True, slots=True)
class Policy:
    """How the calls of a server's tools are run.

    Attributes:
        requires_approval: As of `ToolOptions`.
        trust_annotations: Whether a tool that claims to be read-only needs no approval.
    """

    requires_approval: Approval = False
    trust_annotations: bool = False

    def options(self, hints: Mapping[str, bool]) -> ToolOptions:
        """The options of a tool with these annotations."""
        reads = hints.get("readOnlyHint") is True
        access: list[Access] = []
        if hints.get("openWorldHint") is not False:
            access = ["untrusted"] if reads else ["untrusted", "outside"]
        return ToolOptions(
            timeout=None,  # the call has its own, which progress extends
            read_only=reads,
            idempotent=reads or hints.get("idempotentHint") is True,
            requires_approval=False if self.trust_annotations and reads else self.requires_approval,
            access=tuple(access),
        )


def valid_names(names: Iterable[str]) -> dict[str, str]:
    """Return names that model servers accept, by the original names; all of them distinct."""
    made: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(names, key=lambda each: re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each) is None):
        clean = re.sub(r"[^a-zA-Z0-9_-]+", "_", name)[:_NAME].strip("_") or "tool"
        unique, number = name if re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) else clean, 1
        while unique in taken:
            number += 1
            unique = f"{clean[: _NAME - len(str(number)) - 1]}_{number}"
        made[name] = unique
        taken.add(unique)
    return made


def make_tools(listed: Iterable[Listed], policy: Policy, call: CallTool) -> list[Tool]:
    """Return the tools of a server, in its order."""
    given = list(listed)
    names = valid_names(each.name for each in given)
    return [_made(names[each.name], each, policy, call) for each in given]


def _made(name: str, listed: Listed, policy: Policy, call: CallTool) -> Tool:
    async def run(context: ToolContext[Any], arguments: dict[str, Any]) -> ToolResult:
        return await call(listed.name, arguments, context)

    options = policy.options(listed.hints)
    description = clean_text(listed.description)[:_DESCRIPTION]
    try:
        return Tool.from_schema(name, description, listed.schema, run, **options)
    except DefinitionError as error:
        log.warning("the schema of the tool %s cannot be used, and its arguments are not described: %s", name, error)
        anything: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": True}
        return Tool.from_schema(name, description, anything, run, **options)


# Results.


def to_tool_result(result: Mapping[str, Any], output_schema: Mapping[str, Any] | None = None) -> ToolResult:
    """Read the result of a call for the model and the program. Never fails: the call has taken effect."""
    texts: list[str] = []
    files: list[ContentPart] = []
    for block in result.get("content") or ():
        _add(block, texts, files)
    structured = result.get("structuredContent")
    if structured is not None and not texts:
        texts.append(json.dumps(structured, ensure_ascii=False, separators=(",", ":")))
    metadata: dict[str, Any] = {}
    if isinstance(result.get("_meta"), dict):
        metadata["mcp.meta"] = result["_meta"]
    is_error = result.get("isError") is True
    problem = "" if is_error or output_schema is None else _broken_promise(structured, output_schema)
    if problem:
        metadata["mcp.output_schema"] = problem
    content = clean_text("\n".join(texts)) or ("" if files else "(no content)")
    return ToolResult(content, None if problem else structured, is_error, files=tuple(files), metadata=metadata)


def _broken_promise(structured: object, schema: Mapping[str, Any]) -> str:
    """Say how the structured result violates its schema; empty if it does not."""
    return misfit(structured, schema) if structured is not None else "it promises a structured result but returned none"


def misfit(value: object, schema: Mapping[str, Any]) -> str:
    """Where a value does not fit a JSON Schema, and why; empty if it does."""
    import jsonschema  # noqa: PLC0415 - it comes with the SDK, and only what has a schema needs it

    try:
        jsonschema.validate(value, schema)
    except jsonschema.ValidationError as error:
        where = "/".join(str(each) for each in error.absolute_path)
        return f"at {where or 'the top'}: {error.message}"[:500]
    except Exception as error:  # noqa: BLE001 - a schema that is no schema; the value is used as it is
        return f"its schema cannot be used: {type(error).__name__}"
    return ""


def _add(block: Mapping[str, Any], texts: list[str], files: list[ContentPart]) -> None:
    match block.get("type"):
        case "text":
            texts.append(str(block.get("text", "")))
        case "image" | "audio":
            _add_file(str(block.get("data", "")), str(block.get("mimeType", "")), str(block["type"]), texts, files)
        case "resource":
            contents = block["resource"]
            if "text" in contents:
                texts.append(f"[{contents['uri']}]\n{contents['text']}" if contents.get("uri") else contents["text"])
            else:
                kind, uri = str(contents.get("mimeType") or ""), str(contents.get("uri") or "file")
                _add_file(str(contents.get("blob", "")), kind, uri, texts, files)
        case "resource_link":
            about = f": {block['description']}" if block.get("description") else ""
            texts.append(f"[resource {block.get('name')} at {block.get('uri')}{about}]")
        case _:
            texts.append(json.dumps(block, ensure_ascii=False))


def _add_file(encoded: str, kind: str, what: str, texts: list[str], files: list[ContentPart]) -> None:
    kind = kind.partition(";")[0].strip().lower()
    try:
        data = base64.b64decode(encoded, validate=False)
        if not data or len(data) > _LARGEST_FILE:
            raise ConfigError(f"{len(data):,} bytes")
        if kind in _SOUND:
            files.append(AudioPart(data, _SOUND[kind]))
        elif kind in _IMAGES:
            files.append(ImagePart.from_bytes(data))
        elif kind == "application/pdf":
            files.append(FilePart.from_bytes(data, filename=f"{what.rstrip('/').rpartition('/')[2] or 'result'}"))
        else:
            raise ConfigError(f"{len(data):,} bytes")
    except (ConfigError, binascii.Error, ValueError) as error:
        detail = escape_controls(str(error))[:100]
        texts.append(f"[{escape_controls(what)[:200]} of type {kind or 'unknown'} is not shown: {detail}]")
