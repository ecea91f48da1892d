"""Writes the table of servers into docs/output.md: ``python -m tests.output_table``.

Each row is a server played on a real socket in the style of one class of servers. An agent without tools and one with a
tool ask it for an object, each in a first program and in a second one that has its profile.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from agentkit import Agent, ChatClient, tool
from agentkit.errors import BadRequest
from agentkit.testing import Answer, Fault, Server, call
from agentkit.testing.models import as_reply
from agentkit.testing.server.wire import Request, Wire, answer_of, whole
from tests.outputs import Line

PAGE = Path(__file__).parent.parent / "docs" / "output.md"
BEGIN, END = "<!-- the table of servers begins -->\n", "<!-- the table of servers ends -->\n"
VALUE: dict[str, Any] = {"what": "tea", "price": 2.5}
Parameters = dict[str, Any]


@tool
def look(place: str) -> str:
    """Look somewhere."""
    return f"{place}: tea, 2.50"


def form_of(request: Parameters) -> str:
    return str(request.get("response_format", {}).get("type", ""))


def tools_of(request: Parameters) -> list[str]:
    return [each["function"]["name"] for each in request.get("tools", [])]


def is_forced(request: Parameters) -> bool:
    return bool(request.get("tools")) and request.get("tool_choice") == "required"


@dataclass(frozen=True)
class Style:
    """A class of servers.

    Attributes:
        name: What it does.
        which: Who does it.
        refuses: The words of its refusal of a request; empty if it takes it.
        ignores: Whether it takes a request and answers as if ``response_format`` and ``tool_choice`` were not there.
        calls: Whether its model calls tools for a request.
    """

    name: str
    which: str
    refuses: Callable[[Parameters], str] = lambda _: ""
    ignores: Callable[[Parameters], bool] = lambda _: False
    calls: Callable[[Parameters], bool] = lambda _: True

    def answer(self, request: Parameters) -> Answer | str:
        """What its model answers."""
        names = tools_of(request)
        seen = any(message["role"] == "tool" for message in request["messages"])
        if "look" in names and not seen and self.calls(request):
            return call("look", place="shop")
        value = VALUE if seen or "look" not in names else {"what": "invented", "price": 0}
        if "final_answer" in names and self.calls(request) and not self.ignores(request):
            return call("final_answer", what=value["what"], price=value["price"])
        asked = "JSON Schema" in str(request["messages"][0]["content"])
        if asked or (form_of(request) and not self.ignores(request)):
            return json.dumps(value)
        return "The tea costs 2.50."


def _when(test: Callable[[Parameters], object], words: str) -> Callable[[Parameters], str]:
    return lambda request: words if test(request) else ""


STYLES = (
    Style("takes everything", "OpenAI"),
    Style(
        "knows `json_object`, and no schemas",
        "DeepSeek",
        refuses=_when(lambda r: form_of(r) == "json_schema", "This response_format type is unavailable now"),
    ),
    Style(
        "knows no `response_format`",
        "gateways",
        refuses=_when(form_of, "response_format is not supported by this model"),
    ),
    Style(
        "refuses a keyword of the schema, in words that teach nothing",
        "vLLM",
        refuses=_when(lambda r: form_of(r) == "json_schema", "Grammar compilation failed: unimplemented feature"),
    ),
    Style(
        "takes `response_format` and ignores it",
        "Ollama Cloud",
        ignores=lambda r: bool(form_of(r)) and "final_answer" not in tools_of(r),
    ),
    Style(
        "takes tools or `response_format`, not both",
        "Groq",
        refuses=_when(lambda r: form_of(r) and tools_of(r), "json mode cannot be combined with tool/function calling"),
    ),
    Style(
        "never calls tools once `response_format` is set",
        "several",
        calls=lambda r: not form_of(r),
    ),
    Style(
        "forces no calls while the model thinks",
        "DeepSeek",
        refuses=_when(is_forced, "Thinking mode does not support this tool_choice"),
    ),
    Style(
        "ignores a forced call",
        "gpt-oss on vLLM",
        ignores=lambda r: "final_answer" in tools_of(r),
    ),
    Style(
        "takes no tools",
        "Ollama, for some models",
        refuses=_when(tools_of, "the model does not support tools"),
    ),
    Style(
        "refuses a tool whose name it does not like, in words that teach nothing",
        "gateways",
        refuses=_when(lambda r: "final_answer" in tools_of(r), "Invalid function definition"),
    ),
)


def playing(style: Style, requests: list[Parameters]) -> Iterable[Fault]:
    """The script of a server of this style."""

    def play(wire: Wire) -> None:
        request: Request = wire.request
        requests.append(request.parameters)
        if words := style.refuses(request.parameters):
            wire.send(whole(json.dumps({"error": {"message": words}}), "400 Bad Request", connection="close"))
        else:
            reply = as_reply(style.answer(request.parameters), len(requests))
            wire.pour(answer_of(reply, request, connection="close"))

    return itertools.repeat(Fault(style.name, 0, style.name, play))


def way_of(request: Parameters) -> str:
    """How a request asks for its output."""
    if "final_answer" in tools_of(request):
        return "`final_answer`, forced" if is_forced(request) else "`final_answer`"
    return f"`{form_of(request)}`" if form_of(request) else "the prompt"


async def ways_of(style: Style, *, with_tools: bool) -> list[str]:
    """How the output was requested by a first program, and by a second one that has its profile."""
    requests: list[Parameters] = []
    programs: list[str] = []
    with Server(playing(style, requests)) as server, tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            requests.clear()
            client = ChatClient(server.url, model="m", profile_file=Path(folder) / "profiles.json")
            agent = Agent(client, output_type=Line, tools=[look] if with_tools else [])
            try:
                result = await agent.run("What does the tea cost?")
                assert result.output == Line(**VALUE), f"a server that {style.name}: {result.output}"
                programs.append(", then ".join(dict.fromkeys(map(way_of, requests))))
            except BadRequest:
                if not style.refuses({"tools": [look.definition.to_wire()]}):
                    raise
                programs.append("`BadRequest`: its tool is refused")
            finally:
                await client.aclose()
    return programs


async def table() -> str:
    """The table, a row for each class of servers."""
    lines = [
        "| a server that | such as | without tools | the next program | with tools | the next program |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for style in STYLES:
        cells = [*await ways_of(style, with_tools=False), *await ways_of(style, with_tools=True)]
        lines.append(f"| {style.name} | {style.which} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def written(page: str) -> str:
    """The page with the table of today."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{anyio.run(table)}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
