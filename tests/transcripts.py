"""Transcripts of any length for tests, as runs make them."""

from collections.abc import Iterator, Sequence

from hypothesis import strategies as st

from agentkit.chat.content import ImagePart, TextPart
from agentkit.chat.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from agentkit.chat.request import ChatRequest, FunctionTool

TOOLS = (FunctionTool("look", "Look something up."), FunctionTool("save", "Save something."))
TEXTS = st.sampled_from(["", "yes", "What is next?", "word " * 40, "\u4e2d\u6587" * 30, "x" * 900])


@st.composite
def transcripts(
    draw: st.DrawFn, turns: int = 6, texts: st.SearchStrategy[str] = TEXTS, least: int = 1
) -> list[Message]:
    """The messages of a request: they end with a question, or with the results of calls."""
    messages: list[Message] = [SystemMessage("Be brief.")] if draw(st.booleans()) else []
    if draw(st.booleans()):
        messages.append(AssistantMessage("Hello, what can I do?"))
    for turn in range(draw(st.integers(least, turns))):
        text = f"question {turn} {draw(texts)}"
        messages.append(UserMessage((TextPart(text),) if draw(st.booleans()) else text))
        for step in range(draw(st.integers(0, 4))):
            messages += _batch(draw, f"{turn}_{step}", texts)
        if draw(st.booleans()):
            messages.append(AssistantMessage(f"answer {turn} {draw(texts)}"))
    if isinstance(messages[-1], AssistantMessage):
        messages.append(UserMessage("the last question"))
    return messages


def _batch(draw: st.DrawFn, name: str, texts: st.SearchStrategy[str]) -> Iterator[Message]:
    tools = draw(st.lists(st.sampled_from(["look", "save"]), min_size=1, max_size=3))
    calls = [ToolCall(f"{name}_{place}", tool, "{}") for place, tool in enumerate(tools)]
    yield AssistantMessage(draw(texts) or None, tuple(calls))
    for each in calls:
        yield ToolMessage(f"result {each.id} {draw(texts)}", each.id)
    if draw(st.integers(0, 5)) == 0:
        yield UserMessage(
            (TextPart(f"Attached to the result of look ({name}):"), ImagePart("https://example.org/a.png"))
        )


def growing(messages: Sequence[Message]) -> Iterator[ChatRequest]:
    """The requests that were made on the way to this transcript."""
    for place, message in enumerate(messages):
        if isinstance(message, AssistantMessage) and place and messages[place - 1].role in ("user", "tool"):
            yield ChatRequest(messages=messages[:place], tools=TOOLS)
    yield ChatRequest(messages=messages, tools=TOOLS)
