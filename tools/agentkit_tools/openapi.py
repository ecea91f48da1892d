"""`OpenApi`: every operation of an OpenAPI 3.0 or 3.1 document as a typed tool."""

from __future__ import annotations

import functools
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import quote, urlencode, urljoin, urlsplit

from agentkit import Tool
from agentkit.errors import ConfigError, ModelRetry
from agentkit.tools import Access, Approval, ToolContext, ToolResult, Toolset
from agentkit_tools.http import request_result
from agentkit_tools.openapi_schema import Document, Json, described, resolve, tool_schema
from agentkit_tools.web import Resolver, Web

__all__ = ["OpenApi"]

_SAFE = ("get", "head")
_MOST_TOOLS = 128  # servers refuse more
_LONGEST_DESCRIPTION = 1_000
_PAGING = {"page", "per_page", "page_size", "pagesize", "limit", "offset", "cursor", "after", "page_token", "pagetoken"}
_FORM, _PARTS, _JSON = "application/x-www-form-urlencoded", "multipart/form-data", "application/json"
Query: TypeAlias = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter of an operation, with its names for the model and for the server."""

    argument: str
    name: str
    place: str
    style: str
    explode: bool
    required: bool
    schema: Json


@dataclass(frozen=True, slots=True)
class _Operation:
    """An operation, ready to be called."""

    method: str
    path: str
    parameters: Sequence[_Parameter]
    body: str  # the media type, empty if there is none
    body_required: bool
    files: frozenset[str]  # members of a multipart body that are files


class OpenApi(Toolset):
    """The operations of an API as tools, with parameters, bodies and enums typed according to its OpenAPI document.

    Read-only operations (GET and HEAD) run freely; all others need approval unless you say otherwise.

    Args:
        document: A file (JSON, or YAML with the extra ``openapi``), or the document as a dict. See `from_url` too.
        base_url: The address of the API, if it differs from the document's.
        auth: The credentials that the document's security scheme requires: a token, a key, or ``"user:password"``; or
            headers by name. No model sees them.
        operations: Patterns of operations to offer: by name, such as ``"list_*"``, or ``"GET /pets/*"``. None for all.
        tags: Only operations with one of these tags.
        requires_approval: For operations that may change something; see `ToolOptions`.
        private: Non-public networks that may be reached, such as ``"10.1.0.0/16"``.
        timeout: Seconds for one request.
        max_bytes: Most bytes of a response.
        resolve: Resolves host names instead of the system.

    Raises:
        ConfigError: The document cannot be read, has no address, or has too many operations.
    """

    def __init__(  # noqa: PLR0913 - a constructor of users: each is one setting of the whole
        self,
        document: str | Path | Json,
        base_url: str = "",
        auth: str | Mapping[str, str] = "",
        *,
        operations: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        requires_approval: Approval = True,
        private: Sequence[str] = (),
        timeout: float = 30,
        max_bytes: int = 5 * 1024 * 1024,
        resolve: Resolver | None = None,
    ) -> None:
        self._document = Document(document if isinstance(document, Mapping) else _load(Path(document)))
        self._base = _base_url(self._document.raw, base_url)
        headers, self._query = self._document.credentials(auth) if isinstance(auth, str) else (dict(auth), [])
        self._cookies = [headers.pop("cookie")] if "cookie" in headers else []
        where = urlsplit(self._base)
        self._web = Web(
            [f"{where.hostname}:{where.port or (443 if where.scheme == 'https' else 80)}"],
            secrets={str(where.hostname): headers},
            hidden=[*(value for _, value in self._query), *(each.partition("=")[2] for each in self._cookies)],
            private=private,
            timeout=timeout,
            max_bytes=max_bytes,
            resolve=resolve,
        )
        self._approval, self._timeout = requires_approval, timeout
        self._access: list[Access] = ["untrusted", "outside"]
        if auth or private:  # reads private data: with your key, or inside your network
            self._access.append("private")
        made = list(self._chosen(operations, tags))
        if not made:
            raise ConfigError("OpenApi: no operation of the document is chosen by operations= and tags=")
        if len(made) > _MOST_TOOLS:
            raise ConfigError(
                f"OpenApi: the document has {len(made)} operations, and a model takes {_MOST_TOOLS} tools at most: "
                "choose with operations=['list_*', 'GET /pets/*'] or tags=[...]"
            )
        super().__init__(*made)

    @classmethod
    async def from_url(
        cls,
        url: str,
        base_url: str = "",
        auth: str | Mapping[str, str] = "",
        *,
        private: Sequence[str] = (),
        **options: Any,
    ) -> OpenApi:
        """Fetch a document and return its toolset; ``options`` are those of the class.

        Raises:
            ToolError: The document cannot be fetched.
            ConfigError: See the class.
        """
        where = urlsplit(url)
        port = where.port or (443 if where.scheme == "https" else 80)
        web = Web([f"{where.hostname}:{port}"], private=private, max_bytes=50_000_000, resolve=options.get("resolve"))
        answer = await web.send("GET", url)
        if answer.status != 200:
            raise ConfigError(f"OpenApi: {url} answers with the status {answer.status}")
        raw = _parse(answer.text, url)
        return cls(raw, urljoin(url, base_url or _server(raw)), auth, private=private, **options)

    def _chosen(self, operations: Sequence[str] | None, tags: Sequence[str] | None) -> Iterator[Tool]:
        taken: set[str] = set()
        for path, method, raw, shared in self._document.operations():
            name = _name(raw, method, path)
            while name in taken:
                name = f"{name[:60]}_{len(taken)}"
            wanted = operations is None or any(
                fnmatchcase(name, each) or fnmatchcase(f"{method.upper()} {path}", each) for each in operations
            )
            if not wanted or (tags is not None and not set(tags) & set(raw.get("tags", []))):
                continue
            taken.add(name)
            yield self._tool(name, path, method, raw, shared)

    def _tool(self, name: str, path: str, method: str, raw: Json, shared: Sequence[Json]) -> Tool:
        parameters = list(self._parameters(raw, shared))
        properties = {each.argument: each.schema for each in parameters}
        required = [each.argument for each in parameters if each.required]
        media, body_schema, body_required = self._body(raw)
        if media:
            properties["body"] = body_schema
            required += ["body"] * body_required
        operation = _Operation(method, path, parameters, media, body_required, self._files(body_schema))
        lines = [str(raw.get("summary") or ""), str(raw.get("description") or "")]
        text = "\n".join(dict.fromkeys(line.strip() for line in lines if line.strip())) or f"{method.upper()} {path}"
        paging = [each.argument for each in parameters if each.name.lower() in _PAGING]
        hint = f"\nResults come in pages: see {', '.join(paging)}." if paging else ""
        safe = method in _SAFE
        return Tool.from_schema(
            name,
            text[:_LONGEST_DESCRIPTION] + hint,
            tool_schema(self._document, properties, required),
            functools.partial(self._call, operation),
            read_only=safe,
            requires_approval=False if safe else self._approval,
            timeout=self._timeout + 5,
            access=self._access,
        )

    def _parameters(self, raw: Json, shared: Sequence[Json]) -> Iterator[_Parameter]:
        """Those of an operation; of two with one name and place, the operation's own."""
        found: dict[tuple[str, str], Json] = {}
        for each in (*shared, *raw.get("parameters", [])):
            parameter = resolve(self._document, each)
            found[parameter["name"], parameter["in"]] = parameter
        names = [name for name, _ in found]
        for (name, place), parameter in found.items():
            if place == "header" and name.lower() in ("accept", "content-type", "authorization", "cookie"):
                continue
            argument = re.sub(r"[^\w-]", "_", name)[:60]
            if names.count(name) > 1 or argument == "body":
                argument = f"{place}_{argument}"
            contents: list[Json] = list(parameter.get("content", {}).values())
            first: Json = contents[0] if contents else {}
            schema: Json = parameter.get("schema") or first.get("schema") or {"type": "string"}
            style = parameter.get("style") or ("form" if place == "query" else "simple")
            yield _Parameter(
                argument,
                name,
                place,
                "json" if contents else style,
                bool(parameter.get("explode", style == "form")),
                bool(parameter.get("required")) or place == "path",
                described(schema, parameter.get("description")),
            )

    def _body(self, raw: Json) -> tuple[str, Json, bool]:
        body = resolve(self._document, raw.get("requestBody") or {})
        content: Mapping[str, Json] = body.get("content") or {}
        if not content:
            return "", {}, False
        plain = {media.partition(";")[0].strip(): each for media, each in content.items()}
        media = next((each for each in plain if each == _JSON or each.endswith("+json")), "")
        media = media or next((each for each in (_FORM, _PARTS) if each in plain), next(iter(plain)))
        is_object = media in (_FORM, _PARTS) or "json" in media
        schema: Json = (plain[media].get("schema") or {}) if is_object else {"type": "string"}
        words = body.get("description") or (f"The body, of type {media}." if not is_object else "The body.")
        return media, described(schema, words), bool(body.get("required"))

    def _files(self, body: Json) -> frozenset[str]:
        properties: Mapping[str, Json] = resolve(self._document, body).get("properties") or {}
        members = {name: resolve(self._document, each) for name, each in properties.items()}
        single = {name: resolve(self._document, each.get("items") or each) for name, each in members.items()}
        return frozenset(name for name, each in single.items() if each.get("format") == "binary")

    async def _call(self, operation: _Operation, context: ToolContext[Any], arguments: dict[str, Any]) -> ToolResult:
        path, query = operation.path, list(self._query)
        headers, cookies = {"accept": "application/json, */*;q=0.5"}, list(self._cookies)
        for each, value in self._given(operation, arguments):
            if each.place == "path":
                path = path.replace("{" + each.name + "}", _segment(each, value))
            elif each.place == "query":
                query += _query(each, value)
            elif each.place == "cookie":
                cookies.append(f"{each.name}={quote(_text(value), safe='')}")
            else:
                headers[each.name] = _header(each, value)
        content = b""
        if arguments.get("body") is not None and operation.body:
            headers["content-type"], content = _encoded(operation, arguments["body"])
        if cookies:
            headers["cookie"] = "; ".join(cookies)
        if operation.method not in _SAFE:
            headers["idempotency-key"] = context.idempotency_key
        url = f"{self._base}{path}{'?' if query else ''}{urlencode(query)}"
        answer = await self._web.send(operation.method.upper(), url, headers=headers, content=content)
        return await request_result(answer)

    def _given(self, operation: _Operation, arguments: Mapping[str, Any]) -> Iterator[tuple[_Parameter, object]]:
        """Return the model's arguments, after checking that the operation has them."""
        names = [each.argument for each in operation.parameters] + ["body"] * bool(operation.body)
        needed = [each.argument for each in operation.parameters if each.required] + ["body"] * operation.body_required
        for name in needed:
            if arguments.get(name) is None:
                raise ModelRetry(f"the argument {name!r} is missing")
        for name in arguments:
            if name not in names:
                raise ModelRetry(f"there is no argument {name!r}; there are {', '.join(names) or 'none'}")
        for each in operation.parameters:
            value = arguments.get(each.argument)
            if value is not None:
                self._check_enum(each, value)
                yield each, value

    def _check_enum(self, parameter: _Parameter, value: object) -> None:
        allowed = resolve(self._document, parameter.schema).get("enum")
        if isinstance(allowed, list) and value not in allowed:
            raise ModelRetry(f"{parameter.argument}={value!r} must be one of {json.dumps(allowed)}")


