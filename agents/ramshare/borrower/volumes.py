"""The volumes in the borrower's care: what is known of each, and when each is looked at next.

Every part of the borrower's agent works on these records, on the agent's loop; who writes a field is said below.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from ramshare.agent import Agent
from ramshare.borrower.plan.steps import Step
from ramshare.borrower.plan.view import VolumeView

RETRY_FIRST_S, RETRY_MOST_S = 2.0, 60.0
"""Waits after a step that failed double from the first to the most."""


@dataclass
class ManagedVolume:
    """One volume in this agent's care."""

    volume: str
    due_s: float = 0.0
    failures: int = 0
    error: str = ""

    # Written by `reconcile.py`.
    view: VolumeView | None = None
    step: Step | None = None
    told_lost: set[str] = field(default_factory=set)
    """Leases of which it was told that pages are lost with them."""

    # Written by `publish.py`.
    told_error: str = ""
    told_step: Step | None = None
    """The last step that was applied, told or not worth it."""

    # Written by `loans.py`.
    asking: bool = False
    """The manager has been asked for memory and has not answered yet."""
    ask_id: str = ""
    """Id of a question to the manager that was never answered; asked again under it, no lease is made twice."""
    nothing_to_borrow: bool = False
    """The manager had nothing when last asked: a volume that must leave a lease goes home instead."""

    # Written by `releases.py`.
    release_tries: dict[str, int] = field(default_factory=dict)
    releasing: set[str] = field(default_factory=set)
    let_go: set[str] = field(default_factory=set)
    """Leases that were given back while LVM still had them in the group."""
    given_back: set[str] = field(default_factory=set)
    """Of those, the ones that their lender has taken back."""

    def vacated(self, wanted_back: Collection[str]) -> bool:
        """Whether a lender wants one of this volume's leases back."""
        return self.view is not None and any(lease.lease in wanted_back for lease in self.view.leases)


class Volumes:
    """All of them, and what lenders want back of them."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._by_volume: dict[str, ManagedVolume] = {}
        self._started_up = False
        self.wanted_back: set[str] = set()
        """Leases that their lenders have called back."""

    def __iter__(self) -> Iterator[ManagedVolume]:
        return iter(self._by_volume.values())

    @property
    def names(self) -> Collection[str]:
        """Their names."""
        return self._by_volume.keys()

    @property
    def all_seen(self) -> bool:
        """Whether every volume with our tags is known and was looked at."""
        return self._started_up and all(managed.view is not None for managed in self)

    def start_with(self, volumes: Iterable[str]) -> None:
        """Go on with the volumes that carry our tags."""
        self._started_up = True
        for volume in volumes:
            self.care(volume)

    def care(self, volume: str) -> None:
        """Look after this volume from now on, and at once."""
        self.pause(self._by_volume.setdefault(volume, ManagedVolume(volume)), 0.0)
        self._agent.soon()

    def care_for_all(self) -> None:
        """Look at every volume at once."""
        for managed in self:
            self.care(managed.volume)

    def forget(self, managed: ManagedVolume) -> None:
        """Look after this volume no more."""
        self._by_volume.pop(managed.volume, None)

    def due(self) -> ManagedVolume | None:
        """Return the volume that has waited longest of those whose time has come."""
        now_s = self._agent.clock()
        return min((c for c in self if c.due_s <= now_s), key=lambda c: c.due_s, default=None)

    def pause(self, managed: ManagedVolume, pause_s: float) -> None:
        """Look at this volume again after so long."""
        managed.due_s = self._agent.clock() + pause_s

    def pause_after_failure(self, managed: ManagedVolume) -> None:
        """Look at it again the later the more often it failed in a row."""
        self.pause(managed, min(RETRY_MOST_S, RETRY_FIRST_S * 2 ** min(managed.failures, 10)))
