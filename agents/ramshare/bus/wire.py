"""What lies between the bus's own logic and a network: packets, the link that carries them, and topic filters.

`core.py` speaks this language only; `link.py` carries it over paho and `memory.py` inside one process.
"""

import threading
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class Worth(IntEnum):
    """What goes first, least first, when too many publications wait for the broker."""

    REFUSAL = 0
    """An answer that only says why not."""
    EVENT = 1
    REPLY = 2
    REQUEST = 3
    """Its sender is told that it did not go out."""
    STATE = 4
    """Never goes: a newer value of the topic replaces it."""


@dataclass(frozen=True)
class Packet:
    """One MQTT publication, in either direction."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    """Outgoing: to be stored. Incoming: replayed from the store."""
    correlation: bytes | None = None
    expiry_s: int | None = None
    """Incoming: what is left of it."""
    worth: Worth = Worth.EVENT
    """Outgoing only."""


class LinkUser(Protocol):
    """What a link calls, from its own thread; nothing of it may block."""

    lock: threading.RLock
    """Held by the user around `send`, `subscribe` and `unsubscribe`, and by the link while a session begins or ends."""

    def last_will(self) -> Packet | None:
        """Return what the broker publishes if we vanish; None: nothing."""
        ...

    def on_up(self) -> None:
        """A session begins: subscribe and publish everything."""
        ...

    def on_down(self, reason: str) -> None:
        """The session is gone; the link tries again by itself."""
        ...

    def on_subscribed(self, topic_filter: str, refusal: str) -> None:
        """The broker has answered a subscription; `refusal` is empty when it took it."""
        ...

    def on_packet(self, packet: Packet) -> None:
        """A publication arrived."""
        ...

    def on_refused(self, packet: Packet, reason: str) -> None:
        """The broker refused one of our publications, or no room was left to keep it."""
        ...

    def expire(self) -> None:
        """Time has passed."""
        ...


class Link(Protocol):
    """A connection to a broker that restores itself."""

    def start(self, user: LinkUser, timeout_s: float) -> None:
        """Connect; on return the broker has acknowledged what `user.on_up` did. Raises as `Bus.connect`."""
        ...

    def stop(self, farewell: Packet | None) -> None:
        """Publish `farewell` if connected, then disconnect for good."""
        ...

    def send(self, packet: Packet) -> None:
        """Publish. Without a session a retained packet is forgotten (`on_up` repeats it), others wait for one."""
        ...

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe now, if there is a session; `LinkUser.on_subscribed` follows."""
        ...

    def unsubscribe(self, topic_filter: str) -> None:
        """Undo `subscribe`, if there is a session."""
        ...


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether an MQTT filter covers a topic (MQTT 5, section 4.7): `+` is one level, `#` the rest."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for position, part in enumerate(wanted):
        if part == "#":
            return True
        if position >= len(levels) or part not in ("+", levels[position]):
            return False
    return len(wanted) == len(levels)
