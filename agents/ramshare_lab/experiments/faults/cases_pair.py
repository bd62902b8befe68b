"""What a pair promises: one lender's death, need or absence costs no page, wherever the volume is on its way."""

from ramshare.messages.requests import Drain, Undrain
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.faults.case import Case, Play
from ramshare_lab.experiments.faults.cases_lending import reclaim_in_storm
from ramshare_lab.experiments.faults.cases_mirror import await_repair, kill_lender, leg_lost
from ramshare_lab.experiments.faults.cases_move import survive_loss
from ramshare_lab.experiments.faults.cases_network import host_of, host_reset
from ramshare_lab.experiments.faults.specs import SWAP_BYTES, usual_spec
from ramshare_lab.experiments.faults.stage import HOME_S, Stage

COPIED_S = 300.0
"""Two legs get their copies one after the other in a storm, the first from a disk of 120 IOPS."""
BOTH_BACK_S = 240.0
"""With both lenders drained a leg is copied to a third lender or the local disk, of 120 IOPS, before the last goes."""
STEPS = ("log in to lease", "to the volume group", "mirror the volume to", "drop the mirror leg", "reserve")
"""What the borrower does on the way to a pair, in this order."""


def _lender_of(stage: Stage, leg: int) -> int:
    """Return where in `lenders_in_use` the lender of a leg is."""
    (lender,) = {lease.lender for lease in stage.operator.leases() if lease.leg == leg}
    return stage.lenders_in_use().index(lender)


def _await_pair(stage: Stage) -> None:
    """Wait until the volume lies on two lenders and nothing of it at home."""

    def there() -> bool:
        volume = stage.operator.volume(VOLUME)
        whole = volume is not None and volume.phase is VolumePhase.ATTACHED and volume.mode is Mode.PAIR
        return whole and volume is not None and volume.local_bytes == 0 and len(stage.lenders_in_use()) == 2

    stage.wait(there, "the volume is a pair", COPIED_S)


def lender_dies(*, storm: bool) -> Play:
    """Return a case in which a lender dies under a pair that is at rest, in a storm or not."""

    def run(stage: Stage) -> str:
        stage.attach(Mode.PAIR)
        if storm:
            stage.victim.storm.start()
            stage.operator.listen(3.0)
        dead = kill_lender(stage)
        await_repair(stage, dead, COPIED_S)
        return leg_lost(stage)

    return run


def lender_dies_in_copy(leg: int) -> Play:
    """Return a case in which the lender of a leg dies while that leg gets its first copy."""

    def run(stage: Stage) -> str:
        stage.begin_attach(Mode.PAIR)
        stage.victim.storm.start()

        def copying() -> bool:
            volume = stage.operator.volume(VOLUME)
            if volume is None or "synchronising" not in volume.step or volume.progress_percent < 20.0:
                return False
            return volume.remote_bytes // SWAP_BYTES == leg

        stage.wait(copying, f"leg {leg} gets its copy", COPIED_S)
        dead = kill_lender(stage, _lender_of(stage, leg))
        await_repair(stage, dead, COPIED_S)
        return leg_lost(stage)

    return run


def lender_dies_on_the_way_home(stage: Stage) -> str:
    """The local disk gets its copy from whichever leg lives."""
    stage.attach(Mode.PAIR)
    stage.victim.storm.start()
    stage.operator.send_home(VOLUME)
    stage.wait_for_step("synchronising", percent=20.0)
    dead = kill_lender(stage)
    stage.operator.follow(VOLUME, VolumePhase.HOME, 2 * HOME_S)
    stage.note_recovery()
    stage.lab.network.mend(host_of(dead))
    return leg_lost(stage)


def both_cut_off(stage: Stage) -> str:
    """Both lenders out of reach for 3 s: shorter than md waits before it drops a leg, or one leg is made again."""
    stage.attach(Mode.PAIR)
    stage.victim.storm.start()
    stage.operator.listen(3.0)
    lenders, borrower = [host_of(lender) for lender in stage.lenders_in_use()], host_of(stage.borrower)
    with stage.fault():
        for lender in lenders:
            stage.lab.network.cut(lender, peer=borrower)
    stage.operator.listen(3.0)
    for lender in lenders:
        stage.lab.network.mend(lender, peer=borrower)
    stage.operator.listen(8.0)
    _await_pair(stage)
    return leg_lost(stage)


