"""Has pydantic make the validator of a function's arguments and their JSON Schema."""

from __future__ import annotations

import copy
import enum
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonRef
from pydantic.types import EncodedBytes
from pydantic_core import CoreSchema, PydanticCustomError, SchemaValidator, core_schema, to_jsonable_python

from agentkit.chat.json_schema import JsonSchema
from agentkit.chat.json_values import as_mapping, encode_json
from agentkit.errors import DefinitionError
from agentkit.tools.arguments import Argument
from agentkit.tools.docstrings import attribute_docs, class_summary
from agentkit.tools.schemas import DECIMAL, stable

# Bytes travel as base64; a pydantic model keeps what its own configuration says.
_CONFIG = ConfigDict(allow_inf_nan=False, val_json_bytes="base64")
_JSON_TYPES = (bool, int, float, str, type(None))
_CORE_CONFIG = core_schema.CoreConfig(allow_inf_nan=False, val_json_bytes="base64")


def generate(arguments: Sequence[Argument], name: str) -> tuple[SchemaValidator, JsonSchema]:
    """The validator of a dict of the arguments, and their JSON Schema as pydantic writes it.

    Raises:
        DefinitionError: JSON Schema cannot express the type of an argument; ``name`` is the tool's, for the message.
    """
    try:
        return _generate(arguments)
    except Exception as error:  # types bring code of their own, which can raise anything
        raise DefinitionError(f"tool {name!r}: {_culprit(arguments)}") from error


def _generate(arguments: Sequence[Argument]) -> tuple[SchemaValidator, JsonSchema]:
    with warnings.catch_warnings():  # of `ReadOnly`, which says nothing about arguments
        warnings.filterwarnings("ignore", ".*ReadOnly.*", UserWarning)
        adapter = TypeAdapter[dict[str, Any]](Annotated[dict[str, Any], AllArguments(arguments)])
    schema: CoreSchema = _read_from_json(adapter.core_schema)
    return SchemaValidator(schema, _CORE_CONFIG), _Generator().generate(schema)


def _culprit(arguments: Sequence[Argument]) -> str:
    for each in arguments:
        try:
            _generate([each])
        except Exception as error:  # noqa: BLE001 - see above
            reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
            hint = inspect.formatannotation(each.hint)
            return (
                f"parameter {each.name!r} of type {hint} cannot be described ({reason}); "
                "use JSON's own types, a dataclass or a pydantic model, or take it from `ToolContext.deps`"
            )
    return "its parameters cannot be described together; use simpler types"


@dataclass(frozen=True, slots=True)
class AllArguments:
    """Has pydantic validate a dict of the arguments. A core schema accepts any name, even `schema` and `_x`."""

    arguments: Sequence[Argument]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {
            each.name: core_schema.typed_dict_field(handler.generate_schema(each.hint), required=each.required)
            for each in self.arguments
            if not each.extra
        }
        extras = [handler.generate_schema(each.hint) for each in self.arguments if each.extra]
        if not extras:
            return core_schema.typed_dict_schema(fields, extra_behavior="forbid", config=_CORE_CONFIG)
        return core_schema.typed_dict_schema(
            fields, extra_behavior="allow", extras_schema=extras[0], config=_CORE_CONFIG
        )


def _read_from_json(schema: Any) -> Any:
    """The core schema, extended by what pydantic does not read itself: bytes as base64, and the values of `_choice`.

    An `Iterable` becomes a list, not pydantic's reader, which can be iterated only once.
    ``Base64Bytes`` decodes by itself, so it gets plain text. A model is left alone: it has its own validator.
    """
    if isinstance(schema, list):
        return list(map(_read_from_json, cast("Sequence[Any]", schema)))
    if isinstance(schema, tuple):  # a choice of a union and its label
        return tuple(map(_read_from_json, cast("Sequence[Any]", schema)))
    if not isinstance(schema, dict):
        return schema
    node = cast("dict[str, Any]", schema)
    kind = node.get("type")
    if kind == "model" or (kind == "dataclass" and hasattr(node["cls"], "__pydantic_config__")):
        return node
    if kind == "function-after" and isinstance(getattr(node["function"]["function"], "__self__", None), EncodedBytes):
        text = core_schema.no_info_after_validator_function(str.encode, core_schema.str_schema())
        return {**node, "schema": text}
    if kind in ("literal", "enum", "is-instance"):
        return _choice(node)
    left = ("metadata", "cls", "default", "expected", "members", "serialization")
    made = {key: value if key in left else _read_from_json(value) for key, value in node.items()}
    if kind == "generator":
        made["type"] = "list"
    if kind in ("dataclass", "typed-dict"):
        made["config"] = {**_CORE_CONFIG, **made.get("config", {})}
    return made


def _choice(node: dict[str, Any]) -> CoreSchema:
    """Also read the enum members of a `Literal`, and enums whose values look different in JSON: dates, tuples."""
    schema = cast("CoreSchema", node)
    if node["type"] == "is-instance" and isinstance(node["cls"], enum.EnumType):
        raise ValueError("an enum without members")
    if node["type"] == "literal" and any(isinstance(each, enum.Enum | bytes) for each in node["expected"]):
        return core_schema.no_info_before_validator_function(_member_of(node["expected"]), schema)
    if node["type"] != "enum" or all(type(each.value) in _JSON_TYPES for each in node["members"]):
        return schema
    knows_more = any("_missing_" in vars(each) for each in node["cls"].__mro__ if each is not enum.Enum)
    read = (_member_of if knows_more else _one_of)(node["members"])
    inner = {key: value for key, value in node.items() if key != "ref"}
    reference = str(node["ref"]) if "ref" in node else None
    return core_schema.no_info_before_validator_function(read, cast("CoreSchema", inner), ref=reference)


