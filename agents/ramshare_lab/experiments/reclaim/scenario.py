"""Measures how fast a lender gets its memory back, in a lab: one lease of 256 MB that changes between lenders.

Each round drains the lender that has the lease; the borrower gives it back and takes memory of the other one, so that
the next round can begin. Used by `ramshare bench reclaim`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ramshare.errors import RamshareError
from ramshare.messages.events import Event, EventKind
from ramshare.messages.requests import Drain, Undrain
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.faults.stage import ATTACH_S, HOME_S, Stage
from ramshare_lab.experiments.reclaim.results import LOADS, Load, Reclaim, Series, series

LENT_BYTES = 256 * MIB
OVERHEAD_BYTES = 8 * MIB
"""Of a lease: LVM's header and the mirror leg's metadata."""
BACK_S = 180.0
SETTLE_S = 3.0
"""Between two rounds, for the storm to get going again."""


class ReclaimError(RamshareError):
    """A lender did not get its memory back."""


@dataclass(frozen=True)
class ReclaimPlan:
    """What is measured."""

    rounds: int = 10
    modes: tuple[Mode, ...] = (Mode.MIRROR, Mode.PAIR, Mode.MOVE)
    loads: tuple[Load, ...] = LOADS

    def lab(self, mode: Mode, name: str, accel: str = "") -> LabSpec:
        """Return the lab for a mode: each lender can hold the volume alone, and one more than it needs is there."""
        return LabSpec(
            name=name,
            lenders=3 if mode is Mode.PAIR else 2,
            guests=0,
            swap_bytes=LENT_BYTES - OVERHEAD_BYTES,
            lender_bytes=LENT_BYTES + 16 * MIB,
            accel=accel,
        )


def run_reclaim(
    plan: ReclaimPlan, name: str, accel: str, on_stage: Callable[[str], None], say: Callable[[str], None]
) -> Reclaim:
    """Measure, in a lab for each mode. Raises `RamshareError` where it cannot go on."""
    done: list[Series] = []
    bad_pages = disk_iops = 0
    for mode in plan.modes:
        with Lab(plan.lab(mode, name, accel), on_stage) as lab, Stage(lab) as stage:
            for load in plan.loads:
                done.append(_measure(stage, mode, load, plan.rounds, say))
            bad_pages += stage.victim.check_pages()
            accel, disk_iops = lab.accel, lab.spec.disk_iops
    return Reclaim(accel=accel, lent_bytes=LENT_BYTES, disk_iops=disk_iops, bad_pages=bad_pages, series=tuple(done))


def _measure(stage: Stage, mode: Mode, load: Load, rounds: int, say: Callable[[str], None]) -> Series:
    stage.attach(mode)
    if load == "storm":
        stage.victim.storm.start()
    samples: list[float] = []
    parts: list[dict[str, float]] = []
    for number in range(rounds):
        stage.operator.listen(SETTLE_S)
        took_s, steps = _reclaim_once(stage)
        samples.append(took_s)
        parts.append(steps)
        say(f"{mode}, {load}, {number + 1} of {rounds}: memory back after {took_s:.2f} s")
    stage.victim.stop_storm()
    stage.operator.send_home(VOLUME)
    stage.operator.follow(VOLUME, VolumePhase.HOME, HOME_S)
    return series(mode.value, load, samples, parts)


def _reclaim_once(stage: Stage) -> tuple[float, dict[str, float]]:
    """Drain the lender in use until its memory is back; return the seconds, and the borrower's steps on the way."""
    lender = stage.lenders_in_use()[0]
    before = stage.leases_in_use()
    seen = len(stage.operator.events)
    stage.operator.ask(lender, Drain())

    def first(kind: EventKind) -> Event | None:
        news = stage.operator.events[seen:]
        return next((event for _, who, event in news if who == lender and event.kind is kind), None)

    stage.wait(lambda: first(EventKind.RELEASED) is not None, f"{lender} has its memory back", BACK_S)
    asked, released = first(EventKind.VACATED), first(EventKind.RELEASED)
    if asked is None or released is None:
        raise ReclaimError(f"{lender} did not say when it asked for its memory")
    stage.operator.ask(lender, Undrain())
    # A borrower that was cut off still says "attached" until it notices.
    stage.wait(lambda: not before & stage.leases_in_use(), "the old lease is gone", HOME_S)
    stage.operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_S)
    return (released.at - asked.at).total_seconds(), _steps(stage.operator.events[seen:], asked, released)


def _steps(news: Sequence[tuple[float, str, Event]], asked: Event, released: Event) -> dict[str, float]:
    """Return how long each step of the borrower took, by the order in which its events came."""
    at = {id(event): at_s for at_s, _, event in news}
    before_s = at[id(asked)]
    found: dict[str, float] = {}
    for at_s, _, event in news:
        if event is released:
            found["lender frees"] = found.get("lender frees", 0.0) + at_s - before_s
            break
        if event.kind is EventKind.STEP and at_s >= before_s:
            name = _step_name(event.sentence)
            found[name] = found.get(name, 0.0) + at_s - before_s
            before_s = at_s
    return found


def _step_name(sentence: str) -> str:
    """Return what a step does, without the volume, disks and lease it does it to."""
    words = sentence.partition(": ")[2].partition(":")[0].split(" (")[0].split(" /dev")[0].split(" lease ")[0]
    return re.sub(r" l[0-9a-f]{10}-[0-9]+$", "", words)
