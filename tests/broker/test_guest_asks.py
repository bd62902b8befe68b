"""A guest asks its host, over both real brokers and the bridge: the monitor's socket here, a borrower there.

The borrower's host is the model; agents, buses, brokers and rules are the real ones.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
from paho.mqtt.client import Client
from typer.testing import CliRunner, Result

from kit.borrowing_host import Host
from kit.broker_worlds import eventually, raw_client
from kit.hands import VOLUME, FakeGuestDisks, ModelHost
from kit.world import FakeLender
from ramshare.agent import Agent, Runtime
from ramshare.borrower.agent import Borrower
from ramshare.borrower.guest_requests import SETTLE_S
from ramshare.bus.mqtt import MqttBus
from ramshare.cli.main import app
from ramshare.linux.run import SystemRunner
from ramshare.manager.agent import Manager
from ramshare.messages.replies import Reply
from ramshare.messages.requests import BorrowOwnSwap
from ramshare.messages.state import GuestClaim, Mode
from ramshare.monitor.agent import Monitor
from ramshare.monitor.door import SocketDoor
from ramshare.settings import BorrowerSettings, GuestAllowance, HostSettings, ManagerSettings
from ramshare_lab.cluster.broker import RunningBroker, start_broker

pytestmark = pytest.mark.broker

CLIENTS = ["manager", "lender.secretive", "borrower.hostx", "borrower.hosty", "cli.alice", "guest.web1", "guest.web2"]
ALLOWED = {"web1": GuestAllowance(VOLUME, Mode.MIRROR), "web2": GuestAllowance("vg0/other", Mode.MIRROR)}


@dataclass
class Cluster:
    """A host whose guest web1 has the model's volume, a lender, a manager, and web1's monitor."""

    broker: RunningBroker
    model: Host
    vms: FakeGuestDisks
    lender: FakeLender

    def raw(self, client: str) -> Client:
        raw = raw_client(self.broker.settings(client))
        raw.loop_start()
        return raw

    @property
    def attached(self) -> bool:
        return self.model.tagged and bool(self.lender.exports)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("RAMSHARE_GUEST_SOCKET", str(tmp_path / "ask"))
    monkeypatch.setenv("RAMSHARE_ENV_FILE", str(tmp_path / "none.env"))
    with ExitStack() as stack:
        broker = stack.enter_context(start_broker(SystemRunner(), tmp_path / "brokers", CLIENTS))
        model, vms = Host(4), FakeGuestDisks(web1=(VOLUME,))

        def run(client: str, make: Callable[[MqttBus], Agent]) -> Agent:
            bus = MqttBus(broker.settings(client), client)
            bus.connect()
            stack.callback(bus.close)
            agent = make(bus)
            thread = threading.Thread(target=agent.run, name=client)
            thread.start()
            stack.callback(thread.join, 10.0)
            stack.callback(agent.stop)
            return agent

        def a_lender(bus: MqttBus) -> Agent:
            return FakeLender(bus, Runtime(), 9)

        def a_borrower(bus: MqttBus) -> Agent:
            machine = replace(ModelHost(model, lambda _lease, _open: None).machine(tmp_path), guest_disks=vms)
            settings = BorrowerSettings(directory=tmp_path, guests=ALLOWED, hypervisor="test")
            return Borrower(bus, settings, machine)

        lender = cast("FakeLender", run("lender.secretive", a_lender))
        run("manager", lambda bus: Manager(bus, settings=ManagerSettings(least_lease_bytes=1)))
        borrower = run("borrower.hostx", a_borrower)
        run("guest.web1", lambda bus: Monitor(bus, HostSettings(host="web1"), door=SocketDoor(tmp_path / "ask")))
        claims = cast("Borrower", borrower)._guest_requests._since_s
        eventually(lambda: time.monotonic() - claims.get("web1", time.monotonic()) > SETTLE_S + 0.5, 30.0)
        yield Cluster(broker, model, vms, lender)


def in_the_guest(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def test_a_guest_borrows_and_returns_over_both_brokers_and_hears_nothing_but_that(cluster: Cluster) -> None:
    borrowed = in_the_guest("borrow")
    assert (borrowed.exit_code, borrowed.stdout) == (0, "Your swap goes to remote memory, by mirror.\n")
    eventually(lambda: cluster.attached)
    again = in_the_guest("borrow")
    assert (again.exit_code, again.stdout) == (0, "It is on remote memory already.\n")
    home = in_the_guest("return", "--json")
    assert home.exit_code == 0
    assert "comes home" in home.stdout
    eventually(lambda: not cluster.lender.exports, 30.0)
    for said in (borrowed.output, again.output, home.output):
        for secret in ("secretive", "hostx", "vg0", "lease"):
            assert secret not in said


def test_a_guest_cannot_speak_for_another_or_to_anybody_but_its_host(cluster: Cluster) -> None:
    """The guests' broker refuses each; a broken one cannot do it either, for the hosts' broker refuses its bridge."""
    web2 = cluster.raw("guest.web2")
    verdicts: dict[int, bool] = {}
    web2.on_publish = lambda _c, _u, mid, reason, _p: verdicts.__setitem__(mid, reason.is_failure)
    forbidden = (
        "request/host/guest.web1/borrow",
        "request/host/guest.web1/return",
        "request/borrower.hostx/guest.web2/borrow",
        "request/borrower.hostx/cli.alice/borrow",
        "request/manager/guest.web2/borrow",
        "reply/guest.web1/host",
        "state/borrower.hostx/guest/web2",
        "request/host/guest.web2/vacate",
    )
    sent = [web2.publish(f"ramshare/v1/{topic}", BorrowOwnSwap().to_json(), qos=1).mid for topic in forbidden]
    eventually(lambda: set(sent) <= verdicts.keys())
    assert all(verdicts[mid] for mid in sent)
    assert not cluster.attached
    web2.disconnect()
    web2.loop_stop()


def test_a_guest_whose_volume_is_another_machines_disk_gets_no_answer_and_a_guest_on_two_hosts_a_refusal(
    cluster: Cluster,
) -> None:
    web2 = MqttBus(cluster.broker.settings("guest.web2"), "guest.web2")
    web2.connect()
    silent = web2.ask("host", BorrowOwnSwap(), 3.0)
    assert silent.exception(10) is not None, "web2 does not run here: nobody answers"
    web2.close()
    rival = MqttBus(cluster.broker.settings("borrower.hosty"), "borrower.hosty")
    rival.connect()
    rival.set_state("guest/web1", GuestClaim(guest="web1"))
    assert rival._mqtt.outbox.wait_until_empty(5)
    time.sleep(0.5)  # until the other borrower has heard it
    assert "two hosts" in in_the_guest("borrow").stderr
    assert not cluster.attached
    rival.close()


def test_a_guest_that_asks_all_the_time_is_told_so(cluster: Cluster) -> None:
    outputs = [in_the_guest("return").stderr for _ in range(8)]
    assert any("too often" in output for output in outputs)


def test_a_reply_to_one_guest_does_not_reach_another(cluster: Cluster) -> None:
    topics: list[str] = []
    spy = cluster.raw("guest.web2")
    spy.on_message = lambda _client, _user, message: topics.append(message.topic)
    spy.subscribe([("ramshare/v1/reply/guest.web2/+", 1), ("ramshare/v1/reply/#", 1), ("#", 1)])
    assert in_the_guest("return").exit_code == 0
    reply = Reply(request_id="for-web2-only", sentence="x")
    borrower = cluster.raw("borrower.hosty")
    borrower.publish("ramshare/v1/reply/guest.web2/host", reply.to_json(), qos=1)
    eventually(lambda: bool(topics))
    assert set(topics) == {"ramshare/v1/reply/guest.web2/host"}
    for raw in (spy, borrower):
        raw.disconnect()
        raw.loop_stop()
