"""Borrows and returns without anybody asking, where the owner allows it: the demand policy's eyes and hands.

Once a second it looks at each volume that `RAMSHARE_BORROWER_AUTO` names (what the kernel counts, what is known of the
loan), has `policy/demand.py` decide, and asks for what follows as a person would: `BorrowVolume` and `ReturnVolume`,
served by `requests.py`. It says why, as an event and in the retained `decisions` (`ramshare why`). Used by the
borrower's agent, on its loop.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ramshare.borrower.machine.api import SwapWatch
from ramshare.borrower.plan.steps import Attached
from ramshare.borrower.plan.view import Goal, VolumeView
from ramshare.borrower.volumes import ManagedVolume, Volumes
from ramshare.bus.api import Bus
from ramshare.desk import PASSING
from ramshare.linux.volume_io import VolumeIo
from ramshare.loop import Loop, say
from ramshare.messages.events import EventKind
from ramshare.messages.replies import Reply
from ramshare.messages.requests import BorrowVolume, Request, ReturnVolume
from ramshare.messages.state import Decisions, Memory, Mode
from ramshare.policy.demand import DemandPolicy
from ramshare.policy.demand_model import (
    Action,
    DemandDecision,
    Limits,
    Place,
    Setback,
    SwapReport,
    VolumeSample,
    Why,
)
from ramshare.settings import AllowedVolume, BorrowerSettings

LOOK_S = 1.0
"""Between two looks at a volume."""
END_AGAIN_S = 60.0
"""Between two tries to return what is not allowed any more."""
REMEMBERED_DECISIONS = 20
THIS_HOST = "this host"
Reports = Callable[[str], Iterable[SwapReport]]
"""`VG/LV` to what the guest that has it as its swap disk said last; its words may be anything."""
AskSelf = Callable[[Request, Callable[[Reply], None]], None]


def _no_reports(_volume: str) -> Iterable[SwapReport]:
    return ()


@dataclass
class _Watched:
    """One volume that the owner allowed."""

    io: VolumeIo | None = None
    """As of the last look."""
    looked_s: float = 0.0
    asked: bool = False
    """A request of ours is being served."""
    setback: Setback | None = None
    why: Why | None = None
    """Of the last decision."""


class Auto:
    """Watches the allowed volumes; where there are none it looks at nothing.

    Of what people said it remembers what tags on the volume say (whose loan it is); that a person brought a volume
    home is forgotten when the agent ends.
    """

    def __init__(
        self,
        loop: Loop,
        bus: Bus,
        settings: BorrowerSettings,
        watch: SwapWatch,
        volumes: Volumes,
        ask_self: AskSelf,
        reports: Reports = _no_reports,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`reports` are those of guests; this host's own are taken where it swaps to the volume itself."""
        self._loop = loop
        self._bus = bus
        self._allowed: Mapping[str, AllowedVolume] = settings.auto
        self._watch = watch
        self._volumes = volumes
        self._ask_self = ask_self
        self._reports = reports
        self._wall = wall
        limits = Limits(
            quiet_s=settings.auto_quiet_s,
            loans_per_hour=settings.auto_loans_per_hour,
            limit_bytes=settings.auto_limit_bytes,
        )
        self._policy = DemandPolicy(limits)
        self._watched = {volume: _Watched() for volume in self._allowed}
        self._decisions: deque[str] = deque(maxlen=REMEMBERED_DECISIONS)
        self._next_s = 0.0
        self._ended_s: dict[str, float] = {}
        """Volume to when its return is asked for again."""

    @property
    def paths(self) -> Collection[str]:
        """The state paths that are published."""
        return {"decisions"} if self._decisions else set()

    def turn(self) -> None:
        """Look at every allowed volume once a second, and do what the policy says."""
        now_s = self._loop.clock()
        if not self._volumes.started_up or now_s < self._next_s:
            return
        self._next_s = now_s + LOOK_S
        self._end_what_is_not_allowed(now_s)
        memory = self._watch.memory() if self._allowed else None
        for volume, watched in self._watched.items():
            managed = self._volumes.get(volume)
            if managed is None or managed.view is not None:  # else it is not known yet whose loan it is
                sample = self._sample(volume, watched, managed, memory, now_s)
                self._act(volume, watched, managed, sample, self._policy.decide(sample))

    def _end_what_is_not_allowed(self, now_s: float) -> None:
        """Return what was borrowed by itself for a volume that the owner does not name any more."""
        for managed in list(self._volumes):
            volume, view = managed.volume, managed.view
            mine = view is not None and view.automatic and view.goal is Goal.ATTACHED
            if not mine or volume in self._allowed or now_s < self._ended_s.get(volume, now_s):
                continue
            self._ended_s[volume] = now_s + END_AGAIN_S
            managed.why_home = "the owner does not allow automatic loans for it any more"
            say(self._bus, EventKind.DEMAND, f"returning {volume} by itself: {managed.why_home}", volume=volume)
            self._ask_self(ReturnVolume(volume=volume), lambda _reply: None)

    # ---- what is seen

    def _sample(
        self, volume: str, watched: _Watched, managed: ManagedVolume | None, memory: Memory | None, now_s: float
    ) -> VolumeSample:
        io, before, span_s = self._watch.look(volume), watched.io, max(1e-3, now_s - watched.looked_s)
        watched.io, watched.looked_s = io, now_s
        allowed, view = self._allowed[volume], managed.view if managed is not None else None
        reports = list(self._reports(volume))
        if io is not None and io.used_bytes is not None and memory is not None:
            reports.append(_own(memory))
        size_bytes = io.size_bytes if io is not None else 0
        reads = _rates(io, before, span_s)
        return VolumeSample(
            volume=volume,
            at_s=now_s,
            identity=io.identity if io is not None else "",
            swapper=", ".join(report.who for report in reports),
            size_bytes=size_bytes,
            most_bytes=size_bytes if allowed.most_bytes is None else allowed.most_bytes,
            in_part=allowed.mode is Mode.MOVE,
            place=_place(watched, managed),
            automatic=watched.asked or (view is not None and view.automatic),
            delivering=watched.asked or (view is not None and _delivering(view)),
            read_bytes_s=reads.read_bytes_s,
            write_bytes_s=reads.write_bytes_s,
            busy_percent=reads.busy_percent,
            read_s=reads.read_s,
            swap_used_bytes=None if io is None else io.used_bytes,
            reports=tuple(reports),
            lent_bytes=self._lent_bytes(volume),
            setback=self._setback(volume, watched),
            handed_back=self._volumes.was_handed_back(volume),
        )

    def _lent_bytes(self, volume: str) -> int:
        """Return what the policy's loans take, but for this volume's."""
        views = (managed.view for managed in self._volumes if managed.volume != volume)
        leases = (lease for view in views if view is not None and view.automatic for lease in view.leases)
        return sum(lease.size_bytes for lease in leases)

    def _setback(self, volume: str, watched: _Watched) -> Setback | None:
        """Return what came of the last request, or of the loan, if that is news."""
        setback, watched.setback = watched.setback, None
        given_up = self._volumes.why_given_up(volume)
        return Setback(given_up) if given_up else setback

    # ---- what is done

    def _act(
        self,
        volume: str,
        watched: _Watched,
        managed: ManagedVolume | None,
        sample: VolumeSample,
        decision: DemandDecision,
    ) -> None:
        self._tell(volume, watched, decision)
        if decision.action is Action.BORROW:
            allowed, whole = self._allowed[volume], decision.size_bytes >= sample.size_bytes
            request: Request = BorrowVolume(
                volume=volume,
                mode=allowed.mode,
                size_bytes=None if whole else decision.size_bytes,
                only_if_faster=True,
            )
            sentence = f"borrowing {decision.size_bytes >> 20} MiB for {volume} by {allowed.mode}, by itself"
        elif decision.action is Action.RETURN:
            request, sentence = ReturnVolume(volume=volume), f"returning {volume} by itself"
            if managed is not None:
                managed.why_home = decision.reason
        else:
            return
        say(self._bus, EventKind.DEMAND, f"{sentence}: {decision.reason}", volume=volume)
        watched.asked = True
        self._ask_self(request, lambda reply: self._answered(volume, watched, reply))

    def _answered(self, volume: str, watched: _Watched, reply: Reply) -> None:
        watched.asked = False
        managed = self._volumes.get(volume)
        if reply.error is not None:
            if managed is not None:
                managed.why_home = ""
            watched.setback = Setback(reply.sentence, passing=reply.error in PASSING)
            say(self._bus, EventKind.DEMAND, f"{volume} stays as it is: {reply.sentence}", volume=volume)

    def _tell(self, volume: str, watched: _Watched, decision: DemandDecision) -> None:
        """Keep what `ramshare why` shows: each new kind of decision, a storm that passed by itself as one line."""
        before, watched.why = watched.why, decision.why
        if decision.why in (before, Why.GATHERING):
            return
        reason = decision.reason
        if before is Why.GATHERING and decision.why is Why.CALM:
            reason = f"a blip, over before it was a storm; {reason}"
        stamp = self._wall().isoformat(timespec="seconds").replace("+00:00", "Z")
        self._decisions.append(f"{stamp} {volume}: {decision.action}, {reason}")
        self._bus.set_state("decisions", Decisions(decisions=tuple(self._decisions)))


