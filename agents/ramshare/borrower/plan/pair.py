"""The plan of a pair: a raid1 whose two legs lie on leases of different lenders, with none at home while all is well.

One rule carries it: **a leg goes only when another one has every page**. So wherever the plan is interrupted, and
whatever dies, a page is lost only with the last good leg. On the way there and home, and while a lender is replaced,
there is one leg more for a while. Where no second lender can be had, the local disk takes that leg's place,
write-mostly, until one comes back. Pure; used by `planner.py`.
"""

from dataclasses import replace

from ramshare.borrower.plan.leases import Leases, devices, going, hand_back, ids, join, leaving, tell_loss
from ramshare.borrower.plan.steps import (
    AskForMemory,
    AtHome,
    Attached,
    CutOffLeases,
    DropFailedLeg,
    Forget,
    FreeHome,
    Login,
    PreferRemote,
    ReserveHome,
    SplitLeg,
    StartMirror,
    Step,
    Wait,
)
from ramshare.borrower.plan.view import Goal, Layout, LeaseView, LegView, Link, VolumeView
from ramshare.messages.state import Mode

LEGS = (1, 2)
MIRROR_MEANWHILE = "a mirror until a second lender can be had"
SECOND_LEG = 2
"""The one that may lie on revocable memory, as a mirror's does."""


def concerns(view: VolumeView) -> bool:
    """Whether the volume is, or was and is not yet through with being, a pair."""
    away = view.layout is Layout.RAID1 and bool(view.legs) and not any(leg.is_local for leg in view.legs)
    return view.mode is Mode.PAIR or away or len(view.legs) > 2


def not_convertible(view: VolumeView, mode: Mode | None) -> str:
    """Return why an attached volume cannot go over to this mode without going home, empty if it can."""
    whole = view.move is None and not view.degraded and view.remote_bytes >= view.size_bytes
    if (view.mode, mode) == (Mode.MOVE, Mode.PAIR) and whole and view.layout is Layout.LINEAR:
        return ""
    if (view.mode, mode) in ((Mode.PAIR, Mode.MIRROR), (Mode.MIRROR, Mode.PAIR)):
        return ""
    return f"{view.volume} is attached by {view.mode}; return it first"


# ---- has something died?


def repair(view: VolumeView) -> Step | None:
    """Drop what failed at once if another leg has every page; if none has, say what is lost and go on without it."""
    dead = tuple(lease for lease in view.leases if lease.in_vg and lease.lost)
    if view.layout is Layout.RAID1:
        failed = [leg for leg in view.legs if leg.failed]
        if any(leg.good for leg in view.legs):
            return DropFailedLeg(ids(dead)) if dead or failed else None
    loaded = tuple(lease for lease in dead if lease.used_bytes)
    if not loaded:
        return DropFailedLeg(ids(dead)) if dead and view.layout is not Layout.RAID1 else None
    for lease in loaded:
        # An encrypted lease whose device is gone is as lost as its key.
        if lease.link is Link.NONE and lease.can_login and not lease.encrypted:
            return Login(lease.lease)
    return tell_loss(view, loaded)


# ---- must leases go?


def give_back(view: VolumeView) -> Step | None:
    """Drop legs whose leases must go, once another leg has every page; what lies on none goes back."""
    must_go = going(view)
    loaded = tuple(lease for lease in must_go if lease.used_bytes)
    if not loaded:
        return hand_back(must_go)
    leave = [leg for leg in view.legs if leg.leases & set(ids(must_go))]
    stay = [leg for leg in view.legs if leg.good and leg not in leave]
    if not any(leg.is_local or view.mode is not Mode.MIRROR for leg in stay):
        return _another_copy(view)
    called_back = tuple(
        lease
        for lease in loaded
        if lease.lease in view.heard.vacate and lease.link is not Link.NONE and not lease.occupant
    )
    if called_back:
        return CutOffLeases(leaving(called_back))
    return SplitLeg(_disks(leave), leaving(must_go), len(view.legs) - len(leave))


# ---- what is missing for the goal?


