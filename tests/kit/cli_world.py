"""The command line against a cluster inside this process: scripted agents answer within the publishing call."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from kit.memory_bus import MemoryBroker, MemoryBus
from ramshare.bus.api import Arrival, RequestArrived
from ramshare.cli.main import app
from ramshare.cli.options import Outside
from ramshare.messages.base import Message
from ramshare.messages.replies import AttachReply, ErrorCode, Reply
from ramshare.messages.requests import BorrowVolume, Drain, Request, ReturnVolume, Undrain
from ramshare.messages.state import (
    Decisions,
    Export,
    HostRecord,
    Lease,
    LeasePhase,
    LeaseRecord,
    ManagerState,
    Mode,
    Offer,
    Status,
    Volume,
    VolumePhase,
)
from ramshare.settings import BrokerSettings

MIB = 1 << 20
Answer = Callable[["Scripted", RequestArrived], None]


class Scripted:
    """An agent that answers every request at once with what the test says."""

    def __init__(self, broker: MemoryBroker, client: str, answers: dict[type[Request], Answer] | None = None) -> None:
        self.bus = MemoryBus(broker, client)
        self.asked: list[Request] = []
        self._answers = answers or {}
        self.bus.on_arrival(self._serve)
        self.bus.connect()
        self.bus.set_state("status", Status(status="online", version="0.1.0"))

    def _serve(self) -> None:
        for arrival in self.bus.arrivals():
            if isinstance(arrival, RequestArrived):
                self.asked.append(arrival.request)
                self._answers[type(arrival.request)](self, arrival)

    def tell(self, path: str, message: Message | None) -> None:
        self.bus.set_state(path, message)


class PatientBus(MemoryBus):
    """Who waits for what does not come lets the broker's time pass instead of real time."""

    def next(self, timeout_s: float) -> Arrival | None:
        arrival = super().next(0.0)
        if arrival is None:
            self.broker.advance(timeout_s)
            arrival = super().next(0.0)
        return arrival


class KeyboardBus(MemoryBus):
    """Somebody presses Ctrl-C as soon as there is nothing more to hear."""

    def next(self, timeout_s: float) -> Arrival | None:
        arrival = super().next(0.0)
        if arrival is None and timeout_s > 0:
            raise KeyboardInterrupt
        return arrival


class CliWorld:
    """A broker and the agents of a test, and `run` to call the command line against them."""

    def __init__(self, accounts: list[str] | None = None) -> None:
        self.broker = MemoryBroker(accounts)
        self.opened: list[BrokerSettings] = []
        self.bus_type: type[MemoryBus] = PatientBus

    def open_bus(self, settings: BrokerSettings, client: str) -> MemoryBus:
        self.opened.append(settings)
        return self.bus_type(self.broker, client)

    def run(self, *args: str) -> Result:
        """Call a command as `cli.alice`."""
        outside = Outside(self.open_bus, clock=lambda: self.broker.now_s, sleep=self.broker.advance)
        return CliRunner().invoke(app, ["--client", "cli.alice", *args], obj=outside)

    def run_json(self, *args: str) -> Any:
        """Call a command that must print one JSON document and nothing else on standard output."""
        return json.loads(self.run(*args).stdout)

    def manager(self, *hosts: Offer, leases: int = 0) -> Scripted:
        """A manager that serves, with a record of each host."""
        agent = Scripted(self.broker, "manager")
        for offer in hosts:
            agent.tell(f"host/{offer.host}", record(offer))
        total = sum(offer.capacity_bytes for offer in hosts)
        summary = ManagerState(
            ready=True,
            lenders=len(hosts),
            borrowers=0,
            leases=leases,
            capacity_bytes=total,
            lent_bytes=0,
            free_bytes=total,
            reason="serving",
        )
        agent.tell("summary", summary)
        return agent

    def lender(self, offered: Offer, answers: dict[type[Request], Answer] | None = None) -> Scripted:
        agent = Scripted(self.broker, f"lender.{offered.host}", answers)
        agent.tell("offer", offered)
        agent.tell("decisions", Decisions(decisions=("2026-01-01T00:00:00Z 0 starting", "then more")))
        return agent

    def borrower(self, host: str = "hostc", answers: dict[type[Request], Answer] | None = None) -> Scripted:
        return Scripted(self.broker, f"borrower.{host}", answers or {BorrowVolume: attaches(), ReturnVolume: returns})


def offer(host: str = "hosta", **changes: Any) -> Offer:
    fields: dict[str, Any] = {
        "host": host,
        "portal": "10.0.0.1:3260",
        "capacity_bytes": 512 * MIB,
        "lent_bytes": 0,
        "free_bytes": 512 * MIB,
        "committed_bytes": 128 * MIB,
        "committed_free_bytes": 128 * MIB,
        "exportable": True,
        "reason": "nobody needs it",
    }
    return Offer.model_validate({**fields, **changes})


