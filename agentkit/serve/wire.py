# ruff: noqa: D101 - the classes are objects of the API, and say no more than their members
"""The body of a request: its parameters with their types and limits.

These models alone define what the server accepts: they validate a request, name the wrong parameter, and describe the
request in the OpenAPI document. Names and limits are those of the `Chat Completions reference
<https://platform.openai.com/docs/api-reference/chat/create>`_.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError
from pydantic_core import from_json

from agentkit.serve.errors import ApiError, bad_request

__all__ = [
    "BranchBody",
    "ChatBody",
    "Decided",
    "DecisionsBody",
    "Extension",
    "StreamOptionsBody",
    "parse",
    "parse_body",
]

Model = TypeVar("Model", bound=BaseModel)
Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Speaker: TypeAlias = Annotated[str, Field(pattern=r"^[^\s<|\\/>]+$")]
Json: TypeAlias = dict[str, Any]


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)  # an integer may be written as 100.0: JSON knows no difference


class _Open(BaseModel):
    """An object of the API. Additional members are passed on unchanged."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Closed(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


# Content.


class TextBody(_Open):
    type: Literal["text"]
    text: str


class ImageUrl(_Open):
    url: Annotated[str, Field(pattern=":", description="A URL: https: or data:")]
    detail: str | None = None


class ImageBody(_Open):
    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(_Open):
    data: Annotated[str, Field(description="base64")]
    format: str


class AudioBody(_Open):
    type: Literal["input_audio"]
    input_audio: InputAudio


class FileData(_Open):
    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None


class FileBody(_Open):
    type: Literal["file"]
    file: FileData


class RefusalBody(_Open):
    type: Literal["refusal"]
    refusal: str


class OtherBody(_Open):
    """A part of another type, for models that know it."""

    type: str


def _kind_of_part(raw: object) -> str:
    kind: Any = cast("Json", raw).get("type") if isinstance(raw, dict) else None
    return kind if kind in ("text", "image_url", "input_audio", "file") else "other"


TextParts: TypeAlias = str | Annotated[list[TextBody], Field(min_length=1)]
UserPart: TypeAlias = Annotated[
    Annotated[TextBody, Tag("text")]
    | Annotated[ImageBody, Tag("image_url")]
    | Annotated[AudioBody, Tag("input_audio")]
    | Annotated[FileBody, Tag("file")]
    | Annotated[OtherBody, Tag("other")],
    Discriminator(_kind_of_part),
]
AssistantPart: TypeAlias = Annotated[TextBody | RefusalBody, Field(discriminator="type")]


# Messages.


class CalledFunction(_Open):
    name: str
    arguments: str


class FunctionCallBody(_Open):
    id: Annotated[str, Field(min_length=1)]
    type: Literal["function"]
    function: CalledFunction


class CalledCustom(_Open):
    name: str
    input: str


class CustomCallBody(_Open):
    id: Annotated[str, Field(min_length=1)]
    type: Literal["custom"]
    custom: CalledCustom


class SystemBody(_Open):
    role: Literal["system", "developer"]
    content: TextParts
    name: Speaker | None = None


class UserBody(_Open):
    role: Literal["user"]
    content: str | Annotated[list[UserPart], Field(min_length=1)]
    name: Speaker | None = None


class AudioReference(_Open):
    id: str


class AssistantBody(_Open):
    role: Literal["assistant"]
    content: str | Annotated[list[AssistantPart], Field(min_length=1)] | None = None
    refusal: str | None = None
    name: Speaker | None = None
    audio: AudioReference | None = None
    tool_calls: (
        Annotated[list[Annotated[FunctionCallBody | CustomCallBody, Field(discriminator="type")]], Field(min_length=1)]
        | None
    ) = None
    function_call: CalledFunction | None = None


class ToolBody(_Open):
    role: Literal["tool"]
    content: TextParts
    tool_call_id: str


class FunctionBody(_Open):
    role: Literal["function"]
    content: str | None
    name: str


MessageBody: TypeAlias = Annotated[
    SystemBody | UserBody | AssistantBody | ToolBody | FunctionBody, Field(discriminator="role")
]


# Tools.


class FunctionDefinition(_Closed):
    name: Name
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class FunctionToolBody(_Open):
    type: Literal["function"]
    function: FunctionDefinition


class GrammarBody(_Open):
    syntax: Literal["lark", "regex"]
    definition: str


class CustomFormat(_Open):
    type: Literal["text", "grammar"]
    grammar: GrammarBody | None = None


class CustomDefinition(_Closed):
    name: Name
    description: str | None = None
    format: CustomFormat | None = None


class CustomToolBody(_Open):
    type: Literal["custom"]
    custom: CustomDefinition


ToolDefinitionBody: TypeAlias = Annotated[FunctionToolBody | CustomToolBody, Field(discriminator="type")]


class Named(_Open):
    name: str


class NamedFunction(_Open):
    type: Literal["function"]
    function: Named


class NamedCustom(_Open):
    type: Literal["custom"]
    custom: Named


NamedChoice: TypeAlias = Annotated[NamedFunction | NamedCustom, Field(discriminator="type")]


class Allowed(_Open):
    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedChoice], Field(min_length=1)]


class AllowedChoice(_Open):
    type: Literal["allowed_tools"]
    allowed_tools: Allowed


ToolChoiceBody: TypeAlias = (
    Literal["none", "auto", "required"]
    | Annotated[NamedFunction | NamedCustom | AllowedChoice, Field(discriminator="type")]
)


# Other parameters.


class TextFormat(_Open):
    type: Literal["text"]


class JsonObjectFormat(_Open):
    type: Literal["json_object"]


class SchemaOfFormat(_Open):
    name: Name
    description: str | None = None
    schema_: Annotated[Json | None, Field(alias="schema")] = None
    strict: bool | None = None


