"""What every plan asks of a volume's leases: which must go, how they join the group, how they leave it. Pure."""

from ramshare.borrower.plan.comparison import LEAST_GAIN
from ramshare.borrower.plan.step import Leaving
from ramshare.borrower.plan.steps import Compare, Join, Leave, Login, Logout, Release, Step, TellLoss, Wait, WriteOff
from ramshare.borrower.plan.view import Goal, LeaseView, Link, VolumeView
from ramshare.messages.state import Mode

Leases = tuple[LeaseView, ...]


def going(view: VolumeView) -> Leases:
    """Leases that must go: all on the way home, else those lost, called back, unreachable, superfluous or idle."""
    return tuple(
        lease
        for lease in view.leases
        if view.goal is Goal.HOME
        or lease.lost
        or lease.unreachable
        or lease.lease in view.heard.vacate
        or (lease.link is Link.DOWN and not lease.used_bytes)
        or (lease.leg == 2 and view.mode is not Mode.PAIR)
        or (view.heard.asked_in_vain and not view.remote_bytes)
    )


def join(leases: Leases) -> Step | None:
    """Make leases part of the volume group."""
    for lease in leases:
        if lease.link is Link.NONE or (lease.link is Link.UP and lease.bare):
            return Login(lease.lease)
    for lease in leases:
        if lease.link is Link.DOWN:
            return Wait(f"the session of lease {lease.lease} is down", 0.0)
        if lease.device is None:
            return Wait(f"the session of lease {lease.lease} has no disk yet", 0.0, stuck=True)
        if not lease.in_vg:
            return Join(lease.lease, lease.device)
    return None


def proven(view: VolumeView, step: Step) -> Step:
    """Return the step, or what has to come before it: a lease joins a volume's group when it is known to help."""
    if not (isinstance(step, Join) and view.only_if_faster and not view.remote_bytes):
        return step
    found = next((lease.compared for lease in view.leases if lease.lease == step.lease), None)
    if found is None:
        return Compare(step.lease, step.device)
    if found.helps:
        return step
    why = f"lease {step.lease} is not {LEAST_GAIN:g} times as fast as home: {found}"
    return Wait(why, 0.0, hopeless=True)


def hand_back(leases: Leases) -> Step | None:
    """Give back leases on which nothing of the volume lies, the ones with the least left to do first."""
    for lease in leases:
        if lease.occupant:
            why = f"{lease.occupant} lies on {lease.device}, lease {lease.lease}: move it off (pvmove {lease.device})"
            return Wait(why, 0.0)
        if lease.in_vg:
            return Leave(lease.lease, str(lease.device))
    for lease in leases:
        if lease.link is not Link.NONE:
            return Logout(lease.lease)
    for lease in leases:
        return Release(lease.lease, lease.lender, lease.lost)
    return None


def tell_loss(view: VolumeView, dead: Leases) -> Step:
    """No copy of the pages on these leases is anywhere else.

    Their loss is told first: emptying swap takes minutes at a slow disk's pace, and who reads of the loss may end the
    processes that make it take so long.
    """
    return WriteOff(ids(dead)) if set(ids(dead)) <= view.heard.told_lost else TellLoss(ids(dead))


def ids(leases: Leases) -> tuple[str, ...]:
    """Return their names."""
    return tuple(lease.lease for lease in leases)


def devices(leases: Leases) -> tuple[str, ...]:
    """Return the disks of those in the group."""
    return tuple(lease.device for lease in leases if lease.device is not None and lease.in_vg)


def leaving(leases: Leases) -> tuple[Leaving, ...]:
    """Return those that can be taken out as soon as nothing of the volume lies on them."""
    return tuple(
        Leaving(x.lease, x.lender, x.device) for x in leases if x.in_vg and x.device is not None and not x.occupant
    )
