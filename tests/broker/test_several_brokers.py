"""Two real Mosquittos that know nothing of each other: the first dies, all go on at the second, and return."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.broker_worlds import eventually
from kit.world import MIB, FakeLender
from ramshare.agent import REAL, Agent
from ramshare.bus.api import BrokerUnreachableError
from ramshare.bus.mqtt import MqttBus
from ramshare.errors import RamshareError
from ramshare.linux.run import SystemRunner
from ramshare.manager.agent import Manager
from ramshare.messages.replies import BorrowReply
from ramshare.messages.requests import BorrowMemory
from ramshare.messages.state import Mode, Status
from ramshare.settings import BrokerSettings
from ramshare_lab.cluster.broker import free_port, listening_ports

pytestmark = pytest.mark.broker

RETURN_S = 1.0
PATIENCE_S = 40.0


class Broker:
    """A Mosquitto with nothing stored, in plain text."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._conf = directory / f"{self.port}.conf"
        self._conf.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
        self.start()

    def start(self) -> None:
        self._process: subprocess.Popen[str] = SystemRunner().spawn(["mosquitto", "-c", str(self._conf)])
        eventually(lambda: self.port in listening_ports(self._process.pid), PATIENCE_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[tuple[Broker, Broker]]:
    made = Broker(tmp_path), Broker(tmp_path)
    yield made
    for broker in made:
        broker.kill()


@pytest.fixture
def buses(brokers: tuple[Broker, Broker]) -> Iterator[Callable[[str], MqttBus]]:
    hosts = tuple(f"127.0.0.1:{broker.port}" for broker in brokers)
    settings = BrokerSettings(broker_hosts=hosts, broker_insecure=True)
    made: list[MqttBus] = []

    def connected(client: str) -> MqttBus:
        bus = MqttBus(settings, client, return_s=RETURN_S)
        bus.connect()
        made.append(bus)
        return bus

    yield connected
    for bus in made:
        bus.close()


def at(bus: MqttBus) -> int | None:
    """Return the port of the broker that a client is at."""
    session = bus._mqtt._session
    return session._settings.port if session is not None else None


def served(agent: Agent) -> Agent:
    threading.Thread(target=agent.run, daemon=True).start()
    return agent


def test_the_first_broker_dies_and_all_go_on_at_the_second_and_meet_at_the_first_again(
    brokers: tuple[Broker, Broker], buses: Callable[[str], MqttBus]
) -> None:
    first, second = brokers
    clients = [buses(client) for client in ("lender.x", "manager", "borrower.b")]
    lender_bus, manager_bus, borrower = clients
    agents = [served(FakeLender(lender_bus, REAL, 400 * MIB)), served(Manager(manager_bus))]
    borrower.set_state("status", Status(status="online"))

    def borrow() -> None:
        need = BorrowMemory(volume="vg0/swap", size_bytes=16 * MIB, mode=Mode.MIRROR, initiator="iqn.2026-11.test:b")

        def granted() -> bool:
            try:
                reply = borrower.ask("manager", need, 2.0).result(3.0)
            except RamshareError:
                return False
            return isinstance(reply, BorrowReply) and reply.ok

        eventually(granted, PATIENCE_S)

    borrow()
    assert {at(bus) for bus in clients} == {first.port}
    first.kill()
    eventually(lambda: {at(bus) for bus in clients} == {second.port}, PATIENCE_S)
    borrow()
    first.start()
    eventually(lambda: {at(bus) for bus in clients} == {first.port}, PATIENCE_S)
    borrow()
    for agent in agents:
        agent.stop()


def test_an_agent_that_starts_while_the_first_broker_is_away_begins_at_the_second(
    brokers: tuple[Broker, Broker], buses: Callable[[str], MqttBus]
) -> None:
    brokers[0].kill()
    assert at(buses("lender.x")) == brokers[1].port


def test_that_no_broker_of_several_is_there_names_them_all(
    brokers: tuple[Broker, Broker], buses: Callable[[str], MqttBus]
) -> None:
    for broker in brokers:
        broker.kill()
    hosts = tuple(f"127.0.0.1:{broker.port}" for broker in brokers)
    bus = MqttBus(BrokerSettings(broker_hosts=hosts, broker_insecure=True), "lender.x")
    with pytest.raises(BrokerUnreachableError) as caught:
        bus.connect(1.0)
    assert str(brokers[0].port) in str(caught.value)
