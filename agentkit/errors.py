"""Every exception of agentkit.

::

    AgentKitError
      DefinitionError         a function that cannot become a tool, a name used twice: raised where it is written
      ConfigError             a setting that cannot work: an unknown provider, a parameter out of its range
        MissingKey            a provider needs a key and there is none; nothing was sent
      ModelError              the server did not give a usable reply
        ConnectionFailed      no connection, or it broke
        DeadlineExceeded      it took too long; `which` names the deadline
        IncompleteReply       the reply ended before it was complete; `partial` holds its text
        InvalidReply          an answer that is not a Chat Completions reply
          MalformedToolCall   the server could not parse the call that the model wrote; `generation` holds it
        StatusError           an HTTP error status
          BadRequest          400, 422 and other 4xx: the request was refused
          AuthenticationFailed  401, 403
          NotFound            404: no such model or path
          RateLimited         429: try later
          QuotaExceeded       429 or 402 that no waiting will fix
          Overloaded          5xx
        ContextTooLong        the messages do not fit the model's context
        ContentFiltered       a filter of the server withheld the reply
        Refused               the model declined to answer
      RunError                a run could not continue; `state` is everything it had
        LimitReached          a limit of the run, with `on_limit="raise"`
        ToolFailed            a tool raised, with `on_tool_error="raise"`
        RunPaused             a nested run waits for decisions, and so does the call that started it
        OutputInvalid         the model gave no valid output within the retries
        TooManyMistakes       a tool was called with wrong arguments more often in a row than it allows
      StateError              a saved state that cannot be used: damaged, of a newer version, of another agent
      SessionError            a session could not be stored or read; what was stored is as it was
        SessionBusy           another run has the session
        SessionConflict       it has changed since it was read
      ToolError               raised *in a tool*: the model reads the message and continues
        ModelRetry            the model made a mistake in the call and should try again with other arguments

    Interrupted               a KeyboardInterrupt: Ctrl-C ended a `run_sync`; `state` is everything the run had

The type of an error says who handles it: a `ToolError` goes to the model, every other error to the caller. All survive
`pickle`, `copy` and `deepcopy` with their attributes, so a process pool can return them.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AgentKitError",
    "AuthenticationFailed",
    "BadRequest",
    "ConfigError",
    "ConnectionFailed",
    "ContentFiltered",
    "ContextTooLong",
    "DeadlineExceeded",
    "DefinitionError",
    "IncompleteReply",
    "Interrupted",
    "InvalidReply",
    "LimitReached",
    "MalformedToolCall",
    "MissingKey",
    "ModelError",
    "ModelRetry",
    "NotFound",
    "OutputInvalid",
    "Overloaded",
    "QuotaExceeded",
    "RateLimited",
    "Refused",
    "RunError",
    "RunPaused",
    "SessionBusy",
    "SessionConflict",
    "SessionError",
    "StateError",
    "StatusError",
    "TooManyMistakes",
    "ToolError",
    "ToolFailed",
]


class AgentKitError(Exception):
    """Base of all errors of agentkit.

    Attributes:
        state: The `RunState` of the run that this error ended, so that no work is lost; None outside a run.
    """

    state: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).__new__, (type(self), *self.args), self.__dict__  # `__init__` takes more than the message


class DefinitionError(AgentKitError):
    """A tool or an agent is defined in a way that cannot work; the message says where, why and what to do."""


class ConfigError(AgentKitError):
    """A setting cannot work: an unknown provider, a missing key or extra, a request parameter out of its range."""


class MissingKey(ConfigError):
    """A provider needs a key and there is none; nothing was sent."""


class ModelError(AgentKitError):
    """The server did not give a usable reply.

    Attributes:
        code: The server's own error code, if there is one.
        request_id: The server's id for the request, to quote to its support team.
        body: The beginning of what the server sent, if it sent anything.
        partial: The text that had arrived when the reply ended early; no call in it was executed.
    """

    partial: str = ""

    def __init__(
        self, message: str, *, code: str | None = None, request_id: str | None = None, body: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id
        self.body = body


class ConnectionFailed(ModelError):
    """No connection to the server, or it broke before the reply was complete."""


class DeadlineExceeded(ModelError):
    """The server took too long.

    Attributes:
        which: The deadline that passed: ``"connect"``, ``"first_byte"``, ``"idle"`` or ``"total"``.
        answered: Whether the server had begun to answer; it may still be at work, so the request is not sent again.
    """

    def __init__(self, message: str, *, which: str, answered: bool = False) -> None:
        super().__init__(message)
        self.which = which
        self.answered = answered


class IncompleteReply(ModelError):
    """The reply ended without a sign that it was complete, so no call in it was executed.

    Attributes:
        partial: The text that had arrived.
    """

    def __init__(self, message: str, *, partial: str = "") -> None:
        super().__init__(message)
        self.partial = partial


class InvalidReply(ModelError):
    """The server answered with something that is not a Chat Completions reply.

    Attributes:
        again: Whether sending the same request again may help.
    """

    again: bool = True


class MalformedToolCall(InvalidReply):
    """The server could not parse a tool call that the model wrote, and reported an error instead.

    Attributes:
        generation: What the model wrote, as the server repeats it.
    """

    generation: str = ""


class StatusError(ModelError):
    """The server answered with an error status.

    Attributes:
        status: The HTTP status; in a stream, the one that the error's code stands for.
        headers: The headers of the answer, with names in lower case.
        params: The members of the request that the server named as wrong, as it wrote them.
        said: The server's own words in full; the message of the error has only their beginning.
    """

    params: tuple[str, ...] = ()
    said: str = ""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        headers: dict[str, str] | None = None,
        code: str | None = None,
        request_id: str | None = None,
        body: str | None = None,
    ) -> None:
        super().__init__(message, code=code, request_id=request_id, body=body)
        self.status = status
        self.headers = headers or {}


class BadRequest(StatusError):
    """The server refused the request as it is (400, 422 and other 4xx)."""


class AuthenticationFailed(StatusError):
    """The key is missing, wrong or not allowed to do this (401, 403)."""


class NotFound(StatusError):
    """The server has no such model or path (404)."""


class RateLimited(StatusError):
    """Too many requests for now (429)."""


class QuotaExceeded(StatusError):
    """The account has no credit left; waiting does not help (402, or 429 with a quota code)."""


class Overloaded(StatusError):
    """The server failed or is overloaded (5xx)."""


class ContextTooLong(StatusError):
    """The messages do not fit into the model's context.

    Attributes:
        limit: The size of the model's context in tokens, if the server named it.
        got: The tokens of the request, if the server named them.
    """

    limit: int | None = None
    got: int | None = None


class ContentFiltered(ModelError):
    """A filter of the server withheld the reply."""


class Refused(ModelError):
    """The model declined to answer; the message is what it said."""


class RunError(AgentKitError):
    """A run could not continue; `state` holds everything that was done."""

    def __init__(self, message: str, *, state: Any) -> None:
        super().__init__(message)
        self.state = state


class LimitReached(RunError):
    """A limit of a run with ``on_limit="raise"`` was reached."""


class ToolFailed(RunError):
    """A tool raised an unexpected exception, the `__cause__`, in a run with ``on_tool_error="raise"``."""


class RunPaused(RunError):
    """A nested run waits for decisions: raised in the tool call that started it, which then waits too."""


class OutputInvalid(RunError):
    """The model gave no valid output within the retries of the output."""


class TooManyMistakes(RunError):
    """A tool was called wrongly in more turns in a row than its ``retries`` allow.

    Attributes:
        tool: The name of the tool; empty if the tools that were called do not exist.
    """

    def __init__(self, message: str, *, tool: str, state: Any) -> None:
        super().__init__(message, state=state)
        self.tool = tool


class StateError(AgentKitError):
    """A saved state cannot be used, or a decision does not fit it; the state is unchanged."""


class SessionError(AgentKitError):
    """A session could not be read or written; what is stored is unchanged."""


class SessionBusy(SessionError):
    """Another run, perhaps in another process, holds the session."""


class SessionConflict(SessionError):
    """The session has changed since the state to resume or save was read."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a `run_sync`; whatever was running was cancelled.

    Attributes:
        state: The state of the run at that point; it can be resumed.
    """

    def __init__(self, state: Any) -> None:
        super().__init__("the run was interrupted")
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).__new__, (type(self), *self.args), self.__dict__


class ToolError(AgentKitError):
    """Raise this in a tool to tell the model what went wrong.

    The model reads the message as the result of the call and continues.
    """


class ModelRetry(ToolError):
    """Raise this in a tool when the model made a mistake in the call; say what to change, and it tries again.

    Unlike a `ToolError`, which is a result like any other, it counts toward ``retries`` of `tool`, like bad arguments.
    """
