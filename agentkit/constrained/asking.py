"""The requests that the strategy sends to the wrapped model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio
import anyio.to_thread
from pydantic_core import from_json

from agentkit.chat import ChatRequest, ChatSettings, Model, Reply, TokenLogprob, Usage, encode_json
from agentkit.constrained.slots import PromptSlots
from agentkit.errors import InvalidReply, ModelError
from agentkit.events import Emit, Event, ignore_event
from agentkit.messages import AssistantMessage, Message, SystemMessage, UserMessage

__all__ = ["Asking", "ModelPreparing", "dialogue"]

MOST_TOKENS = 200  # to score at once, over all openings: each costs the embedded model about 15 ms of CPU
LEAST_SCORED = 8  # tokens of each string, however many openings there are

REPEATING = ["What is it?", "tell Jim 12.5 is wrong", "I would like two of them, please!"]


def dialogue(system: str, *turns: tuple[str, str]) -> list[Message]:
    """Make a system message and examples of questions and answers."""
    examples = (each for said, answer in turns for each in (UserMessage(said), AssistantMessage(answer)))
    return [SystemMessage(system), *examples]


@dataclass(frozen=True, slots=True)
class ModelPreparing(Event):
    """The model prepares something, once, that takes seconds; ``what`` describes it."""

    what: str


class Asking:
    """Asks a model and adds up the usage.

    It needs llama.cpp's server: its ``grammar`` parameter, which may name tokens, and its log probabilities, which a
    grammar does not change, so that forcing a string shows how probable the model finds it.

    Args:
        model: The model.
        slots: The slots of its server, if they can be reached.
        emit: Gets a `ModelPreparing` event when prompts have to be read for the first time.
    """

    def __init__(self, model: Model, slots: PromptSlots | None, emit: Emit) -> None:
        self._model = model
        self._slots = slots
        self._emit = emit
        self._prepared = False
        self.usage = Usage()

    async def ask(
        self,
        messages: Sequence[Message],
        *,
        prompt: Sequence[Message] = (),
        shared: Sequence[Message] = (),
        settings: ChatSettings | None = None,
    ) -> Reply:
        """Make one request.

        Args:
            messages: The messages.
            prompt: The first messages, if they will be used again.
            shared: The first messages of the prompt, if other prompts begin with them too.
            settings: The parameters; the temperature is 0 unless they say otherwise.

        Raises:
            ModelError: There is no usable reply.
        """
        settings = (settings or ChatSettings()).over(ChatSettings(temperature=0))
        if self._slots is not None and prompt:
            slot, is_read = await anyio.to_thread.run_sync(self._slots.open, prompt, shared)
            settings = replace(settings, extra_body={**(settings.extra_body or {}), "id_slot": slot})
            if not is_read and not self._prepared:
                self._prepared = True
                self._emit(ModelPreparing("reading these tools for the first time"))
        reply = await self._model.reply(ChatRequest(messages=messages, settings=settings), ignore_event)
        if self._slots is not None and prompt:
            await anyio.to_thread.run_sync(self._slots.save, prompt, shared)
        self.usage += reply.usage
        return reply

    async def pick(self, examples: Sequence[Message], messages: Sequence[Message], schema: Mapping[str, Any]) -> Any:
        """Have the model answer with a value of a schema.

        Raises:
            InvalidReply: The server did not follow the schema.
        """
        form = {"type": "json_schema", "json_schema": {"name": "value", "schema": schema}}
        settings = ChatSettings(max_tokens=300, response_format=form)
        reply = await self.ask([*examples, *messages], prompt=examples, settings=settings)
        try:
            return from_json(reply.text)
        except ValueError as error:
            raise InvalidReply(f"the server did not follow the response_format: {reply.text[:80]!r}") from error

    async def probabilities(self, text: str, examples: Sequence[Message], endings: Sequence[Message]) -> list[float]:
        """Return the log probability of a string as the answer to the examples with each ending.

        Only the beginning of a long text is judged.
        """
        if self._slots is not None:
            ids: Sequence[object] = await anyio.to_thread.run_sync(self._slots.tokenize, text)
        else:
            # Forced letter by letter, a string may become odd tokens, whose improbability dominates everything else. So
            # the model first repeats the text, which yields its usual tokens, and then these are forced.
            repeated = dialogue("Repeat the text.", *((each, each) for each in REPEATING))
            tokens = await self._force([*repeated, UserMessage(text)], encode_json(text).decode(), (), ())
            ids = [token.extra["id"] for token in tokens]
        grammar = " ".join(f"<[{each}]>" for each in ids[: max(LEAST_SCORED, MOST_TOKENS // len(endings))])
        scores = [0.0] * len(endings)
        errors: list[ModelError] = []

        async def score(place: int) -> None:
            opening = [*examples, endings[place]]
            try:
                scores[place] = sum(token.logprob for token in await self._force(opening, grammar, opening, examples))
            except ModelError as error:  # kept out of the task group, which would wrap it
                errors.append(error)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            await score(0)  # alone: the others can begin with the examples that it has read
            for place in range(1, len(endings)):
                tasks.start_soon(score, place)
        if errors:
            raise errors[0]
        return scores

    async def _force(
        self, messages: Sequence[Message], grammar: str, prompt: Sequence[Message], shared: Sequence[Message]
    ) -> Sequence[TokenLogprob]:
        """Have the model write what a grammar allows, and return the tokens."""
        settings = ChatSettings(
            max_tokens=200, logprobs=True, top_logprobs=1, extra_body={"grammar": f"root ::= {grammar}"}
        )
        reply = await self.ask(messages, prompt=prompt, shared=shared, settings=settings)
        logprobs = reply.choices[0].logprobs
        tokens = logprobs.content if logprobs else ()
        if not tokens or not all("id" in token.extra for token in tokens):
            raise InvalidReply(
                "the server returns no token ids with its log probabilities; ConstrainedTools needs llama.cpp"
            )
        return tokens if tokens[-1].token else tokens[:-1]  # the last one is the end
