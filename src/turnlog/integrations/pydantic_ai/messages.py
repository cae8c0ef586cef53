"""pydantic-ai's messages as turnlog messages and back: each stored record reads right by itself, and what comes back is equal.

A ``ModelResponse`` is one assistant record in the chat form. A ``ModelRequest`` is one record for each of its parts that a model is
shown: tool results first, as the APIs want them, then files that tools returned, then prompts. What the chat form cannot say
is kept in ``SessionMessage.metadata["pydantic_ai"]``, as pydantic-ai's own JSON without defaults and without the long strings that
the record holds already:

- ``response`` or ``request``: the fields of the message beside its parts; a request's are on its last record
- ``parts`` (response) or ``part`` (request): left out where the record's text is all there is to say
- ``group``: [key, number], on every record of a request that has several
- ``at``: the part's place in the request, where it is not the record's
- ``hidden``: [[at, part], …], parts that no model is shown
- ``files`` / ``of``: the number of the record with a tool result's files / of the tool result
- ``holds``: ``instructions`` or ``nothing``, for a request without any part to show
- ``sum``: a checksum of the record. Where it does not fit, someone changed the record, and the record is what counts

``timestamp`` of a message is that of its part or response.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from turnlog.errors import InvalidMessageError
from turnlog.messages import SessionMessage, new_message_id

try:
    from pydantic import ValidationError
    from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelRequest, ModelResponse
except ImportError as error:
    raise ImportError("pydantic-ai is not installed: pip install 'turnlog[pydantic-ai]'") from error

from turnlog.integrations.pydantic_ai.foreign import ForeignReader
from turnlog.integrations.pydantic_ai.reading import ALONE, KEY, Rebuilt, Run, name_of, runs
from turnlog.integrations.pydantic_ai.records import Draft, Json, drafts, plain_draft

__all__ = ["Rebuilt", "from_stored", "grouped", "message_id_of", "stored_as", "to_stored"]


def to_stored(messages: Sequence[ModelMessage], *, turn_id: str | None = None) -> list[SessionMessage]:
    """The messages to store for pydantic-ai's, in order; at least one for each.

    With ``turn_id`` their ids are ``<turn_id>-0``, ``<turn_id>-1``, …, so that storing a turn again is a retry and no second turn;
    without it they are new. Raises InvalidMessageError for what is no pydantic-ai message.
    """
    stored: list[SessionMessage] = []

    def name(number: int) -> str:
        return f"{turn_id}-{len(stored) + number}" if turn_id is not None else new_message_id()

    for message in messages:
        stored += _stored(message, name)
    return stored


def stored_as(message: ModelMessage, message_id: str) -> list[SessionMessage]:
    """What ``to_stored`` gives for one message, with the ids ``message_id``, ``<message_id>-1``, ``<message_id>-2``, …"""
    return _stored(message, lambda n: f"{message_id}-{n}" if n else message_id)


def message_id_of(stored: SessionMessage) -> str | None:
    """The id of the first record of the message that ``stored`` is a record of; None where pydantic-ai did not write it."""
    name = name_of(stored)
    return stored.id if name is ALONE else name if isinstance(name, str) else None


def from_stored(stored: Sequence[SessionMessage], rebuilt: Rebuilt | None = None) -> list[ModelMessage]:
    """The pydantic-ai messages that ``stored`` holds: equal to what ``to_stored`` was given, as far as its records are there.

    A record that pydantic-ai did not write, or that was changed since, is read by what it says, whatever vendor's form it has.
    ``rebuilt``: what an earlier call rebuilt of the same objects, which is given again.
    """
    return [message for _, message in grouped(stored, rebuilt)]


def grouped(stored: Sequence[SessionMessage], rebuilt: Rebuilt | None = None) -> list[tuple[list[SessionMessage], ModelMessage]]:
    """What ``from_stored`` gives, each message with the stored ones it comes from. A record that says nothing to a model is in none."""
    foreign = ForeignReader(stored)
    found = list(runs(stored, foreign, rebuilt))
    dumps = [run.dump for run in found if run.dump is not None]
    try:
        valid: list[ModelMessage | None] = [*ModelMessagesTypeAdapter.validate_python(dumps)] if dumps else []
    except ValidationError:
        valid = [_validated(dump) for dump in dumps]
    messages = iter(valid)
    found = [run if run.dump is None else Run(run.records, None, next(messages)) for run in found]
    if rebuilt is not None:
        rebuilt.note([run for run in found if run.message is not None])
    pairs: list[tuple[list[SessionMessage], ModelMessage]] = []
    for run in found:
        pairs += [(run.records, run.message)] if run.message is not None else foreign.messages(run.records)
    return pairs


def _stored(message: ModelMessage, name: Callable[[int], str]) -> list[SessionMessage]:
    plain = plain_draft(_checked(message))
    made = [plain] if plain is not None else drafts(*_dumped(message))
    ids = [name(number) for number in range(len(made))]
    if len(made) > 1:
        for number, draft in enumerate(made):
            draft.meta["group"] = [ids[0], number]
    return [_message(identity, draft) for identity, draft in zip(ids, made, strict=True)]


def _checked(message: ModelMessage) -> ModelMessage:
    if not isinstance(message, (ModelRequest, ModelResponse)):
        raise InvalidMessageError(f"a {type(message).__name__} is no pydantic-ai message: pass ModelRequest and ModelResponse objects")
    return message


def _dumped(message: ModelMessage) -> tuple[ModelMessage, Json]:
    dump: Json = ModelMessagesTypeAdapter.dump_python([message], mode="json")[0]
    if any(part.part_kind == "retry-prompt" for part in message.parts):
        # pydantic-ai itself reads this older part as one of the two that replaced it.
        message = ModelMessagesTypeAdapter.validate_python([dump])[0]
        dump = ModelMessagesTypeAdapter.dump_python([message], mode="json")[0]
    return message, dump


def _validated(dump: Json) -> ModelMessage | None:
    try:
        return ModelMessagesTypeAdapter.validate_python([dump])[0]
    except ValidationError:
        return None


def _message(identity: str, draft: Draft) -> SessionMessage:
    record = draft.record
    return SessionMessage(
        role=record["role"],
        content=record["content"],
        timestamp=draft.time,
        metadata={KEY: draft.meta},
        tool_calls=record.get("tool_calls"),
        tool_call_id=record.get("tool_call_id"),
        id=identity,
        record=record,
    )
