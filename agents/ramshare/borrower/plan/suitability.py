"""Which volumes ramshare can put on leases: plain linear ones, in a group that takes leases in. Pure.

Asked before any lease is made, and again at each look: a volume that became unsuitable later is told of and left alone.
Everything else that LVM can make of a volume moves in part only, not at all, or loses something on the way.
"""

from typing import NamedTuple

from ramshare.borrower.plan.neighbours import ambiguous, missing_names, waits_for
from ramshare.borrower.plan.tags import lease_of_pv, parse
from ramshare.linux.lvm_state import LogicalVolume, LvmState
from ramshare.messages.replies import ErrorCode
from ramshare.messages.state import Mode

MOST_LEGS = 4
"""Two that go, one that comes, and the local one."""


class Unsuitable(NamedTuple):
    """Why a volume cannot be put on leases: a code for programs, and a sentence that says what to do."""

    code: ErrorCode
    sentence: str


_PLAIN = "swap to a plain volume instead (lvcreate -n NAME -L SIZE {vg} --wipesignatures y)"
_KINDS: dict[str, tuple[str, str]] = {
    "striped": ("striped over several disks", _PLAIN),
    "raid1": (
        "a raid1 by itself",
        "make it plain (lvconvert -m0 {volume} DISK_TO_DROP), a lease is then its second leg",
    ),
    "mirror": ("an old-style mirror", "make it plain (lvconvert -m0 {volume} DISK_TO_DROP)"),
    "thin": ("a thin volume, whose pages lie in a pool with others'", _PLAIN),
    "thin-pool": ("a thin pool", _PLAIN),
    "cache": ("cached", "take the cache away (lvconvert --uncache {volume})"),
    "cache-pool": ("a cache pool", _PLAIN),
    "writecache": ("behind a write cache", "take the cache away (lvconvert --splitcache {volume})"),
    "vdo": ("a vdo volume, whose pages lie compressed in a pool", _PLAIN),
    "vdo-pool": ("a vdo pool", _PLAIN),
    "integrity": ("one with check sums", "take them away (lvconvert --raidintegrity n {volume})"),
    "snapshot": ("a snapshot", _PLAIN),
}
"""Segment type to what the volume is, and what to do."""


def unsuitable(state: LvmState, volume: str, mode: Mode | None = None) -> Unsuitable | None:
    """Return why `volume` cannot be attached by `mode` (by default the one in its tags, else mirror); None if it can.

    One that lies on leases of its own is looked at as what it was.
    """
    lv = state.lv(volume)
    vg = volume.partition("/")[0]
    if lv is None:
        return Unsuitable(ErrorCode.UNKNOWN_VOLUME, f"no logical volume {volume}; `lvs` lists what there is")
    tags = parse(lv.tags)
    mode = mode or tags.mode or Mode.MIRROR
    sentence = _group(state, vg) or _kind(state, lv) or _unusable(lv) or _lies_elsewhere(state, lv)
    if not tags.leases:
        sentence = sentence or waits_for(state, volume) or _missing(state, lv)
        if not sentence and lv.moves:
            return Unsuitable(ErrorCode.BUSY, f"a pvmove of {volume} is under way; try again when `lvs -a` shows none")
    sentence = sentence or (_room(state, lv) if mode is not Mode.MOVE else "")
    return Unsuitable(ErrorCode.CONFLICT, sentence) if sentence else None


def remote_devices(state: LvmState, vg: str) -> frozenset[str]:
    """Return the devices of the group that are leases."""
    return frozenset(pv.name for pv in state.disks_of(vg) if lease_of_pv(pv.tags) is not None)


def is_ours(state: LvmState, lv: LogicalVolume) -> bool:
    """Whether this raid1 has legs on leases and at most one at home, as ramshare makes it; a dead leg has no place.

    Of a pair there are three legs while one of a pair is being replaced, or the volume is on its way.
    """
    local = [leg for leg in lv.legs if leg.pvs and not leg.pvs & _away(state, lv.vg)]
    was_pair = parse(lv.tags).mode is Mode.PAIR or any(tag.leg for tag in parse(lv.tags).leases)
    most = MOST_LEGS if was_pair else 2
    return lv.is_mirror and 2 <= len(lv.legs) <= most and len(local) < 2 and bool(parse(lv.tags).leases)