def _load(path: Path) -> Json:
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"OpenApi: {str(path)!r} cannot be read: {error}") from None


def _parse(text: str, where: str) -> Json:
    try:
        raw: object = json.loads(text) if text.lstrip().startswith("{") else _yaml()(text)
    except ValueError as error:
        raise ConfigError(f"OpenApi: {where} cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"OpenApi: {where} is not an OpenAPI document")
    return cast("Json", raw)


def _yaml() -> Callable[[str], object]:
    try:
        import yaml  # noqa: PLC0415 - an extra: documents in JSON need none
    except ModuleNotFoundError:
        raise ConfigError(
            "OpenApi: reading YAML needs the extra agentkit[openapi]; or give the document as JSON"
        ) from None

    def read(text: str) -> object:
        try:
            return json.loads(json.dumps(yaml.safe_load(text), default=str))  # dates, and keys that are numbers
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from None

    return read


def _server(raw: Json) -> str:
    servers: list[Json] = list(raw.get("servers") or [{}])
    url = str(servers[0].get("url") or "/")
    variables: Mapping[str, Json] = servers[0].get("variables") or {}
    for name, variable in variables.items():
        url = url.replace("{" + name + "}", str(variable.get("default", "")))
    return url


def _base_url(raw: Json, given: str) -> str:
    url = given or _server(raw)
    url = f"https:{url}" if url.startswith("//") else url  # a server URL without a scheme takes the document's
    where = urlsplit(url)
    if where.scheme not in ("http", "https") or not where.hostname or where.query or where.username:
        raise ConfigError(f"OpenApi: {url!r} is not a valid API address; give base_url='https://api.example.com/v1'")
    return url.rstrip("/")


def _name(raw: Json, method: str, path: str) -> str:
    name = str(raw.get("operationId") or f"{method}_{path.strip('/') or 'root'}")
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:64] or method


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _segment(parameter: _Parameter, value: object) -> str:
    text = ",".join(map(_text, cast("list[object]", value))) if isinstance(value, list) else _text(value)
    if text in ("", ".", ".."):
        raise ModelRetry(f"{parameter.argument}={text!r} cannot be part of a path")
    return quote(text, safe=",")


