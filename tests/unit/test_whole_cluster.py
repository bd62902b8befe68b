"""All agents together, with every agent, the broker, lenders' machines and networks failing in any order.

Real agents on the real code of the bus; only hands (LVM, iSCSI, RAM files) are models. At last everything is healed
and the volume returned: then nothing may be left anywhere.
"""

import tempfile
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kit.borrowing_host import LOCAL, Host
from kit.hands import VOLUME, FakeExports, FakePolicy, FakeSampler, ModelHost
from kit.memory_bus import MemoryBus
from kit.world import MIB, World
from ramshare.agent import Agent, Runtime
from ramshare.borrower.agent import Borrower
from ramshare.lender.agent import Lender
from ramshare.lender.exports.store import Exports
from ramshare.lender.hands import Hands
from ramshare.manager.agent import Manager
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import BorrowVolume, Drain, Request, ReturnVolume, Undrain
from ramshare.messages.state import ManagerState, Mode, Volume, VolumePhase
from ramshare.settings import BorrowerSettings, HostSettings, LenderSettings

pytestmark = pytest.mark.unit

HOSTS = ("x", "y", "z")
AGENTS = ("manager", "borrower.b", *(f"lender.{host}" for host in HOSTS))


class Cluster(World):
    """Three lenders with committed memory, a borrower's host with a volume of four pages, a manager, an operator."""

    step_s = 1.0

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.model = Host(4)
        self.exports = {host: FakeExports(directory / host, self.gone, host) for host in HOSTS}
        self.policies = {host: FakePolicy() for host in HOSTS}
        for host in HOSTS:
            (directory / host).mkdir()
        self.cli = self.bus("cli.al")
        self.drained: set[str] = set()
        self.requests: list[Request] = []
        for client in AGENTS:
            self.run(client)
        self.advance(5)

    def run(self, client: str) -> None:
        """Start an agent, or start it again."""
        if client in self.agents:
            self.kill(client)
        self.start(partial(self.make, client), client)

    def make(self, client: str, bus: MemoryBus, runtime: Runtime) -> Agent:
        _, _, host = client.partition(".")
        if client == "manager":
            return Manager(bus, runtime)
        if client == "borrower.b":
            machine = ModelHost(self.model, self.session).machine(self.directory)
            return Borrower(bus, BorrowerSettings(directory=self.directory), machine, runtime)
        lending = LenderSettings(committed_bytes=512 * MIB, directory=self.directory / host)
        exports = cast("Exports", self.exports[host])
        hands_there = Hands(exports, "10.0.0.1:3260", FakeSampler(), self.policies[host])
        return Lender(bus, HostSettings(host=host), lending, hands_there, runtime)

    def session(self, lease: str, is_open: bool) -> None:
        for exports in self.exports.values():
            if lease in exports.records:
                (exports.sessions.add if is_open else exports.sessions.discard)(lease)

    def gone(self, lease: str) -> None:
        """An export was removed: whoever still had it finds it dead."""
        if lease in self.model.leases:
            self.model.kill(lease)

    def machine_dies(self, host: str) -> None:
        exports = self.exports[host]
        for lease in list(exports.records):
            del exports.records[lease]
            exports.sessions.discard(lease)
            self.gone(lease)
        exports.marker.unlink(missing_ok=True)
        self.drained.discard(host)
        self.run(f"lender.{host}")

    def host_reboots(self) -> None:
        for exports in self.exports.values():
            exports.sessions.clear()
        self.model.reboot()
        self.run("borrower.b")

    def operator(self, server: str, request: Request) -> "Future[Reply]":
        self.requests.append(request)
        future = self.cli.ask(server, request, 60.0)
        self.settle()
        return future

    def all_well_again(self) -> None:
        """End every fault; agents that run are not touched."""
        for lease in self.model.leases:
            self.model.mend(lease)
        for host in HOSTS:
            self.policies[host].lendable_bytes = 1000 * MIB
            self.operator(f"lender.{host}", Undrain())
        for client in AGENTS:
            if client not in self.agents:
                self.run(client)
        self.advance(5)


