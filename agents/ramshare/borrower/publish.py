"""What the borrower tells the world: events about each volume's steps, and the retained state of volumes and leases.

What a state says is pure (`states`); `Publisher` decides what is news. Used by the borrower's agent.
"""

from collections.abc import Collection

from ramshare.agent import Agent
from ramshare.borrower.plan.steps import Done, DropFailedLeg, Forget, Login, Release, Step, TellLoss, Wait
from ramshare.borrower.plan.view import Goal, LeaseView, Link, VolumeView
from ramshare.borrower.volumes import ManagedVolume
from ramshare.messages.base import Message
from ramshare.messages.events import EventKind
from ramshare.messages.state import Lease, LeasePhase, Mode, Volume, VolumePhase


class Publisher:
    """Knows what is published at this moment."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._published: dict[str, Message] = {}

    @property
    def paths(self) -> Collection[str]:
        """The state paths that are published."""
        return self._published.keys()

    def tell(self, managed: ManagedVolume, before: Step | None) -> None:
        """Say what is new of a volume whose last step was `before`."""
        step, view = managed.step, managed.view
        if managed.error:
            if managed.error != managed.told_error:
                self._agent.say(EventKind.FAILED, f"could not {step}: {managed.error}", volume=managed.volume)
        elif isinstance(step, Done) and not isinstance(before, Done) and view is not None and before is not None:
            kind = EventKind.ATTACHED if view.goal is Goal.ATTACHED else EventKind.DETACHED
            self._agent.say(kind, f"{managed.volume} is {step}", volume=managed.volume, size_bytes=view.size_bytes)
        elif isinstance(step, TellLoss) and view is not None:
            self._tell_loss(managed, view, step)
        elif isinstance(step, DropFailedLeg) and not managed.let_go.issuperset(step.leases):
            self._agent.say(EventKind.LEG_LOST, f"{managed.volume}: {step}", volume=managed.volume)
        elif step is not None and not isinstance(step, Wait | Done) and step != before:
            lease = step.lease if isinstance(step, Login | Release) else None
            self._agent.say(EventKind.STEP, f"{managed.volume}: {step}", volume=managed.volume, lease=lease)
        managed.told_error = managed.error

    def _tell_loss(self, managed: ManagedVolume, view: VolumeView, step: TellLoss) -> None:
        """Say what is lost, of each lease once."""
        gone = [lease for lease in view.leases if lease.lease in step.leases and lease.lease not in managed.told_lost]
        managed.told_lost.update(lease.lease for lease in gone)
        # LVM has one name for all that is missing, so the leases' shares cannot be told apart then.
        lost = min(view.size_bytes, sum(lease.used_bytes for lease in gone))
        names = ", ".join(f"{lease.lease} of {lease.lender}" for lease in gone)
        sentence = f"{managed.volume}: up to {lost >> 20} MiB of pages are lost with {names}"
        self._agent.say(EventKind.PAGES_LOST, sentence, volume=managed.volume, size_bytes=lost)

    def publish(self, managed: ManagedVolume) -> None:
        """Bring the retained state of a volume and its leases in line with what is known of it."""
        view = managed.view
        wanted: dict[str, Message] = {}
        if view is not None:
            wanted = states(view, managed.step, managed.error)
            if view.goal is Goal.HOME and isinstance(managed.step, Done | Forget):
                wanted = {path: message for path, message in wanted.items() if path.startswith("volume/")}
        mine = {p for p, m in self._published.items() if getattr(m, "volume", None) == managed.volume}
        for path, message in wanted.items():
            self._agent.bus.set_state(path, message)
        for path in mine - wanted.keys():
            self._agent.bus.set_state(path, None)
            self._published.pop(path)
        self._published |= wanted


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
            step=f"failed, will try again: {error}" if error else str(step or ""),
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
    if isinstance(step, DropFailedLeg) or any(lease.lost for lease in view.leases):
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
