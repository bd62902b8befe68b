"""What agents hold in their hands, without any machine: a borrower's host, a lender's exports, its policy and memory.

What these hold outlives the agent that uses them, as disks, kernels and RAM file systems do.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kit.borrowing_host import Host, Lent
from kit.world import MIB
from ramshare.borrower.machine.api import LeaseTerms, Looked, Machine
from ramshare.borrower.machine.owed_file import OwedFile
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.planner import next_step
from ramshare.borrower.plan.tags import PLAIN_TERMS, LeaseTag, Terms
from ramshare.borrower.plan.view import NOTHING_HEARD, Goal, Heard, VolumeView
from ramshare.desk import RefusedError
from ramshare.errors import RamshareError
from ramshare.generation import NONE, Generation
from ramshare.lender.exports.records import ExportRecord
from ramshare.linux.volume_io import VolumeIo
from ramshare.messages.replies import ErrorCode, Grant
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import LeasePhase, Memory, Mode
from ramshare.policy.model import Decision, HostSample
from ramshare.sealed import SealingKeys

VOLUME = "vg0/swap"
GIB = 1 << 30


class FakeGuestDisks:
    """A hypervisor whose guests have the disks that the test says."""

    present = True

    def __init__(self, **of: tuple[str, ...]) -> None:
        """Name of a guest to the volumes that it has."""
        self.of = of
        self.gone = False
        self.on_change: Callable[[], None] = lambda: None

    def start(self, on_change: Callable[[], None]) -> None:
        self.on_change = on_change

    def stop(self) -> None:
        self.on_change = lambda: None

    def change(self, **of: tuple[str, ...]) -> None:
        self.of = of
        self.on_change()

    def look(self) -> Mapping[str, tuple[str, ...]]:
        if self.gone:
            raise RamshareError("no libvirtd")
        volumes = sorted({volume for has in self.of.values() for volume in has})
        return {v: tuple(sorted(guest for guest, has in self.of.items() if v in has)) for v in volumes}


class ModelHost:
    """A machine on the model: steps that need no bus are applied to it, grants become its leases."""

    def __init__(self, model: Host, on_session: Callable[[str, bool], None], swap: "FakeSwap | None" = None) -> None:
        """`on_session` hears of every login and logout: (lease, open); `swap` is what the kernel counts."""
        self.model = model
        self.on_session = on_session
        self.fails: RamshareError | None = None
        self.fails_at: tuple[type[s.Step], ...] = ()
        """Kinds of steps that fail; none for every kind."""
        self.refuses: tuple[ErrorCode, str] | None = None
        """Why the volume is not to be borrowed for."""
        self.grants: dict[str, Grant] = {}
        self.keys = SealingKeys()
        self.swap = swap or FakeSwap(model)

    def start(self) -> list[str]:
        return [VOLUME] if self.model.tagged else []

    def machine(self, directory: Path) -> Machine:
        """Return what a borrower's agent is given; what it owes is kept in `directory`."""
        owed, suspended = OwedFile(directory), NoneSuspended()
        return Machine(self.start, self.turn, self, owed, lambda: False, suspended, self.swap, self.keys.public)

    def look(self, volume: str, heard: Heard = NOTHING_HEARD) -> VolumeView:
        if volume != VOLUME:
            raise RefusedError(ErrorCode.UNKNOWN_VOLUME, f"no logical volume {volume} on this host")
        self.model.hear(heard)
        return self.model.view()

    def turn(self, volume: str, heard: Heard) -> Looked:
        view = self.look(volume, heard)
        step = next_step(view)
        if self.fails is not None and isinstance(step, self.fails_at or object):
            return Looked(view, step, str(self.fails))
        if isinstance(step, s.MachineStep):
            self.model.apply(step)
            for goes in step.given_back:
                self.on_session(goes.lease, False)
            if isinstance(step, s.Login | s.Logout):
                opened = self.model.leases[step.lease].session
                self.on_session(step.lease, opened)
                if isinstance(step, s.Login) and not opened:
                    return Looked(view, step, "iscsiadm: no answer")
        self.model.tick()
        return Looked(view, step)

    def check_borrow(self, volume: str, mode: Mode | None) -> VolumeView:
        view = self.look(volume)
        if self.refuses is not None:
            raise RefusedError(*self.refuses)
        if view.goal is Goal.ATTACHED and mode not in (None, view.mode):
            raise RefusedError(ErrorCode.CONFLICT, "attached by the other mode")
        return view

    def terms(self, volume: str, mode: Mode) -> LeaseTerms:
        return LeaseTerms(overhead_bytes=1, grain_bytes=1, initiator="iqn.2026-11.test:b")

    def accept(
        self,
        volume: str,
        mode: Mode | None,
        leases: Sequence[LeaseTag],
        grants: Sequence[Grant],
        encrypt: bool | None = None,
        part_bytes: int = 0,
        terms: Terms = PLAIN_TERMS,
    ) -> None:
        self.grants |= {grant.lease: grant for grant in grants}
        if mode is not None:
            self.model.goal, self.model.mode, self.model.part = Goal.ATTACHED, mode, part_bytes
            self.model.encrypt = encrypt is not False
            self.model.automatic, self.model.only_if_faster = terms.automatic, terms.only_if_faster
        self.model.tagged = True
        for tag in leases:
            lent = Lent(tag.lease, tag.size_bytes, lender=f"lender.{tag.host}", encrypted=self.model.encrypt)
            lent.alive = self.model.delivers
            self.model.leases.setdefault(tag.lease, lent)

    def adopt(self, volume: str) -> None:
        self.look(volume)
        self.model.automatic = self.model.only_if_faster = False

    def send_home(self, volume: str, *, only_automatic: bool = False) -> bool:
        if only_automatic and not self.look(volume).automatic:
            raise RefusedError(ErrorCode.CONFLICT, "a person borrowed")
        self.look(volume)
        self.model.goal = Goal.HOME
        return self.model.tagged

    def swap_off(self, volume: str, within_s: float) -> bool:
        raise AssertionError("the model does not shut down")

    def forget_lease(self, volume: str, lease: str) -> None:
        lent = self.model.leases.pop(lease)
        assert not self.model.used(lease)
        assert not lent.session
        assert not lent.in_vg


