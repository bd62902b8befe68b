"""What only a real broker can show: credentials, names, limits, persistence, speed."""

import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

from kit.broker_worlds import CLIENTS, MosquittoWorld, cut_connection, eventually, raw_client
from kit.sample_messages import export, lease, memory
from ramshare.broker.cluster import AccountError
from ramshare.bus.api import (
    BrokerUnreachableError,
    Connected,
    Disconnected,
    RequestArrived,
    StateArrived,
)
from ramshare.bus.counters import Drop
from ramshare.bus.mqtt import MqttBus
from ramshare.contract.examples import EXAMPLES
from ramshare.errors import ExitCode
from ramshare.linux.run import SystemRunner
from ramshare.messages.replies import BorrowReply
from ramshare.messages.requests import BorrowMemory
from ramshare.settings import BrokerSettings
from ramshare_lab.cluster.broker import BrokerStartError, free_port, listening_ports, start_broker

pytestmark = pytest.mark.broker
ROOT = "ramshare/v1"


def test_no_broker_is_said_with_a_hint() -> None:
    port = free_port()
    with pytest.raises(BrokerUnreachableError, match=f"127.0.0.1:{port}") as caught:
        MqttBus(BrokerSettings(broker_port=port, broker_insecure=True), "lender.hosta").connect(0.5)
    assert caught.value.exit_code is ExitCode.NO_BROKER
    assert "RAMSHARE_BROKER_HOST" in caught.value.hint
    assert not [thread for thread in threading.enumerate() if thread.name == "bus-lender.hosta"]


def test_a_listener_that_is_no_broker_is_unreachable_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = BrokerSettings(broker_port=silent.getsockname()[1], broker_insecure=True)
        with pytest.raises(BrokerUnreachableError):
            MqttBus(settings, "lender.hosta").connect(0.5)


def test_an_agent_that_starts_before_its_broker_connects_when_it_comes(mosquitto: MosquittoWorld) -> None:
    mosquitto.broker.stop()
    connecting = threading.Thread(target=mosquitto.bus, args=["lender.hosta"])
    connecting.start()
    connecting.join(0.7)
    assert connecting.is_alive()
    mosquitto.broker.start()
    connecting.join(10)
    assert isinstance(mosquitto.buses[0].next(5), Connected)


def test_a_client_cannot_take_anothers_id(mosquitto: MosquittoWorld) -> None:
    lender = mosquitto.bus("lender.hosta")
    thief = raw_client(mosquitto.broker.settings("dashboard"), client_id="lender.hosta")
    thief.loop_start()
    eventually(thief.is_connected)
    assert mosquitto.everything(lender) == [Connected()]
    thief.disconnect()
    thief.loop_stop()


def test_two_clients_with_one_account_are_told_why_they_push_each_other_out(mosquitto: MosquittoWorld) -> None:
    first = mosquitto.bus("lender.hosta")
    mosquitto.bus("lender.hosta")
    mosquitto.first(first, Disconnected, lambda arrived: "another client connected" in arrived.reason)
    before = time.monotonic()
    mosquitto.first(first, Connected)
    assert time.monotonic() - before > 3, "the contest must be slow"


def test_a_broker_with_old_stored_state_is_corrected_on_reconnect(mosquitto: MosquittoWorld, tmp_path: Path) -> None:
    """After a crash Mosquitto comes back with what it saved last: cleared topics included, newer values missing."""
    lender, manager = mosquitto.bus("lender.hosta"), mosquitto.bus("manager")
    lender.set_state("export/l1", export("l1"))
    lender.set_state("memory", memory(1))
    mosquitto.settle()
    mosquitto.broker.stop()  # saves
    shutil.copy(mosquitto.broker.directory / "mosquitto.db", tmp_path / "old.db")
    mosquitto.broker.start()
    eventually(lambda: all(bus._mqtt._session is not None for bus in (lender, manager)))
    lender.set_state("export/l1", None)
    lender.set_state("memory", memory(2))
    mosquitto.settle()
    mosquitto.broker.kill()
    shutil.copy(tmp_path / "old.db", mosquitto.broker.directory / "mosquitto.db")
    mosquitto.broker.start()
    eventually(lambda: all(bus._mqtt._session is not None for bus in (lender, manager)))
    late = mosquitto.bus("dashboard")
    late.watch_state("lender.hosta")
    found = {a.path: a.message for a in mosquitto.everything(late) if isinstance(a, StateArrived)}
    assert set(found) == {"status", "memory"}
    assert found["memory"] is not None
    assert found["memory"].model_dump()["used_bytes"] == 2


