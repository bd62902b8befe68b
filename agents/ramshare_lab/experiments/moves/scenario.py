"""Measures how long a volume moves out and home, idle and in swap storms, in a lab with one lender.

Used by `ramshare bench moves`.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from ramshare.errors import RamshareError
from ramshare.linux.lvm import Lvm
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.remote import RemoteShell
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.faults.stage import HOME_S, Stage
from ramshare_lab.experiments.faults.storm import Storm
from ramshare_lab.experiments.moves.results import Floor, Moves, Series, Trip, Way, series
from ramshare_lab.load import fio

LOCAL_DISK = "/dev/vda"
SAFE_OFFSET_BYTES = 4 * MIB
"""Behind LVM's own metadata, in the place that the volume left."""
SETTLE_S = 5.0
"""Between two moves, for the storm to get going again."""
WATCH = """
import os, time
there = False
while True:
    now = any(name.startswith("vg0-pvmove") for name in os.listdir("/dev/mapper"))
    if now != there:
        there = now
        print("begin" if now else "end", time.monotonic(), flush=True)
    time.sleep(0.05)
"""
"""Runs in the borrower's host: when LVM's mirror comes and goes."""


class MovesError(RamshareError):
    """A move was not seen."""


@dataclass(frozen=True)
class MovesPlan:
    """What is measured."""

    size_bytes: int = 600 * MIB
    rounds: int = 3
    storms: tuple[int, ...] = (20, 50)
    """Writes of the storms, in percent of their accesses."""

    def lab(self, name: str, accel: str = "") -> LabSpec:
        """Return a lab whose one lender holds the volume alone."""
        return LabSpec(
            name=name,
            lenders=1,
            guests=0,
            swap_bytes=self.size_bytes,
            lender_bytes=self.size_bytes + 32 * MIB,
            accel=accel,
        )


class Watch:
    """Knows how long LVM's mirror was there at the last move; a context manager."""

    def __init__(self, shell: RemoteShell) -> None:
        self._process = shell.open([sys.executable, "-c", WATCH])
        self._took_s: list[float] = []
        self._begun_s = 0.0
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    @property
    def moves(self) -> list[float]:
        """Seconds of each move that has ended."""
        return list(self._took_s)

    def _read(self) -> None:
        try:
            while (line := self._process.read_line(3600.0)) is not None:
                word, at_s = line.split()
                if word == "begin":
                    self._begun_s = float(at_s)
                else:
                    self._took_s.append(float(at_s) - self._begun_s)
        except (RamshareError, OSError, ValueError):
            return


def run_moves(
    plan: MovesPlan, name: str, accel: str, on_stage: Callable[[str], None], say: Callable[[str], None]
) -> Moves:
    """Measure. Raises `RamshareError` where it cannot go on."""
    with Lab(plan.lab(name, accel), on_stage) as lab, Stage(lab) as stage, Watch(lab.borrower.shell) as watch:
        stage.attach(Mode.MOVE)
        floor = _floor(lab.borrower.shell, plan.size_bytes)
        say(f"in order, MB/s: {floor}")
        _home(stage)
        done: list[Series] = []
        for percent in (None, *plan.storms):
            load = "idle" if percent is None else f"storm, {percent} % writes"
            trips: dict[Way, list[Trip]] = {"out": [], "home": []}
            with _storm(stage, percent) as storm:
                for number in range(plan.rounds):
                    for way in trips:
                        trip = _trip(stage, watch, storm, way)
                        trips[way].append(trip)
                        say(f"{load}, {number + 1} of {plan.rounds}: {way} {trip}")
            done += [series(way, load, trips[way], floor.least_s(way, plan.size_bytes)) for way in trips]
        return Moves(
            accel=lab.accel,
            size_bytes=plan.size_bytes,
            disk_iops=lab.spec.disk_iops,
            floor=floor,
            bad_pages=stage.victim.check_pages(),
            series=tuple(done),
        )


@contextmanager
def _storm(stage: Stage, percent: int | None) -> Iterator[Storm | None]:
    if percent is None:
        yield None
        return
    storm = Storm(stage.victim.thrash, percent)
    storm.start()
    yield storm
    storm.stop()  # not after a failure: a process that hangs would be waited for


def _trip(stage: Stage, watch: Watch, storm: Storm | None, way: Way) -> Trip:
    stage.operator.listen(SETTLE_S)
    seen, began_s = len(watch.moves), time.monotonic()
    if way == "out":
        stage.attach(Mode.MOVE)
    else:
        _home(stage)
    now_s = time.monotonic()
    stage.wait(lambda: len(watch.moves) > seen, "the move was seen", 10.0)
    stall_s = storm.longest_stall_s(began_s, now_s) if storm is not None else 0.0
    return Trip(move_s=watch.moves[-1], whole_s=now_s - began_s, stall_s=stall_s)


def _home(stage: Stage) -> None:
    stage.operator.send_home(VOLUME)
    stage.operator.follow(VOLUME, VolumePhase.HOME, HOME_S)


def _floor(shell: RemoteShell, size_bytes: int) -> Floor:
    """Measure the bare disks while the volume is on its lease and nobody thrashes: its place at home is free then."""
    pvs = Lvm(shell, udev=False).report().pvs
    lease = next(pv.name for pv in pvs if any(tag.startswith("ramshare.lease=") for tag in pv.tags))
    room_bytes = size_bytes - 2 * SAFE_OFFSET_BYTES

    def rate(argv: list[str]) -> float:
        return fio.rate_mb_s(shell.run(argv, timeout_s=60.0).stdout)

    return Floor(
        disk_read_mb_s=rate(fio.sequential_read_argv(LOCAL_DISK)),
        disk_write_mb_s=rate(fio.sequential_write_argv(LOCAL_DISK, SAFE_OFFSET_BYTES, room_bytes)),
        lease_read_mb_s=rate(fio.sequential_read_argv(lease)),
    )
