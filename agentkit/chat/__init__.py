"""The Chat Completions protocol: a client for any server that speaks it, usable without agents.

Messages and content parts are in `agentkit.messages`, events in `agentkit.events`.
"""

from agentkit.chat.background import BackgroundTask
from agentkit.chat.client import ChatClient, open_model
from agentkit.chat.compat.profile import Profile, ProfileFile
from agentkit.chat.decoding.decoder import ReadLimits
from agentkit.chat.files import write_atomically
from agentkit.chat.json_values import encode_json
from agentkit.chat.log import escape_controls
from agentkit.chat.providers import PROVIDERS, Provider
from agentkit.chat.reply import (
    Choice,
    Logprobs,
    Model,
    ModelInfo,
    ParsedReply,
    Reply,
    ReplyShape,
    ReplyType,
    TokenLogprob,
    Usage,
    read_reply,
)
from agentkit.chat.request import (
    ChatRequest,
    CustomTool,
    FunctionTool,
    Grammar,
    ToolDefinition,
    size_around,
    size_of_messages,
    size_of_request,
    size_of_text,
)
from agentkit.chat.settings import (
    AllowedTools,
    ApproximateLocation,
    AudioOptions,
    ChatSettings,
    ModerationOptions,
    ModerationPolicy,
    NamedTool,
    Parameters,
    Prediction,
    PromptCacheOptions,
    ResponseFormat,
    StreamOptions,
    ToolChoice,
    UserLocation,
    VoiceId,
    WebSearchOptions,
    json_schema,
)
from agentkit.chat.stream import ParsedReplyStream, ReplyStream
from agentkit.chat.transport.http import http_engine
from agentkit.chat.transport.redaction import Redactor
from agentkit.chat.transport.response import Deadlines
from agentkit.chat.transport.retry import RetryPolicy

__all__ = [
    "PROVIDERS",
    "AllowedTools",
    "ApproximateLocation",
    "AudioOptions",
    "BackgroundTask",
    "ChatClient",
    "ChatRequest",
    "ChatSettings",
    "Choice",
    "CustomTool",
    "Deadlines",
    "FunctionTool",
    "Grammar",
    "Logprobs",
    "Model",
    "ModelInfo",
    "ModerationOptions",
    "ModerationPolicy",
    "NamedTool",
    "Parameters",
    "ParsedReply",
    "ParsedReplyStream",
    "Prediction",
    "Profile",
    "ProfileFile",
    "PromptCacheOptions",
    "Provider",
    "ReadLimits",
    "Redactor",
    "Reply",
    "ReplyShape",
    "ReplyStream",
    "ReplyType",
    "ResponseFormat",
    "RetryPolicy",
    "StreamOptions",
    "TokenLogprob",
    "ToolChoice",
    "ToolDefinition",
    "Usage",
    "UserLocation",
    "VoiceId",
    "WebSearchOptions",
    "encode_json",
    "escape_controls",
    "http_engine",
    "json_schema",
    "open_model",
    "read_reply",
    "size_around",
    "size_of_messages",
    "size_of_request",
    "size_of_text",
    "write_atomically",
]
