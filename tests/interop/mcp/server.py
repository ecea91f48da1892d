"""The server that the official conformance suite tests: ``python server.py``, with what it wants to find.

It prints its address."""

from __future__ import annotations

import base64
import time
from typing import Annotated, Any

from pydantic import Field

from agentkit import Tool, ToolContext, ToolError
from agentkit.mcp import Elicit, ListRoots, MCPServer, Sample, ask_client
from agentkit.messages import AudioPart, FilePart, ImagePart
from agentkit.serve import process

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgAAAAAgABHiG8MwAAAABJRU5ErkJggg==")
SOUND = b"RIFF\x2c\x00\x00\x00WAVEfmt " + bytes(36)


def form(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


NAME = Elicit("What is your name?", form("name", name={"type": "string"}))
CONFIRM = Elicit("Please confirm", form("ok", ok={"type": "boolean"}))


def test_simple_text() -> str:
    """Return text."""
    return "This is a simple text response for testing."


def test_image_content() -> ImagePart:
    """Return an image."""
    return ImagePart.from_bytes(PIXEL)


def test_audio_content() -> AudioPart:
    """Return sound."""
    return AudioPart(SOUND, "wav")


def test_embedded_resource() -> FilePart:
    """Return a file."""
    return FilePart.from_bytes(b"This is an embedded resource content.", filename="embedded.txt")


def test_multiple_content_types() -> list[Any]:
    """Return text, an image and a file."""
    data = FilePart.from_bytes(b'{"test":"data","value":123}', filename="mixed.json")
    return ["Multiple content types test:", ImagePart.from_bytes(PIXEL), data]


def test_tool_with_logging(context: ToolContext[Any]) -> str:
    """Report what it does."""
    for done in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        context.progress(message=done)
        time.sleep(0.05)
    return "done"


def test_error_handling() -> str:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


def test_tool_with_progress(context: ToolContext[Any]) -> str:
    """Report how far it is."""
    for fraction in (0.0, 0.5, 1.0):
        context.progress(fraction)
        time.sleep(0.05)
    return "done"


async def test_sampling(prompt: str) -> str:
    """Ask the client's model."""
    answers = await ask_client(reply=Sample(prompt, max_tokens=100))
    return f"LLM response: {answers['reply']}"


async def test_elicitation(message: str) -> str:
    """Ask the person at the client."""
    text = {"type": "string", "description": "User's response"}
    answers = await ask_client(user=Elicit(message, form("username", "email", username=text, email=text)))
    return f"User response: {answers['user']}"


async def test_elicitation_sep1034_defaults() -> str:
    """Ask with a proposal for each kind of value."""
    schema = form(
        name={"type": "string", "default": "John Doe"},
        age={"type": "integer", "default": 30},
        score={"type": "number", "default": 95.5},
        status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        verified={"type": "boolean", "default": True},
    )
    return f"Elicitation completed: {await ask_client(user=Elicit('Who are you?', schema))}"


async def test_elicitation_sep1330_enums() -> str:
    """Ask with each kind of choice."""
    plain = ["option1", "option2", "option3"]
    titled = [{"const": f"value{place}", "title": f"{place}. Option"} for place in (1, 2, 3)]
    names = {"enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]}
    schema = form(
        untitledSingle={"type": "string", "enum": plain},
        titledSingle={"type": "string", "oneOf": titled},
        legacyEnum={"type": "string", **names},
        untitledMulti={"type": "array", "items": {"type": "string", "enum": plain}},
        titledMulti={"type": "array", "items": {"anyOf": titled}},
    )
    return f"Elicitation completed: {await ask_client(user=Elicit('Which?', schema))}"


def test_custom_headers(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Take an argument that HTTP clients also send as a header."""
    return region


async def test_streaming_elicitation() -> str:
    """Ask while the answer is a stream."""
    return str(await ask_client(user_name=NAME))


def test_logging_tool(context: ToolContext[Any]) -> str:
    """Report something, which is a log message for those who want it."""
    context.progress(message="logged")
    return "done"


async def test_missing_capability() -> str:
    """Need the client's model."""
    return (await ask_client(reply=Sample("Hello")))["reply"]


async def test_input_required_result_elicitation() -> str:
    """Ask for a name."""
    return f"Hello, {(await ask_client(user_name=NAME))['user_name']['name']}!"


async def test_input_required_result_sampling() -> str:
    """Ask the client's model."""
    return (await ask_client(capital_question=Sample("What is the capital of France?", 100)))["capital_question"]


async def test_input_required_result_list_roots() -> str:
    """Ask for the folders of the client."""
    return ", ".join((await ask_client(client_roots=ListRoots()))["client_roots"])


async def test_input_required_result_request_state() -> str:
    """Ask for a confirmation."""
    await ask_client(confirm=CONFIRM)
    return "state-ok"


async def test_input_required_result_multiple_inputs() -> str:
    """Ask for everything at once."""
    answers = await ask_client(user_name=NAME, greeting=Sample("Generate a greeting", 50), client_roots=ListRoots())
    return str(answers)


async def test_input_required_result_multi_round() -> str:
    """Ask twice."""
    first = await ask_client(step1=Elicit("Step 1: What is your name?", NAME.schema))
    color = form("color", color={"type": "string"})
    second = await ask_client(step2=Elicit("Step 2: What is your favorite color?", color))
    return f"{first['step1']['name']} likes {second['step2']['color']}"


async def test_input_required_result_tampered_state() -> str:
    """Ask for a confirmation, with a state that must not change."""
    return str(await ask_client(confirm=CONFIRM))


async def test_input_required_result_capabilities() -> str:
    """Ask only what the client can answer."""
    return str(await ask_client(user_name=NAME, greeting=Sample("Generate a greeting", 50)))


def test_simple_prompt() -> str:
    """A prompt."""
    return "This is a simple prompt for testing."


def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A prompt with arguments.

    Args:
        arg1: One.
        arg2: The other.
    """
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


def test_prompt_with_embedded_resource(resourceUri: str) -> list[Any]:  # noqa: N803 - the suite's name
    """A prompt with a file.

    Args:
        resourceUri: Its name.
    """
    held = FilePart.from_bytes(f"This is {resourceUri}.".encode(), filename="embedded.txt")
    return [held, "Please process the embedded resource above."]


def test_prompt_with_image() -> list[Any]:
    """A prompt with an image."""
    return [ImagePart.from_bytes(PIXEL), "Please analyze the image above."]


async def test_input_required_result_prompt() -> str:
    """A prompt that asks for its context."""
    context = Elicit("What context should the prompt use?", form("context", context={"type": "string"}))
    return f"Use {(await ask_client(user_context=context))['user_context']['context']}."


def data(id: str) -> Any:  # noqa: A002 - the suite's name
    """Data by its id."""
    return {"id": id, "templateTest": True, "data": f"Data for ID: {id}"}


SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
TOOLS = [value for name, value in list(globals().items()) if name.startswith("test_") and "prompt" not in name]
PROMPTS = [value for name, value in list(globals().items()) if name.startswith("test_") and "prompt" in name]

server = MCPServer(
    *TOOLS,
    Tool.from_schema("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", SCHEMA, lambda *_: "ok"),
    name="conformance",
    version="1",
    prompts=PROMPTS,
    resources={
        "test://static-text": "This is the content of the static text resource.",
        "test://static-binary": PIXEL,
        "test://watched-resource": "It changes.",
        "test://template/{id}/data": data,
    },
)

if __name__ == "__main__":
    listener = process.listen("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)  # noqa: T201 - for who started it
    process.serve_forever(server.app(), listener)
