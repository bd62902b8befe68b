"""One suite, two worlds: a real Mosquitto, and the broker inside the process. A test sees what both can do."""

import contextlib
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from kit.memory_bus import MemoryBroker, memory_bus, say_online
from kit.slow_line import SlowLine
from ramshare.broker.rights import Rights
from ramshare.bus.api import Arrival, StateArrived
from ramshare.bus.core import CoreBus
from ramshare.bus.mqtt import MqttBus
from ramshare.bus.wire import Packet
from ramshare.linux.run import SystemRunner
from ramshare.settings import BrokerSettings
from ramshare_lab.cluster.broker import RunningBroker, start_broker

CLIENTS = (
    "manager",
    "lender.hosta",
    "lender.hostc",
    "borrower.hostb",
    "guest.web1",
    "cli.alice",
    "cli.bob",
    "dashboard",
    "lender.loud",
)
MARKER = "ramshare/v1/state/manager/lease/marker"
_ALL = ("ramshare/v1/state/#", "ramshare/v1/event/#")
HEARING = Rights(read=_ALL, subscribe_within=_ALL)
"""What every account on the hosts' broker may do here besides: hear everything, for tests of the bus, whoever it is."""
A = TypeVar("A", bound=Arrival)


class World(ABC):
    """A broker with the accounts of `CLIENTS`, and what can happen to it and its clients."""

    patience_s: float

    def __init__(self) -> None:
        self.buses: list[CoreBus] = []

    @abstractmethod
    def bus(self, client: str) -> CoreBus:
        """Connect as `client`."""

    @abstractmethod
    def slow_bus(self, client: str) -> CoreBus:
        """Connect as `client` over a line on which each packet takes its time, where there are lines."""

    @abstractmethod
    def publish(self, client: str, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish raw bytes with the client's own account, and wait until the broker has taken or refused it."""

    @abstractmethod
    def cut(self, bus: CoreBus) -> None:
        """Break the connection; it does not come back before `mend`."""

    @abstractmethod
    def mend(self, bus: CoreBus) -> None:
        """Let the client connect again and wait until it has."""

    @abstractmethod
    def back(self, bus: CoreBus) -> None:
        """Wait until a client that lost its broker is connected to it again, and the broker has taken all it said."""

    @abstractmethod
    def crash(self, bus: CoreBus) -> None:
        """The client's process dies."""

    @abstractmethod
    def restart(self) -> None:
        """The broker is killed and comes back empty."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Let time pass."""

    @abstractmethod
    def settle(self) -> None:
        """Wait until the broker has acknowledged every publication and subscription."""

    @abstractmethod
    def close(self) -> None:
        """End everything."""

    def until(self, bus: CoreBus, kind: type[A], wanted: Callable[[A], bool] = lambda _arrival: True) -> list[Arrival]:
        """Return what arrives up to and including the first arrival of `kind` that is wanted."""
        seen: list[Arrival] = []
        deadline = time.monotonic() + self.patience_s
        while (remaining := deadline - time.monotonic()) > 0 or self.patience_s == 0:
            arrival = bus.next(max(0.0, remaining))
            if arrival is None:
                break
            seen.append(arrival)
            if isinstance(arrival, kind) and wanted(arrival):
                return seen
        raise AssertionError(f"{bus.client} did not see the {kind.__name__} it waited for, but {seen}")

    def first(self, bus: CoreBus, kind: type[A], wanted: Callable[[A], bool] = lambda _arrival: True) -> A:
        """Return the first arrival of `kind` that is wanted."""
        last = self.until(bus, kind, wanted)[-1]
        assert isinstance(last, kind)
        return last

    def everything(self, bus: CoreBus) -> list[Arrival]:
        """Return all that is on its way now: up to a marker that is published last."""
        self.settle()
        path = MARKER.partition("manager/")[2]
        bus.watch_state("manager", path)
        self.settle()
        self.publish("manager", MARKER, b"", retain=True)
        seen = self.until(bus, StateArrived, lambda arrived: arrived.path == path)[:-1]
        bus.unwatch_state("manager", path)
        while (arrival := bus.next(0.0)) is not None:  # the senders are heard in turn: what came before it may follow
            if not (isinstance(arrival, StateArrived) and arrival.path == path):
                seen.append(arrival)
        return seen


class MemoryWorld(World):
    """The broker inside the process; time is virtual."""

    patience_s = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.broker = MemoryBroker(CLIENTS, everybody=HEARING)

    def bus(self, client: str) -> CoreBus:
        return memory_bus(self.broker, client)

    def slow_bus(self, client: str) -> CoreBus:
        return self.bus(client)

    def publish(self, client: str, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.broker.publish(client, topic, payload, retain=retain)

    def cut(self, bus: CoreBus) -> None:
        self.broker.cut(bus.client)

    def mend(self, bus: CoreBus) -> None:
        self.broker.reconnect(bus.client)

    def back(self, bus: CoreBus) -> None:
        assert self.broker.is_up(bus.client)

    def crash(self, bus: CoreBus) -> None:
        self.broker.crash(bus.client)

    def restart(self) -> None:
        self.broker.restart(keep=())

    def wait(self, seconds: float) -> None:
        self.broker.advance(seconds)

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass


class MosquittoWorld(World):
    """A real Mosquitto on loopback with the repository's configuration; a gate keeps a client that was cut away."""

    patience_s = 10.0

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.broker: RunningBroker = start_broker(SystemRunner(), directory, CLIENTS, everybody=HEARING)
        self._raw: dict[str, Client] = {}
        self._lines: list[SlowLine] = []
        self._gates: dict[MqttBus, threading.Event] = {}

    def slow_bus(self, client: str) -> MqttBus:
        line = SlowLine(self.broker.host, self.broker.settings(client).port)
        self._lines.append(line)
        return self._connected(self.broker.settings(client).model_copy(update={"broker_port": line.port}), client)

    def bus(self, client: str) -> MqttBus:
        return self._connected(self.broker.settings(client), client)

    def _connected(self, settings: BrokerSettings, client: str) -> MqttBus:
        bus = MqttBus(settings, client)
        gate = self._gates[bus] = threading.Event()
        gate.set()
        serve = bus._mqtt._serve

        def gated() -> None:
            gate.wait()
            serve()

        setattr(bus._mqtt, "_serve", gated)  # noqa: B010 (a method, which mypy would not let me assign)
        bus.connect()
        say_online(bus)
        self.buses.append(bus)
        return bus

    def settle(self) -> None:
        for bus in self._gates:
            assert bus._mqtt.outbox.wait_until_empty(5)

    def raw(self, client: str) -> Client:
        """Return a plain paho client with the account of `client`."""
        if client not in self._raw:
            raw = raw_client(self.broker.settings(client))
            raw.loop_start()
            self._raw[client] = raw
        return self._raw[client]

    def publish(self, client: str, topic: str, payload: bytes, *, retain: bool = False) -> None:
        own = [bus for bus in self.buses if bus.client == client]
        if own:  # a second connection with the same name would push the first one out
            with own[-1].lock:
                own[-1]._link.send(Packet(topic, payload, retain=retain))
            self.settle()
            return
        self.raw(client).publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def cut(self, bus: CoreBus) -> None:
        assert isinstance(bus, MqttBus)
        self._gates[bus].clear()
        cut_connection(bus)
        eventually(lambda: bus._mqtt._session is None)

    def mend(self, bus: CoreBus) -> None:
        assert isinstance(bus, MqttBus)
        self._gates[bus].set()
        eventually(lambda: bus._mqtt._session is not None)

    def back(self, bus: CoreBus) -> None:
        assert isinstance(bus, MqttBus)
        eventually(lambda: bus._mqtt._session is not None, 30.0)
        assert bus._mqtt.outbox.wait_until_empty(5)

    def crash(self, bus: CoreBus) -> None:
        assert isinstance(bus, MqttBus)
        vanish(bus)
        self.buses.remove(bus)
        del self._gates[bus]

    def restart(self) -> None:
        self.broker.kill()
        (self.broker.directory / "mosquitto.db").unlink(missing_ok=True)
        self.broker.start()

    def wait(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    def close(self) -> None:
        for gate in self._gates.values():
            gate.set()
        for bus in self.buses:
            bus.close()
        for raw in self._raw.values():
            raw.disconnect()
            raw.loop_stop()
        for line in self._lines:
            line.close()
        self.broker.close()


def raw_client(settings: BrokerSettings, client_id: str = "raw") -> Client:
    """Return a plain paho client, connected with an account's certificate."""
    raw = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv5)
    raw.tls_set(str(settings.ca_file), str(settings.cert_file), str(settings.key_file))
    raw.connect(settings.broker_host, settings.port)
    return raw


def cut_connection(bus: MqttBus) -> None:
    """Lose the connection as a cut network would."""
    session = bus._mqtt._session
    sock = session._paho.socket() if session is not None else None
    if sock is not None:
        with contextlib.suppress(OSError, AttributeError):
            sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]


def vanish(bus: MqttBus) -> None:
    """End without a word, as a crash of the process would."""
    bus._closing.set()
    bus._mqtt._stop.set()
    cut_connection(bus)


def eventually(true: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.01)
