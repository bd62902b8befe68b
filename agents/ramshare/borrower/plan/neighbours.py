"""What else lies in the volume's group, and when it forbids to touch the group: nothing foreign may come to harm. Pure.

`vgreduce --removemissing --force`, with which a dead lease is forgotten, removes every volume that lies on any missing
device of the group (a thin pool, a striped volume), and makes any raid1 there give its leg up. Any other change that
LVM accepts while a device is missing marks that device as missing for good. So while a device that is not a lease of
ours is missing, for instance a second disk that appears late at boot, nothing is changed at all.
"""

from collections import Counter

from ramshare.borrower.plan.tags import HOME_SUFFIX, lease_of_pv, parse
from ramshare.linux.lvm_state import UNKNOWN_PV, LogicalVolume, LvmState, PhysicalVolume


def waits_for(state: LvmState, volume: str) -> str:
    """Return why the group of `volume` must not be changed now and what would help; empty if it may be changed."""
    vg = volume.partition("/")[0]
    return ambiguous(state, vg) or _foreign_missing(state, vg) or _others_at_stake(state, volume, vg)


def ambiguous(state: LvmState, vg: str) -> str:
    """Return why LVM cannot tell what `vg` or a device of it is, empty if it can."""
    named = [group.uuid for group in state.vgs if group.name == vg]
    if len(named) > 1 and (len(set(named)) > 1 or not named[0]):
        return f"two volume groups are called {vg}: rename one of them (vgrename UUID NEWNAME; `vgs -o +vg_uuid`)"
    seen = Counter(pv.uuid for pv in state.pvs if pv.uuid)
    for pv in state.disks_of(vg):
        if pv.duplicate or seen[pv.uuid] > 1:
            return f"{pv.name} of {vg} is seen on several devices: hide the copies from LVM (`pvs --all`, lvmdevices)"
    return ""


def occupant(state: LvmState, volume: str, pv: str) -> str:
    """Return a volume other than `volume` that lies on this device, empty for none."""
    vg = volume.partition("/")[0]
    mine = (volume, volume + HOME_SUFFIX)
    others = (lv for lv in (*state.lvs, *state.loose) if lv.vg == vg and lv.full_name not in mine)
    return next((lv.full_name for lv in others if pv in lv.pvs), "")


def missing_names(state: LvmState, vg: str) -> frozenset[str]:
    """Return the names under which missing devices of the group stand in its volumes' segments."""
    return frozenset({UNKNOWN_PV, *(pv.name for pv in state.disks_of(vg) if pv.missing)})


def _foreign_missing(state: LvmState, vg: str) -> str:
    missing = [pv for pv in state.disks_of(vg) if pv.missing]
    foreign = [pv for pv in missing if lease_of_pv(pv.tags) is None]
    if foreign:
        return f"{vg} misses {', '.join(map(_called, foreign))}, which is no lease: bring it back"
    group = state.vg(vg)
    if group is not None and group.missing_pvs > len(missing):
        return f"{vg} misses a device that is no lease: bring it back"
    return ""


def _called(pv: PhysicalVolume) -> str:
    where = "" if pv.name == UNKNOWN_PV else f"{pv.name}, "
    return f"a device of {pv.size_bytes >> 20} MiB ({where}{pv.uuid or 'no uuid'})"


def _others_at_stake(state: LvmState, volume: str, vg: str) -> str:
    gone = missing_names(state, vg)
    for lv in (*state.lvs, *state.loose):
        if lv.vg != vg or lv.full_name == volume or lv.name.endswith(HOME_SUFFIX):
            continue
        if (lv.health == "partial" or gone & lv.pvs.keys()) and not _survives(lv, gone):
            return f"{lv.full_name} lies on a missing device of {vg} too and would be thrown away: rescue it first"
    return ""


def _survives(lv: LogicalVolume, gone: frozenset[str]) -> bool:
    """Whether it is a mirror of ours that is whole at home: it is cleaned up after its own lease's death anyway."""
    whole = any(leg.segments and not leg.pvs & gone for leg in lv.legs)
    return lv.is_mirror and bool(parse(lv.tags).leases) and whole
