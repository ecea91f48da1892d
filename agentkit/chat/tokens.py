"""An estimate of the tokens that messages and tools take; each model counts by a vocabulary of its own.

Four ASCII characters count as a token, a letter of another alphabet as a half, a Chinese, Japanese or Korean character
as one, an emoji as one and a half. That is near for English prose, and up to a third off for code, numbers and other
languages. What is not text counts by rules that differ from server to server: an image is a constant, sound and files
go by their bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from agentkit.chat.content import AudioPart, ContentPart, FilePart, ImagePart, RefusalPart, TextPart
from agentkit.chat.json_values import encode_json
from agentkit.chat.messages import AssistantMessage, Message
from agentkit.chat.request import ChatRequest

_KNOWN = "estimated_tokens"
_MESSAGE = 4  # around each message, and around each call
_IMAGE, _SMALL_IMAGE = 1_000, 100
_FILE, _BYTES_OF_FILE = 1_000, 50  # the least a file takes; characters of base64 a token
_SOUND, _BYTES_OF_SOUND = 50, 2_000


def size_of_text(text: str) -> int:
    """The tokens of a string."""
    if text.isascii():
        return -(-len(text) // 4)
    plain = len(text.encode("ascii", "ignore"))
    return -(-plain // 4) + (len(text.encode("utf-8", "surrogatepass")) - len(text) + 1) // 2


def size_of_messages(messages: Iterable[Message]) -> int:
    """The tokens of messages. Each is counted once: a message never changes."""
    found = 0
    for message in messages:
        known = message.__dict__
        if _KNOWN not in known:
            content = message.content or ""
            size = size_of_text(content) if isinstance(content, str) else sum(map(_size_of_part, content))
            if isinstance(message, AssistantMessage):
                calls = message.tool_calls
                size += sum(_MESSAGE + size_of_text(call.name) + size_of_text(call.written) for call in calls)
            known[_KNOWN] = _MESSAGE + size
        found += known[_KNOWN]
    return found


def size_of_request(request: ChatRequest) -> int:
    """The tokens of a request: its messages, its tools, and the schema that the answer has to keep to."""
    return size_of_messages(request.messages) + size_around(request)


def size_around(request: ChatRequest) -> int:
    """The tokens of a request besides its messages."""
    tools = sum(size_of_text(tool.wire.decode()) for tool in request.tools)
    form = request.settings.response_format
    return tools + (size_of_text(encode_json(dict(form)).decode()) if form else 0)


def _size_of_part(part: ContentPart) -> int:
    match part:
        case TextPart(text) | RefusalPart(text):
            return size_of_text(text)
        case ImagePart():
            return _SMALL_IMAGE if part.detail == "low" else _IMAGE
        case AudioPart():
            return max(_SOUND, len(part.data) // _BYTES_OF_SOUND)
        case FilePart():
            return max(_FILE, len(part.file_data or "") // _BYTES_OF_FILE)
        case _:
            return _IMAGE
