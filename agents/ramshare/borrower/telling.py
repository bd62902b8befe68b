"""What the borrower tells the world: events about each volume's steps, and the retained state of volumes and leases.

What a state says follows from `report.py`; this decides what is news. Used by the borrower's agent.
"""

from collections.abc import Collection

from ramshare.agent import Agent
from ramshare.borrower import report
from ramshare.borrower.charges import Charge
from ramshare.borrower.steps import Done, DropLostLeg, Forget, Login, Release, Step, TellLoss, Wait
from ramshare.borrower.view import Goal, VolumeView
from ramshare.messages.base import Message
from ramshare.messages.events import EventKind


class Telling:
    """Knows what is published at this moment."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._published: dict[str, Message] = {}

    @property
    def paths(self) -> Collection[str]:
        """The state paths that are published."""
        return self._published.keys()

    def tell(self, charge: Charge, before: Step | None) -> None:
        """Say what is new of a volume whose last step was `before`."""
        step, view = charge.step, charge.view
        if charge.error:
            if charge.error != charge.told_error:
                self._agent.say(EventKind.FAILED, f"could not {step}: {charge.error}", volume=charge.volume)
        elif isinstance(step, Done) and not isinstance(before, Done) and view is not None and before is not None:
            kind = EventKind.ATTACHED if view.goal is Goal.ATTACHED else EventKind.DETACHED
            self._agent.say(kind, f"{charge.volume} is {step}", volume=charge.volume, size_bytes=view.size_bytes)
        elif isinstance(step, TellLoss) and view is not None:
            self._tell_loss(charge, view, step)
        elif isinstance(step, DropLostLeg) and not charge.let_go.issuperset(step.leases):
            self._agent.say(EventKind.LEG_LOST, f"{charge.volume}: {step}", volume=charge.volume)
        elif step is not None and not isinstance(step, Wait | Done) and step != before:
            lease = step.lease if isinstance(step, Login | Release) else None
            self._agent.say(EventKind.STEP, f"{charge.volume}: {step}", volume=charge.volume, lease=lease)
        charge.told_error = charge.error

    def _tell_loss(self, charge: Charge, view: VolumeView, step: TellLoss) -> None:
        """Say what is lost, of each lease once."""
        gone = [lease for lease in view.leases if lease.lease in step.leases and lease.lease not in charge.told_lost]
        charge.told_lost.update(lease.lease for lease in gone)
        # LVM has one name for all that is missing, so the leases' shares cannot be told apart then.
        lost = min(view.size_bytes, sum(lease.used_bytes for lease in gone))
        names = ", ".join(f"{lease.lease} of {lease.lender}" for lease in gone)
        sentence = f"{charge.volume}: up to {lost >> 20} MiB of pages are lost with {names}"
        self._agent.say(EventKind.PAGES_LOST, sentence, volume=charge.volume, size_bytes=lost)

    def publish(self, charge: Charge) -> None:
        """Bring the retained state of a volume and its leases in line with what is known of it."""
        view = charge.view
        wanted: dict[str, Message] = {}
        if view is not None:
            wanted = report.states(view, charge.step, charge.error)
            if view.goal is Goal.HOME and isinstance(charge.step, Done | Forget):
                wanted = {path: message for path, message in wanted.items() if path.startswith("volume/")}
        mine = {p for p, m in self._published.items() if getattr(m, "volume", None) == charge.volume}
        for path, message in wanted.items():
            self._agent.bus.set_state(path, message)
        for path in mine - wanted.keys():
            self._agent.bus.set_state(path, None)
            self._published.pop(path)
        self._published |= wanted
