"""A cluster around one borrower's agent: a manager, lenders of a few bytes, an operator, and the model of a host."""

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from kit.borrowing_host import Host
from kit.hands import VOLUME, FakeSwap, ModelHost
from kit.memory_bus import MemoryBus
from kit.world import FakeLender, World
from ramshare.agent import Runtime
from ramshare.borrower.agent import Borrower
from ramshare.borrower.machine.api import GuestDisks, NoGuestDisks
from ramshare.manager.agent import Manager
from ramshare.messages.replies import Reply
from ramshare.messages.requests import BorrowVolume, Request, ReturnVolume, Vacate
from ramshare.messages.state import Export, Lease, LeasePhase, Mode, Volume, VolumePhase
from ramshare.settings import BorrowerSettings, ManagerSettings
from ramshare.topics import StateTopic


class Scene(World):
    """A manager, lenders of a few bytes each, a borrower with a volume of four, and an operator."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.model = Host(4)
        self.swap = FakeSwap(self.model)
        self.lenders: dict[str, FakeLender] = {}
        self.disks: GuestDisks = NoGuestDisks()
        self.cli = self.bus("cli.al")

    def lender(self, host: str, size: int, committed: int = 0, exports: dict[str, Export] | None = None) -> FakeLender:
        def make(bus: MemoryBus, runtime: Runtime) -> FakeLender:
            lender = FakeLender(bus, runtime, size, committed)
            lender.exports = exports or {}
            return lender

        lender = cast("FakeLender", self.start(make, f"lender.{host}"))
        self.lenders[f"lender.{host}"] = lender
        self.settle()
        return lender

    def session(self, lease: str, is_open: bool) -> None:
        """A login or logout shows at the lender."""
        for lender in self.lenders.values():
            if lease in lender.exports:
                lender.exports[lease] = lender.exports[lease].model_copy(update={"connected": is_open})

    def manager(self) -> None:
        tiny = ManagerSettings(least_lease_bytes=1)
        self.start(lambda bus, runtime: Manager(bus, runtime, tiny), "manager")

    def borrower(self, **settings: Any) -> Borrower:
        def make(bus: MemoryBus, runtime: Runtime) -> Borrower:
            self.host = ModelHost(self.model, self.session, self.swap)
            machine = replace(self.host.machine(self.directory), guest_disks=self.disks)
            return Borrower(bus, BorrowerSettings(directory=self.directory, **settings), machine, runtime)

        return cast("Borrower", self.start(make, "borrower.b"))

    def ready(self, **settings: Any) -> "Scene":
        self.manager()
        self.borrower(**settings)
        self.advance(5)
        return self

    def tell(self, client: str, request: Request, server: str = "borrower.b") -> "Future[Reply]":
        bus = self.cli if client == "cli.al" else self.agents[client].bus
        future = bus.ask(server, request, 300.0)
        self.settle()
        return future

    def borrow(self, mode: Mode = Mode.MIRROR, **changes: Any) -> Reply:
        future = self.tell("cli.al", BorrowVolume(volume=VOLUME, mode=mode, **changes))
        self.advance(20)
        return future.result()

    def bring_back(self) -> Reply:
        future = self.tell("cli.al", ReturnVolume(volume=VOLUME))
        self.advance(30)
        return future.result()

    def vacate(self, lender: str, *leases: str, within_s: float = 10.0) -> "Future[Reply]":
        return self.tell(lender, Vacate.until(leases, 1, within_s))

    def lease_phases(self, lease: str) -> list[LeasePhase]:
        """Return the phases of a lease that were published, repeats folded."""
        topic = StateTopic("borrower.b", f"lease/{lease}").render()
        said = [p.payload for _, p in self.broker.published if p.topic == topic and p.payload]
        phases = [Lease.model_validate_json(payload).phase for payload in said]
        return [phase for i, phase in enumerate(phases) if i == 0 or phases[i - 1] is not phase]

    def volume(self) -> Volume:
        found = self.state("borrower.b", f"volume/{VOLUME}")
        assert isinstance(found, Volume)
        return found

    def volume_phases(self) -> set[VolumePhase]:
        """Return every phase of the volume that was published."""
        topic = StateTopic("borrower.b", f"volume/{VOLUME}").render()
        said = [p.payload for _, p in self.broker.published if p.topic == topic and p.payload]
        return {Volume.model_validate_json(payload).phase for payload in said}

    def lent(self) -> int:
        return sum(lender.lent_bytes() for lender in self.lenders.values())

    def kinds(self) -> list[str]:
        topics = [p.topic for author, p in self.broker.published if author == "borrower.b" and "/event/" in p.topic]
        return [topic.rsplit("/", 1)[-1] for topic in topics]
