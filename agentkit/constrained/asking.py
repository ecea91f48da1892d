"""The requests that the strategy makes of the model it wraps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from pydantic_core import from_json

from agentkit.chat.events import ignore_event
from agentkit.chat.messages import AssistantMessage, Message, SystemMessage, UserMessage, encode_json
from agentkit.chat.reply import Model, Reply, TokenLogprob, Usage
from agentkit.chat.request import ChatRequest
from agentkit.chat.settings import ChatSettings
from agentkit.errors import InvalidReply, ModelError

__all__ = ["Asking", "dialogue"]

SCORED_TOKENS = 48  # a long text is scored by its beginning

REPEATING = ["What is it?", "tell Jim 12.5 is wrong", "I would like two of them, please!"]


def dialogue(system: str, *turns: tuple[str, str]) -> list[Message]:
    """A system message and examples of what is said and answered."""
    examples = (each for said, answer in turns for each in (UserMessage(said), AssistantMessage(answer)))
    return [SystemMessage(system), *examples]


class Asking:
    """Asks a model and adds up what that takes.

    It needs llama.cpp's server: its ``grammar`` parameter, which may name tokens, and log-probabilities that are those
    of the free model also under a grammar, so that forcing a text tells how probable the model finds it.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.usage = Usage()

    async def ask(self, messages: Sequence[Message], **settings: Any) -> Reply:
        """One request."""
        request = ChatRequest(messages=messages, settings=ChatSettings(temperature=0, **settings))
        reply = await self._model.reply(request, ignore_event)
        self.usage += reply.usage
        return reply

    async def pick(self, messages: Sequence[Message], schema: Mapping[str, Any]) -> Any:
        """The value of this schema that the model answers with.

        Raises:
            InvalidReply: The server did not keep to the schema.
        """
        form = {"type": "json_schema", "json_schema": {"name": "value", "schema": schema}}
        reply = await self.ask(messages, max_tokens=300, response_format=form)
        try:
            return from_json(reply.text)
        except ValueError as error:
            raise InvalidReply(f"the server did not keep to the response_format: {reply.text[:80]!r}") from error

    async def probabilities(self, text: str, openings: Sequence[Sequence[Message]]) -> list[float]:
        """How probable the model finds the text as the answer to each opening, as logarithms."""
        # Forced letter by letter a text may be cut into odd tokens, whose improbability drowns everything else. So the
        # model first repeats the text, which gives its own tokens, and then these are forced.
        repeated = dialogue("Repeat the text.", *((each, each) for each in REPEATING))
        tokens = await self._forced([*repeated, UserMessage(text)], encode_json(text).decode())
        grammar = " ".join(f"<[{token.extra['id']}]>" for token in tokens[:SCORED_TOKENS])
        scores = [0.0] * len(openings)
        errors: list[ModelError] = []

        async def score(place: int) -> None:
            try:
                scores[place] = sum(token.logprob for token in await self._forced(openings[place], grammar))
            except ModelError as error:  # kept out of the task group, which would wrap it
                errors.append(error)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for place in range(len(openings)):
                tasks.start_soon(score, place)
        if errors:
            raise errors[0]
        return scores

    async def _forced(self, messages: Sequence[Message], grammar: str) -> Sequence[TokenLogprob]:
        extra = {"grammar": f"root ::= {grammar}"}
        reply = await self.ask(messages, max_tokens=200, logprobs=True, top_logprobs=1, extra_body=extra)
        logprobs = reply.choices[0].logprobs
        tokens = logprobs.content if logprobs else ()
        if not tokens or not all("id" in token.extra for token in tokens):
            raise InvalidReply(
                "the server gives no token ids with its log-probabilities; ConstrainedTools needs llama.cpp"
            )
        return tokens if tokens[-1].token else tokens[:-1]  # the last one is the end
