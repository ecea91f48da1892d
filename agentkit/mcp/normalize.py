"""Turn the bytes that a server sends into messages that the SDK accepts. Pure.

A message is never lost because another one is malformed, and the text of a result is never lost because another part
is. Members of the wrong type and items that are not objects are left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from pydantic_core import from_json

__all__ = ["Inbox", "Json", "clean_text"]

Json: TypeAlias = dict[str, Any]
_Kinds: TypeAlias = Mapping[str, type | tuple[type, ...]]

_ID = re.compile(rb'"id"\s*:\s*(?:(-?\d{1,18})|"((?:[^"\\]|\\.){0,200})")')
_ENDS = 512  # bytes at both ends of an unreadable message that are searched for its id
_INTERNAL, _PARSE = -32603, -32700
_MOST_ITEMS = 20_000  # in a page of a list

_PLAIN: _Kinds = {"title": str, "description": str, "_meta": dict}
_TOOL = {"name": str, "outputSchema": dict, "annotations": dict, **_PLAIN}
_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
_RESOURCE = {"uri": str, "name": str, "mimeType": str, "size": int, **_PLAIN}
_TEMPLATE = {"uriTemplate": str, "name": str, "mimeType": str, **_PLAIN}
_ARGUMENT = {"name": str, "title": str, "description": str, "required": bool}
_BLOCKS: Mapping[str, _Kinds] = {
    "text": {"text": str, "_meta": dict},
    "image": {"data": str, "mimeType": str, "_meta": dict},
    "audio": {"data": str, "mimeType": str, "_meta": dict},
    "resource": {"resource": dict, "_meta": dict},
    "resource_link": _RESOURCE,
}
_NEEDED = {
    "text": ("text",),
    "image": ("data", "mimeType"),
    "audio": ("data", "mimeType"),
    "resource": ("resource",),
    "resource_link": ("uri", "name"),
}
_KNOWN = {"content", "structuredContent", "isError", "resultType", "_meta"}


def clean_text(text: str) -> str:
    """Return the string with surrogate pairs joined, and U+FFFD for each lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class Inbox:
    """Reads what one server sends, and knows which requests it has not answered yet.

    Args:
        on_noise: Receives each line that is not a message: servers write log lines among them.
    """

    def __init__(self, on_noise: Callable[[bytes], None]) -> None:
        self._on_noise = on_noise
        self._open: dict[int | str, str] = {}

    def sent(self, message: Mapping[str, Any]) -> None:
        """Record a message that is sent to the server."""
        identity, method = message.get("id"), message.get("method")
        if identity is not None and isinstance(method, str):
            self._open[identity] = method
        elif method == "notifications/cancelled":
            params: Json = message.get("params") or {}
            self._open.pop(cast("int | str", params.get("requestId")), None)

    def read(self, line: bytes, answered: int | str | None = None) -> list[Json]:
        """Return the messages of a line, if any.

        Args:
            line: The bytes.
            answered: The request that an answer without a known id belongs to.
        """
        text = line.strip().removeprefix(b"\xef\xbb\xbf")
        if not text:
            return []
        if text[:1] not in b"{[":
            self._on_noise(line)
            return []
        try:
            value = parse(text)
        except (ValueError, RecursionError) as error:
            return self.unreadable(text[:_ENDS], text[-_ENDS:], f"is not JSON: {error}")
        batch = cast("list[object]", value) if isinstance(value, list) else [value]
        return [made for each in batch for made in self._message(each, line, answered)]

    def unreadable(self, head: bytes, tail: bytes, why: str) -> list[Json]:
        """Return an error in place of an unreadable answer, if its request can be found."""
        ids = [found for each in (head, tail) for found in _ID.finditer(each)]
        for found in ids:
            identity = self._known(int(found[1]) if found[1] else found[2].decode("utf-8", "replace"))
            if identity is not None:
                return [self._failed(identity, why)]
        if not ids and b"jsonrpc" in head + tail and b'"method"' not in head and len(self._open) == 1:
            return [self._failed(next(iter(self._open)), why)]
        self._on_noise(head)
        return []

    def _failed(self, identity: int | str, why: str) -> Json:
        del self._open[identity]
        return _error(identity, {"code": _PARSE, "message": f"the answer of the server {why}"})

    def _known(self, identity: object) -> int | str | None:
        """The id of an open request, in the form in which it was sent."""
        if isinstance(identity, float) and identity.is_integer():
            identity = int(identity)
        if isinstance(identity, bool) or not isinstance(identity, int | str):
            return None
        other: int | str = str(identity)
        if isinstance(identity, str) and identity.isdecimal() and len(identity) < 19:
            other = int(identity)
        return next((each for each in (identity, other) if each in self._open), None)

    def _message(self, raw: object, line: bytes, answered: int | str | None) -> Iterator[Json]:
        if not isinstance(raw, dict):
            self._on_noise(line)
            return
        message = cast("Json", raw)
        if isinstance(message.get("method"), str):
            kept = _keep(message, {"id": (int, str), "method": str, "params": dict})
            yield {"jsonrpc": "2.0", **kept}
            return
        identity = self._known(message.get("id"))
        if identity is None and answered in self._open:
            identity = answered
        elif identity is None and message.get("id") is None and len(self._open) == 1:
            identity = next(iter(self._open))
        if identity is None:
            if "result" not in message and "error" not in message:
                self._on_noise(line)
            return  # the answer to an abandoned request, or a second one
        method = self._open.pop(identity)
        if message.get("error") is not None and not isinstance(message.get("result"), dict):
            yield _error(identity, message["error"])
        else:
            result = _result(method, message.get("result"))
            yield {"jsonrpc": "2.0", "id": identity, "result": result}


