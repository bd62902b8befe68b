"""A bus for tests: the bus's real logic on a broker inside the process.

`broker = MemoryBroker(); lender = memory_bus(broker, "lender.hosta")`, then `lender.next(0)` or `lender.arrivals()`;
`broker.advance(5)` lets time pass.
"""

from kit.memory_broker import MemoryBroker
from ramshare import __version__
from ramshare.bus.api import Arrival
from ramshare.bus.core import CoreBus
from ramshare.bus.publisher import ROLES_WITHOUT_STATUS
from ramshare.bus.wire import LinkUser, Packet
from ramshare.messages.state import Status
from ramshare.topics import role

__all__ = ["MemoryBroker", "MemoryBus", "memory_bus", "say_online"]


class _MemoryLink:
    """Implements `wire.Link` on a `MemoryBroker`; what is sent while cut waits, retained values aside."""

    def __init__(self, broker: MemoryBroker, client: str) -> None:
        self._broker = broker
        self._client = client
        self._waiting: list[tuple[Packet, float]] = []

    def start(self, user: LinkUser, timeout_s: float) -> None:
        self._broker.connect(self._client, user)

    def stop(self, farewell: Packet | None) -> None:
        if farewell is not None:
            self.send(farewell)
        self._broker.disconnect(self._client)

    def send(self, packet: Packet) -> None:
        if self._broker.is_up(self._client):
            self._broker.send(self._client, packet)
        elif not packet.retain:
            self._waiting.append((packet, self._broker.until(packet)))

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for packet, until in waiting:
            if until > self._broker.now_s:
                self._broker.send(self._client, packet)

    def subscribe(self, topic_filter: str, qos: int) -> None:
        if self._broker.is_up(self._client):
            self._broker.subscribe(self._client, topic_filter, qos)

    def unsubscribe(self, topic_filter: str) -> None:
        self._broker.unsubscribe(self._client, topic_filter)


class MemoryBus(CoreBus):
    """A client on a `MemoryBroker`; implements `api.Bus` with the same code as `MqttBus`."""

    def __init__(self, broker: MemoryBroker, client: str) -> None:
        self.broker = broker
        self._memory = _MemoryLink(broker, client)
        super().__init__(client, self._memory, root=broker.root, clock=lambda: broker.now_s)

    def on_up(self) -> None:
        """See `CoreBus`; then what waited for a connection goes out."""
        super().on_up()
        self._memory.flush()

    def arrivals(self) -> list[Arrival]:
        """Take everything that is queued, without waiting."""
        taken = []
        while (arrival := self.next(0.0)) is not None:
            taken.append(arrival)
        return taken


def memory_bus(broker: MemoryBroker, client: str) -> MemoryBus:
    """Return a bus that is connected to `broker` as `client` and says so."""
    bus = MemoryBus(broker, client)
    bus.connect()
    say_online(bus)
    return bus


def say_online(bus: CoreBus) -> None:
    """Say `online`, as an agent does that serves; people have no status."""
    if role(bus.client) not in ROLES_WITHOUT_STATUS:
        bus.set_state("status", Status(status="online", version=__version__))
