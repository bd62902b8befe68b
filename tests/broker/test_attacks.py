"""What one account, or somebody with none, can do to both brokers and to who uses them. Each was possible once."""

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from paho.mqtt.client import Client

from kit.broker_worlds import CLIENTS, eventually, raw_client, vanish
from kit.sample_messages import memory
from ramshare.broker import guard, keeper
from ramshare.broker.size import LEAST_MEMORY_BYTES
from ramshare.bus.admin import clear_state, until_stored
from ramshare.bus.api import NotAuthorisedError, StateArrived
from ramshare.bus.mqtt import MqttBus
from ramshare.cli.options import utc_now
from ramshare.linux.run import SystemRunner
from ramshare.messages.state import Status
from ramshare.settings import BrokerSettings
from ramshare.topics import StateTopic
from ramshare_lab.cluster.broker import BrokerStartError, RunningBroker, start_broker

pytestmark = pytest.mark.broker

SILENT = 1_100
_SILENT = """
import socket, sys
host, count, *ports = sys.argv[1:]
held = [socket.create_connection((host, int(port)), 20) for port in ports for _ in range(int(count))]
print("connected", flush=True)
sys.stdin.read()
"""
GROWS_BYTES = 24 << 20


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[RunningBroker]:
    with start_broker(SystemRunner(), tmp_path / "broker", CLIENTS) as running:
        yield running


class Machine:
    """The brokers' machine: what `ramshare broker` does there with systemctl."""

    def __init__(self, brokers: RunningBroker) -> None:
        self._brokers = {"hosts": brokers, "guests": brokers.guests}
        self.guard_listens = threading.Event()

    def restart(self, which: str) -> str:
        broker = self._brokers[which]
        assert broker is not None
        broker.stop()
        try:
            broker.start()
        except BrokerStartError:  # a database that does not fit into its memory: the unit throws it away
            (broker.directory / "mosquitto.db").unlink()
            broker.start()
        return ""

    def until_stored(self, settings: BrokerSettings, note: Callable[[str, int], str]) -> str:
        self.guard_listens.set()
        return until_stored(settings, note)

    def clear_state(self, settings: BrokerSettings, client: str) -> list[str]:
        return clear_state(settings, client)


@contextlib.contextmanager
def attacker(broker: RunningBroker, account: str) -> Iterator[Client]:
    client = raw_client(broker.settings(account))
    client.loop_start()
    yield client
    client.disconnect()
    client.loop_stop()


def memory_of(broker: RunningBroker) -> int:
    assert broker.process is not None
    return psutil.Process(broker.process.pid).memory_info().rss


def alive(*brokers: RunningBroker | None) -> bool:
    return all(
        broker is not None and broker.process is not None and broker.process.poll() is None for broker in brokers
    )


def test_thousands_of_large_retained_topics_of_one_guest_are_refused(brokers: RunningBroker) -> None:
    assert brokers.guests is not None
    before = [memory_of(brokers), memory_of(brokers.guests)]
    payload = b"x" * 60_000
    with attacker(brokers, "guest.web1") as guest:
        for number in range(4_450):
            sent = guest.publish(f"ramshare/v1/state/guest.web1/n{number}", payload, qos=1, retain=True)
            if number % 100 == 99:
                sent.wait_for_publish(30)
        last = guest.publish("ramshare/v1/state/guest.web1/memory", payload, qos=1, retain=True)
        last.wait_for_publish(30)
    assert alive(brokers, brokers.guests)
    assert memory_of(brokers) - before[0] < GROWS_BYTES
    assert memory_of(brokers.guests) - before[1] < GROWS_BYTES


def test_a_host_that_fills_the_broker_is_revoked_and_everybody_else_is_served_again(brokers: RunningBroker) -> None:
    machine, said = Machine(brokers), list[str]()

    def fill() -> None:
        """As many topics as fill the broker's memory, in less than two seconds."""
        machine.guard_listens.wait(10)
        with attacker(brokers, "lender.hosta") as lender:
            for number in range(4_450):
                lender.publish(f"ramshare/v1/state/lender.hosta/export/l{number}", b"x" * 60_000, qos=1, retain=True)
            attack_is_over.wait(60)

    attack_is_over = threading.Event()
    attacking = threading.Thread(target=fill)
    attacking.start()
    guard.watch(brokers.store, machine, utc_now, said.append)
    attack_is_over.set()
    attacking.join()
    assert said[0] == "lender.hosta stores more than any account needs: it is revoked"
    with pytest.raises(NotAuthorisedError):
        MqttBus(brokers.settings("lender.hosta"), "lender.hosta").connect(5)
    other = MqttBus(brokers.settings("lender.hostc"), "lender.hostc")
    other.connect(10)
    other.set_state("status", Status(status="online"))
    assert other._mqtt.outbox.wait_until_empty(10)
    assert not any("lender.hosta" in topic for topic in stored(brokers))
    other.close()
    assert memory_of(brokers) < LEAST_MEMORY_BYTES["hosts"] // 2


