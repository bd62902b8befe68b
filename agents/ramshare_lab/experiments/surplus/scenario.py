"""Proves on real kernels that a guest's spare memory can be lent, and comes back in time: in a lab, under libvirt.

A lender's host has two guests. Each round measures one of them without lending; then lends what balloons take from
both; measures it again; and has it demand memory as fast as it can fill it. Used by `ramshare bench surplus`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ramshare.errors import RamshareError
from ramshare.linux.hypervisor import Guest
from ramshare.messages.events import EventKind
from ramshare.messages.requests import Drain, Undrain
from ramshare.messages.state import Memory, Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.spec import VOLUME
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.faults.stage import HOME_S, Stage
from ramshare_lab.experiments.surplus.balloon_trace import BalloonTrace
from ramshare_lab.experiments.surplus.guest_work import GuestWork
from ramshare_lab.experiments.surplus.plan import DEMAND_BYTES, GUEST, GUEST_BYTES, LENDER, SWAP_BYTES, SurplusPlan
from ramshare_lab.experiments.surplus.results import SurplusResults, SurplusRound, noise, slowdown

BALLOONS_S, LENT_S, MEMORY_S, BACK_S = 90.0, 180.0, 60.0, 120.0
SETTLE_S = 3.0


class SurplusError(RamshareError):
    """What should have happened to a guest's memory did not."""


