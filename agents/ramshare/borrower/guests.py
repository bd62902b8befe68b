"""Whose swap is it: the guests that have this host's volumes as disks, and what they report. Used by the borrower.

The hypervisor is asked on a thread of its own, every `LOOK_S` and when it says that a guest came or went. Stated
behaviour:

- No hypervisor is named: nobody is asked, nothing is shown, no guest may ask for anything.
- Two guests have one volume: both are shown, `status` warns, and neither counts as its owner.
- A guest leaves (it stopped, or migrated away) while its volume is attached: the volume stays as it is, with no guest
  shown; the owner of the host, or the demand policy, brings it home. A guest on its way here is none yet.
- A volume changes its owner: from the next look on it is the new guest's, with whatever is lent for it.
- The hypervisor does not answer: who was seen last is shown; what guests may ask for needs a look of its own.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial

from ramshare.borrower.machine.api import GuestDisks
from ramshare.bus.api import Bus, StateArrived
from ramshare.errors import RamshareError
from ramshare.loop import Loop
from ramshare.messages.state import Memory
from ramshare.policy.demand_model import SwapReport
from ramshare.topics import name, role

log = logging.getLogger(__name__)

LOOK_S = 5.0
"""Between two looks at the hypervisor; it tells of most changes by itself."""
MOST_PENDING = 8
"""Questions to a hypervisor that hangs."""
UNKNOWN_AGE_S = 3600.0
"""Of a report that the broker had in store: the guest's clock may be wrong, so it counts as old until the next one."""
Disks = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class _Said:
    memory: Memory
    at_s: float
    """When it arrived, by our clock."""


class SwapGuests:
    """Owns what is known of the guests; runs on the agent's loop."""

    def __init__(
        self, loop: Loop, bus: Bus, disks: GuestDisks, worker: Executor | None, changed: Callable[[], None]
    ) -> None:
        """`worker` asks the hypervisor; `changed` is called when a volume's guests are others than before."""
        self._loop = loop
        self._bus = bus
        self._disks = disks
        self._worker = worker
        self._changed = changed
        self._of: Disks = {}
        self._heard: frozenset[str] = frozenset()
        self._said: dict[str, _Said] = {}
        self._next_look_s = 0.0
        self._pending = 0
        self._answers = True

    def start(self) -> None:
        """Begin to look."""
        if self._disks.present:
            self._disks.start(lambda: self._loop.post(self._look_soon))

    def stop(self) -> None:
        """End."""
        self._disks.stop()

    def of(self, volume: str) -> tuple[str, ...]:
        """Return the guests that have a volume as a disk."""
        return self._of.get(volume, ())

    def owner(self, volume: str) -> str | None:
        """Return the one guest whose disk a volume is; None if there is none, or more than one."""
        guests = self.of(volume)
        return guests[0] if len(guests) == 1 else None

    def reports(self, volume: str) -> list[SwapReport]:
        """Return what the owner of a volume said last of its memory; it may say anything."""
        owner = self.owner(volume)
        said = self._said.get(owner) if owner is not None else None
        if owner is None or said is None:
            return []
        memory, age_s = said.memory, self._loop.clock() - said.at_s
        return [SwapReport(owner, age_s, memory.swap_in_bytes_s, memory.psi_some_avg10, memory.refaults_s)]

    def turn(self, volumes: Collection[str]) -> None:
        """Look when it is time, and listen to the guests of these volumes."""
        if self._disks.present and not self._pending and self._loop.clock() >= self._next_look_s:
            self.look(lambda _outcome: None)
        self._listen(frozenset(guest for volume in volumes for guest in self.of(volume)))

    def look(self, done: Callable[[Disks | Exception], None]) -> None:
        """Ask the hypervisor now, and have `done` called on the loop with what it says."""
        if self._worker is None:
            self._loop.post(partial(done, RamshareError("no hypervisor is named (RAMSHARE_BORROWER_HYPERVISOR)")))
            return
        if self._pending >= MOST_PENDING:
            self._loop.post(partial(done, RamshareError("the hypervisor does not answer; ask again later")))
            return
        self._pending += 1
        self._next_look_s = self._loop.clock() + LOOK_S
        self._worker.submit(self._disks.look).add_done_callback(
            lambda ended: self._loop.post(partial(self._looked, ended, done))
        )

    def take(self, arrived: StateArrived) -> None:
        """Take a guest's report."""
        guest = name(arrived.client)
        if role(arrived.client) != "guest" or arrived.path != "memory" or guest not in self._heard:
            return
        if isinstance(arrived.message, Memory):
            at_s = self._loop.clock() - (UNKNOWN_AGE_S if arrived.retained else 0.0)
            self._said[guest] = _Said(arrived.message, at_s)
        else:
            self._said.pop(guest, None)

    def _look_soon(self) -> None:
        self._next_look_s = 0.0
        self._loop.soon()

    def _looked(self, ended: "Future[Disks]", done: Callable[[Disks | Exception], None]) -> None:
        self._pending -= 1
        if ended.cancelled():
            return
        error = ended.exception()
        if error is not None:
            if self._answers:
                log.warning("it is not known whose disks this host's volumes are: %s", error)
            self._answers = False
            done(error if isinstance(error, Exception) else RamshareError(repr(error)))
            return
        self._answers = True
        before, self._of = self._of, ended.result()
        for volume in sorted(before.keys() | self._of.keys()):
            if self.of(volume) != before.get(volume, ()):
                log.info("%s is a disk of %s now", volume, ", ".join(self.of(volume)) or "no guest")
        if self._of != before:
            self._changed()
        done(self._of)

    def _listen(self, wanted: frozenset[str]) -> None:
        for guest in sorted(wanted - self._heard):
            self._bus.watch_state(f"guest.{guest}", "memory")
        for guest in sorted(self._heard - wanted):
            self._bus.unwatch_state(f"guest.{guest}", "memory")
            self._said.pop(guest, None)
        self._heard = wanted
