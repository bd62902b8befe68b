"""From a packet to what agents see: topic, size, layout and content are checked here, and nowhere else.

Errors never quote a payload: a reply holds secrets, and what is malformed may be one.
"""

from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ramshare.bus.api import EventArrived, RequestArrived, StateArrived
from ramshare.bus.counters import Drop
from ramshare.bus.wire import Packet
from ramshare.messages.base import MAX_PAYLOAD_BYTES, Message
from ramshare.messages.events import Event
from ramshare.messages.replies import REPLIES, Reply
from ramshare.messages.requests import Request
from ramshare.topics import (
    EVERYBODY,
    OWN_HOST,
    BadTopicError,
    EventTopic,
    ReplyTopic,
    RequestTopic,
    Root,
    StateTopic,
    Topic,
    model_of,
    server_name,
)

M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class ReplyArrived:
    """A reply of `server` to one of our requests."""

    server: str
    correlation: bytes | None
    reply: Reply


class UndecodableError(Exception):
    """A packet that is dropped; `answer_to` is set where the sender can be told."""

    def __init__(self, kind: Drop, detail: str, answer_to: "Unserved | None" = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.answer_to = answer_to


@dataclass(frozen=True)
class Unserved:
    """A request that cannot be delivered, with what its refusal needs."""

    topic: RequestTopic
    correlation: bytes
    request_id: str


class _Header(BaseModel):
    model_config = ConfigDict(extra="ignore", defer_build=True)
    schema_id: str = Field(alias="schema", max_length=80)
    request_id: str = Field(default="", max_length=64)


Decoded = StateArrived | EventArrived | RequestArrived | ReplyArrived


def decode(root: Root, me: str, packet: Packet) -> Decoded:
    """Return what a packet says to client `me`. Raises `UndecodableError` for everything else."""
    shown = repr(packet.topic[:160])
    try:
        topic = root.parse(packet.topic)
    except BadTopicError:
        raise UndecodableError(Drop.FOREIGN, shown) from None
    if packet.retain and not isinstance(topic, StateTopic):
        raise UndecodableError(Drop.MALFORMED, f"{shown} is retained; only state may be")
    if len(packet.payload) > MAX_PAYLOAD_BYTES:
        raise UndecodableError(Drop.OVERSIZED, f"{shown}, {len(packet.payload)} bytes", _unserved(topic, packet))
    match topic:
        case StateTopic():
            return _state(topic, packet)
        case EventTopic():
            event = _message(Event, topic, packet)
            if event.kind != topic.kind:
                raise UndecodableError(Drop.MALFORMED, f"{shown} holds another kind of event")
            return EventArrived(topic.client, topic.kind, event)
        case RequestTopic() if topic.server in (server_name(me), EVERYBODY, OWN_HOST):
            return _request(topic, packet)
        case ReplyTopic() if topic.client == me:
            return _reply(topic, packet)
    raise UndecodableError(Drop.FOREIGN, f"{shown} is not for {me}")


def _state(topic: StateTopic, packet: Packet) -> StateArrived:
    message = _message(_model(topic, packet), topic, packet) if packet.payload else None
    return StateArrived(topic.client, topic.path, message, packet.retain, packet.expiry_s)


def _request(topic: RequestTopic, packet: Packet) -> RequestArrived:
    request = _message(_model(topic, packet), topic, packet)
    if not isinstance(request, Request):
        raise UndecodableError(Drop.FOREIGN, f"{packet.topic!r} carries no request")
    correlation = packet.correlation or request.request_id.encode()
    return RequestArrived(topic.client, topic.verb, request, correlation, topic.server == OWN_HOST)


def _reply(topic: ReplyTopic, packet: Packet) -> ReplyArrived:
    schema_id = _header(topic, packet).schema_id
    for model in REPLIES:
        if schema_id == model.KIND:
            return ReplyArrived(topic.server, packet.correlation, _message(model, topic, packet))
    raise UndecodableError(Drop.MALFORMED, f"{packet.topic!r} is not a known layout of reply")


def _model(topic: Topic, packet: Packet) -> type[Message]:
    try:
        return model_of(topic)
    except BadTopicError:
        detail = f"{packet.topic[:160]!r} has no message"
        raise UndecodableError(Drop.FOREIGN, detail, _unserved(topic, packet)) from None


def _message(model: type[M], topic: Topic, packet: Packet) -> M:
    header = _header(topic, packet)
    if header.schema_id != model.KIND:
        detail = f"{packet.topic!r} wants layout {model.KIND}, this is another"
        raise UndecodableError(Drop.MALFORMED, detail, _unserved(topic, packet))
    try:
        return model.model_validate_json(packet.payload)
    except (ValidationError, ValueError, RecursionError) as error:
        detail = f"{packet.topic!r}, {len(packet.payload)} bytes: {summary(error)}"
        raise UndecodableError(Drop.MALFORMED, detail, _unserved(topic, packet)) from None


def _header(topic: Topic, packet: Packet) -> _Header:
    try:
        return _Header.model_validate_json(packet.payload)
    except (ValidationError, ValueError, RecursionError) as error:
        detail = f"{packet.topic!r}, {len(packet.payload)} bytes: {summary(error)}"
        raise UndecodableError(Drop.MALFORMED, detail, _unserved(topic, packet)) from None


def _unserved(topic: Topic, packet: Packet) -> Unserved | None:
    """Return what a refusal needs, or None where none is due: no request, a broadcast, or nothing to correlate by."""
    if not isinstance(topic, RequestTopic) or topic.server == EVERYBODY:
        return None
    try:
        request_id = _Header.model_validate_json(packet.payload).request_id
    except (ValidationError, ValueError, RecursionError):
        request_id = ""
    if not request_id and packet.correlation is None:
        return None
    return Unserved(topic, packet.correlation or request_id.encode(), request_id)


def summary(error: Exception) -> str:
    """Say which fields are wrong and how, without any value."""
    if not isinstance(error, ValidationError):
        return type(error).__name__
    found = error.errors(include_url=False, include_context=False, include_input=False)
    parts = [f"{'.'.join(str(p)[:40] for p in e['loc']) or 'payload'}: {e['type']}" for e in found[:3]]
    return "; ".join(parts) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