def nothing_is_left(cluster: Cluster) -> None:
    """Everything is home: no lease, export or record, on no machine, at the broker or with the manager."""
    model = cluster.model
    assert (model.leases, model.reserved, model.tagged) == ({}, 0, False)
    assert set(model.pages) == {LOCAL}
    assert {lease for exports in cluster.exports.values() for lease in exports.records} == set()
    left = [topic for topic in cluster.broker.retained() if "/export/" in topic or "/lease/" in topic]
    assert left == []
    summary = cluster.state("manager", "summary")
    assert isinstance(summary, ManagerState)
    assert (summary.ready, summary.leases, summary.lent_bytes, summary.lenders) == (True, 0, 0, len(HOSTS))
    assert cluster.errors.seen == []


class Life(RuleBasedStateMachine):
    """A cluster's days."""

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.cluster = Cluster(Path(self.directory.name))
        self.machines_died = False
        self.moved = False

    @rule(mode=st.sampled_from([Mode.MIRROR, Mode.MOVE]), spread=st.integers(1, 3), wait_s=st.integers(0, 12))
    def borrow(self, mode: Mode, spread: int, wait_s: int) -> None:
        self.cluster.operator("borrower.b", BorrowVolume(volume=VOLUME, mode=mode, min_lenders=spread))
        self.cluster.advance(wait_s)
        self.moved |= mode is Mode.MOVE

    @rule(wait_s=st.integers(0, 6))
    def bring_back(self, wait_s: int) -> None:
        self.cluster.operator("borrower.b", ReturnVolume(volume=VOLUME))
        self.cluster.advance(wait_s)

    @precondition(lambda self: self.cluster.requests)
    @rule(data=st.data())
    def a_request_is_delivered_again(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.cluster.requests))
        if isinstance(request, BorrowVolume | ReturnVolume):
            self.cluster.cli.ask("borrower.b", request, 60.0)

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.cluster.advance(seconds)

    @rule(client=st.sampled_from(AGENTS))
    def an_agent_dies(self, client: str) -> None:
        if client in self.cluster.agents:
            self.cluster.kill(client)

    @rule(client=st.sampled_from(AGENTS))
    def an_agent_is_restarted(self, client: str) -> None:
        self.cluster.run(client)

    @rule(forgets=st.booleans())
    def the_broker_is_restarted(self, forgets: bool) -> None:
        self.cluster.broker.restart(keep=[] if forgets else None)

    @rule(client=st.sampled_from(AGENTS), seconds=st.integers(0, 90))
    def an_agent_is_cut_off_from_the_broker(self, client: str, seconds: int) -> None:
        if client in self.cluster.agents:
            self.cluster.broker.cut(client)
            self.cluster.advance(seconds)
            self.cluster.broker.reconnect(client)

    @rule(host=st.sampled_from(HOSTS))
    def drain(self, host: str) -> None:
        self.cluster.operator(f"lender.{host}", Drain())

    @rule(host=st.sampled_from(HOSTS))
    def undrain(self, host: str) -> None:
        self.cluster.operator(f"lender.{host}", Undrain())

    @rule(host=st.sampled_from(HOSTS), mib=st.sampled_from([0, 1000]))
    def guests_need_more_or_less(self, host: str, mib: int) -> None:
        self.cluster.policies[host].lendable_bytes = mib * MIB

    @rule(host=st.sampled_from(HOSTS))
    def a_lenders_machine_dies_and_comes_back(self, host: str) -> None:
        self.cluster.machine_dies(host)
        self.machines_died = True

    @rule()
    def the_borrowers_host_reboots(self) -> None:
        """The keys of its pages die with it."""
        self.cluster.host_reboots()
        self.machines_died = True

    @precondition(lambda self: self.cluster.model.leases)
    @rule(data=st.data(), seconds=st.integers(0, 30))
    def a_lender_is_unreachable_for_a_while(self, data: st.DataObject, seconds: int) -> None:
        lease = data.draw(st.sampled_from(sorted(self.cluster.model.leases)))
        self.cluster.model.cut(lease)
        self.cluster.advance(seconds)
        if lease in self.cluster.model.leases:
            self.cluster.model.mend(lease)

    @invariant()
    def no_page_is_lost_but_by_a_machine_that_died_with_the_only_copy(self) -> None:
        if hasattr(self, "cluster") and not (self.machines_died and self.moved):
            assert not self.cluster.model.lost_pages

    @invariant()
    def nothing_was_an_error(self) -> None:
        if hasattr(self, "cluster"):
            assert self.cluster.errors.seen == []

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        cluster = self.cluster
        try:
            cluster.all_well_again()
            if cluster.model.goal == "attached":
                cluster.advance(200)
                volume = cluster.state("borrower.b", f"volume/{VOLUME}")
                assert isinstance(volume, Volume)
                assert volume.phase is VolumePhase.ATTACHED, volume.step
            while cluster.operator("borrower.b", ReturnVolume(volume=VOLUME)).result().error is ErrorCode.BUSY:
                cluster.advance(30)
            cluster.advance(300)
            nothing_is_left(cluster)
        finally:
            cluster.close()
            self.directory.cleanup()