@dataclass(frozen=True)
class _Rates:
    read_bytes_s: float = 0.0
    write_bytes_s: float = 0.0
    busy_percent: float = 0.0
    read_s: float | None = None


def _rates(io: VolumeIo | None, before: VolumeIo | None, span_s: float) -> _Rates:
    """Return what was counted since the last look; nothing of a device that is another one, or was made anew."""
    if io is None or before is None or io.identity != before.identity or io.reads < before.reads:
        return _Rates()
    reads = io.reads - before.reads
    return _Rates(
        read_bytes_s=max(0, io.read_bytes - before.read_bytes) / span_s,
        write_bytes_s=max(0, io.write_bytes - before.write_bytes) / span_s,
        busy_percent=min(100.0, max(0.0, io.busy_s - before.busy_s) / span_s * 100.0),
        read_s=max(0.0, io.read_s - before.read_s) / reads if reads else None,
    )


def _own(memory: Memory) -> SwapReport:
    return SwapReport(THIS_HOST, 0.0, memory.swap_in_bytes_s, memory.psi_some_avg10, memory.refaults_s)


def _place(watched: _Watched, managed: ManagedVolume | None) -> Place:
    view = managed.view if managed is not None else None
    if managed is None or view is None:
        return Place.ATTACHING if watched.asked else Place.HOME
    if view.goal is Goal.ATTACHED and not managed.gave_up:
        return Place.ATTACHED if isinstance(managed.step, Attached) else Place.ATTACHING
    return Place.LEAVING


def _delivering(view: VolumeView) -> bool:
    """Whether anything came of the loan: a lease is part of the volume's group at least."""
    return view.move is not None or any(lease.in_vg for lease in view.leases)
