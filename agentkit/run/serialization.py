"""A run's state as JSON, and back. What is read is checked member by member; nothing in it can name code to run."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from pydantic_core import ValidationError

from agentkit.chat.json_values import encode_json
from agentkit.chat.messages import Message, read_message
from agentkit.chat.reply import Usage
from agentkit.errors import ConfigError, StateError
from agentkit.tools.result import ToolResult

VERSION = 1
_CONVERSATION = ("messages", "artifacts")  # a session stores these separately


def dump_state(state: object, *, key: bytes | None) -> str:
    """A whole state, with a checksum or, given a key, a signature."""
    envelope = {"agentkit": "run", "version": VERSION, "signed": key is not None, "state": state_to_dict(state)}
    return encode_json({**envelope, "sum": _sum(envelope, key)}).decode()


def state_to_dict(state: object) -> dict[str, Any]:
    """The members of a state as JSON values.

    Raises:
        StateError: JSON cannot hold one of them.
    """
    return cast("dict[str, Any]", json.loads(encode_json(_dumped(state))))  # without what JSON cannot hold


def state_from_dict(members: object) -> dict[str, Any]:
    """Read what `state_to_dict` returned.

    Raises:
        StateError: These cannot be the members of a state.
    """
    from agentkit.run.stored import StoredState  # noqa: PLC0415 - it loads most of pydantic

    try:
        stored = StoredState.model_validate(members)
    except ValidationError as error:
        raise StateError(f"the saved state cannot be used: {_first(error)}") from None
    except ConfigError as error:
        raise StateError(f"the saved state cannot be used: {error}") from None
    nested = {id_: state_from_dict(each) for id_, each in stored.nested.items()}
    return {name: getattr(stored, name) for name in StoredState.model_fields} | {"nested": nested}


def load_state(stored: object, *, key: bytes | None) -> dict[str, Any]:
    """The members of the state that was stored.

    Raises:
        StateError: It is not a state, is of a newer version, is damaged, or is not signed with the key.
    """
    envelope = _object(stored)
    if envelope.get("agentkit") != "run":
        raise StateError("this is not the saved state of a run: it has been written by something else")
    _check_version(envelope.get("version"), "saved state")
    if key is not None and envelope.get("signed") is not True:
        raise StateError("the saved state is not signed: it was written without a key")
    if key is None and envelope.get("signed") is True:
        raise StateError("the saved state is signed: load it with the key that it was written with")
    written = envelope.pop("sum", None)
    try:
        right = isinstance(written, str) and hmac.compare_digest(written.encode(), _sum(envelope, key).encode())
    except (ValueError, RecursionError):
        right = False
    if not right:
        raise StateError("the saved state has been changed or damaged since it was written; nothing of it was used")
    return state_from_dict(envelope.get("state"))


def dump_head(state: object) -> str:
    """A state without its conversation, as a session stores it."""
    return encode_json({"version": VERSION, "state": _dumped(state, without=_CONVERSATION)}).decode()


def load_head(head: str, messages: Sequence[str], artifacts: Mapping[str, str]) -> dict[str, Any]:
    """The members of the state that a session holds.

    Raises:
        StateError: It cannot be read.
    """
    envelope = _object(head)
    _check_version(envelope.get("version"), "session")
    raw = envelope.get("state")
    members = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
    return state_from_dict({**members, "messages": [_object(each) for each in messages], "artifacts": dict(artifacts)})


def dump_message(message: Message) -> str:
    """A message with everything known about it.

    Raises:
        StateError: JSON cannot hold a label in its ``meta``.
    """
    try:
        return encode_json(message.to_record()).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StateError(f"a message cannot be stored as JSON: {error}") from None


def load_message(stored: str) -> Message:
    """A message that `dump_message` wrote.

    Raises:
        StateError: It cannot be read.
    """
    try:
        return read_message(_object(stored))
    except ValueError as error:
        raise StateError(f"a stored message cannot be read: {error}") from None


def dump_result(result: ToolResult, usage: Usage, calls: int) -> str:
    """A result, and what its run had used by then, agents inside the call included."""
    return encode_json({**result.to_dict(), "usage": asdict(usage), "calls": calls}).decode()


def load_result(stored: str) -> tuple[ToolResult, Usage, int]:
    """Read what `dump_result` wrote.

    Raises:
        StateError: It cannot be read.
    """
    from agentkit.run.stored import Spending  # noqa: PLC0415 - as above

    record = _object(stored)
    try:
        spent = Spending.model_validate({"usage": record.get("usage"), "calls": record.get("calls")})
    except ValidationError as error:
        raise StateError(f"the stored result of a call cannot be read: {_first(error)}") from None
    return ToolResult.from_dict(record), spent.usage, spent.calls


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"


def _dumped(state: object, without: Sequence[str] = ()) -> dict[str, Any]:
    from agentkit.run.stored import StoredState  # noqa: PLC0415 - as above

    kept = {name: getattr(state, name) for name in StoredState.model_fields if name not in without}
    kept["nested"] = {id_: state_to_dict(each) for id_, each in kept["nested"].items()}
    try:
        return StoredState.model_construct(**kept).model_dump(mode="json", warnings=False)
    except (ValueError, RecursionError) as error:
        raise StateError(f"the state cannot be stored as JSON: {error}") from None


def _check_version(version: object, what: str) -> None:
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise StateError(f"the {what} cannot be read: it names no version")
    if version > VERSION:
        raise StateError(f"the {what} has version {version}, and this agentkit reads {VERSION}: update agentkit")


def _object(stored: object) -> dict[str, Any]:
    try:
        value = json.loads(cast("str", stored))
    except (TypeError, ValueError, RecursionError):
        raise StateError("the saved state cannot be read: it is not JSON") from None
    if not isinstance(value, dict):
        raise StateError("the saved state cannot be read: it is not a JSON object")
    return cast("dict[str, Any]", value)


def _sum(envelope: object, key: bytes | None) -> str:
    if key is not None and (not isinstance(key, bytes) or not key):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError("the key that signs a state must be bytes, and not empty: anybody could sign with that")
    text = json.dumps(envelope, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    return hashlib.sha256(text).hexdigest() if key is None else hmac.new(key, text, hashlib.sha256).hexdigest()