def _query(parameter: _Parameter, value: object) -> Query:
    name = parameter.name
    if parameter.style == "json":
        return [(name, json.dumps(value))]
    if isinstance(value, list):
        values = [_text(each) for each in cast("list[object]", value)]
        separator = {"spaceDelimited": " ", "pipeDelimited": "|"}.get(parameter.style, ",")
        return [(name, each) for each in values] if parameter.explode else [(name, separator.join(values))]
    if isinstance(value, dict):
        members = {key: _text(each) for key, each in cast("dict[str, object]", value).items()}
        if parameter.style == "deepObject":
            return [(f"{name}[{key}]", each) for key, each in members.items()]
        if parameter.explode:
            return list(members.items())
        return [(name, ",".join(part for pair in members.items() for part in pair))]
    return [(name, _text(value))]


def _header(parameter: _Parameter, value: object) -> str:
    text = ",".join(map(_text, cast("list[object]", value))) if isinstance(value, list) else _text(value)
    if not text.isprintable() or not text.isascii():
        raise ModelRetry(f"{parameter.argument}={value!r} cannot be sent in a header")
    return text


def _encoded(operation: _Operation, body: object) -> tuple[str, bytes]:
    """The content type of a body, and its bytes."""
    media = operation.body
    if media not in (_FORM, _PARTS):
        return media, json.dumps(body).encode() if "json" in media else _text(body).encode()
    if not isinstance(body, dict):
        raise ModelRetry("the body must be an object")
    pairs = [
        (name, _text(each))
        for name, value in cast("dict[str, object]", body).items()
        for each in (cast("list[object]", value) if isinstance(value, list) else [value])
    ]
    if media == _FORM:
        return media, urlencode(pairs).encode()
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\ncontent-disposition: form-data; name="{quote(name, safe=" []")}"'
        f"{'; filename=file' if name in operation.files else ''}\r\n\r\n{text}\r\n"
        for name, text in pairs
    ]
    return f"{media}; boundary={boundary}", f"{''.join(parts)}--{boundary}--\r\n".encode()
