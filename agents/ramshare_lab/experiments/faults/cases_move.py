"""A lender's death under a move: the one loss that is allowed. The machine survives, the loss is told by name, and the
volume is usable again; while pages are only on their way out nothing is lost at all."""

from ramshare.messages.events import EventKind
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.spec import VOLUME
from ramshare_lab.experiments.faults.case import Case
from ramshare_lab.experiments.faults.cases_mirror import kill_lender
from ramshare_lab.experiments.faults.stage import CaseFailedError, Stage

GIVEN_UP_S = 150.0
"""I/O waits for a lender that holds the only copy; then LVM has to look at everything without it."""
USABLE_S = 120.0
MEETS_LOSS_S = 5.0
"""For the process to touch pages that cannot be read any more."""


def _told_of_loss(stage: Stage) -> bool:
    news = (event for at, _, event in stage.operator.events if at > stage.injected_s)
    return any(event.kind is EventKind.PAGES_LOST for event in news)


def _usable(stage: Stage, *dead: str) -> bool:
    volume = stage.operator.volume(VOLUME)
    settled = volume is not None and volume.phase in (VolumePhase.ATTACHED, VolumePhase.HOME)
    return settled and not set(dead) & set(stage.lenders_in_use())


def survive_loss(stage: Stage, *dead: str) -> str:
    """Wait for word of the loss, let the process end as any other would of SIGBUS, and wait for a usable volume."""
    stage.wait(lambda: _told_of_loss(stage), "the loss is told", GIVEN_UP_S)
    told_s = stage.operator.events[-1][0] - stage.injected_s
    stage.operator.listen(MEETS_LOSS_S)
    stage.victim.end()
    stage.wait(lambda: _usable(stage, *dead), f"the volume is usable without {' and '.join(dead)}", USABLE_S)
    stage.note_recovery()
    for lender in dead:
        stage.lab.network.mend(lender.partition(".")[2])
    stage.victim.storm.start()
    stage.operator.listen(3.0)
    return f"the loss was told after {told_s:.0f} s"


def lender_dies_attached(stage: Stage) -> str:
    """Every page of one lender is lost."""
    stage.attach(Mode.MOVE)
    stage.victim.storm.start()
    stage.operator.listen(3.0)
    return survive_loss(stage, kill_lender(stage))


def lender_dies_on_the_way_out(stage: Stage) -> str:
    """The move is undone: every page is still at home."""
    stage.begin_attach(Mode.MOVE)
    stage.victim.storm.start()
    stage.wait_for_step("moving to remote memory", percent=40.0)
    dead = kill_lender(stage)
    stage.wait(lambda: _usable(stage, dead), f"the move to {dead} is undone", GIVEN_UP_S)
    stage.note_recovery()
    stage.lab.network.mend(dead.partition(".")[2])
    if _told_of_loss(stage):
        raise CaseFailedError("pages were written off that were still at home")
    return ""


def lender_dies_on_the_way_home(stage: Stage) -> str:
    """What was not yet home is lost."""
    stage.attach(Mode.MOVE)
    stage.victim.storm.start()
    stage.operator.send_home(VOLUME)
    stage.wait_for_step("coming home", percent=40.0)
    return survive_loss(stage, kill_lender(stage))


CASES = (
    Case(
        "move-lender",
        "lender's target killed and host cut off, attached",
        Mode.MOVE,
        lender_dies_attached,
        may_lose=True,
    ),
    Case(
        "move-lender-out",
        "lender's target killed and host cut off at half of the move out",
        Mode.MOVE,
        lender_dies_on_the_way_out,
    ),
    Case(
        "move-lender-home",
        "lender's target killed and host cut off at half of the move home",
        Mode.MOVE,
        lender_dies_on_the_way_home,
        may_lose=True,
    ),
)
