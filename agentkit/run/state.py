"""What is known of a run: its transcript and a few numbers. Everything else is derived."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from agentkit.chat.messages import AssistantMessage, Message
from agentkit.chat.reply import Usage

__all__ = ["RunResult", "RunState", "Status"]

Status: TypeAlias = Literal["running", "done", "paused", "limited", "cancelled", "failed"]
"""``running``, or one of the five endings; each of these can be continued."""


@dataclass(slots=True, kw_only=True)
class RunState:
    """A run, as far as it has come. The loop writes it; observers read it.

    Attributes:
        messages: The transcript.
        run_id: Unique to the run.
        status: Whether it runs or how it ended.
        turns: Replies of the model so far.
        calls: Tool calls so far.
        usage: Tokens so far.
        limit: The limit that was reached, in words; empty while there is none.
        closing: Whether that limit was reached and the last answer has been asked for.
        mistakes: In how many turns in a row each tool was called wrongly; tools without mistakes are left out.
        artifacts: The results that were too long for the model, whole, by the id of their call.
    """

    messages: list[Message]
    run_id: str = ""
    status: Status = "running"
    turns: int = 0
    calls: int = 0
    usage: Usage = Usage()
    limit: str = ""
    closing: bool = False
    mistakes: dict[str, int] = field(default_factory=dict[str, int])
    artifacts: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def output(self) -> str:
        """The text of the last assistant message, empty when there is none."""
        last = next((each for each in reversed(self.messages) if isinstance(each, AssistantMessage)), None)
        return last.text if last else ""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to.

    Attributes:
        state: Everything known of the run.
    """

    state: RunState

    @property
    def output(self) -> str:
        """The model's answer."""
        return self.state.output

    @property
    def status(self) -> Status:
        """``"done"``, or why it ended earlier (``"limited"``)."""
        return self.state.status

    @property
    def limit(self) -> str:
        """The limit that ended the run, in words; empty when it is done."""
        return self.state.limit

    @property
    def transcript(self) -> tuple[Message, ...]:
        """All messages of the run: pass them as ``history=`` to go on with the conversation."""
        return tuple(self.state.messages)

    @property
    def usage(self) -> Usage:
        """The tokens that the run took."""
        return self.state.usage
