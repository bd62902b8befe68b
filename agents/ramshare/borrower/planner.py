"""The borrower's planner: from a picture of one volume to the one next step. Pure.

After each step the volume is looked at again, so a plan survives a crash of the agent at any point: the next start sees
what is true and goes on from there. The order of steps keeps three promises: a page is always in a place that
LVM knows, a lease is given back only when nothing of the volume lies on it, and the volume can always go home.
"""

from ramshare.borrower.steps import (
    AbortMove,
    AskForMemory,
    Done,
    DropLostLeg,
    Forget,
    FreeHome,
    Join,
    Leave,
    Login,
    Logout,
    PreferRemote,
    Release,
    ReserveHome,
    SplitLeg,
    StartMirror,
    StartMove,
    Step,
    Wait,
)
from ramshare.borrower.view import Goal, Layout, LeaseView, Link, VolumeView
from ramshare.messages.state import Mode


def next_step(view: VolumeView) -> Step:
    """Return what to do now for one volume."""
    if view.degraded and view.layout is not Layout.MOVING:
        return DropLostLeg(tuple(lease.lease for lease in view.leases if lease.lost))
    leaving = _leaving(view)
    if view.goal is Goal.HOME or leaving:
        step = _home(view, leaving)
        if step is not None:
            return step
    if view.goal is Goal.HOME:
        return Forget() if view.tagged else Done("at home")
    return _attach(view)


def _leaving(view: VolumeView) -> tuple[LeaseView, ...]:
    """Leases that must go even though the volume is to stay attached: lost, called back, or not to be logged in to."""
    return tuple(
        lease
        for lease in view.leases
        if lease.lost or lease.lease in view.vacate or (lease.link is Link.NONE and not lease.can_login)
    )


def _home(view: VolumeView, leaving: tuple[LeaseView, ...]) -> Step | None:
    """Bring pages off the leaving leases (all of them if the goal is home), then give those leases back."""
    going = view.leases if view.goal is Goal.HOME else leaving
    if view.move is not None:
        if view.move.outbound:
            return AbortMove()
        return Wait(f"pages are coming home, {view.move.percent:.0f} %", view.move.percent)
    if view.layout is Layout.RAID1:
        return SplitLeg(_devices(view.leases))
    loaded = [lease for lease in going if lease.used_bytes and lease.device]
    if loaded:
        if view.home_reserved:
            return FreeHome()
        return StartMove(str(loaded[0].device), view.local_devices, outbound=False)
    if view.home_reserved and not view.remote_bytes:
        return FreeHome()
    for lease in going:
        if lease.in_vg and lease.device:
            return Leave(lease.lease, lease.device)
    for lease in going:
        if lease.link is not Link.NONE:
            return Logout(lease.lease)
    for lease in going:
        return Release(lease.lease, lease.lender, lease.lost)
    return None


def _attach(view: VolumeView) -> Step:
    missing = view.size_bytes - sum(lease.size_bytes for lease in view.leases)
    if missing > 0:
        return AskForMemory(missing)
    for lease in view.leases:
        if lease.link is Link.NONE:
            return Login(lease.lease)
    for lease in view.leases:
        if lease.device is None:
            return Wait(f"the session of lease {lease.lease} has no disk yet", 0.0)
        if not lease.in_vg:
            return Join(lease.lease, lease.device)
    return _move(view) if view.mode is Mode.MOVE else _mirror(view)


def _move(view: VolumeView) -> Step:
    if view.move is not None:
        return Wait(f"pages are moving to remote memory, {view.move.percent:.0f} %", view.move.percent)
    if view.layout is Layout.RAID1:
        return SplitLeg(_devices(view.leases))
    if view.local_bytes:
        return StartMove(view.local_devices[0], _devices(view.leases), outbound=True)
    if not view.home_reserved:
        return ReserveHome(view.local_devices[0])
    return Done(f"attached by move to {len(view.leases)} lease(s)")


def _mirror(view: VolumeView) -> Step:
    if view.move is not None:
        return Wait(f"a move is under way, {view.move.percent:.0f} %", view.move.percent)
    if view.layout is Layout.LINEAR:
        if view.remote_bytes:
            return StartMove(
                next(str(x.device) for x in view.leases if x.used_bytes), view.local_devices, outbound=False
            )
        return StartMirror(_devices(view.leases))
    if view.sync_percent < 100.0:
        return Wait(f"the mirror is synchronising, {view.sync_percent:.0f} %", view.sync_percent)
    if not view.write_mostly:
        return PreferRemote(view.local_devices)
    return Done(f"attached by mirror to {len(view.leases)} lease(s)")


def _devices(leases: tuple[LeaseView, ...]) -> tuple[str, ...]:
    return tuple(lease.device for lease in leases if lease.device is not None and lease.in_vg)
