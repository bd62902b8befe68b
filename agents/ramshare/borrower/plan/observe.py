"""From LVM's report and the iSCSI sessions to the planner's picture of one volume. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ramshare.borrower.plan.neighbours import occupant, waits_for
from ramshare.borrower.plan.suitability import is_ours, unsuitable
from ramshare.borrower.plan.tags import HOME_SUFFIX, PV_ENCRYPTED, LeaseTag, lease_of_pv, parse
from ramshare.borrower.plan.view import NOTHING_HEARD, Heard, Layout, LeaseView, LegView, Link, MoveView, VolumeView
from ramshare.linux.iscsi_sessions import Session
from ramshare.linux.lvm_state import LogicalVolume, LvmState, PhysicalVolume
from ramshare.messages.names import lease_of
from ramshare.messages.state import Mode


def observe(
    volume: str,
    state: LvmState,
    sessions: Sequence[Session],
    can_login: Collection[str] = (),
    heard: Heard = NOTHING_HEARD,
) -> VolumeView | None:
    """Return the picture of `volume`, or None if LVM knows no such volume."""
    lv = state.lv(volume)
    if lv is None:
        return None
    tags = parse(lv.tags)
    group = state.disks_of(lv.vg)
    lease_pvs = {lease: pv for pv in group if (lease := lease_of_pv(pv.tags)) is not None}
    open_sessions = {lease: s for s in sessions if (lease := lease_of(s.iqn)) is not None}
    # A disk of ours that a crash left in the group without its tag is not a local disk either.
    session_disks = {device for s in open_sessions.values() for device in (s.device, s.mapper) if device is not None}
    leases = tuple(
        _lease_view(
            tag, lv, lease_pvs.get(tag.lease), open_sessions.get(tag.lease), tag.lease in can_login, tags.encrypt
        )
        for tag in tags.leases
    )
    leases = tuple(_with_occupant(lease, state, volume) for lease in leases)
    remote = {pv.name for pv in lease_pvs.values()} | session_disks
    at_home = [pv for pv in group if pv.name not in remote and not pv.missing]
    here = frozenset(pv.name for pv in at_home)
    placeholder = state.lv(volume + HOME_SUFFIX)
    held = placeholder.pvs if placeholder is not None else {}
    way_home = _way_home(at_home, tags.home, lv.pvs, held, sum(lease.used_bytes for lease in leases))
    why_not = unsuitable(state, volume)
    return VolumeView(
        volume=volume,
        size_bytes=lv.size_bytes,
        goal=tags.goal,
        mode=tags.mode,
        layout=_layout(state, lv),
        local_bytes=_local_bytes(lv, here),
        local_devices=tuple(pv.name for pv in at_home if lv.pvs.get(pv.name)) or way_home.devices,
        leases=leases,
        part_bytes=tags.part_bytes if tags.mode is Mode.MOVE and tags.part_bytes < lv.size_bytes else 0,
        sync_percent=(lv.sync_percent or 0.0) if lv.is_mirror else 100.0,
        write_mostly=any(leg.writemostly for leg in lv.legs if leg.pvs <= here),
        degraded=any(leg.health for leg in lv.legs),
        local_failed=any(leg.health for leg in lv.legs if leg.pvs & here),
        legs=_legs(lv, lease_pvs, here),
        extent_bytes=group_of.extent_bytes if (group_of := state.vg(lv.vg)) is not None else 0,
        move=_move(lv, lease_pvs),
        reserved_bytes=placeholder.size_bytes if placeholder is not None else 0,
        tagged=tags.present,
        automatic=tags.terms.automatic,
        only_if_faster=tags.terms.only_if_faster,
        home_devices=way_home.devices,
        home_note=way_home.note,
        unsuitable=why_not.sentence if why_not is not None else "",
        waits_for=waits_for(state, volume),
        heard=heard,
    )


def _lease_view(
    tag: LeaseTag,
    lv: LogicalVolume,
    pv: PhysicalVolume | None,
    session: Session | None,
    can_login: bool,
    encrypt: bool,
) -> LeaseView:
    link = Link.NONE if session is None else Link.UP if session.state == "LOGGED_IN" else Link.DOWN
    encrypted = PV_ENCRYPTED in pv.tags if pv is not None else encrypt
    disk = session.device if session is not None else None
    device = session.mapper if session is not None and encrypted else disk
    if pv is not None and not pv.missing:
        device = pv.name
    return LeaseView(
        lease=tag.lease,
        lender=f"lender.{tag.host}",
        size_bytes=tag.size_bytes,
        can_login=can_login,
        link=link,
        device=device,
        in_vg=pv is not None,
        used_bytes=_used_bytes(lv, pv),
        leg=tag.leg,
        encrypted=encrypted,
        disk=disk,
        lost=tag.lost or (pv is not None and pv.missing),
    )


def _used_bytes(lv: LogicalVolume, pv: PhysicalVolume | None) -> int:
    return lv.pvs.get(pv.name, 0) if pv is not None else 0


def _with_occupant(lease: LeaseView, state: LvmState, volume: str) -> LeaseView:
    return replace(lease, occupant=occupant(state, volume, lease.device)) if lease.in_vg and lease.device else lease


def _legs(lv: LogicalVolume, lease_pvs: Mapping[str, PhysicalVolume], local: Collection[str]) -> tuple[LegView, ...]:
    """Return the copies of a raid1; of an inactive one the kernel does not say which are in sync: it rests."""
    lease_of_disk = {pv.name: lease for lease, pv in lease_pvs.items() if not pv.missing}
    return tuple(
        LegView(
            devices=tuple(sorted(pv for pv in leg.pvs if pv in lease_of_disk or pv in local)),
            leases=frozenset(lease_of_disk[pv] for pv in leg.pvs if pv in lease_of_disk),
            is_local=bool(leg.pvs) and leg.pvs <= set(local),
            in_sync=leg.in_sync or lv.inactive,
            failed=bool(leg.health),
        )
        for leg in lv.legs
    )


def _layout(state: LvmState, lv: LogicalVolume) -> Layout:
    if lv.moves:
        return Layout.MOVING
    if lv.is_mirror:
        return Layout.RAID1 if is_ours(state, lv) else Layout.OTHER
    return Layout.LINEAR if lv.segtype == "linear" and lv.layout in ("linear", "") else Layout.OTHER


class _WayHome(NamedTuple):
    devices: tuple[str, ...]
    note: str = ""


def _way_home(
    local: Sequence[PhysicalVolume],
    left: Collection[str],
    lies: Mapping[str, int],
    held: Mapping[str, int],
    need_bytes: int,
) -> _WayHome:
    """Return the disks that the volume left, by UUID; where these are gone or full, others, and why.

    Without a record it is where it lies, else where its place is held, else any local disk.
    """
    usable = [pv for pv in local if pv.allocatable]

    def room(pvs: Sequence[PhysicalVolume]) -> int:
        return sum(pv.free_bytes + held.get(pv.name, 0) for pv in pvs)

    if not left:
        lying = [pv.name for pv in local if lies.get(pv.name)]
        place = [pv.name for pv in local if held.get(pv.name)]
        return _WayHome(tuple(lying or place or [pv.name for pv in local]))
    old = [pv for pv in usable if pv.uuid in left]
    if old and room(old) >= need_bytes:
        return _WayHome(tuple(pv.name for pv in old))
    others = sorted((pv for pv in usable if pv.uuid not in left), key=lambda pv: -room([pv]))
    chosen: list[PhysicalVolume] = list(old)
    for pv in others:
        if room(chosen) >= need_bytes and chosen:
            break
        chosen.append(pv)
    note = "the disk that it left has no room" if old else "the disk that it left is gone"
    return _WayHome(tuple(pv.name for pv in chosen or local), note)


def _local_bytes(lv: LogicalVolume, local: Collection[str]) -> int:
    if lv.is_mirror:
        legs = [sum(s.bytes for s in leg.segments if s.pv in local) for leg in lv.legs]
        return max(legs, default=0)
    return sum(segment.bytes for segment in lv.segments if segment.pv in local)


def _move(lv: LogicalVolume, lease_pvs: Mapping[str, PhysicalVolume]) -> MoveView | None:
    if not lv.moves:
        return None
    move = lv.moves[0]
    destinations = {segment.pv for segment in move.destinations}
    return MoveView(
        percent=move.percent or 0.0,
        from_leases=frozenset(lease for lease, pv in lease_pvs.items() if pv.name == move.source),
        to_leases=frozenset(lease for lease, pv in lease_pvs.items() if pv.name in destinations),
    )


def home_of(state: LvmState, lv: LogicalVolume) -> list[str]:
    """Return the UUIDs of the disks that the volume lies on, unless its home was written down before pages left it."""
    pvs = [pv for pv in state.disks_of(lv.vg) if pv.name in lv.pvs]
    if parse(lv.tags).home or any(pv.missing or lease_of_pv(pv.tags) is not None for pv in pvs):
        return []
    return [pv.uuid for pv in pvs if pv.uuid]
