"""Publications that wait for the broker, within a bound; what has to go goes in a stated order. Pure, no lock.

Under load a state takes the place of the older value of its topic, so states are as many as the topics that the client
itself has. Everything else is bounded in number, and the least worth goes first, the oldest of it.
"""

from collections import OrderedDict, deque
from itertools import count
from typing import Generic, TypeVar

from ramshare.bus.wire import Packet, Worth

T = TypeVar("T")

MAX_WAITING = 1_000
"""Publications other than state; at most 64 MB of the largest that there may be, 1 MB as they are."""
COALESCE_FROM = 64
"""With so many states waiting, a newer value of a topic replaces the older one; fewer go out one by one, in order."""


class Backlog(Generic[T]):
    """First in, first out. `T` is what the owner keeps with each packet."""

    def __init__(self, max_waiting: int = MAX_WAITING, coalesce_from: int = COALESCE_FROM) -> None:
        self._max_waiting = max_waiting
        self._coalesce_from = coalesce_from
        self._entries: OrderedDict[int, tuple[Packet, T]] = OrderedDict()
        self._by_worth: dict[Worth, deque[int]] = {worth: deque() for worth in Worth}
        self._newest: dict[str, int] = {}
        self._keys = count()

    def put(self, packet: Packet, kept: T) -> T | None:
        """Have a packet wait; return what had to go for it."""
        states = self._by_worth[Worth.STATE]
        if packet.worth is Worth.STATE and len(states) >= self._coalesce_from and packet.topic in self._newest:
            self._entries[self._newest[packet.topic]] = (packet, kept)
            return None
        key = next(self._keys)
        self._entries[key] = (packet, kept)
        self._by_worth[packet.worth].append(key)
        if packet.worth is Worth.STATE:
            self._newest[packet.topic] = key
        elif len(self._entries) - len(states) > self._max_waiting:
            least = next(worth for worth in Worth if self._by_worth[worth])
            return self._entries.pop(self._by_worth[least].popleft())[1]
        return None

    def take(self) -> T | None:
        """Return what has waited longest."""
        if not self._entries:
            return None
        key, (packet, kept) = self._entries.popitem(last=False)
        self._by_worth[packet.worth].popleft()
        if packet.worth is Worth.STATE and self._newest[packet.topic] == key:
            del self._newest[packet.topic]
        return kept

    def __len__(self) -> int:
        return len(self._entries)