@pytest.mark.parametrize("account", ["guest.web1", "lender.hosta", "dashboard"])
def test_subscriptions_in_masses_are_refused(brokers: RunningBroker, account: str) -> None:
    broker = brokers.guests if account.startswith("guest.") else brokers
    assert broker is not None
    before = memory_of(broker)
    refused: list[bool] = []
    with attacker(brokers, account) as client:
        client.on_subscribe = lambda _c, _u, _mid, reasons, _p: refused.extend(reason.is_failure for reason in reasons)
        for number in range(100):
            filters = [f"ramshare/v1/state/{account}/{'x/' * 50}{number}/{other}" for other in range(200)]
            client.subscribe([(topic_filter, 1) for topic_filter in filters])
        eventually(lambda: len(refused) == 20_000, 60)
    assert all(refused)
    assert memory_of(broker) - before < GROWS_BYTES


def test_connections_that_say_nothing_shut_nobody_out(brokers: RunningBroker) -> None:
    assert brokers.guests is not None
    ports = (brokers.port, brokers.guests.port)
    # In a process of its own: paho's select() takes no descriptor above 1023.
    argv = [sys.executable, "-c", _SILENT, brokers.host, str(SILENT), *map(str, ports)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as silent:
        assert silent.stdout is not None
        assert silent.stdout.readline() == "connected\n"
        for account in ("lender.hosta", "guest.web1"):
            bus = MqttBus(brokers.settings(account), account)
            bus.connect(10)
            bus.close()
        silent.communicate("", timeout=10)


def test_guests_and_dashboards_speak_to_nobody_in_the_cluster(brokers: RunningBroker) -> None:
    heard: list[str] = []
    with attacker(brokers, "lender.hosta") as lender:
        lender.on_message = lambda _c, _u, message: heard.append(message.topic)
        lender.subscribe([(f"ramshare/v1/request/{who}/+/+", 1) for who in ("all", "lender.hosta")])
        for account in ("dashboard", "guest.web1", "cli.alice"):
            with attacker(brokers, account) as client:
                for server, verb in (("all", "announce"), ("all", "drain"), ("lender.hosta", "export")):
                    client.publish(f"ramshare/v1/request/{server}/{account}/{verb}", b"{}", 1).wait_for_publish(10)
        with attacker(brokers, "manager") as manager:
            manager.publish("ramshare/v1/request/all/manager/announce", b"{}", 1).wait_for_publish(10)
        eventually(lambda: bool(heard))
    assert heard == ["ramshare/v1/request/all/manager/announce"]


def test_a_revoked_account_is_out_and_nothing_of_it_stays(brokers: RunningBroker, tmp_path: Path) -> None:
    shutil.copytree(brokers.tls_directory("guest.web1"), tmp_path / "stolen")
    stolen = brokers.settings("guest.web1").model_copy(update={"tls_directory": tmp_path / "stolen"})
    guest = MqttBus(stolen, "guest.web1")
    guest.connect()
    guest.set_state("status", Status(status="online"))
    guest.set_state("memory", memory())
    topics = {StateTopic("guest.web1", path).render() for path in ("status", "memory")}
    eventually(lambda: topics <= stored(brokers))
    done = keeper.revoke(brokers.store, "guest.web1", utc_now(), Machine(brokers))
    assert done.problems == ()
    assert len(done.sentences) >= 3, "its memory and status were cleared"
    with pytest.raises(NotAuthorisedError, match=r"does not take the certificate of guest\.web1"):
        MqttBus(stolen, "guest.web1").connect(5)
    time.sleep(6)  # a last will of the ended connection would come now
    assert not topics & stored(brokers)
    vanish(guest)


def stored(broker: RunningBroker) -> set[str]:
    """Return every state topic that the hosts' broker has stored."""
    found: set[str] = set()
    with attacker(broker, "cli.alice") as watcher:
        watcher.on_message = lambda _c, _u, message: found.add(message.topic)
        watcher.subscribe("ramshare/v1/state/#", 1)
        time.sleep(0.5)
    return found


def test_a_new_account_is_served(brokers: RunningBroker) -> None:
    assert keeper.add(brokers.store, ["guest.new", "lender.new"], utc_now(), Machine(brokers)).problems == ()
    lender = MqttBus(brokers.settings("lender.new"), "lender.new")
    guest = MqttBus(brokers.settings("guest.new"), "guest.new")
    lender.connect()
    lender.watch_state("guest.new", "memory")
    guest.connect()
    guest.set_state("memory", memory())
    deadline = time.monotonic() + 10
    while not isinstance(lender.next(0.1), StateArrived):
        assert time.monotonic() < deadline
    guest.close()
    lender.close()
