"""The steps that a plan is made of. Each is idempotent, is applied by `executor.py`, and reads as a sentence."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class AskForMemory:
    """Get more leases from the manager: some were lost or called back."""

    size_bytes: int
    exclude: tuple[str, ...] = ()
    """Lenders not to ask: they want memory back themselves."""

    def __str__(self) -> str:
        return f"ask the manager for {_mib(self.size_bytes)}"


@dataclass(frozen=True)
class Login:
    """Open the iSCSI session of a lease."""

    lease: str

    def __str__(self) -> str:
        return f"log in to lease {self.lease}"


@dataclass(frozen=True)
class Join:
    """Make the lease's disk a physical volume and add it to the volume group."""

    lease: str
    device: str

    def __str__(self) -> str:
        return f"add {self.device} (lease {self.lease}) to the volume group"


@dataclass(frozen=True)
class StartMove:
    """Start `pvmove` of the volume from one device to others; the kernel goes on by itself."""

    source: str
    destinations: tuple[str, ...]

    def __str__(self) -> str:
        return f"move the pages from {self.source} to {', '.join(self.destinations)}"


@dataclass(frozen=True)
class AbortMove:
    """Stop a move to the leases; every page is where it came from afterwards (the move is atomic)."""

    def __str__(self) -> str:
        return "abort the move to the leases"


@dataclass(frozen=True)
class RescueMove:
    """Undo a move whose destination died: every page is where it came from; these leases are out of the group.

    LVM itself refuses while a device is missing, so this goes below it. A lease that holds other pages stays in.
    """

    leases: tuple[str, ...]

    def __str__(self) -> str:
        return f"undo the move to lost memory ({', '.join(self.leases)})"


@dataclass(frozen=True)
class TellLoss:
    """Say, by name, that the pages on these dead leases are lost."""

    leases: tuple[str, ...]

    def __str__(self) -> str:
        return f"tell that the pages on {', '.join(self.leases)} are lost"


@dataclass(frozen=True)
class WriteOff:
    """Give the pages on these dead leases up, by name, and let the volume live on at home without them.

    Reading such a page fails; it never returns anything else. Afterwards every page is at home, no lease is in the
    group any more, and these leases are marked as lost.
    """

    leases: tuple[str, ...]

    def __str__(self) -> str:
        return f"write off the pages on {', '.join(self.leases)}: their lender is gone"


@dataclass(frozen=True)
class StartMirror:
    """Make the volume a raid1 with a second leg on the leases; it synchronises by itself."""

    devices: tuple[str, ...]

    def __str__(self) -> str:
        return f"mirror the volume to {', '.join(self.devices)}"


@dataclass(frozen=True)
class PreferRemote:
    """Mark the local leg write-mostly, with bounded write-behind: reads come from remote memory."""

    local_devices: tuple[str, ...]

    def __str__(self) -> str:
        return f"read from remote memory ({', '.join(self.local_devices)} becomes write-mostly)"


@dataclass(frozen=True)
class Leaving:
    """A lease that goes as soon as nothing lies on it."""

    lease: str
    lender: str
    device: str


@dataclass(frozen=True)
class SplitLeg:
    """Drop the healthy remote leg: nothing is copied, every page is on the local disk already.

    Leases in `leaving` are taken out of the group, logged out of and given back in the same step, for a lender that
    waits for its memory; what a crash leaves of that is done by `Leave`, `Logout` and `Release`.
    """

    devices: tuple[str, ...]
    leaving: tuple[Leaving, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"drop the mirror leg on {', '.join(self.devices)}"


@dataclass(frozen=True)
class CutOffLeases:
    """Cut leases off that back a healthy mirror and give them back at once, for a lender that needs its memory now.

    Every page is on the local disk too, or on its way there. LVM tidies up afterwards (`DropFailedLeg`), for it has to
    wait until that disk has caught up.
    """

    leaving: tuple[Leaving, ...]

    def __str__(self) -> str:
        return f"let go of {', '.join(lease.lease for lease in self.leaving)}: every page is on the local disk too"


@dataclass(frozen=True)
class DropFailedLeg:
    """Clean up after lost leases on which no page depends: forget their devices; a raid1 becomes linear at home."""

    leases: tuple[str, ...]

    def __str__(self) -> str:
        return f"clean up after lost memory ({', '.join(self.leases) or 'unknown lease'})"


@dataclass(frozen=True)
class ReserveHome:
    """Hold room for the pages that are away on the local disk."""

    devices: tuple[str, ...]
    size_bytes: int

    def __str__(self) -> str:
        return f"reserve {_mib(self.size_bytes)} on {', '.join(self.devices)} for the way home"


@dataclass(frozen=True)
class FreeHome:
    """Give the held place up, because the pages are coming home into it."""

    def __str__(self) -> str:
        return "free the reserved place on the local disk"


@dataclass(frozen=True)
class Leave:
    """Take the lease's disk out of the volume group."""

    lease: str
    device: str

    def __str__(self) -> str:
        return f"take {self.device} (lease {self.lease}) out of the volume group"


@dataclass(frozen=True)
class Logout:
    """Close the lease's iSCSI session and forget its node record."""

    lease: str

    def __str__(self) -> str:
        return f"log out of lease {self.lease}"


@dataclass(frozen=True)
class Release:
    """Tell the lender that the lease is not needed any more, and drop our tag."""

    lease: str
    lender: str
    lost: bool = False

    def __str__(self) -> str:
        return f"give lease {self.lease} back to {self.lender}"


@dataclass(frozen=True)
class Forget:
    """Drop our tags from the volume: it is home and nothing of ours is left on it."""

    def __str__(self) -> str:
        return "drop our tags: the volume is home"


@dataclass(frozen=True)
class Wait:
    """Nothing to do but let the kernel work."""

    reason: str
    percent: float

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Done:
    """The goal is reached."""

    reason: str

    def __str__(self) -> str:
        return self.reason


Step = (
    AskForMemory
    | Login
    | Join
    | StartMove
    | AbortMove
    | RescueMove
    | TellLoss
    | WriteOff
    | StartMirror
    | PreferRemote
    | SplitLeg
    | CutOffLeases
    | DropFailedLeg
    | ReserveHome
    | FreeHome
    | Leave
    | Logout
    | Release
    | Forget
    | Wait
    | Done
)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.0f} MiB"
