"""The steps that a plan is made of. Each is idempotent, is applied by `apply.py`, and reads as a sentence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AskForMemory:
    """Get more leases from the manager: some were lost or called back."""

    size_bytes: int

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
    outbound: bool

    def __str__(self) -> str:
        return f"move the pages from {self.source} to {', '.join(self.destinations)}"


@dataclass(frozen=True)
class AbortMove:
    """Stop a move to the leases; everything is on the local disk afterwards (the move is atomic)."""

    def __str__(self) -> str:
        return "abort the move to the leases"


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
class SplitLeg:
    """Drop the healthy remote leg: nothing is copied, every page is on the local disk already."""

    devices: tuple[str, ...]

    def __str__(self) -> str:
        return f"drop the mirror leg on {', '.join(self.devices)}"


@dataclass(frozen=True)
class DropLostLeg:
    """Clean up after a lost leg: forget the missing devices, make the volume linear on the local disk."""

    leases: tuple[str, ...]

    def __str__(self) -> str:
        return f"clean up the lost leg ({', '.join(self.leases) or 'unknown lease'})"


@dataclass(frozen=True)
class ReserveHome:
    """Hold the volume's place on the local disk while its pages are away."""

    device: str

    def __str__(self) -> str:
        return f"reserve the volume's place on {self.device}"


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
    | StartMirror
    | PreferRemote
    | SplitLeg
    | DropLostLeg
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
