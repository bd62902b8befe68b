"""Where LVM says the bytes are: physical volumes, volume groups and logical volumes as frozen values.

`lvm_report.py` fills them from LVM's own report, `lvm.py` hands them out, and the borrower plans from nothing else.
"""

from dataclasses import dataclass, field

from ramshare.errors import RamshareError

UNKNOWN_PV = "[unknown]"
"""The name that LVM prints for a physical volume whose device is gone."""


@dataclass(frozen=True)
class PhysicalVolume:
    """A disk under LVM. `vg` is empty for one that belongs to no group, `name` is `[unknown]` if the device is gone."""

    name: str
    vg: str
    size_bytes: int
    free_bytes: int
    tags: frozenset[str] = frozenset()
    missing: bool = False
    uuid: str = ""
    allocatable: bool = True
    """Whether LVM may put new extents on it (`pvchange -x`)."""
    duplicate: bool = False
    """LVM sees this physical volume on several devices."""


@dataclass(frozen=True)
class VolumeGroup:
    """A volume group. Its name may be another group's too, after disks were cloned or joined from two hosts."""

    name: str
    size_bytes: int
    free_bytes: int
    extent_bytes: int
    missing_pvs: int = 0
    tags: frozenset[str] = frozenset()
    uuid: str = ""
    exported: bool = False


@dataclass(frozen=True)
class Segment:
    """A stretch of a logical volume, or of one of its legs, on one physical volume."""

    pv: str
    bytes: int


@dataclass(frozen=True)
class Leg:
    """One copy of a raid1 volume: where its data lies (`segments`) and where its metadata does (`metadata`)."""

    index: int
    segments: tuple[Segment, ...]
    metadata: tuple[Segment, ...] = ()
    writemostly: bool = False
    health: str = ""
    """LVM's word for trouble: empty, `partial` (device gone) or `refresh needed` (replaced by an error target)."""
    in_sync: bool = True
    """Whether it has every page; of an inactive volume LVM says no."""

    @property
    def pvs(self) -> frozenset[str]:
        """The physical volumes that hold this leg, data and metadata."""
        return frozenset(segment.pv for segment in (*self.segments, *self.metadata))


@dataclass(frozen=True)
class Move:
    """A pvmove in progress: LVM's temporary volume, where it copies from and to, and how far it is."""

    name: str
    source: str
    destinations: tuple[Segment, ...]
    percent: float | None


@dataclass(frozen=True)
class LogicalVolume:
    """A volume and where its bytes really are, in LVM's own words."""

    vg: str
    name: str
    size_bytes: int
    tags: frozenset[str] = frozenset()
    layout: str = "linear"
    segtype: str = "linear"
    """Of several segment types the first that is not linear."""
    segments: tuple[Segment, ...] = ()
    """Where its bytes lie, whatever hidden volumes are in between; during a pvmove the source's side of what is moved.

    Of a raid1 volume see `legs`."""
    legs: tuple[Leg, ...] = ()
    active: bool = True
    inactive: bool = False
    """Both are false where LVM cannot tell (no device mapper)."""
    suspended: bool = False
    open: bool = False
    snapshots: tuple[str, ...] = ()
    """Names of the thick snapshots that were taken of it; their changes are copied on every write."""
    origin: str = ""
    """The volume that this one is a snapshot of."""
    pool: str = ""
    moves: tuple[Move, ...] = ()
    sync_percent: float | None = None
    """Of a raid1 volume, how much of it both legs hold; None if it is no raid1 or not active."""
    sync_action: str = ""
    """Of a raid1 volume: idle, recover, resync, frozen, …"""
    health: str = ""
    """LVM's word for trouble; `partial` if a device is gone on which it, or anything below it, lies."""
    write_behind: int = 0
    region_bytes: int = 0

    @property
    def full_name(self) -> str:
        """`VG/LV`."""
        return f"{self.vg}/{self.name}"

    @property
    def is_mirror(self) -> bool:
        """Whether the volume is raid1."""
        return self.segtype == "raid1"

    @property
    def move_pv(self) -> str:
        """The source of the pvmove in progress, or empty."""
        return self.moves[0].source if self.moves else ""

    @property
    def copy_percent(self) -> float | None:
        """How far the pvmove in progress or else the raid1's initial sync is; None if nothing is being copied."""
        if self.moves:
            return self.moves[0].percent
        return self.sync_percent

    @property
    def pvs(self) -> dict[str, int]:
        """Bytes on each physical volume: segments, legs with their metadata, and a pvmove's destinations."""
        parts = [*self.segments]
        for leg in self.legs:
            parts += [*leg.segments, *leg.metadata]
        for move in self.moves:
            parts += move.destinations
        totals: dict[str, int] = {}
        for part in parts:
            totals[part.pv] = totals.get(part.pv, 0) + part.bytes
        return totals


@dataclass(frozen=True)
class LvmState:
    """Everything that one report said; internal volumes (legs, pvmove's) are folded into the volume they serve."""

    pvs: tuple[PhysicalVolume, ...] = ()
    vgs: tuple[VolumeGroup, ...] = ()
    lvs: tuple[LogicalVolume, ...] = ()
    debris: tuple[str, ...] = ()
    """`VG/LV` of inactive leg or metadata volumes that an interrupted conversion left behind."""
    complaints: str = field(default="", compare=False)
    """What LVM said besides the report: the cause where a group or volume is not in it."""
    loose: tuple[LogicalVolume, ...] = ()
    """Hidden volumes that LVM shows as part of no visible one, for instance a spare for thin pools."""

    def pv(self, name: str) -> PhysicalVolume | None:
        """Return the physical volume on device `name`."""
        return next((pv for pv in self.pvs if pv.name == name), None)

    def vg(self, name: str) -> VolumeGroup | None:
        """Return the volume group `name`."""
        return next((vg for vg in self.vgs if vg.name == name), None)

    def disks_of(self, vg: str) -> tuple[PhysicalVolume, ...]:
        """Return the physical volumes of the group."""
        return tuple(pv for pv in self.pvs if pv.vg == vg)

    def lv(self, full_name: str) -> LogicalVolume | None:
        """Return the logical volume `VG/LV`."""
        return next((lv for lv in self.lvs if lv.full_name == full_name), None)

    def existing(self, full_name: str) -> LogicalVolume:
        """Return the logical volume `VG/LV`. Raises `RamshareError` if it is gone."""
        found = self.lv(full_name)
        if found is None:
            raise RamshareError(f"logical volume {full_name} is gone{self.because()}", "`lvs` lists what there is")
        return found

    def because(self) -> str:
        """Return LVM's complaints as the end of a sentence about something that is not in the report, or nothing."""
        return f" (LVM says: {self.complaints})" if self.complaints else ""
