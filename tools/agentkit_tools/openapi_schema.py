"""An OpenAPI document: its operations, and its schemas as JSON Schema for a tool."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast
from urllib.parse import unquote

from agentkit.errors import ConfigError

__all__ = ["Document", "Json", "described", "resolve", "tool_schema"]

Json: TypeAlias = Mapping[str, Any]

METHODS = ("get", "head", "post", "put", "patch", "delete")
_DROPPED = {
    "example",
    "examples",
    "xml",
    "externalDocs",
    "discriminator",
    "nullable",
    "readOnly",
    "writeOnly",
    "deprecated",
}
_BY_NAME = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
_DEEPEST = 60
_SCHEMAS = "#/components/schemas/"


class Document:
    """An OpenAPI 3.0 or 3.1 document.

    Raises:
        ConfigError: It is something else.
    """

    def __init__(self, raw: Json) -> None:
        version = raw.get("openapi")
        if not isinstance(version, str) or not version.startswith("3."):
            what = f"of version {raw['swagger']!r}" if "swagger" in raw else "of unknown version"
            raise ConfigError(f"OpenApi: the document is {what}, and must say openapi: 3.0 or 3.1")
        if not isinstance(raw.get("paths"), Mapping):
            raise ConfigError("OpenApi: the document has no paths")
        self.raw = raw
        self.is_3_0 = version.startswith("3.0")

    def operations(self) -> Iterator[tuple[str, str, Json, Sequence[Json]]]:
        """Yield the path, method and definition of each operation, and the parameters from its path."""
        paths: Mapping[str, Json | None] = self.raw["paths"]
        for path, raw in paths.items():
            item = resolve(self, raw or {})
            for method in METHODS:
                if isinstance(item.get(method), Mapping):
                    yield path, method, item[method], item.get("parameters") or []

    def at(self, reference: str) -> Any:
        """Resolve a ``$ref``.

        Raises:
            ConfigError: It points outside the document, or nowhere.
        """
        if not reference.startswith("#/"):
            raise ConfigError(f"OpenApi: the document refers to another one, {reference!r}: bundle them into one file")
        found: Any = self.raw
        for written in reference[2:].split("/"):
            part = unquote(written).replace("~1", "/").replace("~0", "~")
            if isinstance(found, list):
                found = {str(place): each for place, each in enumerate(cast("Sequence[Any]", found))}
            if isinstance(found, Mapping) and part in found:
                found = cast("Any", found[part])
            else:
                raise ConfigError(f"OpenApi: {reference!r} points nowhere in the document")
        return found

    def credentials(self, auth: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
        """Headers and query parameters that carry a secret, as the first security scheme in use says."""
        if not auth:
            return {}, []
        components: Json = self.raw.get("components") or {}
        schemes: Mapping[str, Json] = components.get("securitySchemes") or {}
        needed: list[Mapping[str, object]] = list(self.raw.get("security") or [])
        used = [name for each in needed for name in each if name in schemes]
        known: list[Json] = [schemes[name] for name in (*used, *schemes)]
        scheme: Json = resolve(self, known[0]) if known else {}
        if scheme.get("type") == "apiKey" and scheme.get("in") == "query":
            return {}, [(scheme["name"], auth)]
        if scheme.get("type") == "apiKey" and scheme.get("in") == "header":
            return {scheme["name"]: auth}, []
        if scheme.get("type") == "apiKey" and scheme.get("in") == "cookie":
            return {"cookie": f"{scheme['name']}={auth}"}, []
        if scheme.get("scheme", "").lower() == "basic":
            return {"authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"}, []
        return {"authorization": auth if " " in auth else f"Bearer {auth}"}, []


def resolve(document: Document, value: Json) -> Json:
    """Return the value itself, or what its ``$ref`` points to.

    Raises:
        ConfigError: It points nowhere, or in a circle.
    """
    for _ in range(_DEEPEST):
        if "$ref" not in value:
            return value
        value = document.at(value["$ref"])
    raise ConfigError(f"OpenApi: {value['$ref']!r} refers to itself")


def described(schema: Json, description: object) -> Json:
    """Return the schema, with this description if it has none."""
    words = str(description or "").strip()
    if not words or schema.get("description"):
        return schema
    if "$ref" in schema:
        return {"allOf": [schema], "description": words}
    return {**schema, "description": words}


def tool_schema(document: Document, properties: Mapping[str, Json], required: Sequence[str]) -> Json:
    """Return the JSON Schema of a tool's arguments, with all definitions it refers to."""
    writer = _Writer(document)
    made = {name: writer.written(each) for name, each in properties.items()}
    schema: dict[str, Any] = {"type": "object", "properties": made, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    if definitions := writer.definitions():
        schema["$defs"] = definitions
    return schema


class _Writer:
    """Writes the document's schemas as JSON Schema, and collects the definitions they need."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._names: dict[str, str] = {}  # by reference
        self._done: dict[str, Any] = {}

    def definitions(self) -> Json:
        while len(self._done) < len(self._names):
            for reference, name in list(self._names.items()):
                if name not in self._done:
                    self._done[name] = None
                    self._done[name] = self.written(self._document.at(reference))
        return self._done

    def written(self, schema: Any, depth: int = 0) -> Any:
        if depth > _DEEPEST:
            raise ConfigError("OpenApi: a schema is nested too deeply")
        if isinstance(schema, list):
            return [self.written(each, depth + 1) for each in cast("Sequence[Any]", schema)]
        if not isinstance(schema, Mapping):
            return schema
        known = cast("Json", schema)
        if isinstance(known.get("$ref"), str):
            return self._reference(known)
        made: dict[str, Any] = {}
        for key, value in known.items():
            if key in ("enum", "const", "default", "required"):
                made[key] = value
            elif key in _BY_NAME and isinstance(value, Mapping):
                members = cast("Json", value)
                made[key] = {
                    name: self.written(each, depth + 1) for name, each in members.items() if not _is_output(each)
                }
            elif key not in _DROPPED and not key.startswith("x-"):
                made[key] = self.written(value, depth + 1)
        outputs = known.get("properties", {}).keys() - made.get("properties", {}).keys()
        if isinstance(made.get("required"), list):
            names: list[str] = made["required"]
            made["required"] = [name for name in names if name not in outputs]
        return self._of_3_0(made, known) if self._document.is_3_0 else made

    def _reference(self, schema: Json) -> Json:
        reference = str(schema["$ref"])
        name = self._names.get(reference)
        if name is None:
            name = reference.rpartition("/")[2] if reference.startswith(_SCHEMAS) else f"ref_{len(self._names)}"
            self._names[reference] = name
        made: dict[str, Any] = {"$ref": f"#/$defs/{name}"}
        if "description" in schema:
            made["description"] = schema["description"]
        return made

    def _of_3_0(self, made: dict[str, Any], known: Json) -> dict[str, Any]:
        """Translate where OpenAPI 3.0 differs from JSON Schema: null and exclusive bounds."""
        for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if isinstance(made.get(bound), bool) and made.pop(bound) and limit in made:
                made[bound] = made.pop(limit)
        if known.get("nullable") is True:
            if isinstance(made.get("type"), str):
                made["type"] = [made["type"], "null"]
                if "enum" in made and None not in made["enum"]:
                    made["enum"] = [*made["enum"], None]
            elif "type" not in made and made:
                words = {"description": made.pop("description")} if "description" in made else {}
                made = {"anyOf": [made, {"type": "null"}], **words}
        return made


def _is_output(schema: Any) -> bool:
    """Return True if only the server writes a property."""
    return isinstance(schema, Mapping) and cast("Json", schema).get("readOnly") is True
