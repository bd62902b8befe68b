"""Deaths of a lender under a mirror: a pause of seconds, no page, and the copy is made again elsewhere."""

from ramshare.messages.events import EventKind
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.spec import VOLUME
from ramshare_lab.experiments.faults.case import Case
from ramshare_lab.experiments.faults.stage import Stage
from ramshare_lab.experiments.faults.targets import kill_target, serves

REPAIRED_S = 150.0


def kill_lender(stage: Stage, which: int = 0) -> str:
    """Kill the target of one of the volume's lenders and cut its host off, as one without power; return its name."""
    lender = stage.lenders_in_use()[which]
    with stage.fault():
        stage.lab.network.cut(lender.partition(".")[2])
        kill_target(stage.lab, lender)
    return lender


def await_repair(stage: Stage, dead: str, within_s: float = REPAIRED_S) -> None:
    """Wait until the volume is attached without the dead lender, then let its host come back with old content."""

    def repaired() -> bool:
        volume = stage.operator.volume(VOLUME)
        whole = volume is not None and volume.phase is VolumePhase.ATTACHED
        return whole and bool(stage.operator.leases()) and dead not in stage.lenders_in_use()

    stage.wait(repaired, f"attached again without {dead}", within_s)
    stage.note_recovery()
    stage.lab.network.mend(dead.partition(".")[2])


def leg_lost(stage: Stage) -> str:
    """Return when the leg was dropped, in words."""
    lost = [at for at, _, event in stage.operator.events if event.kind is EventKind.LEG_LOST and at > stage.injected_s]
    return f"leg dropped after {lost[0] - stage.injected_s:.1f} s" if lost else "no leg was lost"


def lender_dies_idle(stage: Stage) -> str:
    """Attached, nothing going on."""
    stage.attach(Mode.MIRROR)
    dead = kill_lender(stage)
    await_repair(stage, dead)
    return leg_lost(stage)


def last_lender_dies(stage: Stage) -> str:
    """The leg's metadata, on the first lease, lives on: LVM and dm-raid tell this case from the other."""
    stage.attach(Mode.MIRROR)
    dead = kill_lender(stage, -1)
    await_repair(stage, dead)
    return leg_lost(stage)


def lender_dies_in_storm(stage: Stage) -> str:
    """Attached, in a swap storm."""
    stage.attach(Mode.MIRROR)
    stage.victim.storm.start()
    stage.operator.listen(3.0)
    dead = kill_lender(stage)
    await_repair(stage, dead)
    return leg_lost(stage)


def lender_dies_during_sync(stage: Stage) -> str:
    """While the mirror is being built."""
    stage.begin_attach(Mode.MIRROR)
    stage.victim.storm.start()
    stage.wait_for_step("synchronising", percent=20.0)
    dead = kill_lender(stage)
    await_repair(stage, dead)
    return leg_lost(stage)


def target_dies(stage: Stage) -> str:
    """Only the target dies; the lender's agent starts it again over the same RAM files."""
    stage.attach(Mode.MIRROR)
    stage.victim.storm.start()
    stage.operator.listen(3.0)
    lender = stage.lenders_in_use()[0]
    with stage.fault():
        kill_target(stage.lab, lender)
    stage.wait(lambda: serves(stage.lab, lender), "the target serves again", 60.0)
    stage.operator.listen(6.0)
    stage.operator.follow(VOLUME, VolumePhase.ATTACHED, REPAIRED_S)
    return leg_lost(stage)


CASES = (
    Case(
        "mirror-lender-idle",
        "lender's target killed and host cut off, attached and idle",
        Mode.MIRROR,
        lender_dies_idle,
    ),
    Case(
        "mirror-lender-last",
        "another lender's target killed and host cut off, attached and idle",
        Mode.MIRROR,
        last_lender_dies,
    ),
    Case(
        "mirror-lender-storm",
        "lender's target killed and host cut off in a swap storm",
        Mode.MIRROR,
        lender_dies_in_storm,
    ),
    Case(
        "mirror-lender-sync",
        "lender's target killed and host cut off during sync",
        Mode.MIRROR,
        lender_dies_during_sync,
    ),
    Case("mirror-target", "lender's target killed, its host lives", Mode.MIRROR, target_dies),
)