class FakeSwap:
    """What a kernel would count of the model's volume, as told: rates, by its own clock of one second a look."""

    def __init__(self, model: Host) -> None:
        self.model = model
        self.there = True
        self.identity = "LVM-1"
        self.reads_s, self.busy, self.read_s = 0, 0.0, 0.02
        """Reads of a page in each second, the share of the time in which it was busy, and how long one read took."""
        self.counted = VolumeIo(self.identity, model.size)

    def storm(self) -> None:
        self.reads_s, self.busy = 100, 1.0

    def calm(self) -> None:
        self.reads_s, self.busy = 0, 0.0

    def look(self, volume: str) -> VolumeIo | None:
        before = self.counted
        self.counted = replace(
            before,
            identity=self.identity,
            reads=before.reads + self.reads_s,
            read_bytes=before.read_bytes + self.reads_s * 4096,
            read_s=before.read_s + self.reads_s * self.read_s,
            busy_s=before.busy_s + self.busy,
        )
        return self.counted if self.there and volume == VOLUME else None

    def memory(self) -> Memory | None:
        return None


class NoneSuspended:
    """Nothing is ever left suspended; keeps what it was told."""

    def __init__(self) -> None:
        self.on_resumed: Callable[[str], None] = lambda _device: None
        self.minded: Collection[str] = ()

    def start(self, on_resumed: Callable[[str], None]) -> None:
        self.on_resumed = on_resumed

    def mind(self, volumes: Collection[str]) -> None:
        self.minded = tuple(volumes)

    def stop(self) -> None:
        pass


class FakeExports:
    """Hands without RAM files and targets. What it holds outlives the agent, as the RAM file system does."""

    def __init__(
        self, directory: Path, on_removed: Callable[[str], None] = lambda _lease: None, host: str = "a"
    ) -> None:
        self.on_removed = on_removed
        self.host = host
        self.records: dict[str, ExportRecord] = {}
        self.misplaced = ""
        self.sessions: set[str] = set()
        self.fails: Exception | None = None
        self.marker = directory / "draining"
        self.removed: list[tuple[str, bool]] = []
        self.obeyed = NONE

    def start(self) -> dict[str, ExportRecord]:
        if self.fails:
            raise self.fails
        return dict(self.records)

    def draining(self) -> bool:
        return self.marker.exists()

    def newest(self) -> Generation:
        return self.obeyed

    def remember(self, newest: Generation) -> None:
        if self.fails:
            raise self.fails
        self.obeyed = newest

    def drain(self, draining: bool) -> None:
        if self.fails:
            raise self.fails
        if draining:
            self.marker.touch()
        else:
            self.marker.unlink(missing_ok=True)

    def create(self, request: ExportLease, reserve_bytes: int) -> ExportRecord:
        if self.fails:
            raise self.fails
        if request.lease not in self.records:
            secret, proof = f"secret-of-{request.lease}", f"proof-of-{request.lease}"
            self.records[request.lease] = ExportRecord.made(request, self.host, len(self.records) + 1, secret, proof)
        return self.records[request.lease]

    def remove(self, lease: str, *, force: bool = False) -> None:
        if lease in self.sessions and not force:
            raise RefusedError(ErrorCode.IN_USE, "log out first")
        if lease in self.sessions:
            assert self.records[lease].mode is Mode.MIRROR, "the only copy of pages would be thrown away"
        self.removed.append((lease, force))
        if self.records.pop(lease, None) is not None:
            self.on_removed(lease)
        self.sessions.discard(lease)

    def look(self) -> dict[str, bool]:
        for lease in self.sessions & self.records.keys():
            self.records[lease] = self.records[lease].model_copy(update={"phase": LeasePhase.ATTACHED})
        return {lease: lease in self.sessions for lease in self.records}


class FakePolicy:
    """Says what it is told to."""

    name = "told"

    def __init__(self) -> None:
        self.lendable_bytes = 1000 * MIB
        self.samples: list[HostSample] = []
        self.restored: dict[str, Any] = {}

    def decide(self, sample: HostSample) -> Decision:
        self.samples.append(sample)
        return Decision(self.lendable_bytes, "the guests use little")

    def snapshot(self) -> dict[str, Any]:
        return {"policy": self.name, "samples": len(self.samples)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.restored = dict(state)


class FakeSampler:
    """A host of 8 GiB."""

    def __init__(self) -> None:
        self.available_bytes = 6 * GIB
        self.psi_some: float | None = None

    def sample(self) -> Memory:
        return Memory(
            total_bytes=8 * GIB,
            available_bytes=self.available_bytes,
            used_bytes=8 * GIB - self.available_bytes,
            psi_some_avg10=self.psi_some,
            interval_s=5.0,
        )
