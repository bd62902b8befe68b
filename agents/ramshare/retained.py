"""What everybody's retained topics say and when it was said: one cache, for the manager, `status` and the lab. Pure.

Here alone stands which of two messages is the newer one, when somebody has been silent for too long to be believed, and
what a reader that was cut off still knows. Times are seconds of the reader's own clock, so clocks need not agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from ramshare.bus.api import StateArrived
from ramshare.messages.base import Message
from ramshare.messages.state import Status
from ramshare.topics import name, role

M = TypeVar("M", bound=Message)

STALE_AFTER_S = 150.0
"""Two and a half heartbeats of 60 s: who missed two is not asked for memory, and what it said may be true no more."""


@dataclass(frozen=True)
class Fact:
    """One retained topic: who says it, on which path, and what."""

    client: str
    path: str
    message: Message

    @property
    def host(self) -> str:
        """Name part of the client: the host of a lender or borrower."""
        return name(self.client)


@dataclass
class ClientState:
    """One client as it describes itself."""

    client: str
    heard_s: float = float("-inf")
    """When it last gave a sign of life; a last will is none."""
    fresh: bool = False
    """It spoke since this reader connected: what is known of it is not only the broker's memory."""
    messages: dict[str, Message] = field(default_factory=dict)
    """By state path."""
    doubted: set[str] = field(default_factory=set)
    """Paths of which nothing has arrived since this reader connected again."""

    @property
    def online(self) -> bool:
        """Whether its status (its last will, if it died) says that it is there."""
        status = self.messages.get("status")
        return isinstance(status, Status) and status.status == "online"

    def silent_s(self, now_s: float) -> float:
        """Return the seconds since its last sign of life; infinite if there was none."""
        return max(0.0, now_s - self.heard_s)

    def stale(self, now_s: float) -> bool:
        """Whether it missed its heartbeats: what it said may no longer be true."""
        return self.silent_s(now_s) > STALE_AFTER_S

    def of_kind(self, kind: type[M]) -> Iterator[M]:
        """Yield its messages of one kind."""
        return (message for message in self.messages.values() if isinstance(message, kind))


class Retained:
    """Every client's newest words. `take` folds one arrival in; `doubt` and `settle` frame a new connection."""

    def __init__(self) -> None:
        self.by_client: dict[str, ClientState] = {}
        self.settled = False
        """Whether this is all that the broker has; not so after a new connection, until `settle`."""

    def take(self, arrived: StateArrived, said_s: float) -> None:
        """Fold in one topic that was said at `said_s` of the reader's clock.

        A replay that is older than what the same run said is ignored. A last will is as old as its connection and yet
        the newest word, so age counts among replays only.
        """
        client = self.by_client.setdefault(arrived.client, ClientState(arrived.client))
        message = arrived.message
        if not (isinstance(message, Status) and message.status == "offline"):
            client.heard_s = max(client.heard_s, said_s)
            client.fresh |= not arrived.retained
        client.doubted.discard(arrived.path)
        if message is None:
            client.messages.pop(arrived.path, None)
        elif not (arrived.retained and _older(message, client.messages.get(arrived.path))):
            client.messages[arrived.path] = message
        self._forget_if_empty(client)

    def doubt(self) -> None:
        """Note a new connection: everything may have changed meanwhile, and what was cleared is not told again."""
        self.settled = False
        for client in self.by_client.values():
            client.fresh = False
            client.doubted = set(client.messages)

    def expect_more(self) -> None:
        """Note that more is being asked for; what is known stays known."""
        self.settled = False

    def settle(self) -> None:
        """Forget what was neither replayed nor said again since `doubt`: a reader that starts now would not know it."""
        self.settled = True
        for client in list(self.by_client.values()):
            for path in client.doubted:
                del client.messages[path]
            client.doubted.clear()
            self._forget_if_empty(client)

    def clients(self, of_role: str = "") -> list[str]:
        """Return everybody who says something, or those of one role, by name."""
        return sorted(client for client in self.by_client if not of_role or role(client) == of_role)

    def facts(self) -> Iterator[Fact]:
        """Yield every topic, ordered by client and path."""
        for client in self.clients():
            for path, message in sorted(self.by_client[client].messages.items()):
                yield Fact(client, path, message)

    def of_kind(self, kind: type[M]) -> Iterator[tuple[Fact, M]]:
        """Yield every fact whose message is of one kind, ordered by client and path."""
        for fact in self.facts():
            if isinstance(fact.message, kind):
                yield fact, fact.message

    def get(self, client: str, path: str, kind: type[M]) -> M | None:
        """Return one topic's message, if it is there and of that kind."""
        known = self.by_client.get(client)
        found = known.messages.get(path) if known else None
        return found if isinstance(found, kind) else None

    def online(self, client: str) -> bool:
        """Whether a client is there, by its own status."""
        known = self.by_client.get(client)
        return known is not None and known.online

    def _forget_if_empty(self, client: ClientState) -> None:
        if not client.messages:
            del self.by_client[client.client]


def _older(new: Message, old: Message | None) -> bool:
    return old is not None and new.instance == old.instance and new.seq < old.seq