Life.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestLife = Life.TestCase


def test_an_export_that_the_broker_and_its_lender_forgot_is_forgotten_by_the_manager_too(tmp_path: Path) -> None:
    """Nobody is left to clear it: the lender's next run finds it neither at the broker nor on its machine."""
    cluster = Cluster(tmp_path)
    cluster.operator("borrower.b", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR))
    cluster.machine_dies("x")
    cluster.kill("lender.x")
    cluster.broker.restart(keep=[])
    cluster.all_well_again()
    cluster.operator("borrower.b", ReturnVolume(volume=VOLUME))
    cluster.advance(300)
    nothing_is_left(cluster)
    cluster.close()


def test_a_borrower_that_comes_back_to_a_broker_that_forgot_keeps_its_leases(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.operator("borrower.b", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR))
    cluster.advance(30)
    leases = set(cluster.model.leases)
    cluster.kill("borrower.b")
    cluster.broker.restart(keep=[])
    cluster.advance(200)
    cluster.run("borrower.b")
    cluster.advance(200)
    assert set(cluster.model.leases) == leases != set()
    assert cluster.events("taken-back") == []
    cluster.close()


@pytest.mark.parametrize("hours", [-7, 7])
@pytest.mark.parametrize("client", ["manager", "borrower.b", "lender.x"])
def test_a_machine_whose_clock_is_hours_off_takes_part_as_any_other(tmp_path: Path, client: str, hours: int) -> None:
    """What others say is as old as its arrival here, and times in a message count from when it was written."""

    class OneClockOff(Cluster):
        def make(self, agent: str, bus: MemoryBus, runtime: Runtime) -> Agent:
            if agent == client:
                bus._publisher._now = lambda: datetime.now(UTC) + timedelta(hours=hours)
                runtime = replace(runtime, wall=lambda: self.wall() + hours * 3600)
            return super().make(agent, bus, runtime)

    cluster = OneClockOff(tmp_path)
    cluster.operator("borrower.b", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR, min_lenders=3))
    cluster.advance(60)
    volume = cluster.state("borrower.b", f"volume/{VOLUME}")
    assert isinstance(volume, Volume)
    assert volume.phase is VolumePhase.ATTACHED, volume.step
    cluster.operator("borrower.b", ReturnVolume(volume=VOLUME))
    cluster.advance(60)
    nothing_is_left(cluster)
    cluster.close()
