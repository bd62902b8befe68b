"""Deaths of agents: what runs goes on without them, and the next start finds out what is true."""

from concurrent.futures import Future

from ramshare.messages.replies import Reply
from ramshare.messages.requests import BorrowVolume
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.operator import ASK_S
from ramshare_lab.cluster.spec import VOLUME
from ramshare_lab.experiments.faults.case import Case, Play
from ramshare_lab.experiments.faults.stage import ATTACH_S, HOME_S, SERVICE_RESTARTS_S, CaseFailedError, Stage

MANAGER = "manager"
STORMY_HOME_S = 2 * HOME_S
"""pvmove shares a disk of 120 IOPS with the storm's writes: a lease took 4, 20, and once over 137 s to copy home."""


def _ask(stage: Stage, mode: Mode = Mode.MIRROR) -> "Future[Reply]":
    """Ask for a loan as a person does, without waiting for the answer."""
    stage.victim.storm.start()
    return stage.operator.bus.ask(stage.borrower, BorrowVolume(volume=VOLUME, mode=mode), ASK_S)


def _granted(stage: Stage, asked: "Future[Reply]") -> None:
    """Wait until the loan that was asked for is granted and attached."""
    stage.wait(asked.done, "an answer to the request for a loan", ASK_S + 1.0)
    reply = asked.result(0)
    if not reply.ok:
        raise CaseFailedError(f"the loan was refused: {reply.sentence}")
    stage.operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_S)


def _manager_dies_before(stage: Stage, paused: list[str], asked: "Future[Reply]") -> str:
    """The manager dies before these lenders go on; its successor makes the loan."""
    with stage.fault():
        stage.agent(MANAGER).kill()
    for lender in paused:
        stage.resume(lender)
    stage.operator.listen(SERVICE_RESTARTS_S)
    stage.agent(MANAGER).start()
    _granted(stage, asked)
    return ""


def manager_before_export(stage: Stage) -> str:
    """The manager has asked the lenders, none of which has begun."""
    lenders = [f"lender.{name}" for name in stage.lab.spec.lender_names]
    for lender in lenders:
        stage.pause(lender)
    asked = _ask(stage)
    stage.operator.listen(3.0)
    return _manager_dies_before(stage, lenders, asked)


def manager_before_reply(stage: Stage) -> str:
    """One lender has exported, another not yet, so the borrower has no reply."""
    slow = f"lender.{stage.lab.spec.lender_names[1]}"
    stage.pause(slow)
    asked = _ask(stage)
    stage.wait(lambda: bool(stage.operator.exports()), "a first export", 30.0)
    return _manager_dies_before(stage, [slow], asked)


def manager_with_leases(stage: Stage) -> str:
    """The manager is not needed by leases that live."""
    stage.attach(Mode.MIRROR)
    stage.victim.storm.start()
    before = stage.operator.retained.manager()
    with stage.fault():
        stage.crash(MANAGER)

    def knows() -> bool:
        told = stage.operator.retained.manager()
        fresh = told is not None and (before is None or told.instance != before.instance)
        return fresh and told is not None and told.ready and told.leases == len(stage.operator.leases())

    stage.wait(knows, "the new manager knows the leases", 60.0)
    return ""


def lender_agent(stage: Stage) -> str:
    """The lender's agent dies; its target and RAM files stay."""
    stage.attach(Mode.MIRROR)
    stage.victim.storm.start()
    lender = stage.lenders_in_use()[0]
    before = {export.instance for export in stage.operator.exports(lender)}
    with stage.fault():
        stage.crash(lender)

    def back() -> bool:
        mine = stage.operator.exports(lender)
        return bool(mine) and all(export.connected and export.instance not in before for export in mine)

    stage.wait(back, f"{lender} knows its export again", 60.0)
    return ""


def borrower_after(words: str, mode: Mode = Mode.MIRROR) -> Play:
    """Return a case that kills the borrower's agent right after the step whose event says `words`."""

    def run(stage: Stage) -> str:
        stage.begin_attach(mode)
        stage.victim.storm.start()
        stage.wait_for_event(words)
        with stage.fault():
            stage.crash(stage.borrower)
        stage.wait_for_end_of(VolumePhase.ATTACHED, ATTACH_S)
        return ""

    return run


def borrower_in(words: str, percent: float, mode: Mode) -> Play:
    """Return a case that kills the borrower's agent while the kernel copies."""

    def run(stage: Stage) -> str:
        stage.begin_attach(mode)
        stage.victim.storm.start()
        stage.wait_for_step(words, percent=percent)
        with stage.fault():
            stage.crash(stage.borrower)
        stage.wait_for_end_of(VolumePhase.ATTACHED, ATTACH_S)
        return ""

    return run


def borrower_in_return_of_mirror(stage: Stage) -> str:
    """The leg is dropped, the leases are not yet given back."""
    stage.attach(Mode.MIRROR)
    stage.victim.storm.start()
    stage.operator.send_home(VOLUME)
    stage.wait_for_event("drop the mirror leg")
    with stage.fault():
        stage.crash(stage.borrower)
    stage.operator.follow(VOLUME, VolumePhase.HOME, HOME_S)
    return ""


def borrower_in_return_of_move(stage: Stage) -> str:
    """Some of the pages are home."""
    stage.attach(Mode.MOVE)
    stage.victim.storm.start()
    stage.operator.send_home(VOLUME)
    stage.wait_for_step("coming home", percent=5.0)
    with stage.fault():
        stage.crash(stage.borrower)
    stage.operator.follow(VOLUME, VolumePhase.HOME, STORMY_HOME_S)
    return ""


CASES = (
    Case("lender-agent", "lender's agent killed with leases live", Mode.MIRROR, lender_agent),
    Case("manager-before-export", "manager killed before export", Mode.MIRROR, manager_before_export),
    Case("manager-before-reply", "manager killed between export and reply", Mode.MIRROR, manager_before_reply),
    Case("manager-leases", "manager killed with leases live", Mode.MIRROR, manager_with_leases),
    Case("borrower-login", "borrower's agent killed after login", Mode.MIRROR, borrower_after("log in to lease")),
    Case(
        "borrower-vgextend",
        "borrower's agent killed after vgextend",
        Mode.MIRROR,
        borrower_after("to the volume group"),
    ),
    Case(
        "borrower-sync",
        "borrower's agent killed in the middle of sync",
        Mode.MIRROR,
        borrower_in("synchronising", 20.0, Mode.MIRROR),
    ),
    Case(
        "borrower-return", "borrower's agent killed in the middle of return", Mode.MIRROR, borrower_in_return_of_mirror
    ),
    Case(
        "borrower-pvmove",
        "borrower's agent killed in the middle of pvmove",
        Mode.MOVE,
        borrower_in("moving to remote memory", 20.0, Mode.MOVE),
    ),
    Case(
        "borrower-return-move", "borrower's agent killed in the middle of return", Mode.MOVE, borrower_in_return_of_move
    ),
)
