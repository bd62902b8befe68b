"""Reclaim, races and repeated requests: what is lent once is not lent twice, and comes back when it is wanted."""

from collections.abc import Callable

from ramshare.linux.run import SystemRunner
from ramshare.messages.replies import ErrorCode
from ramshare.messages.requests import BorrowVolume, Drain, ReturnVolume, Undrain
from ramshare.messages.state import Mode, Volume, VolumePhase
from ramshare_lab.cluster.operator import ASK_S
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.experiments.faults.case import Case, Play
from ramshare_lab.experiments.faults.specs import usual_spec
from ramshare_lab.experiments.faults.stage import ATTACH_S, HOME_S, CaseFailedError, Stage

RECLAIMED_S = 60.0


def reclaim_in_storm(mode: Mode, which: Callable[[], int] = lambda: 0) -> Play:
    """Return a case in which one of the lenders is drained, and so wants everything back, while the borrower swaps."""

    def run(stage: Stage) -> str:
        stage.attach(mode)
        stage.victim.storm.start()
        stage.operator.listen(3.0)
        lender = stage.lenders_in_use()[which()]
        with stage.fault():
            stage.operator.ask(lender, Drain())
        stage.wait(lambda: not stage.operator.exports(lender), f"{lender} has its memory back", RECLAIMED_S)
        back_s = stage.since_fault_s()
        stage.operator.ask(lender, Undrain())
        stage.operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_S)
        return f"memory back after {back_s:.1f} s"

    return run


def racing_borrowers(stage: Stage) -> str:
    """Two hosts ask at the same moment for what is enough for one."""
    first, second = (f"borrower.{name}" for name in stage.lab.spec.borrower_names)
    stage.victim.storm.start()
    with stage.fault():
        asked = [
            stage.operator.bus.ask(client, BorrowVolume(volume=VOLUME, mode=Mode.MIRROR), ASK_S)
            for client in (first, second)
        ]
    stage.wait(lambda: all(future.done() for future in asked), "both have an answer", ASK_S + 1.0)
    replies = [future.result(0) for future in asked]
    granted = [client for client, reply in zip((first, second), replies, strict=True) if reply.ok]
    if len(granted) != 1:
        raise CaseFailedError(f"{len(granted)} of two got what is enough for one: {[r.sentence for r in replies]}")
    refusal = next(reply for reply in replies if not reply.ok)
    if refusal.error is not ErrorCode.NO_CAPACITY:
        raise CaseFailedError(f"the other was refused with {refusal.error}: {refusal.sentence}")
    _await_phase(stage, granted[0], VolumePhase.ATTACHED, ATTACH_S)
    stage.note_recovery()
    stage.operator.ask(granted[0], ReturnVolume(volume=VOLUME))
    _await_phase(stage, granted[0], VolumePhase.HOME, HOME_S)
    return f"{granted[0]} won"


def _await_phase(stage: Stage, borrower: str, phase: VolumePhase, timeout_s: float) -> None:
    def reached() -> bool:
        volume = stage.operator.retained.get(borrower, f"volume/{VOLUME}", Volume)
        there = volume is not None and volume.phase is phase
        return there and (phase is not VolumePhase.HOME or not stage.operator.leases_of(borrower))

    stage.wait(reached, f"{borrower}'s volume is {phase}", timeout_s)


def everything_twice(stage: Stage) -> str:
    """A whole life of a loan with each request sent twice."""
    stage.victim.storm.start()
    with stage.fault():
        stage.attach(Mode.MIRROR)
    exports = stage.operator.exports()
    if {export.lease for export in exports} != stage.leases_in_use():
        raise CaseFailedError(f"{len(exports)} exports for {len(stage.operator.leases())} leases")
    lender = stage.lenders_in_use()[0]
    stage.operator.ask(lender, Drain())
    stage.wait(lambda: not stage.operator.exports(lender), f"{lender} has its memory back", RECLAIMED_S)
    stage.operator.ask(lender, Undrain())
    stage.operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_S)
    return ""


def ram_full(stage: Stage) -> str:
    """A lender's RAM file system has less room than the lender believes."""
    full = stage.lab.state_dir / "lender" / stage.lab.spec.lender_names[0]
    here = SystemRunner()
    stage.victim.storm.start()
    with stage.fault():
        here.run(["mount", "-o", "remount,size=16m", str(full)])
    try:
        stage.attach(Mode.MIRROR)
        stage.note_recovery()
        left = sorted(path.name for path in full.glob("*.*"))
        if f"lender.{full.name}" in stage.lenders_in_use() or left:
            raise CaseFailedError(f"the full lender lends; it holds {left}")
    finally:
        here.run(["mount", "-o", "remount,size=100%", str(full)])
    return f"others lent instead: {', '.join(stage.lenders_in_use())}"


def racing_spec(name: str, **changes: object) -> LabSpec:
    """Two borrowers, and lenders with room for one."""
    return usual_spec(name, lenders=2, borrowers=2, **changes)


def twice_spec(name: str, **changes: object) -> LabSpec:
    """Agents whose every request travels twice."""
    return usual_spec(name, agent_module="ramshare_lab.experiments.faults.twice", **changes)


CASES = (
    Case("reclaim-mirror", "reclaim during a swap storm", Mode.MIRROR, reclaim_in_storm(Mode.MIRROR)),
    Case("reclaim-move", "reclaim during a swap storm", Mode.MOVE, reclaim_in_storm(Mode.MOVE)),
    Case("ram-full", "RAM file system full at the lender", Mode.MIRROR, ram_full),
    Case("race", "two borrowers racing for the last bytes", Mode.MIRROR, racing_borrowers, shape="race"),
    Case("twice", "every request delivered twice", Mode.MIRROR, everything_twice, shape="twice"),
)
