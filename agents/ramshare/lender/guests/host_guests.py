"""The lender's hold on the guests of its host: which run here, how far their balloons are, what was asked of them.

The hypervisor is asked on a thread of its own: it may hang, and memory that a guest needs back must not wait behind an
export that is being made. Stated behaviour:

- The hypervisor is gone: the last known guests are taken to be there, nothing is taken from any, and it is asked again
  at every look. Their reports still count, so the offer goes on shrinking when they need more.
- A guest needs more than the host has besides what is lent: it gets what there is at once, and the rest as leases come
  back; swapping for a moment is better for it than a host that runs out of memory.
- A guest that has not reported yet, because it or the lender has just come, is left as it is for as long as a report
  would be believed; then it gets everything back.
- What a guest is meant to have is in `sizes.py`: more than that is never asked for, whatever its definition allows. A
  guest that has just been started, or set by its owner, is left alone until that has settled.
- A guest whose memory a balloon must not touch is left alone and named in the offer's reason. Xen's Domain-0 is none.
- A balloon that does not reach its target in time: what was to be *taken* is given up (the guest keeps what it has, and
  is left alone for a while); what was to be *given back* is asked for again, and told as a failure.
"""

import logging
import math
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import partial

from ramshare.lender.guests.balloon import STEP_BYTES, BalloonGuest, BalloonTarget, afford, plan_balloons
from ramshare.lender.guests.sizes import GuestSizes
from ramshare.lender.guests.use import GuestUse
from ramshare.linux.hypervisor import BalloonNote, Guest, Hypervisor, HypervisorError
from ramshare.messages.base import HOST_PATTERN, MAX_HOST_NAME
from ramshare.policy.intake import ALARM_PSI, ALARM_SWAP_IN_BYTES_S, STALE_AFTER_S
from ramshare.policy.model import GuestSample

log = logging.getLogger(__name__)

REACHED_WITHIN_S = 20.0
"""Measured: 512 to 300 MiB and back within 4 s under emulation."""
REACHED_BYTES = 2 << 20
"""Balloons move in pages and hypervisors count in KiB: so near is there."""
LOOK_S, LOOK_MOVING_S = 2.0, 0.25
"""Between two looks at the guests: usually, and while a balloon is asked to move."""
LONG_AGO_S = 0.0
_NAME = re.compile(HOST_PATTERN)
"""What can be part of a client's name; a guest called otherwise counts as full."""
CALM_S = 10.0
"""From a guest that was just due memory nothing is taken for so long."""
LEFT_ALONE_S = 300.0
"""A guest that did not give what was asked is not asked again for so long."""


@dataclass(frozen=True)
class _Asked:
    target: BalloonTarget
    by_s: float


