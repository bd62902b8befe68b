"""What the planner sees of one volume: a frozen picture made by `observe.py` from LVM, sysfs and our own tags.

But for what the bus says (`Heard`) every field is what the kernel or LVM says now, nothing was only asked for: a plan
made after a crash of anybody is as good as one made before.
"""

from dataclasses import dataclass
from enum import StrEnum

from ramshare.borrower.plan.comparison import Comparison
from ramshare.messages.state import Mode


class Goal(StrEnum):
    """What the operator wants of a volume; kept as a tag on the logical volume."""

    HOME = "home"
    ATTACHED = "attached"


class Layout(StrEnum):
    """How LVM maps the volume now."""

    LINEAR = "linear"
    MOVING = "moving"
    RAID1 = "raid1"
    """Legs on leases, and at most one on local disks."""
    OTHER = "other"
    """Striped, thin, a raid by itself …: whatever ramshare does not make."""


class Link(StrEnum):
    """State of the iSCSI session of a lease."""

    NONE = "none"
    UP = "up"
    DOWN = "down"
    """The session exists and is trying to reconnect, or has given up."""


@dataclass(frozen=True)
class LeaseView:
    """One lease of the volume, seen from the borrower's host."""

    lease: str
    lender: str
    size_bytes: int
    """Payload: what the volume may put on it."""
    can_login: bool = False
    """A grant is in memory or open-iscsi keeps the node record."""
    link: Link = Link.NONE
    device: str | None = None
    in_vg: bool = False
    used_bytes: int = 0
    """Bytes of the volume that lie on it, by LVM's segments."""
    leg: int = 0
    """Of a pair, the leg that it is for: 1, which lies on committed memory, or 2."""
    occupant: str = ""
    """Another volume that somebody put on it."""
    encrypted: bool = False
    """Whether its pages are encrypted, or will be once it joins; the key dies with the machine."""
    disk: str | None = None
    """The leased disk itself; `device` is what LVM gets: that, or the encrypted device over it once there is one."""
    compared: Comparison | None = None
    """What reading from it takes, once that was measured; see `comparison.py`."""
    lost: bool = False
    """The VG misses its device, or it was given up: nothing on it can be trusted.

    A leg that md has thrown out shows in `VolumeView.degraded`; the leases of it that still answer can be used again.
    """

    @property
    def unreachable(self) -> bool:
        """There is no session and no way to open one."""
        return self.link is Link.NONE and not self.can_login

    @property
    def bare(self) -> bool:
        """Its disk is there, the encrypted device over it is not."""
        return self.encrypted and self.disk is not None and self.device is None

    @property
    def spare_bytes(self) -> int:
        """Payload that the volume may still put on it."""
        return max(0, self.size_bytes - self.used_bytes)


@dataclass(frozen=True)
class LegView:
    """One copy of a raid1 volume."""

    devices: tuple[str, ...]
    """Disks that hold it, data and metadata; those that are missing have no name."""
    leases: frozenset[str] = frozenset()
    """Those of its disks that are leases."""
    is_local: bool = False
    in_sync: bool = True
    failed: bool = False
    """md has thrown it out, or a disk of it is missing."""

    @property
    def good(self) -> bool:
        """Whether every page is on it."""
        return self.in_sync and not self.failed


@dataclass(frozen=True)
class MoveView:
    """A `pvmove` under way, and which leases it copies from and to; none means the local disk."""

    percent: float
    from_leases: frozenset[str] = frozenset()
    to_leases: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Heard:
    """What was said on the bus and bears on a volume; a crash of the agent forgets it, and it is said again."""

    vacate: frozenset[str] = frozenset()
    """Leases that their lender wants back."""
    nothing_to_borrow: bool = False
    """The manager had no memory for this volume when it was last asked."""
    told_lost: frozenset[str] = frozenset()
    """Leases whose pages the agent said were lost."""
    asked_in_vain: bool = False
    """There was nothing to borrow for minutes: leases that cannot be used without more of them go back."""


NOTHING_HEARD = Heard()


@dataclass(frozen=True)
class VolumeView:
    """A swap volume and everything that concerns it."""

    volume: str
    size_bytes: int
    goal: Goal
    mode: Mode | None
    layout: Layout
    local_bytes: int
    local_devices: tuple[str, ...]
    """Local disks that it lies on, else those that it would come home to."""
    leases: tuple[LeaseView, ...] = ()
    part_bytes: int = 0
    """How much of it is to be on leases; 0 for all. The rest stays at home."""
    sync_percent: float = 100.0
    write_mostly: bool = False
    degraded: bool = False
    """A leg of the raid1 failed."""
    local_failed: bool = False
    """The failed leg is the local one: the only good pages are on the leases."""
    legs: tuple[LegView, ...] = ()
    """Of a raid1."""
    extent_bytes: int = 0
    """What a leg's metadata takes at home."""
    move: MoveView | None = None
    reserved_bytes: int = 0
    """Room for the volume on the local disk, held by a placeholder while pages are away."""
    tagged: bool = False
    """The volume carries tags of ours."""
    automatic: bool = False
    """The demand policy borrowed for it."""
    only_if_faster: bool = False
    """Leases that are not clearly faster than the local disk are to go back unused."""
    home_devices: tuple[str, ...] = ()
    """Where it comes home to: the disks that it left; empty for `local_devices`."""
    home_note: str = ""
    """Why these are not the disks that it left."""
    unsuitable: str = ""
    """Why it cannot be on leases, and what to do; see `suitability.py`."""
    waits_for: str = ""
    """Why its group must not be changed now; see `neighbours.py`."""
    heard: Heard = NOTHING_HEARD
    idle: bool = False
    """Nobody swaps to it, neither this host nor a guest; looked at when there is nothing to do."""

    @property
    def remote_bytes(self) -> int:
        """Bytes of the volume that lie on leases."""
        return sum(lease.used_bytes for lease in self.leases)

    def encrypts(self, lease: str) -> bool:
        """Whether this lease of the volume is encrypted, or will be."""
        return any(x.encrypted for x in self.leases if x.lease == lease)

    @property
    def wanted_bytes(self) -> int:
        """Bytes of it that are to lie on leases while it is attached."""
        return self.part_bytes or self.size_bytes

    @property
    def way_home(self) -> tuple[str, ...]:
        """Devices that its pages come home to."""
        return self.home_devices or self.local_devices

    @property
    def vg(self) -> str:
        """The volume group."""
        return self.volume.partition("/")[0]