@dataclass
class SurplusRun:
    """One measurement in a lab that has been started."""

    lab: Lab
    plan: SurplusPlan
    say: Callable[[str], None]
    rounds: list[SurplusRound] = field(default_factory=list)
    _kept_bytes: int = 0
    """What the guest's kernel keeps for itself: what it has, less its MemTotal."""

    def run(self) -> SurplusResults:
        """Measure. Raises `RamshareError` where it cannot go on."""
        assert self.lab.libvirt is not None
        with (
            BalloonTrace(self.lab.libvirt.uri, GUEST) as self.trace,
            Stage(self.lab, self.say) as self.stage,
            GuestWork(self.lab.vms[GUEST], self.plan, self.say) as self.work,
        ):
            lent_bytes = 0
            for number in range(self.plan.rounds):
                self.say(f"round {number + 1} of {self.plan.rounds}")
                lent_bytes = self._round()
            bad_pages = self.stage.victim.check_pages()
        return SurplusResults(
            demand_to_memory_s=max(each.demand_to_memory_s for each in self.rounds),
            guest_swapped_pages=max(each.swapped_pages for each in self.rounds),
            guest_slowdown=slowdown(self.rounds),
            guest_slowdown_noise=noise(self.rounds),
            accel=self.lab.accel,
            guest_memory_bytes=GUEST_BYTES,
            demand_bytes=DEMAND_BYTES,
            lent_bytes=lent_bytes,
            bad_pages=bad_pages,
            rounds=tuple(self.rounds),
        )

    def _round(self) -> int:
        operator = self.stage.operator
        operator.ask(LENDER, Drain())
        self._await(lambda: self._held_bytes() == 0, "all balloons are empty", BALLOONS_S)
        alone_rates = self.work.rates("with all its memory")
        self._kept_bytes = GUEST_BYTES - self._report().total_bytes
        fill_alone_s = self.work.fill_alone_s()
        before = self.trace.now()
        freed_s = time.monotonic()
        operator.ask(LENDER, Undrain())
        self._await(lambda: self._offered_bytes() >= SWAP_BYTES + 16 * MIB, "the offer rises", LENT_S)
        offered_s = time.monotonic() - freed_s
        self.stage.attach(Mode.MIRROR)
        lent_bytes = self._lent_bytes()
        self.say(f"{lent_bytes // MIB} MiB lent, {self._held_bytes() // MIB} MiB of them from balloons")
        operator.listen(SETTLE_S)
        after = self.trace.now()
        lent_rates = self.work.rates("with its memory lent")
        gained_bytes = (before.resident_bytes or 0) - (after.resident_bytes or 0)
        self.say(f"the host has gained {gained_bytes // MIB} MiB from {GUEST}; offered after {offered_s:.1f} s")
        demand = self._demand()
        self.rounds.append(
            SurplusRound(
                freed_to_offer_s=offered_s,
                host_gained_bytes=gained_bytes,
                fill_alone_s=fill_alone_s,
                lent_rates=lent_rates,
                alone_rates=alone_rates,
                **demand,
            )
        )
        operator.send_home(VOLUME)
        operator.follow(VOLUME, VolumePhase.HOME, HOME_S)
        return lent_bytes

    def _demand(self) -> dict[str, float]:
        """Have the guest demand memory while it is lent; return the times and pages of `SurplusRound`."""
        swapped, offered_bytes = self.work.swapped_out_pages(), self._capacity_bytes()
        has_bytes = self.trace.now().actual_bytes
        need_bytes = self._kept_bytes + self._report().used_bytes + DEMAND_BYTES
        self.say(f"{GUEST} has {has_bytes // MIB} MiB and suddenly needs {need_bytes // MIB}")
        with self.work.demand() as process:
            began_s, began_at = time.monotonic(), datetime.now(UTC)
            fill_s = process.init().seconds
            memory_s = self.trace.reached(need_bytes, began_s, MEMORY_S)
            falls_s = self._event_s(EventKind.OFFER_CHANGED, began_at, below_bytes=offered_bytes)
            back_s = self._event_s(EventKind.RELEASED, began_at)
            self.stage.operator.listen(SETTLE_S)
            swapped = self.work.swapped_out_pages() - swapped
        self.say(
            f"{GUEST} has its memory after {memory_s:.2f} s, filled it in {fill_s:.2f} s, swapped {swapped} pages out;"
            f" the offer fell after {falls_s:.2f} s, the lease was back after {back_s:.2f} s"
        )
        return {
            "demand_to_memory_s": memory_s,
            "offer_falls_s": falls_s,
            "lease_back_s": back_s,
            "fill_s": fill_s,
            "swapped_pages": swapped,
        }

    def _report(self) -> Memory:
        """Return what the guest's monitor said last; at rest, as one comes every few seconds."""
        self.stage.operator.listen(0.5)
        report = self.stage.operator.retained.get(f"guest.{GUEST}", "memory", Memory)
        if report is None:
            raise SurplusError(f"{GUEST} does not report")
        return report

    def _event_s(self, kind: EventKind, began_at: datetime, below_bytes: int = 1 << 60) -> float:
        """Wait for the lender's first event of a kind since then, and return after how many seconds it came."""

        def after() -> list[float]:
            events = (event for _, who, event in self.stage.operator.events if who == LENDER and event.kind is kind)
            news = (event for event in events if event.at >= began_at and (event.size_bytes or 0) < below_bytes)
            return [(event.at - began_at).total_seconds() for event in news]

        self._await(lambda: bool(after()), f"{LENDER} says {kind}", BACK_S)
        return after()[0]

    def _held_bytes(self) -> int:
        return sum(guest.max_bytes - guest.actual_bytes for guest in self._guests())

    def _guests(self) -> tuple[Guest, ...]:
        return self.trace.all()

    def _offered_bytes(self) -> int:
        offer = self.stage.operator.offer(LENDER)
        return offer.free_bytes if offer is not None else 0

    def _capacity_bytes(self) -> int:
        offer = self.stage.operator.offer(LENDER)
        return offer.capacity_bytes if offer is not None else 0

    def _lent_bytes(self) -> int:
        offer = self.stage.operator.offer(LENDER)
        return offer.lent_bytes if offer is not None else 0

    def _await(self, reached: Callable[[], bool], what: str, timeout_s: float) -> None:
        if not self.stage.operator.until(reached, timeout_s):
            offer = self.stage.operator.offer(LENDER)
            told = offer.reason if offer is not None else "no offer"
            raise SurplusError(f"within {timeout_s:g} s not: {what}; the lender says: {told}")
