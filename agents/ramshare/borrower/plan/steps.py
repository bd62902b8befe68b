"""The steps that a plan is made of. Each is idempotent, reads as a sentence, and says all that others know of it.

Who applies a step is said by the unions (`BusStep`, `MachineStep`, `NoStep`), all else by the attributes of `AnyStep`
(`step.py`). A new step is a class and its place in a union here, its place in `planner.py`, and one branch where it is
applied, which the type checker asks for (`machine/executor.py`, or `reconcile.py` for a step on the bus).
"""

from dataclasses import field

from ramshare.borrower.plan.step import STEADY_S, WORKING_S, AnyStep, Leaving
from ramshare.messages.events import EventKind
from ramshare.messages.state import Mode

# ---- applied on the loop, through the bus


class AskForMemory(AnyStep):
    """Get more leases from the manager: some were lost or called back."""

    says = "ask the manager for {size_bytes}"
    look_again_s = WORKING_S
    size_bytes: int
    exclude: tuple[str, ...] = ()
    """Lenders not to ask: they want memory back themselves, or have the other leg."""
    leg: int = 0
    """Of a pair, the leg that it is for."""
    note: str = ""
    """How the volume is whole without that memory, while there is none."""


class Release(AnyStep):
    """Tell the lender that the lease is not needed any more, and drop our tag."""

    says = "give lease {lease} back to {lender}"
    look_again_s = WORKING_S
    lease: str
    lender: str
    lost: bool = False


class TellLoss(AnyStep):
    """Say, by name, that the pages on these dead leases are lost."""

    says = "tell that the pages on {leases} are lost"
    event = EventKind.PAGES_LOST
    leases: tuple[str, ...]


BusStep = AskForMemory | Release | TellLoss
"""Applied on the agent's loop, by what the agents tell each other."""

# ---- applied on this machine: sessions and the volume group


class Login(AnyStep):
    """Open the iSCSI session of a lease."""

    says = "log in to lease {lease}"
    lease: str


class Logout(AnyStep):
    """Close the lease's iSCSI session and forget its node record."""

    says = "log out of lease {lease}"
    lease: str


class Compare(AnyStep):
    """Read from the lease's disk and from the local one a few times: what does not help is given back unused."""

    says = "see whether {device} (lease {lease}) is faster than the local disk"
    lease: str
    device: str


class Join(AnyStep):
    """Make the lease's disk a physical volume and add it to the volume group."""

    says = "add {device} (lease {lease}) to the volume group"
    lease: str
    device: str


class Leave(AnyStep):
    """Take the lease's disk out of the volume group."""

    says = "take {device} (lease {lease}) out of the volume group"
    lease: str
    device: str


class ReserveHome(AnyStep):
    """Hold room for the pages that are away on the local disk."""

    says = "reserve {size_bytes} on {devices} for the way home"
    devices: tuple[str, ...]
    size_bytes: int
    note: str = field(default="", compare=False)


class FreeHome(AnyStep):
    """Give the held place up, because the pages are coming home into it."""

    says = "free the reserved place on the local disk"


class Forget(AnyStep):
    """Drop our tags from the volume: it is home and nothing of ours is left on it."""

    says = "drop our tags: the volume is home"


GroupStep = Login | Logout | Compare | Join | Leave | ReserveHome | FreeHome | Forget

# ---- applied on this machine: move


class StartMove(AnyStep):
    """Start `pvmove` of the volume from one device to others; the kernel goes on by itself.

    `size_bytes` of the volume, its first ones that lie there, or all of them for 0.
    """

    says = "move the pages from {source} to {destinations}"
    source: str
    destinations: tuple[str, ...]
    size_bytes: int = 0
    note: str = field(default="", compare=False)


class AbortMove(AnyStep):
    """Stop a move to the leases; every page is where it came from afterwards (the move is atomic)."""

    says = "abort the move to the leases"


