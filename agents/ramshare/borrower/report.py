"""From the planner's picture to what is published of a volume and its leases. Pure."""

from ramshare.borrower.steps import Done, DropLostLeg, Step, Wait
from ramshare.borrower.view import Goal, LeaseView, Link, VolumeView
from ramshare.messages.base import Message
from ramshare.messages.state import Lease, LeasePhase, Mode, Volume, VolumePhase


def states(view: VolumeView, step: Step | None, error: str = "") -> dict[str, Message]:
    """Return state path to message for a volume and its leases."""
    vg, _, lv = view.volume.partition("/")
    mode = view.mode or Mode.MIRROR
    messages: dict[str, Message] = {
        f"volume/{vg}/{lv}": Volume(
            volume=view.volume,
            size_bytes=view.size_bytes,
            phase=phase_of(view, step, error),
            mode=view.mode,
            progress_percent=step.percent if isinstance(step, Wait) else 100.0 if isinstance(step, Done) else 0.0,
            local_bytes=min(view.local_bytes, view.size_bytes),
            remote_bytes=view.remote_bytes,
            placement=_placement(view),
            leases=tuple(lease.lease for lease in view.leases),
            step=(f"failed, will try again: {error}" if error else str(step or ""))[:1000],
        )
    }
    for lease in view.leases:
        messages[f"lease/{lease.lease}"] = Lease(
            lease=lease.lease,
            lender=lease.lender,
            volume=view.volume,
            size_bytes=lease.size_bytes,
            mode=mode,
            phase=_lease_phase(view, lease, step),
            reason="its lender wants it back" if lease.lease in view.heard.vacate else "",
        )
    return messages


def phase_of(view: VolumeView, step: Step | None, error: str = "") -> VolumePhase:
    """Return the phase that people see."""
    if view.goal is Goal.HOME:
        return VolumePhase.DETACHING if view.leases or view.remote_bytes else VolumePhase.HOME
    if isinstance(step, Done):
        return VolumePhase.ATTACHED
    if error and not view.leases:
        return VolumePhase.FAILED
    if isinstance(step, DropLostLeg) or any(lease.lost for lease in view.leases):
        return VolumePhase.REPAIRING
    return VolumePhase.ATTACHING


def _lease_phase(view: VolumeView, lease: LeaseView, step: Step | None) -> LeasePhase:
    if lease.lost:
        return LeasePhase.LOST
    if view.goal is Goal.HOME or lease.lease in view.heard.vacate:
        return LeasePhase.DETACHING
    if lease.link is Link.NONE:
        return LeasePhase.EXPORTED
    return LeasePhase.ATTACHED if isinstance(step, Done) else LeasePhase.ATTACHING


def _placement(view: VolumeView) -> tuple[str, ...]:
    places = [f"local {', '.join(view.local_devices)} {view.local_bytes}"] if view.local_bytes else []
    return (*places, *(f"{x.lender} {x.device} {x.used_bytes}" for x in view.leases if x.used_bytes))
