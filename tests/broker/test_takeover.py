"""Two real managers at a real Mosquitto: one is killed or stopped while borrowers ask, the other serves."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.world import MIB, FakeLender
from ramshare.agent import REAL
from ramshare.bus.api import StateArrived
from ramshare.bus.mqtt import MqttBus
from ramshare.linux.run import SystemRunner
from ramshare.messages.replies import BorrowReply, ErrorCode, Reply
from ramshare.messages.requests import BorrowMemory, ReleaseLease
from ramshare.messages.state import ManagerState, Mode, Status
from ramshare_lab.cluster.broker import RunningBroker, start_broker

pytestmark = pytest.mark.broker

MANAGERS = ("manager.a", "manager.b")
LENDERS = ("lender.x", "lender.y")
BORROWER = "borrower.b"
TAKEOVER_S = 5.0
BUSY_S = 5.0
"""What a machine with other work may add to what is promised."""
CAPACITY_MIB = 400


class Cluster:
    """Managers as processes of their own, lenders on threads here, a borrower, and somebody who looks."""

    def __init__(self, broker: RunningBroker) -> None:
        self.broker = broker
        self.managers: dict[str, subprocess.Popen[bytes]] = {}
        self.told: dict[str, ManagerState] = {}
        self.lenders = [FakeLender(self._bus(client), REAL, CAPACITY_MIB * MIB) for client in LENDERS]
        for lender in self.lenders:
            lender.bus.connect()
            threading.Thread(target=lender.run, daemon=True).start()
        self.borrower, self.looker = self._connected(BORROWER), self._connected("dashboard")
        self.looker.watch_state(path="summary")
        self.replies: list[BorrowReply] = []

    def _bus(self, client: str) -> MqttBus:
        return MqttBus(self.broker.settings(client), client)

    def _connected(self, client: str) -> MqttBus:
        bus = self._bus(client)
        bus.connect()
        bus.set_state("status", Status(status="online")) if client == BORROWER else None
        return bus

    def start(self, client: str) -> None:
        """All managers have the same settings: which one it is its certificate says."""
        settings = self.broker.settings(client)
        env = {
            **os.environ,
            "RAMSHARE_ENV_FILE": "/nonexistent",
            "RAMSHARE_BROKER_HOST": settings.broker_host,
            "RAMSHARE_BROKER_PORT": str(settings.port),
            "RAMSHARE_TLS_DIRECTORY": str(settings.tls_directory),
        }
        argv = [sys.executable, "-m", "ramshare.launch", "manager"]
        self.managers[client] = subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL)

    def kill(self, client: str) -> None:
        process = self.managers.pop(client)
        process.kill()
        process.wait()

    def wait_for(self, true: Callable[[], bool], within_s: float = 30.0) -> None:
        deadline = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < deadline, self.told
            arrived = self.looker.next(0.1)
            if isinstance(arrived, StateArrived) and isinstance(arrived.message, ManagerState):
                self.told[arrived.client] = arrived.message

    def is_active(self, client: str) -> bool:
        told = self.told.get(client)
        return told is not None and told.ready and told.active

    def stands_by(self, client: str) -> bool:
        told = self.told.get(client)
        return told is not None and told.ready and not told.active

    def borrow(self, mib: int, patience_s: float = 30.0) -> float:
        """Borrow, and return how long it took."""
        since_s = time.monotonic()
        need = BorrowMemory(volume="vg0/swap", size_bytes=mib * MIB, mode=Mode.MIRROR, initiator="iqn.2026-11.test:b")
        reply = self.borrower.ask("manager", need, patience_s).result(patience_s + 1)
        assert isinstance(reply, BorrowReply), reply
        assert reply.ok, reply.sentence
        self.replies.append(reply)
        return time.monotonic() - since_s

    def check(self) -> None:
        """No byte was lent twice, no lease granted for two loans, no order of an older generation obeyed."""
        granted = [(grant.lender, grant.lease) for reply in self.replies for grant in reply.grants]
        assert len(granted) == len(set(granted))
        for lender in self.lenders:
            assert lender.lent_bytes() <= lender.capacity_bytes
            orders = [request.generation for request in lender.asked]
            assert orders == sorted(orders)
        made = {(lender.bus.client, lease) for lender in self.lenders for lease in lender.exports}
        assert set(granted) <= made

    def close(self) -> None:
        for process in self.managers.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        for lender in self.lenders:
            lender.stop()
        for bus in (self.borrower, self.looker, *(lender.bus for lender in self.lenders)):
            bus.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    accounts = [*MANAGERS, *LENDERS, BORROWER, "dashboard"]
    with start_broker(SystemRunner(), tmp_path / "broker", accounts) as broker:
        cluster = Cluster(broker)
        try:
            for client, wanted in zip(MANAGERS, (cluster.is_active, cluster.stands_by), strict=True):
                cluster.start(client)
                cluster.wait_for(lambda c=client, w=wanted: w(c))  # type: ignore[misc]
            yield cluster
        finally:
            cluster.close()


def test_the_active_manager_is_killed_and_the_next_borrow_is_served_within_five_seconds(cluster: Cluster) -> None:
    assert cluster.borrow(16) < BUSY_S
    cluster.kill("manager.a")
    assert cluster.borrow(16) < TAKEOVER_S + BUSY_S
    cluster.wait_for(lambda: cluster.is_active("manager.b"))
    cluster.start("manager.a")
    cluster.wait_for(lambda: cluster.stands_by("manager.a"))
    assert cluster.is_active("manager.b"), "who comes back takes nothing over"
    assert cluster.borrow(16) < BUSY_S
    cluster.check()


def test_a_manager_that_was_stopped_and_wakes_lends_nothing_twice(cluster: Cluster) -> None:
    stopped = cluster.managers["manager.a"]
    first = cluster.told["manager.a"].generation
    threads = [threading.Thread(target=cluster.borrow, args=(16,)) for _ in range(8)]
    for number, thread in enumerate(threads):
        thread.start()
        if number == len(threads) // 2:
            stopped.send_signal(signal.SIGSTOP)
    for thread in threads:
        thread.join(60)
    assert len(cluster.replies) == len(threads)
    cluster.wait_for(lambda: cluster.is_active("manager.b"))
    stopped.send_signal(signal.SIGCONT)
    cluster.wait_for(lambda: cluster.stands_by("manager.a"))
    for _ in range(3):
        assert cluster.borrow(16) < BUSY_S
    cluster.check()
    old = cluster._bus("manager.a")
    cluster.kill("manager.a")
    old.connect()
    grant = cluster.replies[-1].grants[0]
    reply: Reply = old.ask(grant.lender, ReleaseLease(lease=grant.lease, generation=first), 10.0).result(11)
    assert reply.error is ErrorCode.OUTDATED
    old.close()
    cluster.check()
