"""The output of an agent: how it is requested, and how it is read from the reply that ends a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from agentkit.chat.messages import AssistantMessage
from agentkit.chat.request import ToolDefinition
from agentkit.chat.settings import ChatSettings
from agentkit.errors import ConfigError
from agentkit.tools.context import RunContext

__all__ = ["Output", "TextOutput", "output_of"]

Out = TypeVar("Out")


class Output(Generic[Out]):
    """Requests and reads an output.

    Attributes:
        retries: How many replies in a row may be invalid before the run fails with `OutputInvalid`.
    """

    retries: int = 3

    def prepare(
        self, settings: ChatSettings, tools: Sequence[ToolDefinition]
    ) -> tuple[ChatSettings, Sequence[ToolDefinition]]:
        """Change the settings and the tools of a request so that the model answers with the output."""
        return settings, tools

    async def read(self, message: AssistantMessage, context: RunContext[Any]) -> Out:
        """Read the output from the reply that would end the run.

        Raises:
            ModelRetry: It is not valid; the model reads the message and tries again.
        """
        raise NotImplementedError

    def unfinished(self, text: str) -> tuple[Out | None, bool]:  # noqa: ARG002 - for those below
        """The output of a run that stopped without a valid reply, and whether there is one, given the last text."""
        return None, False


class TextOutput(Output[str]):
    """The text of the reply, whatever it is."""

    async def read(self, message: AssistantMessage, context: RunContext[Any]) -> str:  # noqa: ARG002
        """The text."""
        return message.text

    def unfinished(self, text: str) -> tuple[str, bool]:
        """The last text."""
        return text, True


def output_of(output_type: object) -> Output[Any]:
    """The output that an ``output_type=`` stands for.

    Raises:
        ConfigError: It is not a type of output.
    """
    if output_type is str:
        return TextOutput()
    if isinstance(output_type, Output):
        return output_type
    raise ConfigError(f"output_type= takes str or an Output, not {output_type!r:.80}")