def both_die(stage: Stage) -> str:
    """The one loss that a pair may have: it is told as a move's is."""
    stage.attach(Mode.PAIR)
    stage.victim.storm.start()
    stage.operator.listen(3.0)
    first, second = stage.lenders_in_use()
    kill_lender(stage)
    stage.operator.listen(1.0)
    kill_lender(stage, stage.lenders_in_use().index(second))
    return survive_loss(stage, first, second)


def agent_dies_at_each_step(stage: Stage) -> str:
    """The agent dies after each step on the way, and the next run goes on."""
    stage.begin_attach(Mode.PAIR)
    stage.victim.storm.start()
    for words in STEPS:
        stage.wait_for_event(words)
        with stage.fault():
            stage.crash(stage.borrower)
    _await_pair(stage)
    return f"killed {len(STEPS)} times"


def both_wanted(stage: Stage) -> str:
    """Both lenders are drained at once: the last copy goes when the next one is whole."""
    stage.attach(Mode.PAIR)
    stage.victim.storm.start()
    stage.operator.listen(3.0)
    lenders = stage.lenders_in_use()
    with stage.fault():
        for lender in lenders:
            stage.operator.ask(lender, Drain())

    def back(most: int) -> bool:
        return len([lender for lender in lenders if stage.operator.exports(lender)]) <= most

    stage.wait(lambda: back(1), "one of two lenders has its memory back", BOTH_BACK_S)
    first_s = stage.since_fault_s()
    stage.wait(lambda: back(0), "both lenders have their memory back", BOTH_BACK_S)
    note = f"memory back after {first_s:.1f} and {stage.since_fault_s():.1f} s"
    for lender in lenders:
        stage.operator.ask(lender, Undrain())
    return note


def conversion_interrupted(stage: Stage) -> str:
    """The agent dies while a mirror is becoming a pair."""
    stage.attach(Mode.MIRROR)
    stage.victim.storm.start()
    stage.operator.borrow(VOLUME, Mode.PAIR)
    stage.wait_for_step("synchronising", percent=20.0)
    with stage.fault():
        stage.crash(stage.borrower)
    stage.wait_for_end_of(VolumePhase.ATTACHED, COPIED_S)
    _await_pair(stage)
    return ""


def reclaim_of_second(stage: Stage) -> str:
    """The lender of the leg on revocable memory wants it back; the first leg's is the usual case."""
    return reclaim_in_storm(Mode.PAIR, lambda: _lender_of(stage, 2))(stage)


def pair_spec(name: str, **changes: object) -> LabSpec:
    """Three lenders, each of which can carry the whole volume."""
    return usual_spec(name, lender_bytes=SWAP_BYTES + 24 * MIB, **changes)


def _case(name: str, fault: str, play: Play, *, may_lose: bool = False) -> Case:
    return Case(f"pair-{name}", fault, Mode.PAIR, play, may_lose=may_lose)


CASES = (
    _case("lender-idle", "lender's target killed and host cut off, idle", lender_dies(storm=False)),
    _case("lender-storm", "lender's target killed and host cut off in a swap storm", lender_dies(storm=True)),
    _case("lender-sync-1", "lender's target killed and host cut off during the first copy", lender_dies_in_copy(1)),
    _case("lender-sync-2", "lender's target killed and host cut off during the second copy", lender_dies_in_copy(2)),
    _case("lender-home", "lender's target killed and host cut off on the way home", lender_dies_on_the_way_home),
    _case("cut-3s", "borrower cut from both lenders for 3 s in a swap storm", both_cut_off),
    _case("agent-steps", "borrower's agent killed after each step of attaching", agent_dies_at_each_step),
    _case("convert", "borrower's agent killed while a mirror becomes a pair", conversion_interrupted),
    _case("reclaim-1", "reclaim of the first leg during a swap storm", reclaim_in_storm(Mode.PAIR)),
    _case("reclaim-2", "reclaim of the second leg during a swap storm", reclaim_of_second),
    _case("reclaim-both", "reclaim of both legs at once during a swap storm", both_wanted),
    _case("reset", "borrower's host reset with leases", host_reset(Mode.PAIR)),
    _case("both-die", "both lenders' targets killed and hosts cut off, 1 s apart", both_die, may_lose=True),
)