def _away(state: LvmState, vg: str) -> frozenset[str]:
    return remote_devices(state, vg) | missing_names(state, vg)


def _group(state: LvmState, vg: str) -> str:
    group = state.vg(vg)
    if group is not None and group.exported:
        return f"volume group {vg} is exported: `vgimport {vg}` makes it usable here"
    return ambiguous(state, vg)


def _kind(state: LvmState, lv: LogicalVolume) -> str:
    """Say what the volume is if it is not linear, or a mirror of ours."""
    fill = {"volume": lv.full_name, "vg": lv.vg, "segtype": lv.segtype}
    if lv.snapshots:
        names = ", ".join(lv.snapshots)
        return f"{lv.full_name} has a snapshot ({names}), which copies what is moved: remove it (lvremove)"
    if lv.origin and not lv.pool:
        return f"{lv.full_name} is a snapshot of {lv.origin}: {_PLAIN.format(**fill)}"
    if lv.segtype == "linear" and set(lv.layout.split(",")) <= {"linear", ""}:
        return ""
    if is_ours(state, lv):
        return ""
    kind = lv.segtype if lv.segtype != "linear" else lv.layout.split(",")[0]
    if lv.is_mirror and parse(lv.tags).leases and len(lv.legs) > 2:
        return f"{lv.full_name} has {len(lv.legs)} legs, of which ramshare made one: drop the others (lvconvert -m1)"
    what, advice = _KINDS.get(kind, ("of LVM's type {segtype}", _PLAIN))
    return f"{lv.full_name} is {what.format(**fill)} and cannot be put on leases: {advice.format(**fill)}"


def _unusable(lv: LogicalVolume) -> str:
    if lv.inactive and not parse(lv.tags).leases:
        return f"{lv.full_name} is not active: `lvchange -ay {lv.full_name}` makes it so"
    return ""


def _lies_elsewhere(state: LvmState, lv: LogicalVolume) -> str:
    """It may lie on leases that were made for it, but not on another volume's."""
    own = {tag.lease for tag in parse(lv.tags).leases}
    for pv in state.disks_of(lv.vg):
        lease = lease_of_pv(pv.tags)
        if lease is not None and lease not in own and pv.name in lv.pvs:
            return f"{lv.full_name} lies on {pv.name}, lease {lease} of another volume: move it off (pvmove {pv.name})"
    return ""


def _missing(state: LvmState, lv: LogicalVolume) -> str:
    if lv.health == "partial" or missing_names(state, lv.vg) & lv.pvs.keys():
        return f"{lv.full_name} lies on a missing device: bring it back"
    if any(pv.missing for pv in state.disks_of(lv.vg)):
        return f"{lv.vg} misses a lease of another volume, which is being cleaned up: try again in a minute"
    return ""


def _room(state: LvmState, lv: LogicalVolume) -> str:
    """A raid1's first leg gets an extent for its metadata where its data lies (LVM: `_alloc_rmeta_for_lv`)."""
    group = state.vg(lv.vg)
    disks = [pv for pv in state.disks_of(lv.vg) if pv.name in lv.pvs and pv.name not in remote_devices(state, lv.vg)]
    if lv.is_mirror or lv.moves or group is None or not disks:
        return ""
    if any(pv.allocatable and pv.free_bytes >= group.extent_bytes for pv in disks):
        return ""
    names, extent = ", ".join(pv.name for pv in disks), f"{group.extent_bytes >> 20} MiB"
    return (
        f"{names} has no room for the extent ({extent}) that a mirror needs beside {lv.full_name}: "
        "make room there (a swap that is smaller by an extent will do), or borrow by move"
    )
