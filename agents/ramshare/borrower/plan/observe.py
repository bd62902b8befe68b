"""From LVM's report and the iSCSI sessions to the planner's picture of one volume. Pure."""

from collections.abc import Collection, Mapping, Sequence

from ramshare.borrower.plan.tags import HOME_SUFFIX, LeaseTag, lease_of_pv, parse
from ramshare.borrower.plan.view import NOTHING_HEARD, Heard, Layout, LeaseView, Link, MoveView, VolumeView
from ramshare.linux.iscsi_sessions import Session
from ramshare.linux.lvm_state import LogicalVolume, LvmState, PhysicalVolume
from ramshare.messages.names import lease_of


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
    group = [pv for pv in state.pvs if pv.vg == lv.vg]
    lease_pvs = {lease: pv for pv in group if (lease := lease_of_pv(pv.tags)) is not None}
    open_sessions = {lease: s for s in sessions if (lease := lease_of(s.iqn)) is not None}
    # A disk of ours that a crash left in the group without its tag is not a local disk either.
    session_disks = {s.device for s in open_sessions.values() if s.device is not None}
    leases = tuple(
        _lease_view(tag, lv, lease_pvs.get(tag.lease), open_sessions.get(tag.lease), tag.lease in can_login)
        for tag in tags.leases
    )
    remote = {pv.name for pv in lease_pvs.values()} | session_disks
    home = state.lv(volume + HOME_SUFFIX)
    local = tuple(_local_devices(lv, home, group, remote))
    return VolumeView(
        volume=volume,
        size_bytes=lv.size_bytes,
        goal=tags.goal,
        mode=tags.mode,
        layout=_layout(lv),
        local_bytes=_local_bytes(lv, set(local)),
        local_devices=local,
        leases=leases,
        sync_percent=(lv.sync_percent or 0.0) if lv.is_mirror else 100.0,
        write_mostly=any(leg.writemostly for leg in lv.legs if leg.pvs <= set(local)),
        degraded=any(leg.health for leg in lv.legs),
        local_failed=any(leg.health for leg in lv.legs if leg.pvs & set(local)),
        move=_move(lv, lease_pvs),
        reserved_bytes=home.size_bytes if home is not None else 0,
        tagged=tags.present,
        heard=heard,
    )


def _lease_view(
    tag: LeaseTag, lv: LogicalVolume, pv: PhysicalVolume | None, session: Session | None, can_login: bool
) -> LeaseView:
    link = Link.NONE if session is None else Link.UP if session.state == "LOGGED_IN" else Link.DOWN
    device = session.device if session is not None and session.device is not None else None
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
        lost=tag.lost or (pv is not None and pv.missing),
    )


def _used_bytes(lv: LogicalVolume, pv: PhysicalVolume | None) -> int:
    return lv.pvs.get(pv.name, 0) if pv is not None else 0


def _layout(lv: LogicalVolume) -> Layout:
    if lv.moves:
        return Layout.MOVING
    return Layout.RAID1 if lv.is_mirror else Layout.LINEAR


def _local_devices(
    lv: LogicalVolume, home: LogicalVolume | None, group: Sequence[PhysicalVolume], remote: Collection[str]
) -> list[str]:
    """Devices that are the volume's home: where it lies, else where its place is held, else any local disk."""
    local = [pv.name for pv in group if pv.name not in remote and not pv.missing]
    lying = [name for name in local if lv.pvs.get(name)]
    held = [name for name in local if home is not None and home.pvs.get(name)]
    return lying or held or local


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
