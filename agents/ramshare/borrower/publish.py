"""What the borrower tells the world: events about each volume's steps, and the retained state of volumes and leases.

What a state says is pure (`states`); `Publisher` decides what is news. Used by the borrower's agent.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime

from ramshare.audit import EndedLease, lease_ended
from ramshare.borrower.machine.api import Looked
from ramshare.borrower.plan.releasing import Releasing
from ramshare.borrower.plan.steps import AskForMemory, Done, DropFailedLeg, Forget, Step, TellLoss
from ramshare.borrower.plan.view import Goal, LeaseView, Link, VolumeView
from ramshare.borrower.volumes import ManagedVolume
from ramshare.bus.api import Bus
from ramshare.loop import say
from ramshare.messages.base import Message
from ramshare.messages.events import EventKind, LeaseOutcome
from ramshare.messages.state import Lease, LeasePhase, Mode, Volume, VolumePhase
from ramshare.topics import volume_path


class Publisher:
    """Knows what is published at this moment."""

    def __init__(self, bus: Bus, guests_of: Callable[[str], tuple[str, ...]] = lambda _volume: ()) -> None:
        """`guests_of` a volume have it as a disk."""
        self._bus = bus
        self._guests_of = guests_of
        self._published: dict[str, Message] = {}
        self._granted_at: dict[str, datetime] = {}
        """Of leases that this run of the agent got."""
        self._waiting: dict[str, str] = {}
        """Volume to why there is no memory for it yet."""

    @property
    def paths(self) -> Collection[str]:
        """The state paths that are published."""
        return self._published.keys()

    def tell(self, managed: ManagedVolume, looked: Looked) -> None:
        """Say what is new of a volume: that its step failed, or that one other than the last was applied."""
        before, step = managed.told_step, looked.step
        if looked.error:
            if looked.error != managed.told_error:
                say(self._bus, EventKind.FAILED, f"could not {step}: {looked.error}", volume=managed.volume)
        else:
            managed.told_step = step
            # Where a volume was found by an agent that has just started is no news.
            known = isinstance(step, Done) and (before is None or isinstance(before, Done))
            if not known and step != before:
                self._tell_step(managed, looked.view, step)
        managed.told_error = looked.error

    def _tell_step(self, managed: ManagedVolume, view: VolumeView, step: Step) -> None:
        kind, size_bytes, sentence = step.event, None, f"{managed.volume}: {step}"
        if isinstance(step, Done):
            size_bytes, sentence = view.wanted_bytes, f"{managed.volume} is {step}{_notes(view, step)}"
        elif isinstance(step, TellLoss):
            size_bytes, sentence = loss(view, set(step.leases) - managed.told_lost)
        elif isinstance(step, DropFailedLeg) and not _somebody_died(step, managed.cut_off):
            kind = EventKind.STEP
        if kind is not None:
            about = {"volume": managed.volume, "lease": step.about_lease, "size_bytes": size_bytes}
            say(self._bus, kind, sentence, **about)

    def tell_given_up(self, managed: ManagedVolume) -> None:
        """Say why a volume goes home before anybody asked for that."""
        sentence = f"gave up attaching {managed.volume}: {managed.gave_up}"
        say(self._bus, EventKind.FAILED, sentence, volume=managed.volume)

    def granted(self, leases: Iterable[str]) -> None:
        """Note that these leases were granted now."""
        self._granted_at |= dict.fromkeys(leases, datetime.now(UTC))

    def publish(self, managed: ManagedVolume) -> None:
        """Bring the retained state of a volume and its leases in line with what is known of it."""
        view = managed.view
        wanted: dict[str, Message] = {}
        if view is not None:
            wanted = states(view, managed.step, managed.error, managed.releasing, managed.gave_up)
            if managed.volume in self._waiting and view.goal is Goal.HOME:
                wanted |= _waiting(view, VolumePhase.WAITING, self._waiting[managed.volume])
            wanted = self._with_guests(wanted)
            if view.goal is Goal.HOME and isinstance(managed.step, Done | Forget):
                wanted = {path: message for path, message in wanted.items() if path.startswith("volume/")}
        mine = {p for p, m in self._published.items() if getattr(m, "volume", None) == managed.volume}
        for path, message in wanted.items():
            self._bus.set_state(path, message)
        for path in mine - wanted.keys():
            self._bus.set_state(path, None)
            gone = self._published.pop(path)
            if isinstance(gone, Lease):
                self._audit(gone, managed, automatic=view is not None and view.automatic)
        self._published |= wanted

    def waits(self, view: VolumeView, why: str) -> None:
        """Show that a volume waits for memory, and why there is none."""
        if self._waiting.get(view.volume) != why:
            self._waiting[view.volume] = why
            self._show(_waiting(view, VolumePhase.WAITING, why))

    def waits_no_more(self, volume: str) -> None:
        """A volume has got what it waited for; what is shown of it follows."""
        self._waiting.pop(volume, None)

    def waited_in_vain(self, view: VolumeView, why: str, *, stopped: bool) -> None:
        """Say and show that a volume got no memory, or was told to wait no more; it is at home as before."""
        self.waits_no_more(view.volume)
        say(self._bus, EventKind.FAILED, f"{view.volume} got no memory: {why}", volume=view.volume)
        self._show(_waiting(view, VolumePhase.HOME if stopped else VolumePhase.FAILED, why))

    def _show(self, messages: dict[str, Message]) -> None:
        for path, message in self._with_guests(messages).items():
            self._bus.set_state(path, message)
            self._published[path] = message

    def _with_guests(self, messages: dict[str, Message]) -> dict[str, Message]:
        return {
            path: m.model_copy(update={"guests": self._guests_of(m.volume)}) if isinstance(m, Volume) else m
            for path, m in messages.items()
        }

    def _audit(self, lease: Lease, managed: ManagedVolume, *, automatic: bool) -> None:
        lost = lease.phase is LeasePhase.LOST
        given_back = lease.reason or managed.gave_up or managed.why_home or "not needed any more"
        why = "its lender is gone" if lost else given_back
        why = f"{why} (borrowed by itself)" if automatic else why
        ended = EndedLease(
            lease=lease.lease,
            peer=lease.lender,
            size_bytes=lease.size_bytes,
            mode=lease.mode,
            outcome=LeaseOutcome.LOST if lost else LeaseOutcome.RETURNED,
            reason=why,
            volume=lease.volume,
            granted_at=self._granted_at.pop(lease.lease, None),
        )
        lease_ended(self._bus, ended)


def _waiting(view: VolumeView, phase: VolumePhase, why: str) -> dict[str, Message]:
    """Return the state of a volume at home that waits for memory, or has waited in vain."""
    path = volume_path(view.volume)
    return {path: states(view, None, "", {})[path].model_copy(update={"phase": phase, "step": why})}


def loss(view: VolumeView, leases: Collection[str]) -> tuple[int, str]:
    """Return how many bytes of pages are lost at most with these leases, and the sentence that says so."""
    gone = [lease for lease in view.leases if lease.lease in leases]
    # LVM has one name for all that is missing, so the leases' shares cannot be told apart then.
    lost_bytes = min(view.size_bytes, sum(lease.used_bytes for lease in gone))
    names = ", ".join(f"{lease.lease} of {lease.lender}" for lease in gone)
    return lost_bytes, f"{view.volume}: up to {lost_bytes >> 20} MiB of pages are lost with {names}"


def _somebody_died(step: DropFailedLeg, cut_off: Collection[str]) -> bool:
    """Whether LVM is tidied up behind a lender that died, not only behind leases given back in good health."""
    return not cut_off or not set(step.leases) <= set(cut_off)


def states(
    view: VolumeView, step: Step | None, error: str, releasing: Mapping[str, Releasing], gave_up: str = ""
) -> dict[str, Message]:
    """Return state path to message for a volume and its leases, of which some are on their way back."""
    phase = _phase(view, step, error, {lease for lease, way in releasing.items() if way.cut_off})
    sentence = (
        f"{_whole_without(step) or 'failed, will try again'}: {error}" if error else f"{step or ''}{_notes(view, step)}"
    )
    mode = view.mode or Mode.MIRROR
    messages: dict[str, Message] = {
        volume_path(view.volume): Volume(
            volume=view.volume,
            size_bytes=view.size_bytes,
            phase=VolumePhase.FAILED if gave_up else phase,
            mode=view.mode,
            progress_percent=step.progress_percent if step else 0.0,
            local_bytes=min(view.local_bytes, view.size_bytes),
            remote_bytes=view.remote_bytes,
            placement=_placement(view),
            leases=tuple(lease.lease for lease in view.leases),
            step=f"gave up ({gave_up}); {sentence}" if gave_up else sentence,
        )
    }
    for lease in view.leases:
        messages[f"lease/{lease.lease}"] = Lease(
            lease=lease.lease,
            lender=lease.lender,
            volume=view.volume,
            size_bytes=lease.size_bytes,
            mode=mode,
            leg=lease.leg,
            phase=_lease_phase(view, lease, step, releasing.get(lease.lease)),
            reason="its lender wants it back" if lease.lease in view.heard.vacate else "",
        )
    return messages


def _notes(view: VolumeView, step: Step | None) -> str:
    """Add to the word of an attached volume who borrowed, and that it serves nobody, as after a boot found it away."""
    if view.goal is not Goal.ATTACHED or not isinstance(step, Done):
        return ""
    note = ", borrowed by itself" if view.automatic else ""
    if view.idle:
        note += f", but nobody swaps to it: turn this host's swap on (swapon /dev/{view.volume}) or start its guest"
    return note


def _whole_without(step: Step | None) -> str:
    """Return how the volume is whole although the step that is due fails; empty if it is not."""
    return step.note if isinstance(step, AskForMemory) else ""


def _phase(view: VolumeView, step: Step | None, error: str, cut_off: Collection[str]) -> VolumePhase:
    if view.goal is Goal.HOME:
        return VolumePhase.DETACHING if view.leases or view.remote_bytes else VolumePhase.HOME
    if isinstance(step, Done) or _whole_without(step):
        return VolumePhase.ATTACHED
    if error and not view.leases:
        return VolumePhase.FAILED
    repairs = isinstance(step, DropFailedLeg) and _somebody_died(step, cut_off)
    if repairs or any(lease.lost and lease.lease not in cut_off for lease in view.leases):
        return VolumePhase.REPAIRING
    return VolumePhase.ATTACHING


def _lease_phase(view: VolumeView, lease: LeaseView, step: Step | None, releasing: Releasing | None) -> LeasePhase:
    """Return a lease's phase. To LVM a lease that was cut off for its lender looks like one whose lender died."""
    if releasing is not None and releasing.taken:
        return LeasePhase.RELEASED
    if releasing is not None and releasing.cut_off:
        return LeasePhase.DETACHING
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