class JsonSchemaFormat(_Open):
    type: Literal["json_schema"]
    json_schema: SchemaOfFormat


class StreamOptionsBody(_Closed):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Voice(_Open):
    id: str


class AudioBodyOptions(_Open):
    voice: str | Voice
    format: str


class PredictionBody(_Open):
    type: Literal["content"]
    content: TextParts


class Approximate(_Open):
    city: str | None = None
    region: str | None = None
    country: str | None = None
    timezone: str | None = None


class UserLocationBody(_Open):
    type: Literal["approximate"]
    approximate: Approximate


class WebSearchBody(_Open):
    user_location: UserLocationBody | None = None
    search_context_size: Literal["low", "medium", "high"] | None = None


class CacheOptionsBody(_Open):
    mode: str | None = None
    ttl: str | None = None


class ModerationBody(_Open):
    model: str
    policy: Json | None = None


class LegacyFunction(_Open):
    name: Name
    description: str | None = None
    parameters: Json | None = None


class Shown(_Closed):
    """What clients that know agentkit request in addition.

    Attributes:
        events: Whether the response includes the events of the run.
    """

    events: bool = False


class Extension(Shown):
    """What clients that know agentkit request in addition, of a new run.

    Attributes:
        session: The stored conversation that the request continues.
    """

    session: Annotated[str, Field(min_length=1, max_length=256)] | None = None


class ChatBody(BaseModel):
    """A request for a chat completion. Unknown parameters are refused, except by a gateway."""

    model_config = ConfigDict(strict=True, extra="allow", title="CreateChatCompletionRequest")

    model: str
    messages: Annotated[list[MessageBody], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptionsBody | None = None
    max_completion_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    max_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    modalities: Annotated[list[str], Field(min_length=1)] | None = None
    audio: AudioBodyOptions | None = None
    prediction: PredictionBody | None = None
    n: Annotated[int, Field(ge=1, le=128), WHOLE] | None = None
    tools: Annotated[list[ToolDefinitionBody], Field(min_length=1, max_length=128)] | None = None
    tool_choice: ToolChoiceBody | None = None
    parallel_tool_calls: bool | None = None
    web_search_options: WebSearchBody | None = None
    response_format: Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")] | None = (
        None
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = None
    stop: str | Annotated[list[str], Field(min_length=1, max_length=4)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), WHOLE] | None = None
    logit_bias: dict[Annotated[str, Field(pattern=r"^\d+$")], Annotated[float, Field(ge=-100, le=100)]] | None = None
    user: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
        ]
        | None
    ) = None
    safety_identifier: Annotated[str, Field(max_length=128)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: CacheOptionsBody | None = None
    prompt_cache_retention: str | None = None
    moderation: ModerationBody | None = None
    functions: Annotated[list[LegacyFunction], Field(min_length=1, max_length=128)] | None = None
    function_call: Literal["none", "auto"] | Named | None = None
    agentkit: Extension | None = None


class Decided(_Closed):
    """A decision about a call: ``approve``, or an ``answer`` in place of running it."""

    id: str
    approve: bool | None = None
    arguments: Json | None = None
    always: Literal["tool", "arguments"] | None = None
    reason: str = ""
    answer: str | None = None


class DecisionsBody(_Closed):
    """Decisions about the calls that a run waits for."""

    decisions: Annotated[list[Decided], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptionsBody | None = None
    agentkit: Shown | None = None


class BranchBody(_Closed):
    """A copy of a session, or of its first messages."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    messages: Annotated[int, Field(ge=0), WHOLE] | None = None


def parse(body: bytes) -> Json:
    """Read the JSON object of a body.

    Raises:
        ApiError: It is something else.
    """
    try:
        raw: object = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise bad_request(f"The body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(raw, dict):
        raise bad_request("The body must be a JSON object.", code="invalid_json")
    return cast("Json", raw)


def parse_body(raw: Json, model: type[Model]) -> Model:
    """Validate a body, and write its integers as such, for the server behind.

    Raises:
        ApiError: Something in it is wrong; ``param`` names it.
    """
    try:
        body = model.model_validate(raw)
    except ValidationError as error:
        raise _refusal(error, raw) from None
    for name, value in raw.items():
        if isinstance(value, float) and isinstance(read := getattr(body, name, None), int):
            raw[name] = read
    return body


def _refusal(error: ValidationError, raw: Json) -> ApiError:
    found = [(_path(each["loc"], raw), each) for each in error.errors(include_url=False, include_context=False)]
    inside = [each for each in found if each[0].startswith(found[0][0])]  # the alternative that got furthest
    param, first = max(inside, key=lambda each: (len(each[0]), not each[1]["type"].endswith("_type")))
    if first["type"] == "missing":
        return bad_request(f"Missing required parameter: '{param}'.", param, code="missing_required_parameter")
    if first["type"] == "extra_forbidden":
        return bad_request(f"Unrecognized request argument supplied: {param}", param, code="unknown_parameter")
    return bad_request(f"Invalid value for '{param}': {first['msg']}.", param, code="invalid_value")


def _path(loc: Sequence[str | int], raw: Json) -> str:
    """Return the place of an error in the API's notation, ``messages[0].content``, without names of alternatives."""
    path, value = "", cast("object", raw)
    for at, part in enumerate(loc):
        if isinstance(part, int) and isinstance(value, list):
            items = cast("list[object]", value)
            path, value = f"{path}[{part}]", items[part] if part < len(items) else None
        elif isinstance(part, str) and isinstance(value, Mapping):
            members = cast("Mapping[str, object]", value)
            if part in members or at == len(loc) - 1:
                path, value = f"{path}.{part}" if path else part, members.get(part)
    return path
