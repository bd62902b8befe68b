"""Messages that are not retained: what happened, for people, dashboards and audit."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from ramshare.messages.base import Bytes, ClientName, LeaseId, Message, Sentence, VolumeName


class EventKind(StrEnum):
    """Last part of an event's topic."""

    OFFER_CHANGED = "offer-changed"
    EXPORTED = "exported"
    RELEASED = "released"
    GRANTED = "granted"
    REFUSED = "refused"
    TAKEN_BACK = "taken-back"
    STEP = "step"
    ATTACHED = "attached"
    DETACHED = "detached"
    VACATED = "vacated"
    LEG_LOST = "leg-lost"
    REPAIRED = "repaired"
    PAGES_LOST = "pages-lost"
    RESUMED_DEVICE = "resumed-device"
    FAILED = "failed"


class Event(Message):
    """`event/<client>/<kind>`: one sentence that says what happened and why, and what it was about."""

    KIND: ClassVar[str] = "event/1"
    kind: EventKind
    sentence: Sentence
    lease: LeaseId | None = None
    volume: VolumeName | None = None
    peer: ClientName | None = None
    size_bytes: Bytes | None = Field(default=None)
