"""How large a cluster both brokers are made for, and the memory, queues and descriptors that follow. Pure.

Bytes were measured on Mosquitto 2.0.11 with the whole set (TLS 1.3, plugin): its own heap (`$SYS/broker/heap/current`,
which is what `memory_limit` bounds) and its resident memory, before and after 50,000 retained topics of 400 bytes, 500
connections, 7,000 subscriptions, 2,000 accounts. Counts are of what agents publish and ask for (`topics.py`).
"""

import re
from dataclasses import dataclass

from ramshare.errors import ExitCode, RamshareError

MIB = 1 << 20
TOPIC_BYTES = 1_600
"""A retained topic with what agents say there: 1,475 measured."""
SUBSCRIPTION_BYTES = 1_100
"""711 to 960 measured, by the filter's length."""
HOST_ACCOUNT_BYTES, GUEST_ACCOUNT_BYTES = 6_500, 3_500
"""An account and its rules: a host's roles have 6,100 bytes measured, a guest's about half as many rules."""
CONNECTION_BYTES = 1_000
"""In the heap that is bounded; 900 measured."""
TLS_BYTES = 16_000
"""Beside that heap, for each connection: 14,950 measured."""
QUEUED_BYTES = 200
"""A message in a subscriber's queue; what it says is kept once for all."""

HOST_TOPICS = 14
"""A lender's status, memory, offer and decisions; a borrower's status, key and decisions; the manager's record of the
host; and six of what is lent or borrowed: two exports or leases, their records, volumes."""
GUEST_TOPICS = 2
HOST_SUBSCRIPTIONS = 12
"""Of both agents: requests, replies, broadcasts, what the broker dropped; keys, the host's borrower, its own state."""
GUEST_SUBSCRIPTIONS = 3
HOST_CONNECTIONS = 2
OTHER_CONNECTIONS = 64
"""Managers, people, dashboards, the bridge, programs that look."""
READERS = 5
"""Who may have a whole snapshot waiting at a time: two managers, and commands of three people."""
SPARE = 1.5
"""For bursts, and for what the allocator cannot use."""

LEAST_MEMORY_BYTES = {"hosts": 256 * MIB, "guests": 128 * MIB}
"""For any smaller cluster: 256 MiB hold about 160,000 topics."""
LEAST_QUEUED_MESSAGES = 100_000
LEAST_DESCRIPTORS = 16_384
"""A connection that says nothing holds one for 90 s: there must be more than such connections."""
MOST_HOSTS, MOST_GUESTS = 50_000, 1_000_000
"""Beyond that one Mosquitto, which works on one core, is not what to use."""


class SizeError(RamshareError):
    """No size of a cluster."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class Size:
    """Hosts and guests that the brokers are made for."""

    hosts: int = 0
    guests: int = 0

    @classmethod
    def parse(cls, text: str) -> "Size":
        """Return the size that is written as `HOSTS` or `HOSTS:GUESTS`. Raises `SizeError`."""
        found = re.fullmatch(r"([0-9]{1,9})(?::([0-9]{1,9}))?", text.strip())
        if found is None:
            raise SizeError(f"{text[:80]!r} is no size", "write HOSTS or HOSTS:GUESTS, for example 1000:10000")
        size = cls(int(found[1]), int(found[2] or 0))
        if not 0 < size.hosts <= MOST_HOSTS or size.guests > MOST_GUESTS:
            raise SizeError(
                f"no broker can be made for {size.hosts:,} hosts and {size.guests:,} guests",
                f"one Mosquitto serves 1 to {MOST_HOSTS:,} hosts and at most {MOST_GUESTS:,} guests",
            )
        return size

    def at_least(self, hosts: int, guests: int) -> "Size":
        """Return a size that so many hosts and guests fit into as well."""
        return Size(max(self.hosts, hosts), max(self.guests, guests))

    @property
    def addresses(self) -> int:
        """From how many addresses connections come."""
        return max(65_535, self.hosts + self.guests + OTHER_CONNECTIONS)

    @property
    def hosts_broker(self) -> "Bounds":
        """The bounds of the hosts' broker. Each guest's report has one subscriber there: the lender of its host."""
        connections = self.hosts * HOST_CONNECTIONS + OTHER_CONNECTIONS
        return _bounds(
            "hosts",
            connections,
            topics=self.hosts * HOST_TOPICS + self.guests * GUEST_TOPICS,
            subscriptions=self.hosts * HOST_SUBSCRIPTIONS + self.guests,
            accounts_bytes=(self.hosts * HOST_CONNECTIONS + OTHER_CONNECTIONS) * HOST_ACCOUNT_BYTES,
        )

    @property
    def guests_broker(self) -> "Bounds":
        """The bounds of the guests' broker. Nobody reads there but the bridge."""
        return _bounds(
            "guests",
            self.guests + OTHER_CONNECTIONS,
            topics=self.guests * GUEST_TOPICS,
            subscriptions=self.guests * GUEST_SUBSCRIPTIONS,
            accounts_bytes=self.guests * GUEST_ACCOUNT_BYTES,
            readers=1,
        )


@dataclass(frozen=True)
class Bounds:
    """What one broker may use; see `conf.py` and the unit's drop-in."""

    connections: int
    """That it is made for."""
    topics: int
    memory_bytes: int
    """`memory_limit`: of its own heap."""
    queued_messages: int
    """`max_queued_messages`: a whole snapshot goes through a subscriber's queue."""

    @property
    def queued_bytes(self) -> int:
        """`max_queued_bytes` of one subscriber."""
        return self.memory_bytes // 4

    @property
    def descriptors(self) -> int:
        """`LimitNOFILE`: for twice its connections, so that silent ones leave room, and its files."""
        return max(LEAST_DESCRIPTORS, 2 * self.connections + 1_024)

    @property
    def resident_bytes(self) -> int:
        """`MemoryMax` of its unit: its heap, TLS of twice its connections, its program and reading its rules."""
        return max(1 << 30, self.memory_bytes + 2 * self.connections * TLS_BYTES + 128 * MIB)

    @property
    def is_default(self) -> bool:
        """Whether the shipped unit is enough."""
        return self.descriptors == LEAST_DESCRIPTORS and self.resident_bytes == 1 << 30


def _bounds(
    which: str, connections: int, *, topics: int, subscriptions: int, accounts_bytes: int, readers: int = READERS
) -> Bounds:
    queued = max(LEAST_QUEUED_MESSAGES, _rounded_up(topics * 1.25, 10_000))
    heap_bytes = (
        topics * TOPIC_BYTES
        + subscriptions * SUBSCRIPTION_BYTES
        + connections * CONNECTION_BYTES
        + accounts_bytes
        + readers * topics * QUEUED_BYTES
    )
    memory_bytes = max(LEAST_MEMORY_BYTES[which], _rounded_up(heap_bytes * SPARE, 16 * MIB))
    return Bounds(connections, topics, memory_bytes, queued)


def _rounded_up(value: float, step: int) -> int:
    return -int(-value // step) * step