def record(offered: Offer, **changes: Any) -> HostRecord:
    shared = offered.model_dump(include={"host", "exportable", "capacity_bytes", "lent_bytes", "free_bytes", "reason"})
    more = {"lender": f"lender.{offered.host}", "address": offered.portal, "online": True}
    return HostRecord.model_validate({**shared, **more, **changes})


def volume(phase: VolumePhase, remote: int = 0, **changes: Any) -> Volume:
    fields: dict[str, Any] = {
        "volume": "vg0/swap",
        "size_bytes": 256 * MIB,
        "phase": phase,
        "mode": Mode.MIRROR,
        "local_bytes": 256 * MIB,
        "remote_bytes": remote,
        "placement": (f"local /dev/vda {256 * MIB}",),
        "step": f"step of {phase}",
    }
    return Volume.model_validate({**fields, **changes})


def lease(**changes: Any) -> Lease:
    fields: dict[str, Any] = {
        "lease": "l1",
        "lender": "lender.hosta",
        "volume": "vg0/swap",
        "size_bytes": 264 * MIB,
        "mode": Mode.MIRROR,
        "phase": LeasePhase.ATTACHED,
    }
    return Lease.model_validate({**fields, **changes})


def export(**changes: Any) -> Export:
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "lease": "l1",
        "host": "hosta",
        "borrower": "borrower.hostc",
        "initiator": "iqn.2026-01.test:hostc",
        "target": "iqn.2026-01.test:l1",
        "portal": "10.0.0.1:3260",
        "size_bytes": 264 * MIB,
        "mode": Mode.MIRROR,
        "phase": LeasePhase.ATTACHED,
        "connected": True,
        "created_at": now,
        "login_by": now + timedelta(seconds=60),
    }
    return Export.model_validate({**fields, **changes})


def lease_record(**changes: Any) -> LeaseRecord:
    fields: dict[str, Any] = {
        "lease": "l1",
        "host": "hosta",
        "address": "10.0.0.1:3260",
        "target": "iqn.2026-01.test:l1",
        "size_bytes": 264 * MIB,
        "borrower": "borrower.hostc",
        "mode": Mode.MIRROR,
        "phase": LeasePhase.ATTACHED,
    }
    return LeaseRecord.model_validate({**fields, **changes})


def attaches(*phases: Volume) -> Answer:
    """Grants, then says these; by default: attaching, attached."""
    story = phases or (
        volume(VolumePhase.ATTACHING, progress_percent=40.0),
        volume(VolumePhase.ATTACHED, 256 * MIB, leases=("l1",), progress_percent=100.0),
    )

    def answer(agent: Scripted, arrived: RequestArrived) -> None:
        reply = AttachReply(
            request_id=arrived.request.request_id, sentence="one is enough", leases=("l1",), lenders=("lender.hosta",)
        )
        agent.bus.answer(arrived, reply)
        for told in story:
            agent.tell(f"volume/{told.volume}", told)

    return answer


def returns(agent: Scripted, arrived: RequestArrived) -> None:
    agent.bus.answer(arrived, Reply(request_id=arrived.request.request_id, sentence="vg0/swap coming home"))
    agent.tell("volume/vg0/swap", volume(VolumePhase.DETACHING, 128 * MIB, leases=("l1",)))
    agent.tell("volume/vg0/swap", volume(VolumePhase.HOME))


def refuses(code: ErrorCode, sentence: str) -> Answer:
    def answer(agent: Scripted, arrived: RequestArrived) -> None:
        agent.bus.answer(arrived, Reply(request_id=arrived.request.request_id, error=code, sentence=sentence))

    return answer


def drains(agent: Scripted, arrived: RequestArrived) -> None:
    """Takes the request, then gives back in two steps."""
    host = agent.bus.client.partition(".")[2]
    agent.bus.answer(arrived, Reply(request_id=arrived.request.request_id, sentence="draining"))
    for lent in (128 * MIB, 64 * MIB, 0):
        told = offer(host, capacity_bytes=0, free_bytes=0, lent_bytes=lent, draining=True, exportable=False)
        agent.tell("offer", told)


def undrains(agent: Scripted, arrived: RequestArrived) -> None:
    agent.bus.answer(arrived, Reply(request_id=arrived.request.request_id, sentence="offering again"))


DRAINING: dict[type[Request], Answer] = {Drain: drains, Undrain: undrains}


def isolate(monkeypatch: Any, tmp_path: Path) -> None:
    """Keep this machine's own settings, accounts and locks out of a test."""
    for name in (
        "BROKER_HOST",
        "BROKER_HOSTS",
        "BROKER_PORT",
        "CLIENT",
        "PASSWORD_FILE",
        "TLS_DIRECTORY",
        "BROKER_INSECURE",
        "ROOT",
        "HOST",
    ):
        monkeypatch.delenv(f"RAMSHARE_{name}", raising=False)
    monkeypatch.setenv("RAMSHARE_ENV_FILE", str(tmp_path / "none.env"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