def parse(text: bytes) -> Any:
    """Read JSON. Bytes that are not UTF-8 and lone surrogates become U+FFFD.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return _cleaned(json.loads(text.decode("utf-8", "replace"), parse_constant=lambda _: None))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_cleaned(each) for each in cast("list[object]", value)]
    if isinstance(value, dict):
        return {clean_text(key): _cleaned(each) for key, each in cast("Json", value).items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _keep(raw: Mapping[str, Any], kinds: _Kinds) -> Json:
    """Return the members that have the right types."""
    return {
        name: raw[name]
        for name, kind in kinds.items()
        if isinstance(raw.get(name), kind) and (kind is bool or not isinstance(raw[name], bool))
    }


def _items(result: Json, name: str) -> Iterator[Json]:
    raw = result.get(name)
    for each in cast("list[object]", raw)[:_MOST_ITEMS] if isinstance(raw, list) else ():
        if isinstance(each, dict):
            yield cast("Json", each)


def _error(identity: int | str, raw: object) -> Json:
    error: Json = {"code": _INTERNAL, "message": ""}
    if isinstance(raw, dict):
        given = cast("Json", raw)
        error |= _keep(given, {"code": int, "message": str})
        if given.get("data") is not None:
            error["data"] = given["data"]
        if not error["message"]:
            error["message"] = json.dumps(given, ensure_ascii=False)[:500]
    else:
        error["message"] = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False)[:500]
    return {"jsonrpc": "2.0", "id": identity, "error": error}


def _result(method: str, raw: object) -> Json:
    if method == "tools/call":
        return _call(raw)
    result = cast("Json", raw) if isinstance(raw, dict) else {}
    if result.get("resultType") == "input_required":
        return result
    normalize = _OF_METHOD.get(method)
    if normalize is None:
        return result
    made = normalize(result)
    for name, default in (("resultType", "complete"), ("ttlMs", 0), ("cacheScope", "private")):
        made[name] = result[name] if isinstance(result.get(name), type(default)) else default
    if not isinstance(made["ttlMs"], int) or made["cacheScope"] not in ("private", "public"):
        made |= {"ttlMs": 0, "cacheScope": "private"}
    return made | _keep(result, {"nextCursor": str, "_meta": dict})


# The results, by the method that was asked.


def _tools(result: Json) -> Json:
    return {"tools": [_tool(each) for each in _items(result, "tools") if isinstance(each.get("name"), str)]}


def _tool(raw: Json) -> Json:
    tool = _keep(raw, _TOOL)
    schema = raw.get("inputSchema")
    tool["inputSchema"] = {**(cast("Json", schema) if isinstance(schema, dict) else {}), "type": "object"}
    if not isinstance(tool["inputSchema"].get("properties", {}), dict):
        del tool["inputSchema"]["properties"]
    if not isinstance(tool["inputSchema"].get("required", []), list):
        del tool["inputSchema"]["required"]
    if "outputSchema" in tool and tool["outputSchema"].get("type") != "object":
        del tool["outputSchema"]  # it says nothing that an older client could rely on
    if "annotations" in tool:
        tool["annotations"] = _keep(tool["annotations"], {"title": str, **dict.fromkeys(_HINTS, bool)})
    return tool


def _call(raw: object) -> Json:
    if not isinstance(raw, dict):
        return {"content": [] if raw is None else [_text(raw)], "isError": False, "resultType": "complete"}
    result = cast("Json", raw)
    if result.get("resultType") == "input_required":
        return result
    content = result.get("content")
    blocks = cast("list[object]", content) if isinstance(content, list) else [] if content is None else [content]
    made: Json = {"content": [_block(each) for each in blocks], "resultType": "complete"}
    made["isError"] = result.get("isError") is True or result.get("isError") == "true"
    made |= _keep(result, {"structuredContent": dict, "_meta": dict})
    structured = result.get("structuredContent")
    if structured is not None and "structuredContent" not in made and not blocks:
        made["content"] = [_text(structured)]
    rest = {name: value for name, value in result.items() if name not in _KNOWN}
    if rest and not made["content"] and structured is None:
        made["content"] = [_text(rest)]
    return made


def _block(raw: object) -> Json:
    if not isinstance(raw, dict):
        return _text(raw)
    block = cast("Json", raw)
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in _BLOCKS:
        return _text(block["text"] if isinstance(block.get("text"), str) else block)
    made: Json = {"type": kind, **_keep(block, _BLOCKS[kind])}
    if kind == "resource" and "resource" in made:
        made["resource"] = _contents(made["resource"])
    if kind == "resource_link" and "uri" in made:
        made.setdefault("name", made["uri"])
    return made if all(each in made for each in _NEEDED[kind]) else _text(block)


def _text(value: object) -> Json:
    return {"type": "text", "text": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}


def _contents(raw: Json) -> Json:
    made = {"uri": "", **_keep(raw, {"uri": str, "mimeType": str, "text": str, "blob": str, "_meta": dict})}
    if "text" in made:
        made.pop("blob", None)
    elif "blob" not in made:
        made["text"] = "" if raw.get("text") is None else json.dumps(raw["text"], ensure_ascii=False)
    return made


def _resources(result: Json) -> Json:
    found = [_keep(each, _RESOURCE) for each in _items(result, "resources")]
    return {"resources": [{"name": each["uri"], **each} for each in found if "uri" in each]}


def _templates(result: Json) -> Json:
    found = [_keep(each, _TEMPLATE) for each in _items(result, "resourceTemplates")]
    return {"resourceTemplates": [{"name": each["uriTemplate"], **each} for each in found if "uriTemplate" in each]}


def _read(result: Json) -> Json:
    return {"contents": [_contents(each) for each in _items(result, "contents")]}


def _prompts(result: Json) -> Json:
    prompts: list[Json] = []
    for each in _items(result, "prompts"):
        if isinstance(each.get("name"), str):
            arguments = [_keep(one, _ARGUMENT) for one in _items(each, "arguments")]
            named = [one for one in arguments if "name" in one]
            prompts.append({"name": each["name"], **_keep(each, _PLAIN), "arguments": named})
    return {"prompts": prompts}


def _prompt(result: Json) -> Json:
    messages: list[Json] = []
    for each in _items(result, "messages"):
        role = each.get("role") if each.get("role") in ("user", "assistant") else "user"
        messages.append({"role": role, "content": _block(each.get("content"))})
    return {"messages": messages, **_keep(result, {"description": str})}


def _initialized(result: Json) -> Json:
    given = {name: each for name, each in result.items() if name in ("serverInfo", "capabilities") and each}
    result = result | {name: each if isinstance(each, dict) else {} for name, each in given.items()}
    info = _keep(result.get("serverInfo") or {}, {"name": str, "version": str, "title": str})
    made: Json = {
        "protocolVersion": "2024-11-05",
        "serverInfo": {"name": "", "version": "", **info},
        "capabilities": {},
    }
    for name, value in cast("Json", result.get("capabilities") or {}).items():
        if isinstance(value, dict):
            made["capabilities"][name] = value
    return made | _keep(result, {"protocolVersion": str, "instructions": str})


_OF_METHOD: dict[str, Callable[[Json], Json]] = {
    "tools/list": _tools,
    "resources/list": _resources,
    "resources/templates/list": _templates,
    "resources/read": _read,
    "prompts/list": _prompts,
    "prompts/get": _prompt,
    "initialize": _initialized,
}
