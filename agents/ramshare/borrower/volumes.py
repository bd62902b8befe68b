"""The volumes in the borrower's care: what is known of each, and when each is looked at next.

Every part of the borrower's agent works on these records, on the agent's loop; who writes a field is said below.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from ramshare.borrower.plan.patience import STUCK_MOST_S
from ramshare.borrower.plan.releasing import Releasing
from ramshare.borrower.plan.steps import Step
from ramshare.borrower.plan.view import Heard, VolumeView
from ramshare.loop import Loop

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
    stuck_since_s: float | None = None
    """Since when its step waits for what only somebody else can change."""
    gave_up: str = ""
    """Why it was sent home before anybody asked for that; kept until somebody asks for something."""

    # Written by `auto.py`.
    why_home: str = ""
    """Why the policy brings it home."""

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
    in_vain_since_s: float | None = None
    """Since when that is so."""

    # Written by `releases.py`.
    releasing: dict[str, Releasing] = field(default_factory=dict)
    """Leases on their way back to their lenders."""

    @property
    def cut_off(self) -> frozenset[str]:
        """Leases that were healthy when they were given back, though LVM is not through with them yet."""
        return frozenset(lease for lease, releasing in self.releasing.items() if releasing.cut_off)

    def vacated(self, wanted_back: Collection[str]) -> bool:
        """Whether a lender wants one of this volume's leases back."""
        return self.view is not None and any(lease.lease in wanted_back for lease in self.view.leases)


class Volumes:
    """All of them, and what lenders want back of them."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._by_volume: dict[str, ManagedVolume] = {}
        self._started_up = False
        self.wanted_back: set[str] = set()
        """Leases that their lenders have called back."""
        self._handed_back: set[str] = set()
        self._given_up: dict[str, str] = {}

    def __iter__(self) -> Iterator[ManagedVolume]:
        return iter(self._by_volume.values())

    @property
    def names(self) -> Collection[str]:
        """`VG/LV` of each."""
        return self._by_volume.keys()

    @property
    def started_up(self) -> bool:
        """Whether it is known which volumes carry our tags."""
        return self._started_up

    def get(self, volume: str) -> ManagedVolume | None:
        """Return what is known of a volume in this agent's care."""
        return self._by_volume.get(volume)

    def hand_back(self, volume: str) -> None:
        """Note that a person wants this volume home."""
        self._handed_back.add(volume)

    def was_handed_back(self, volume: str) -> bool:
        """Whether a person wanted this volume home since this was last asked."""
        found = volume in self._handed_back
        self._handed_back.discard(volume)
        return found

    def give_up(self, managed: ManagedVolume, why: str) -> None:
        """Note why a volume goes home before anybody asked for that."""
        managed.gave_up, managed.stuck_since_s, managed.failures = why, None, 0
        if managed.view is not None and managed.view.automatic:
            self._given_up[managed.volume] = why

    def why_given_up(self, volume: str) -> str:
        """Return why an automatic loan was given up since this was last asked; empty if it was not."""
        return self._given_up.pop(volume, "")

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
        self._loop.soon()

    def asked_for(self, volume: str) -> None:
        """Look after this volume at once, because a person wants something of it: what was given up is over."""
        self.care(volume)
        self._by_volume[volume].gave_up = ""

    def care_for_all(self) -> None:
        """Look at every volume at once."""
        for managed in self:
            self.care(managed.volume)

    def forget(self, managed: ManagedVolume) -> None:
        """Look after this volume no more."""
        self._by_volume.pop(managed.volume, None)

    def due(self) -> ManagedVolume | None:
        """Return the volume that has waited longest of those whose time has come."""
        now_s = self._loop.clock()
        return min((c for c in self if c.due_s <= now_s), key=lambda c: c.due_s, default=None)

    def pause(self, managed: ManagedVolume, pause_s: float) -> None:
        """Look at this volume again after so long."""
        managed.due_s = self._loop.clock() + pause_s

    def failed(self, managed: ManagedVolume, error: str, retry_s: float | None = None) -> None:
        """Note why a volume does not get on. Unless said, it is looked at again the later the more often it failed."""
        managed.error = error
        managed.failures += 1
        if retry_s is None:
            retry_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2 ** min(managed.failures, 10))
        self.pause(managed, retry_s)

    def heard(self, managed: ManagedVolume) -> Heard:
        """Return what was said on the bus and bears on a volume."""
        since_s = managed.in_vain_since_s
        return Heard(
            vacate=frozenset(self.wanted_back),
            nothing_to_borrow=managed.nothing_to_borrow,
            told_lost=frozenset(managed.told_lost),
            asked_in_vain=since_s is not None and self._loop.clock() - since_s >= STUCK_MOST_S,
        )
