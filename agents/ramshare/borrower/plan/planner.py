"""The borrower's planner: from a picture of one volume to the one next step. Pure.

After each step the volume is looked at again, so a plan survives a crash of the agent at any point: the next start sees
what is true and goes on from there. The order of steps keeps three promises: a page is always in a place that
LVM knows, a lease is given back only when nothing of the volume lies on it, and the volume can always go home.

`next_step` asks five questions in this order; the first that has an answer wins. Is the volume to be left alone? Has
something died? Is a move under way? Must leases go? And only then: what is missing for the goal? Whatever the answer, a
group in which others' volumes are at stake is not changed.
"""

from collections.abc import Callable

from ramshare.borrower.plan import pair
from ramshare.borrower.plan.leases import Leases, devices, going, hand_back, ids, join, leaving, proven, tell_loss
from ramshare.borrower.plan.steps import (
    AbortMove,
    AskForMemory,
    AtHome,
    Attached,
    Compare,
    CutOffLeases,
    DropFailedLeg,
    Forget,
    FreeHome,
    Login,
    PreferRemote,
    RescueMove,
    ReserveHome,
    SplitLeg,
    StartMirror,
    StartMove,
    Step,
    TellLoss,
    Wait,
)
from ramshare.borrower.plan.view import Goal, Layout, LeaseView, Link, VolumeView
from ramshare.messages.state import Mode

LEAVES_GROUP_ALONE = (Login, Compare, CutOffLeases, TellLoss, Wait, AtHome, Attached)
"""Steps that change nothing that LVM has written down."""


def next_step(view: VolumeView) -> Step:
    """Return what to do now for one volume."""
    if pair.concerns(view):
        repair, give_back, reach_goal = pair.repair, pair.give_back, pair.reach_goal
    else:
        repair, give_back, reach_goal = _repair, _give_back, _reach_goal
    step = _leave_alone(view, repair) or repair(view) or _watch_move(view) or give_back(view)
    step = step or proven(view, reach_goal(view))
    if view.waits_for and not isinstance(step, LEAVES_GROUP_ALONE):
        return Wait(f"{view.waits_for}; then: {step}", 0.0)
    return step


def _leave_alone(view: VolumeView, repair: Callable[[VolumeView], Step | None]) -> Step | None:
    """What became unsuitable is told and left alone, unless it is wanted home, or its memory is."""
    if not view.unsuitable or view.goal is Goal.HOME:
        return None
    if any(lease.lease in view.heard.vacate for lease in view.leases):
        return None
    loss = repair(view)
    if isinstance(loss, TellLoss):
        return loss
    return Wait(f"left alone: {view.unsuitable}", 0.0, stuck=not view.remote_bytes)


# ---- has something died?


def _repair(view: VolumeView) -> Step | None:
    if view.local_failed:
        return Wait("the local disk failed: the pages are on the leases only, replace the disk", 0.0)
    dead = tuple(lease for lease in view.leases if lease.in_vg and lease.lost)
    if view.layout is Layout.RAID1:
        return DropFailedLeg(ids(dead)) if dead or view.degraded else None
    loaded = tuple(lease for lease in dead if lease.used_bytes)
    if loaded:
        return _repair_loaded(view, loaded)
    return DropFailedLeg(ids(dead)) if dead and view.move is None else None


def _repair_loaded(view: VolumeView, dead: Leases) -> Step:
    """No copy of these pages is anywhere else, unless they are still being moved."""
    for lease in dead:
        # An encrypted lease whose device is gone is as lost as its key.
        if lease.link is Link.NONE and lease.can_login and not lease.encrypted:
            return Login(lease.lease)
    if view.move is not None and set(ids(dead)) <= view.move.to_leases:
        return RescueMove(ids(dead))
    return tell_loss(view, dead)


# ---- is a move under way?


def _watch_move(view: VolumeView) -> Step | None:
    move = view.move
    if move is None:
        return None
    if move.to_leases & set(ids(going(view))):
        return AbortMove()
    where = "moving to remote memory" if move.to_leases else "coming home"
    return Wait(f"pages are {where}, {move.percent:.0f} %", move.percent)


# ---- must leases go?