def reach_goal(view: VolumeView) -> Step:
    """Home, or one leg on each set of leases and none at home."""
    if view.goal is Goal.HOME:
        if view.reserved_bytes:
            return FreeHome()
        return Forget() if view.tagged else AtHome()
    step = _another_copy(view)
    if step is not None:
        return step
    spare = _spare_legs(view)
    if spare:
        return SplitLeg(_disks(spare), copies=len(view.legs) - len(spare))
    if view.reserved_bytes < view.size_bytes:
        # A leg at home needs an extent for its metadata, too.
        return ReserveHome(view.way_home, view.size_bytes + view.extent_bytes, view.home_note)
    superfluous = tuple(lease for lease in view.leases if not lease.used_bytes)
    return hand_back(superfluous) or Attached(Mode.PAIR, len(view.leases))


def _another_copy(view: VolumeView) -> Step | None:
    """Return what leads to the next leg that is missing; None if there is one on each set of leases."""
    if any(not leg.good for leg in view.legs):
        what = "the new leg is" if view.goal is Goal.ATTACHED else "the local disk is"
        return Wait(f"{what} synchronising, {view.sync_percent:.0f} %", view.sync_percent)
    if view.goal is Goal.HOME or view.unsuitable or view.mode is not Mode.PAIR:
        return _local_leg(view)
    steps = [_remote_leg(view, leg) for leg in LEGS if not _stands(view, leg)]
    asks = [step for step in steps if isinstance(step, AskForMemory)]
    # Sessions come first: a grant that nobody logs in to is taken back while the first leg is made.
    builds = sorted((step for step in steps if step not in asks), key=lambda step: isinstance(step, StartMirror))
    if builds:
        return builds[0]
    if asks and view.heard.nothing_to_borrow:
        return _local_leg(view) or replace(asks[0], note=MIRROR_MEANWHILE)
    return asks[0] if asks else None


def _stands(view: VolumeView, number: int) -> bool:
    """Whether a leg that stays lies on the leases that are for it."""
    stay = set(ids(_staying(view, number)))
    if view.layout is Layout.LINEAR:
        return bool(stay) and view.remote_bytes >= view.size_bytes and _lies_on(view) <= stay
    return any(leg.leases and leg.leases <= stay for leg in view.legs)


def _spare_legs(view: VolumeView) -> list[LegView]:
    """The leg at home, and any second one on leases that are for the same leg: its lender wants none back after all."""
    spare = [leg for leg in view.legs if leg.is_local]
    for number in LEGS:
        stay = set(ids(_staying(view, number)))
        spare += [leg for leg in view.legs if leg.leases & stay][1:]
    return spare


def _lies_on(view: VolumeView) -> set[str]:
    return {lease.lease for lease in view.leases if lease.used_bytes}


def _staying(view: VolumeView, number: int) -> Leases:
    must_go = going(view)
    return tuple(lease for lease in view.leases if _number(lease) == number and lease not in must_go)


def _number(lease: LeaseView) -> int:
    """A lease of a volume that was attached by another mode before is for the first leg."""
    return lease.leg or 1


def _remote_leg(view: VolumeView, number: int) -> Step:
    """Return what leads to this leg: memory of lenders that have no part in the other one."""
    able = tuple(lease for lease in _staying(view, number) if lease.spare_bytes and lease.link is not Link.DOWN)
    missing_bytes = view.size_bytes - sum(lease.spare_bytes for lease in able)
    if missing_bytes > 0:
        others = {x.lender for x in view.leases if _number(x) != number} | {x.lender for x in going(view)}
        return AskForMemory(missing_bytes, tuple(sorted(others)), number)
    return join(able) or StartMirror(devices(able), _copies(view) + 1)


def _local_leg(view: VolumeView) -> Step | None:
    """Return what leads to a leg at home that does not slow reads down; None if it is there."""
    if view.layout is Layout.LINEAR and not view.remote_bytes:
        return None
    if any(leg.is_local for leg in view.legs):
        slow = view.goal is Goal.ATTACHED and not view.write_mostly
        return PreferRemote(view.local_devices) if slow else None
    # The reserved room must be free for the leg to come into it.
    return FreeHome() if view.reserved_bytes else StartMirror(view.way_home, _copies(view) + 1)


def _copies(view: VolumeView) -> int:
    return max(1, len(view.legs))


def _disks(legs: list[LegView]) -> tuple[str, ...]:
    return tuple(sorted({device for leg in legs for device in leg.devices}))