def _member_of(expected: Sequence[Any]) -> Callable[[Any], Any]:
    """For ``Literal[Color.RED]`` or an enum of dates: the member whose JSON form came; the schema has that form."""
    forms = [(to_jsonable_python(each), each) for each in expected if type(each) not in _JSON_TYPES]
    return lambda value: next((each for form, each in forms if type(form) is type(value) and form == value), value)


def _one_of(members: Sequence[enum.Enum]) -> Callable[[Any], Any]:
    """For an enum whose values are not JSON: pydantic's own complaint shows the values as Python writes them."""
    read, expected = (
        _member_of(members),
        " or ".join(encode_json(to_jsonable_python(each)).decode() for each in members),
    )

    def member(value: Any) -> Any:
        found = read(value)
        if any(found is each or found == each.value for each in members):
            return found
        raise PydanticCustomError("enum", "Input should be {expected}", {"expected": expected})

    return member


class _Generator(GenerateJsonSchema):
    """pydantic's generator, which also reads what authors wrote about the attributes of their classes."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - the base class declares it

    def generate(self, schema: CoreSchema, mode: Any = "validation") -> JsonSchema:
        with self._config_wrapper_stack.push(_CONFIG):
            return super().generate(schema, mode)

    def generate_inner(self, schema: Any) -> JsonSchema:
        made = super().generate_inner(schema)
        if schema["type"] == "enum":  # here and not in `enum_schema`, as pydantic describes it afterwards
            target = self.get_schema_from_definitions(JsonRef(made["$ref"])) if "$ref" in made else made
            self._describe_enum(made if target is None else target, schema)
        return made

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, bytes) and self._config.val_json_bytes == "base64":
            return to_jsonable_python(dft, bytes_mode="base64")
        return super().encode_default(stable(dft))

    def bytes_schema(self, schema: core_schema.BytesSchema) -> JsonSchema:
        made = super().bytes_schema(schema)
        return made | {"format": "base64" if self._config.val_json_bytes == "base64" else "binary"}

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchema:
        made = super().decimal_schema(schema)
        return {**made, "anyOf": [{**each, DECIMAL: True} for each in made["anyOf"]]}

    def named_tuple_schema(self, schema: Any) -> JsonSchema:
        """An object with named members, which pydantic reads in addition to an array."""
        made = self.kw_arguments_schema(schema["fields"], None)
        return self._documented(made, schema["cls"])

    def arguments_schema(self, schema: core_schema.ArgumentsSchema) -> JsonSchema:
        by_name = copy.copy(schema)
        by_name["metadata"] = {}
        return super().arguments_schema(by_name)

    def call_schema(self, schema: core_schema.CallSchema) -> JsonSchema:
        """For a named tuple, before pydantic 2.13."""
        return self._documented(super().call_schema(schema), schema["function"])

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchema:
        return self._documented(super().typed_dict_schema(schema), schema.get("cls"))

    def dataclass_args_schema(self, schema: core_schema.DataclassArgsSchema) -> JsonSchema:
        """Without the fields that the class fills in itself."""
        given = [each for each in schema["fields"] if each.get("init", True)]
        return super().dataclass_args_schema({**schema, "fields": given})

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchema:
        return self._documented(super().dataclass_schema(schema), schema["cls"], self._aliases(schema["schema"]))

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchema:
        return self._documented(super().model_schema(schema), schema["cls"], self._aliases(schema["schema"]))

    def is_subclass_schema(self, schema: core_schema.IsSubclassSchema) -> JsonSchema:
        """Refuse a class, which JSON cannot hold; pydantic would allow any value."""
        return self.handle_invalid_for_json_schema(schema, f"a subclass of {schema['cls']!r}")

    def _describe_enum(self, made: JsonSchema, schema: core_schema.EnumSchema) -> None:
        kind = schema["cls"]
        docs = attribute_docs(kind)
        lines = [f"- {each.value}: {docs[each.name]}" for each in schema["members"] if docs.get(each.name)]
        if made.get("description", "") == inspect.cleandoc(kind.__dict__.get("__doc__") or ""):
            made["description"] = "\n".join([*filter(None, [class_summary(kind)]), *lines])
        if not made.get("description"):
            made.pop("description", None)

    def _aliases(self, schema: Any) -> dict[str, str]:
        """The names that fields have in JSON, where these differ from Python's."""
        while "fields" not in schema and "schema" in schema:  # below validators of the whole model
            schema = schema["schema"]
        fields: Any = schema.get("fields", {})
        by_name = as_mapping(fields) or {each["name"]: each for each in fields}
        return {name: self._get_alias_name(field, name) for name, field in by_name.items()}

    def _documented(self, made: JsonSchema, kind: Any, names: Mapping[str, str] | None = None) -> JsonSchema:
        if not isinstance(kind, type) or "properties" not in made:
            return made
        for name, text in attribute_docs(kind).items():
            member = made["properties"].get((names or {}).get(name, name))
            if member is not None:
                member.setdefault("description", text)
        if made.get("description") == inspect.cleandoc(kind.__doc__ or ""):
            rest = {key: value for key, value in made.items() if key != "description"}
            summary = class_summary(kind)
            return {**rest, "description": summary} if summary else rest
        return made
