"""The frame of a fault case: set the scene, break something, wait until all is well again, judge.

A case is a function over a `Stage`. It injects its fault inside `stage.fault()` and returns when the system has
recovered by itself; what follows (checking every page, going home, looking for leftovers) is the same for all.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from ramshare.errors import RamshareError
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.spec import VOLUME
from ramshare_lab.experiments.faults.leftovers import left_behind
from ramshare_lab.experiments.faults.stage import HOME_S, Stage

STALL_LIMIT_S = 10.0
"""The longest pause that a mirror or pair may cause (the project's promise)."""
CLEAN_WITHIN_S = 60.0
"""For stale exports to be swept once everybody can talk again."""

Play = Callable[[Stage], str]


class FaultRow(BaseModel):
    """One row of `results/faults.json`."""

    model_config = ConfigDict(frozen=True)

    name: str
    fault: str
    mode: str
    survived: bool
    """The machine and the process live, no page is bad (but for `may_lose`), nothing is lent twice or left behind."""
    bad_pages: int
    stall_s: float
    recovered_s: float
    note: str


class FaultReport(BaseModel):
    """`results/faults.json`."""

    accel: str
    seconds: float
    rows: tuple[FaultRow, ...]


@dataclass(frozen=True)
class Case:
    """One fault. `play` sets the scene, injects, waits for recovery and may return a note."""

    name: str
    fault: str
    mode: Mode
    play: Play
    may_lose: bool = False
    """The losses that are allowed: a lender's death under a move, two at once under a pair. The machine survives and
    the loss is told."""
    shape: str = ""
    """Which lab it needs, see `suite.py`; empty for its mode's."""

    @property
    def lab(self) -> str:
        """Name of the lab's shape."""
        return self.shape or self.mode.value


def play(case: Case, stage: Stage) -> FaultRow:
    """Play one case and return its row; whatever goes wrong is in the row."""
    wrong: list[str] = []
    bad_pages, note = 0, ""
    stage.begin_case()
    try:
        note = case.play(stage)
        stage.note_recovery()
        stage.victim.stop_storm()
        bad_pages = stage.victim.check_pages() + stage.victim.known_bad
        _go_home(stage)
    except (RamshareError, OSError) as error:
        wrong.append(str(error))
        stage.note_recovery()
    wrong += _leftovers(stage, waiting=not wrong)
    wrong += stage.ledger.wrong.values()
    if bad_pages and not case.may_lose:
        wrong.append(f"{bad_pages} bad pages")
    stall_s = stage.stall_s()
    if case.mode is not Mode.MOVE and not case.may_lose and stall_s > STALL_LIMIT_S:
        wrong.append(f"a stall of {stall_s:.1f} s")
    return FaultRow(
        name=case.name,
        fault=case.fault,
        mode=case.mode.value,
        survived=not wrong,
        bad_pages=bad_pages,
        stall_s=round(stall_s, 2),
        recovered_s=round(stage.recovered_s - stage.injected_s, 2) if stage.injected_s else 0.0,
        note="; ".join(filter(None, [note, *wrong])),
    )


def _go_home(stage: Stage) -> None:
    volume = stage.operator.volume(VOLUME)
    if volume is not None and volume.phase is not VolumePhase.HOME:
        stage.operator.send_home(VOLUME)
    if volume is not None:
        stage.operator.follow(VOLUME, VolumePhase.HOME, HOME_S)


def _leftovers(stage: Stage, waiting: bool) -> list[str]:
    """Look until nothing is left, for a while if there is hope; sweeping takes its time."""
    deadline = time.monotonic() + (CLEAN_WITHIN_S if waiting else 0.0)
    while (left := left_behind(stage.lab)) and time.monotonic() < deadline:
        stage.operator.listen(2.0)
    return left
