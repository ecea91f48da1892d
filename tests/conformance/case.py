"""One case: what a server does, and what must come of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from agentkit import ChatSettings
from agentkit.events import Event
from agentkit.run import RunResult
from tests.conformance.wire import DONE, Answer, Refusal

Ran: TypeAlias = tuple[str, Mapping[str, Any]]

ADDED: Sequence[Ran] = (("add", {"a": 2, "b": 3}),)
ADDED_TWICE: Sequence[Ran] = (("add", {"a": 1, "b": 1}), ("add", {"a": 2, "b": 3}))
NOTHING: Sequence[Ran] = ()


@dataclass
class Outcome:
    """What came of a case."""

    result: RunResult[str] | None = None
    error: BaseException | None = None
    events: list[Event] = field(default_factory=list[Event])
    ran: list[Ran] = field(default_factory=list[Ran])
    requests: list[tuple[dict[str, str], Any]] = field(default_factory=list[tuple[dict[str, str], Any]])

    @property
    def bodies(self) -> list[Any]:
        """The bodies of the requests."""
        return [body for _, body in self.requests]

    def message(self, place: int) -> Any:
        """A message of the last request."""
        return self.bodies[-1]["messages"][place]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a server does, and what must come of it.

    After the answers of a script the server says `DONE` to every further request.

    Attributes:
        q: The number in the catalogue.
        name: What is odd, in kebab case.
        stream: The answers when streamed; None when the case does not exist there.
        whole: The answers when not streamed; None when the case does not exist there.
        refuses: What the server refuses, and with which answer.
        ran: The calls that must run, each exactly once.
        final: The text that must arrive.
        told: What the events must say of it, each a pattern that one of them matches; nothing may be told otherwise.
        error: The error that must be raised instead.
        reads: A pattern that the error's message matches.
        asks: How many requests there are, if not one for each answer and one more for a run that goes on.
        also: What else must hold.
        extra: Members of messages and calls that the server itself brought up, so that they may be sent back to it.
        tools: The names of the tools that are offered.
        settings: Parameters of the requests.
        client: Options of the client.
        prompt: What is asked.
        history: The messages before it.
    """

    q: int
    name: str
    stream: Sequence[Answer] | None = None
    whole: Sequence[Answer] | None = None
    refuses: Sequence[Refusal] = ()
    ran: Sequence[Ran] | None = None
    final: str = DONE
    told: Sequence[str] = ()
    error: type[BaseException] | None = None
    reads: str = ""
    asks: int | None = None
    also: Callable[[Outcome], object] | None = None
    extra: Sequence[str] = ()
    tools: Sequence[str] = ("add",)
    settings: ChatSettings | None = None
    client: Mapping[str, Any] = field(default_factory=dict[str, Any])
    prompt: str = "How much is 2 + 3?"
    history: Sequence[Mapping[str, Any]] = ()

    @property
    def id(self) -> str:
        """Its name among all tests."""
        return f"q{self.q}-{self.name}"

    def script(self, *, streamed: bool) -> Sequence[Answer] | None:
        """The answers in one of the two modes."""
        return self.stream if streamed else self.whole

    @property
    def wanted(self) -> Sequence[Ran]:
        """The calls that must run."""
        if self.ran is not None:
            return self.ran
        return NOTHING if self.error or self.final != DONE else ADDED
