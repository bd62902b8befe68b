"""Queues of several senders that share one reader: nobody's arrivals wait for all of somebody else's. Pure, no lock.

Each sender has a lane, first in, first out. The reader is given one arrival of each lane in turn. What has to go is the
sender's own when it holds more than its share, and else the fullest lane's: filling the queue costs who does it.
"""

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class Kind(Enum):
    """What becomes of arrivals when there are too many."""

    EVENT = "event"
    """The oldest goes."""
    REQUEST = "request"
    """The newest is refused."""
    STATE = "state"
    """A newer value of a topic takes the older one's place; a topic too many is refused."""


@dataclass(frozen=True)
class Limit:
    """How many of a kind may wait, of one sender and of all."""

    each: int
    total: int


@dataclass(frozen=True)
class Entry(Generic[T]):
    """An arrival. `topic` names a state's topic."""

    kind: Kind
    item: T
    topic: str = ""


@dataclass
class _Lane(Generic[T]):
    entries: OrderedDict[int, Entry[T]] = field(default_factory=OrderedDict)
    order: dict[Kind, deque[int]] = field(default_factory=lambda: {kind: deque() for kind in Kind})
    newest: dict[str, int] = field(default_factory=dict)
    """Key of the newest waiting value of a topic."""


class FairQueue(Generic[T]):
    """See the module. An arrival that is the n-th of its lane is given out after at most n times as many as lanes."""

    def __init__(self, limits: dict[Kind, Limit], coalesce_from: int) -> None:
        """Values of one topic queue until a sender has `coalesce_from` states waiting; then only the newest is kept."""
        self._limits = limits
        self._coalesce_from = coalesce_from
        self._lanes: OrderedDict[str, _Lane[T]] = OrderedDict()
        self._past: deque[Entry[T]] = deque()
        """What came before the last `put_last`, in its final order, and that itself."""
        self._totals: Counter[Kind] = Counter()
        self._keys = count()

    def put(self, sender: str, entry: Entry[T]) -> tuple[str, Entry[T]] | None:
        """Queue; return what had to go for it, and whose it was: this very entry if it was refused."""
        lane = self._lanes.get(sender) or _Lane()
        kind, waits, limit = entry.kind, len(lane.order[entry.kind]), self._limits[entry.kind]
        full = waits >= limit.each or self._totals[kind] >= limit.total
        if kind is Kind.STATE and entry.topic in lane.newest and (full or waits >= self._coalesce_from):
            lane.entries[lane.newest[entry.topic]] = entry
            return None
        if not full:
            self._append(sender, lane, entry)
            return None
        loser = sender if waits >= limit.each else self._fullest(kind, sender)
        if loser == sender and (kind is not Kind.EVENT or waits == 0):
            return sender, entry
        gone = self._evict(loser, kind)
        self._append(sender, lane, entry)
        return None if gone is None else (loser, gone)

    def put_last(self, item: T) -> None:
        """Queue behind everything that waits, whoever sent it, and before everything that comes."""
        while self._lanes:
            self._past.append(self._turn())
        self._past.append(Entry(Kind.EVENT, item))
        self._totals = Counter(entry.kind for entry in self._past)

    def take(self) -> T | None:
        """Return the oldest arrival of the sender whose turn it is."""
        if self._past:
            entry = self._past.popleft()
            self._totals[entry.kind] -= 1
            return entry.item
        return self._turn().item if self._lanes else None

    def waiting(self, kind: Kind) -> int:
        """Return how many of a kind wait."""
        return self._totals[kind]

    def __len__(self) -> int:
        return sum(self._totals.values())

    def _turn(self) -> Entry[T]:
        sender, lane = next(iter(self._lanes.items()))
        self._lanes.move_to_end(sender)
        return self._remove(sender, lane, next(iter(lane.entries)))

    def _fullest(self, kind: Kind, sender: str) -> str:
        """Return who has most waiting; `sender` if nobody has more."""
        waits = {name: len(lane.order[kind]) for name, lane in self._lanes.items()}
        most = max(waits, key=lambda name: waits[name], default=sender)
        return most if waits.get(most, 0) > waits.get(sender, 0) else sender

    def _evict(self, sender: str, kind: Kind) -> Entry[T] | None:
        """Make room; return what is lost: nothing if an older value of the same topic can go instead."""
        lane = self._lanes[sender]
        order = lane.order[kind]
        if kind is Kind.EVENT:
            return self._remove(sender, lane, order[0])
        gone = self._remove(sender, lane, order[-1])
        if kind is not Kind.STATE:
            return gone
        older = next((key for key in reversed(order) if lane.entries[key].topic == gone.topic), None)
        if older is None:
            return gone
        lane.entries[older] = gone
        lane.newest[gone.topic] = older
        return None

    def _append(self, sender: str, lane: _Lane[T], entry: Entry[T]) -> None:
        key = next(self._keys)
        lane.entries[key] = entry
        lane.order[entry.kind].append(key)
        if entry.kind is Kind.STATE:
            lane.newest[entry.topic] = key
        self._totals[entry.kind] += 1
        self._lanes.setdefault(sender, lane)

    def _remove(self, sender: str, lane: _Lane[T], key: int) -> Entry[T]:
        entry = lane.entries.pop(key)
        order = lane.order[entry.kind]
        if order[0] == key:
            order.popleft()
        else:
            order.pop()
        if lane.newest.get(entry.topic) == key and entry.kind is Kind.STATE:
            del lane.newest[entry.topic]
        self._totals[entry.kind] -= 1
        if not lane.entries:
            del self._lanes[sender]
        return entry