class HostGuests:
    """Call `look` every few seconds and `balance` after each decision, on the agent's loop."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        post: Callable[[Callable[[], None]], None],
        wall: Callable[[], float],
        worker: Executor,
    ) -> None:
        """`wall` is the clock of the guests' reports; `worker` asks the hypervisor, one question after the other."""
        self._hypervisor = hypervisor
        self._wall = wall
        self._use = GuestUse(wall)
        self._post = post
        self._worker = worker
        self._asked: dict[str, _Asked] = {}
        self._alone_until_s: dict[str, float] = {}
        self._seen_s: dict[str, float] = {}
        """Since when each guest is known here."""
        self._next_step_s = -math.inf
        """Memory is taken, and eased, by one step each `LOOK_S`, however often guests report."""
        self._busy = False
        self._sizes = GuestSizes()
        self.known: tuple[Guest, ...] = ()
        """The guests here; `max_bytes` is the most that each is meant to have."""
        self.left_alone: dict[str, str] = {}
        """Why balloons of guests (and of the host itself, where it is listed as one) are not used, by name."""
        self.owed_bytes = 0
        """What guests are due and the host does not have: leases must come back for it."""
        self.answers = True
        self.seen = not hypervisor.present
        """Whether it is known what runs here; before, nothing may be offered."""

    @property
    def ballooned_bytes(self) -> int:
        """What all balloons hold."""
        return sum(max(0, guest.max_bytes - guest.actual_bytes) for guest in self.known)

    @property
    def untouched_bytes(self) -> int:
        """What looks free on the host, but is promised to guests."""
        return sum(guest.untouched_bytes for guest in self.known)

    @property
    def look_again_s(self) -> float:
        """After how many seconds to look again."""
        return LOOK_MOVING_S if self._asked else LOOK_S

    def start(self, on_change: Callable[[], None]) -> None:
        """Have `on_change` run on the loop when a guest comes or goes."""
        self._hypervisor.start(lambda: self._post(on_change))

    def stop(self) -> None:
        """Let go; balloons stay as they are, for what they hold may be lent."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._hypervisor.stop()

    def look(self, done: Callable[[], None]) -> None:
        """Ask what runs here and how far balloons are; then run `done` on the loop. Skipped while asking already."""
        if self._busy or not self._hypervisor.present:
            return
        self._busy = True
        self._worker.submit(self._hypervisor.guests).add_done_callback(
            lambda f: self._post(lambda: self._seen(f, done))
        )

    def balance(
        self, samples: Sequence[GuestSample], wanted: int, now_s: float, wall_s: float, spare_bytes: int = sys.maxsize
    ) -> list[str]:
        """Ask for what the plan says; return sentences about balloons that failed. Times: loop's clock, wall clock.

        `spare_bytes` is what the host could hand out now; what guests are due beyond it is noted as `owed_bytes`.
        """
        failed = self._judge(now_s)
        if not self.answers:
            return failed
        reports = {sample.guest: sample for sample in samples}
        movable = [guest for guest in self.known if self._sizes.settled(guest.uuid)]
        plan = plan_balloons([self._need(guest, reports, now_s, wall_s) for guest in movable], wanted)
        plan, self.owed_bytes = afford(plan, {guest.uuid: guest.actual_bytes for guest in self.known}, spare_bytes)
        for target in sorted(plan, key=lambda t: not t.gives_back):
            if target.is_due:
                self._alone_until_s[target.uuid] = max(now_s + CALM_S, self._alone_until_s.get(target.uuid, now_s))
            elif now_s < self._next_step_s:
                continue
            self._ask(target, now_s)
        if plan and now_s >= self._next_step_s:
            self._next_step_s = now_s + LOOK_S
        return failed

    @property
    def names(self) -> frozenset[str]:
        """The guests that run here and can report."""
        return frozenset(
            guest.name for guest in self.known if len(guest.name) <= MAX_HOST_NAME and _NAME.fullmatch(guest.name)
        )

    @property
    def resident_bytes(self) -> int:
        """What of the host's memory the guests hold."""
        return sum(guest.actual_bytes - guest.untouched_bytes for guest in self.known)

    def believed(self, samples: Sequence[GuestSample]) -> tuple[GuestSample, ...]:
        """Return the samples with the hypervisor's word for each guest's size; a guest may claim anything.

        A guest that is silent, or has a namesake, is added as one that reported long ago: it counts as full, and the
        policy learns nothing from it.
        """
        sizes: dict[str, list[Guest]] = {}
        for guest in self.known:
            sizes.setdefault(guest.name, []).append(guest)
        found = {sample.guest: sample for sample in samples}
        for name, guests in sizes.items():
            if len(guests) == 1 and name in found:
                found[name] = self._use.sized(found[name], guests[0])
            else:
                size_bytes = sum(guest.max_bytes for guest in guests)
                found[name] = GuestSample(name, LONG_AGO_S, size_bytes, size_bytes)
        return tuple(found[name] for name in sorted(found))

    # --- inside

    def _seen(self, future: "Future[tuple[Guest, ...]]", done: Callable[[], None]) -> None:
        self._busy = False
        before = {guest.uuid: guest.actual_bytes for guest in self.known}
        try:
            found = future.result()
        except HypervisorError as error:
            if self.answers:
                log.error("guests cannot be seen: %s", error)
            self.answers = False
            return
        if not self.answers:
            log.info("the hypervisor answers again")
        self.answers = self.seen = True
        guests = [guest for guest in found if not guest.is_host]
        new = self._sizes.take(guests, self._wall())
        self.known = tuple(map(self._sizes.meant, guests))
        self.left_alone = {guest.name: guest.left_alone for guest in found if guest.left_alone}
        for guest in self.known:
            if before.get(guest.uuid, guest.actual_bytes) != guest.actual_bytes:
                self._use.seen_to_move(guest.uuid)
        here = {guest.uuid for guest in self.known}.difference(new)
        self._asked = {uuid: asked for uuid, asked in self._asked.items() if uuid in here}
        self._use.forget_others(here)
        self._seen_s = {uuid: since for uuid, since in self._seen_s.items() if uuid in here}
        self._alone_until_s = {uuid: until for uuid, until in self._alone_until_s.items() if uuid in here}
        done()

    def _need(self, guest: Guest, reports: dict[str, GuestSample], now_s: float, wall_s: float) -> BalloonGuest:
        if guest.left_alone:
            about = (guest.uuid, guest.name, guest.max_bytes, guest.actual_bytes, guest.floor_bytes, None)
            return BalloonGuest(*about, left_alone=guest.left_alone)
        report = reports.get(guest.name)
        believed = report is not None and -STALE_AFTER_S <= wall_s - report.at_s <= STALE_AFTER_S
        sized = self._use.sized(report, guest) if believed and report is not None else None
        used, rise = None, 0
        if sized is not None and 0 <= sized.used_bytes <= guest.max_bytes:
            used, rise = int(sized.used_bytes), self._use.rise_bytes(guest.uuid, sized)
        need = BalloonGuest(
            guest.uuid, guest.name, guest.max_bytes, guest.actual_bytes, guest.floor_bytes, used, _pressed(sized), rise
        )
        if report is None and now_s - self._seen_s.setdefault(guest.uuid, now_s) < STALE_AFTER_S:
            return replace(need, floor_bytes=max(need.floor_bytes, guest.actual_bytes), used_bytes=0)
        if now_s < self._alone_until_s.get(guest.uuid, now_s):
            return replace(need, floor_bytes=max(need.floor_bytes, guest.actual_bytes))
        return need

    def _ask(self, target: BalloonTarget, now_s: float) -> None:
        before = self._asked.get(target.uuid)
        if before is not None and abs(before.target.target_bytes - target.target_bytes) < STEP_BYTES:
            return  # under way
        self._asked[target.uuid] = _Asked(target, now_s + REACHED_WITHIN_S)
        self._use.moving(target.uuid)
        verb = "give back to" if target.gives_back else "take from"
        log.info("%s %s, to %d MiB: %s", verb, target.name, target.target_bytes >> 20, target.reason)
        self._set(target.uuid, target.target_bytes)

    def _set(self, uuid: str, target_bytes: int) -> None:
        def told(future: "Future[None]") -> None:
            if not future.cancelled() and (error := future.exception()) is not None:
                log.error("a balloon cannot be set: %s", error)

        note = self._sizes.asked(next(guest for guest in self.known if guest.uuid == uuid), target_bytes)
        job = partial(_set_balloon, self._hypervisor, uuid, target_bytes, note)
        self._worker.submit(job).add_done_callback(told)

    def _judge(self, now_s: float) -> list[str]:
        """Drop what was reached; see the module for what was not."""
        failed = []
        actual = {guest.uuid: guest.actual_bytes for guest in self.known}
        for uuid, asked in list(self._asked.items()):
            target, has = asked.target, actual.get(uuid, asked.target.target_bytes)
            missing = target.target_bytes - has if target.gives_back else has - target.target_bytes
            if missing <= REACHED_BYTES:
                del self._asked[uuid]
                self._use.moved(uuid)
            elif now_s >= asked.by_s:
                del self._asked[uuid]  # what is to be given back is thereby asked for again
                self._use.moved(uuid)
                if not target.gives_back:
                    self._alone_until_s[uuid] = now_s + LEFT_ALONE_S
                    self._set(uuid, has)
                mib = f"{has >> 20} MiB, not at {target.target_bytes >> 20}"
                failed.append(f"the balloon of {target.name} is at {mib}, after {REACHED_WITHIN_S:g} s")
        return failed


def _set_balloon(hypervisor: Hypervisor, uuid: str, target_bytes: int, note: BalloonNote | None) -> None:
    """Ask, with a note of it at the guest at any moment from which its memory might not be given back."""
    if note is not None:
        hypervisor.write_note(uuid, note)
    hypervisor.set_balloon(uuid, target_bytes)
    if note is None:
        hypervisor.write_note(uuid, None)


def _pressed(sample: GuestSample | None) -> bool:
    return sample is not None and (
        (sample.psi_some is not None and sample.psi_some > ALARM_PSI) or sample.swap_in_bytes_s > ALARM_SWAP_IN_BYTES_S
    )
