"""The record of a job: steps by their place in the program, and the head of its session."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Literal, TypeVar, cast

import anyio
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from agentkit.chat import encode_json
from agentkit.errors import DefinitionError, StateError
from agentkit.run import Decision, Journal, PendingCall, Session, SessionSnapshot, Slot

__all__ = ["BEGUN", "Head", "StepJournal", "StepRecord", "arguments_json", "fingerprint"]

T = TypeVar("T")
BEGUN = " begun"
"""The suffix of the key under which the start of a step is recorded."""


class StepRecord(BaseModel):
    """The record of a step.

    Attributes:
        step: The name of the step.
        call: The `fingerprint` of its call.
        value: What it returned, as JSON.
    """

    model_config = ConfigDict(extra="forbid")

    step: str
    call: str
    value: str = "null"

    @classmethod
    def read(cls, stored: str, place: str) -> StepRecord:
        """Read a record.

        Raises:
            StateError: It cannot be read.
        """
        try:
            return cls.model_validate_json(stored)
        except ValidationError:
            raise StateError(f"the record of {place} cannot be read: another program wrote it") from None


class _Status(BaseModel):
    status: Literal["running", "paused", "failed", "done"]


class Head(BaseModel):
    """The head of a job's session.

    Attributes:
        version: The version of this format.
        automation: The name of the automation.
        arguments: The arguments of the job, as JSON.
        state: The status of the job, where the list of sessions looks for it.
        pending: The calls that wait for decisions.
        output: What the job returned, as JSON.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    automation: str
    arguments: str
    state: _Status = _Status(status="running")
    pending: tuple[PendingCall, ...] = ()
    output: str = "null"

    @classmethod
    def read(cls, stored: SessionSnapshot, name: str) -> Head | None:
        """Read the head of a session; None if the session is new.

        Raises:
            StateError: The session holds something else.
        """
        if not stored.head and not stored.messages:
            return None
        try:
            return cls.model_validate_json(stored.head)
        except ValidationError:
            raise StateError(
                f"session {name!r} does not hold a job that this agentkit can read: it is a conversation, or from a "
                "newer version; choose another name"
            ) from None

    def ended(self, status: Literal["running", "paused", "failed", "done"], **changes: Any) -> Head:
        """Return the head with another status."""
        return self.model_copy(update={"state": _Status(status=status), **changes})


class StepJournal:
    """The journal of a job: its session records what steps returned, and another journal may record it too."""

    def __init__(self, job: str, session: Session, records: dict[str, str], inner: Journal) -> None:
        self.records = records
        self._job, self._session, self._inner = job, session, inner

    def reserve(self, key: str) -> Slot:
        """Reserve the slot of a step; see `Journal.reserve`."""
        return _StepSlot(self, key, self._inner.reserve(f"{self._job}:step:{key}", "step"))

    async def record(self, key: str, record: str) -> None:
        """Store a record, even if this is cancelled: the work has been done."""
        with anyio.CancelScope(shield=True):
            await self._session.record(key, record)
        self.records[key] = record

    def decision(self, id_: str) -> Decision | None:
        """Return the decision about a pending call, if there is one."""
        stored = self.records.get(f"decision {id_}")
        return Decision(**json.loads(stored)) if stored else None

    def later(self, scope: str, count: int) -> Iterator[StepRecord]:
        """Yield the recorded steps of a scope after its first ``count``."""
        prefix = f"{scope}." if scope else ""
        for key, record in self.records.items():
            number = key.removesuffix(BEGUN).removeprefix(prefix)
            if key.startswith(prefix) and number.isdecimal() and int(number) > count:
                yield StepRecord.read(record, f"step {number}")


class _StepSlot:
    def __init__(self, journal: StepJournal, key: str, inner: Slot) -> None:
        self._journal, self._key, self._inner = journal, key, inner

    async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
        known = self._journal.records.get(self._key)
        if known is not None:
            return cast("T", known)
        value = await self._inner.run(effect)
        await self._journal.record(self._key, cast("str", value))
        return value


def fingerprint(arguments: str, *parts: str) -> str:
    """Hash a call: its arguments, regardless of the order of members, and strings that say where it is."""
    canonical = json.dumps([json.loads(arguments), parts], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def arguments_json(who: str, arguments: Mapping[str, Any]) -> str:
    """Return arguments as JSON.

    Raises:
        DefinitionError: JSON cannot hold one of them.
    """
    members: dict[str, Any] = {}
    for name, value in arguments.items():
        kind = type(cast("object", value)).__name__
        if inspect.isawaitable(value):
            raise DefinitionError(
                f"{who}: the argument {name!r} is a {kind} that was not awaited: write `await` before it"
            )
        try:
            if isinstance(value, Iterator):
                raise TypeError("it can be read only once")
            ordered = sorted(cast("Any", value), key=repr) if isinstance(value, set | frozenset) else value
            members[name] = json.loads(to_json(ordered))
        except (PydanticSerializationError, TypeError, ValueError, RecursionError) as error:
            raise DefinitionError(
                f"{who}: the argument {name!r} is a {kind}, which cannot be recorded as JSON ({error}); "
                "pass what identifies it, and open it inside the step"
            ) from None
    return encode_json(members).decode()