def _give_back(view: VolumeView) -> Step | None:
    """Bring pages off the leases that must go, then give those back, the ones with the least left to do first."""
    must_go = going(view)
    loaded = tuple(lease for lease in must_go if lease.used_bytes)
    if loaded and view.layout is Layout.RAID1:
        wanted = tuple(
            lease
            for lease in loaded
            if lease.lease in view.heard.vacate and lease.link is not Link.NONE and not lease.occupant
        )
        if wanted:
            return CutOffLeases(leaving(wanted))
        return SplitLeg(devices(tuple(lease for lease in view.leases if lease.used_bytes)), leaving(must_go))
    if loaded:
        return _unload(view, loaded)
    return hand_back(must_go)


def _unload(view: VolumeView, loaded: Leases) -> Step:
    """Move pages off: to other leases if the volume is to stay moved out and there are any, else home."""
    first, must_go = loaded[0], going(view)
    if view.goal is Goal.ATTACHED and view.mode is Mode.MOVE and not view.unsuitable:
        able = tuple(lease for lease in view.leases if lease not in must_go and lease.link is not Link.DOWN)
        staying = tuple(lease for lease in able if lease.spare_bytes)
        missing = sum(lease.used_bytes for lease in loaded) - sum(lease.spare_bytes for lease in staying)
        if missing > 0 and not view.heard.nothing_to_borrow:
            return AskForMemory(missing, tuple(sorted({lease.lender for lease in must_go})))
        if sum(lease.spare_bytes for lease in staying) >= first.used_bytes:
            return join(staying) or StartMove(str(first.device), devices(staying))
    return _bring_home(view, first)


def _bring_home(view: VolumeView, lease: LeaseView) -> Step:
    """The reserved room must be free for the pages to come into it."""
    return FreeHome() if view.reserved_bytes else StartMove(str(lease.device), view.way_home, note=view.home_note)


# ---- what is missing for the goal?


def _reach_goal(view: VolumeView) -> Step:
    if view.goal is Goal.HOME:
        if view.reserved_bytes:
            return FreeHome()
        return Forget() if view.tagged else AtHome()
    if view.mode is Mode.MOVE and view.layout is Layout.LINEAR and view.remote_bytes > view.reserved_bytes:
        return FreeHome() if view.reserved_bytes else ReserveHome(view.way_home, view.remote_bytes, view.home_note)
    if view.layout is Layout.RAID1 and not view.remote_bytes:
        return Wait("the volume is raid1 by itself and cannot be put on leases as well", 0.0)
    missing = view.wanted_bytes - sum(lease.size_bytes for lease in view.leases)
    if missing > 0:
        return AskForMemory(missing)
    return join(view.leases) or (_move(view) if view.mode is Mode.MOVE else _mirror(view))


def _move(view: VolumeView) -> Step:
    if view.layout is Layout.RAID1:
        return SplitLeg(devices(tuple(lease for lease in view.leases if lease.used_bytes)))
    missing = view.wanted_bytes - view.remote_bytes
    if view.local_bytes and missing > 0:
        spare = devices(tuple(lease for lease in view.leases if lease.spare_bytes))
        return StartMove(view.local_devices[0], spare, missing if view.part_bytes else 0)
    if missing > 0:
        return _incomplete(view)
    return Attached(Mode.MOVE, len(view.leases), _part(view))


def _mirror(view: VolumeView) -> Step:
    if view.layout is Layout.LINEAR:
        for lease in view.leases:
            if lease.used_bytes:
                return _bring_home(view, lease)
        return FreeHome() if view.reserved_bytes else StartMirror(devices(view.leases))
    if view.sync_percent < 100.0:
        return Wait(f"the mirror is synchronising, {view.sync_percent:.0f} %", view.sync_percent)
    if not view.write_mostly:
        return PreferRemote(view.local_devices)
    if view.remote_bytes < view.size_bytes:
        return _incomplete(view)
    return Attached(Mode.MIRROR, len(view.leases))


def _part(view: VolumeView) -> str:
    if not view.local_bytes:
        return ""
    return f", {view.remote_bytes >> 20} of its {view.size_bytes >> 20} MiB; the rest is at home"


def _incomplete(view: VolumeView) -> Step:
    """LVM shows a part of the volume neither at home nor on a lease of its own."""
    where = f"{view.remote_bytes >> 20} of {view.wanted_bytes >> 20} MiB lie on its leases"
    return Wait(
        f"{where}, `lvs -a -o +devices {view.volume}` shows where the rest is", 0.0, stuck=not view.remote_bytes
    )