class RescueMove(AnyStep):
    """Undo a move whose destination died: every page is where it came from; these leases are out of the group.

    LVM itself refuses while a device is missing, so this goes below it. A lease that holds other pages stays in.
    """

    says = "undo the move to lost memory ({leases})"
    leases: tuple[str, ...]


class WriteOff(AnyStep):
    """Give the pages on these dead leases up, by name, and let the volume live on at home without them.

    Reading such a page fails; it never returns anything else. Afterwards every page is at home, no lease is in the
    group any more, and these leases are marked as lost.
    """

    says = "write off the pages on {leases}: their lender is gone"
    retry_s = 5.0  # it waits for memory, for processes that lost pages to end
    leases: tuple[str, ...]


MoveStep = StartMove | AbortMove | RescueMove | WriteOff

# ---- applied on this machine: mirror


class StartMirror(AnyStep):
    """Make the volume a raid1, with a new leg on these devices; it synchronises by itself."""

    says = "mirror the volume to {devices}"
    devices: tuple[str, ...]
    copies: int = 2
    """Legs afterwards."""


class PreferRemote(AnyStep):
    """Mark the local leg write-mostly, with bounded write-behind: reads come from remote memory."""

    says = "read from remote memory ({local_devices} becomes write-mostly)"
    local_devices: tuple[str, ...]


class SplitLeg(AnyStep):
    """Drop healthy legs: nothing is copied, every page is on those that stay.

    Leases in `leaving` are taken out of the group, logged out of and given back in the same step, for a lender that
    waits for its memory; what a crash leaves of that is done by `Leave`, `Logout` and `Release`.
    """

    says = "drop the mirror leg on {devices}"
    look_again_s = WORKING_S  # the lenders of `leaving` answer
    devices: tuple[str, ...]
    leaving: tuple[Leaving, ...] = field(default=(), compare=False)
    copies: int = 1
    """Legs that stay."""


class CutOffLeases(AnyStep):
    """Cut leases off that back a healthy mirror and give them back at once, for a lender that needs its memory now.

    Every page is on another leg too, or on its way to the local disk. LVM tidies up afterwards (`DropFailedLeg`), for
    it has to wait until that disk has caught up.
    """

    says = "cut off {leaving}: every page is in another place too"
    look_again_s = WORKING_S
    uses_lvm = False
    cuts_off = True
    leaving: tuple[Leaving, ...]


class DropFailedLeg(AnyStep):
    """Clean up after lost leases on which no page depends: forget their devices, and the legs of a raid1 there."""

    says = "clean up after lost memory ({leases})"
    event = EventKind.LEG_LOST
    waits_for_writes = True
    leases: tuple[str, ...]


MirrorStep = StartMirror | PreferRemote | SplitLeg | CutOffLeases | DropFailedLeg

MachineStep = GroupStep | MoveStep | MirrorStep
"""Applied on the worker thread, to this machine's iSCSI sessions and volume groups."""

# ---- nothing to do now


class Wait(AnyStep):
    """Nothing to do but let the kernel work."""

    says = "{reason}"
    event = None
    look_again_s = WORKING_S
    reason: str
    percent: float
    stuck: bool = field(default=False, compare=False)
    """Nothing here will end it; see `patience.py`."""
    hopeless: bool = field(default=False, compare=False)
    """Nothing at all will: the volume goes home at once."""


class Done(AnyStep):
    """The goal is reached; told once, when the volume gets there."""

    look_again_s = STEADY_S
    uses_lvm = False
    percent = 100.0


class AtHome(Done):
    """Every page is on the local disk, and no lease is left."""

    says = "at home"
    event = EventKind.DETACHED


class Attached(Done):
    """The volume is on its leases."""

    says = "attached by {mode} to {leases} lease(s){part}"
    event = EventKind.ATTACHED
    mode: Mode
    leases: int
    part: str = ""
    """How much of it, if the rest stays at home."""


NoStep = Wait | AtHome | Attached
"""Applied by nobody: there is nothing to do but look again."""

Step = BusStep | MachineStep | NoStep