def test_a_large_snapshot_arrives_whole(mosquitto: MosquittoWorld) -> None:
    """With Mosquitto's default of 1000 queued messages 1,020 of them would come, without an error."""
    borrower = mosquitto.bus("borrower.hostb")
    for number in range(3000):
        borrower.set_state(f"lease/l{number}", lease(f"l{number}"))
    eventually(lambda: borrower._mqtt.outbox.empty, 60)
    manager = mosquitto.bus("manager")
    manager.watch_state("borrower.hostb", "lease/+")
    assert len([a for a in mosquitto.everything(manager) if isinstance(a, StateArrived)]) == 3000


def test_a_snapshot_that_the_broker_cut_short_is_noticed(tmp_path: Path) -> None:
    broker = start_broker(
        SystemRunner(), tmp_path / "small", CLIENTS, overrides=("max_queued_messages 100", "sys_interval 1")
    )
    with broker:
        borrower, manager = (MqttBus(broker.settings(name), name) for name in ("borrower.hostb", "manager"))
        borrower.connect()
        manager.connect()
        try:
            for number in range(1000):
                borrower.set_state(f"lease/l{number}", lease(f"l{number}"))
            eventually(lambda: borrower._mqtt.outbox.empty, 30)
            manager.watch_state("+", "lease/+")
            eventually(lambda: manager.counters[Drop.BROKER] > 0, 10)
            assert manager.counters.snapshot()["broker"] >= 800
        finally:
            borrower.close()
            manager.close()


def test_no_secret_is_left_in_the_brokers_database(mosquitto: MosquittoWorld) -> None:
    borrower, manager = mosquitto.bus("borrower.hostb"), mosquitto.bus("manager")
    request = EXAMPLES[BorrowMemory]
    assert isinstance(request, BorrowMemory)
    borrower.ask("manager", request, 20)
    arrived = mosquitto.first(manager, RequestArrived)
    mosquitto.cut(borrower)  # the worst moment: the reply cannot be delivered
    reply = EXAMPLES[BorrowReply]
    assert isinstance(reply, BorrowReply)
    manager.answer(arrived, reply)
    manager.set_state("summary", None)
    mosquitto.settle()
    mosquitto.broker.stop()  # saves
    stored = (mosquitto.broker.directory / "mosquitto.db").read_bytes()
    assert b"manager" in stored
    assert b"an-example-only" not in stored


def test_a_network_thread_that_died_is_started_again(mosquitto: MosquittoWorld) -> None:
    lender = mosquitto.bus("lender.hosta")
    thread = lender._mqtt._thread
    assert thread is not None
    setattr(lender._mqtt, "_run", lambda: None)  # noqa: B010
    lender._mqtt._stop.set()
    cut_connection(lender)
    thread.join(5)
    lender._mqtt._stop.clear()
    delattr(lender._mqtt, "_run")
    lender._mqtt.ensure_alive()
    eventually(lambda: lender._mqtt._session is not None)


@pytest.mark.parametrize("name", ["all", "lender/x", "lender.+", "Lender.x", ""])
def test_no_account_gets_a_name_that_the_rules_cannot_carry(name: str, tmp_path: Path) -> None:
    with pytest.raises(AccountError):
        start_broker(SystemRunner(), tmp_path / "b", [name])


def test_a_setting_that_mosquitto_does_not_know_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BrokerStartError, match="Unknown configuration variable"):
        start_broker(SystemRunner(), tmp_path / "b", CLIENTS, overrides=["nonsense 1"])


def test_a_port_that_is_taken_is_reported(mosquitto: MosquittoWorld, tmp_path: Path) -> None:
    with pytest.raises(BrokerStartError, match="Address already in use"):
        start_broker(SystemRunner(), tmp_path / "b", CLIENTS, port=mosquitto.broker.port)


def test_it_listens_where_it_was_told_to_and_nowhere_else(mosquitto: MosquittoWorld) -> None:
    assert mosquitto.broker.process is not None
    assert listening_ports(mosquitto.broker.process.pid) == {mosquitto.broker.port}
