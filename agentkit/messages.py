"""Every message of a conversation and every part that its content can have, as the Chat Completions API knows them."""

from agentkit.chat.content import (
    Annotation,
    AudioOutput,
    AudioPart,
    Content,
    ContentPart,
    FilePart,
    ImagePart,
    OtherPart,
    RefusalPart,
    TextPart,
    UrlCitation,
)
from agentkit.chat.messages import (
    AssistantMessage,
    DeveloperMessage,
    FunctionMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    read_message,
)

__all__ = [
    "Annotation",
    "AssistantMessage",
    "AudioOutput",
    "AudioPart",
    "Content",
    "ContentPart",
    "DeveloperMessage",
    "FilePart",
    "FunctionMessage",
    "ImagePart",
    "Message",
    "OtherPart",
    "RefusalPart",
    "SystemMessage",
    "TextPart",
    "ToolCall",
    "ToolMessage",
    "UrlCitation",
    "UserMessage",
    "read_message",
]
