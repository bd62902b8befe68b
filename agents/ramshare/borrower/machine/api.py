"""What the borrower's agent may ask of its machine, and on which thread. Agents depend on this page only.

Whatever starts a process, reads a file or waits for LVM is on the worker: the agent's loop must answer lenders while
swap stalls. The loop itself takes one look, at the sessions in sysfs (`sessions_changed`). Devices that stay suspended
have a thread of their own (`Suspended`): the worker may be the one that waits for them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ramshare.borrower.plan.steps import Step
from ramshare.borrower.plan.tags import PLAIN_TERMS, LeaseTag, Terms
from ramshare.borrower.plan.view import Heard, VolumeView
from ramshare.linux.volume_io import VolumeIo
from ramshare.messages.replies import Grant
from ramshare.messages.state import Memory, Mode


@dataclass(frozen=True)
class Looked:
    """One turn of a volume: what was seen, the step that followed, and the error if it failed."""

    view: VolumeView
    step: Step
    error: str = ""


@dataclass(frozen=True)
class LeaseTerms:
    """What a lease must be like to be of use to a volume."""

    overhead_bytes: int
    """Needed besides the payload: the PV's header, for a mirror also one extent of leg metadata."""
    grain_bytes: int
    """Leases are multiples of it: the group's extent size."""
    initiator: str
    """This host's iSCSI name."""


class Host(Protocol):
    """What requests need of LVM, iSCSI and our tags. Worker thread only; all may raise `RamshareError`."""

    def check_borrow(self, volume: str, mode: Mode | None) -> VolumeView:
        """Return the volume's picture if it may be borrowed for, by whichever of pair and mirror if no mode is given.

        Raises `RefusedError`.
        """
        ...

    def terms(self, volume: str, mode: Mode) -> LeaseTerms:
        """Return what to ask the manager for, as of the last look at the volume."""
        ...

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
        """Write down that these leases are for this volume, before anything is done with them.

        With a `mode` the volume is to be attached from now on, `part_bytes` of it or all (0), its leases encrypted or
        not (None: by this host's setting), on these `terms`; without one the goal stays what it has become meanwhile.
        """
        ...

    def adopt(self, volume: str) -> None:
        """Write down that what the policy borrowed is a person's loan from now on."""
        ...

    def send_home(self, volume: str, *, only_automatic: bool = False) -> bool:
        """Have the next turns bring the volume home; False if it is there and carries no tag.

        With `only_automatic` a person's loan is none to bring home: raises `RefusedError`.
        """
        ...

    def swap_off(self, volume: str, within_s: float) -> bool:
        """Bring the volume's pages into memory if they fit; return whether this host swaps to it no more.

        Raises `CommandError` if that takes longer.
        """
        ...

    def forget_lease(self, volume: str, lease: str) -> None:
        """Forget a lease that its lender has back (or that is lost for good)."""
        ...


class OwedLeases(Protocol):
    """Lease to lender, on disk: what lenders have yet to be told. Worker thread only; never raises."""

    def read(self) -> dict[str, str]:
        """Return what an earlier run left."""
        ...

    def write(self, owed: Mapping[str, str]) -> None:
        """Replace what is there."""
        ...


class SwapWatch(Protocol):
    """What the kernel counts of swap, for the demand policy. Loop: it reads what the kernel makes up, and waits for
    no disk."""

    def look(self, volume: str) -> VolumeIo | None:
        """Return what was read and written at the volume's device since it was made; None if there is no such one."""
        ...

    def memory(self) -> Memory | None:
        """Return this host's own memory now, rates since the last call; None where it cannot be read."""
        ...


class Suspended(Protocol):
    """Resumes what was left suspended, on a thread of its own."""

    def start(self, on_resumed: Callable[[str], None]) -> None:
        """Begin; `on_resumed` is called, on that thread, with the name of a device."""
        ...

    def mind(self, volumes: Collection[str]) -> None:
        """Look after these volumes from now on."""
        ...

    def stop(self) -> None:
        """End. Idempotent."""
        ...


class GuestDisks(Protocol):
    """Which guests of this host have which volumes as disks. All calls but `start` and `stop` may block for seconds."""

    present: bool
    """Whether there is anybody to ask."""

    def start(self, on_change: Callable[[], None]) -> None:
        """Call `on_change`, on another thread, when a guest starts, stops, arrives or leaves."""
        ...

    def stop(self) -> None:
        """End. Idempotent."""
        ...

    def look(self) -> Mapping[str, tuple[str, ...]]:
        """Return volume to the names of the guests that have it, or a part of it, as a disk. Raises `RamshareError`."""
        ...


class NoGuestDisks:
    """Nobody can be asked."""

    present = False

    def start(self, on_change: Callable[[], None]) -> None:
        """See `GuestDisks`."""

    def stop(self) -> None:
        """See `GuestDisks`."""

    def look(self) -> Mapping[str, tuple[str, ...]]:
        """See `GuestDisks`."""
        return {}


@dataclass(frozen=True)
class Machine:
    """The machine in parts, by the thread that may use each."""

    start: Callable[[], list[str]]
    """Worker: check the machine and return the volumes that carry our tags. Raises `MissingPartError`."""
    turn: Callable[[str, Heard], Looked]
    """Worker: look at a volume, plan one step and apply it if it is this machine's."""
    host: Host
    """Worker."""
    owed: OwedLeases
    """Worker."""
    sessions_changed: Callable[[], bool]
    """Loop: whether any iSCSI session changed since this was last asked."""
    suspended: Suspended
    """Has a thread of its own."""
    swap_watch: SwapWatch
    """Loop."""
    public_key: str
    """Lenders seal the secrets of leases to it."""
    guest_disks: GuestDisks = field(default_factory=NoGuestDisks)
    """Has a thread of its own: a hypervisor may hang."""
