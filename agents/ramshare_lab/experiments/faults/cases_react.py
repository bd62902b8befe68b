"""A borrower that reacts by itself, and what befalls it: no broker when the storm comes, an agent that dies."""

from ramshare.messages.state import Mode, Status, VolumePhase
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.experiments.faults.case import Case
from ramshare_lab.experiments.faults.specs import PATIENCE_S, usual_spec
from ramshare_lab.experiments.faults.stage import ATTACH_S, CaseFailedError, Stage

STORM_WITHOUT_BROKER_S = 30.0
"""Long enough for a first request in vain."""


TRIES_S = 2 * ATTACH_S
"""A first loan may be given back: on a busy machine that is emulated a lease is not always faster."""


def reacting_spec(name: str, **changes: object) -> LabSpec:
    """Return a lab whose borrower may borrow by itself."""
    env = {"RAMSHARE_BORROWER_PATIENCE_S": str(PATIENCE_S), "RAMSHARE_BORROWER_AUTO": f"{VOLUME}=move"}
    return usual_spec(name, env=env, **changes)


def broker_away_when_the_storm_comes(stage: Stage) -> str:
    """Nobody can be asked for memory; as soon as somebody can, the borrower asks again."""
    _begin(stage)
    with stage.fault():
        stage.lab.broker.kill()
    stage.victim.storm.start()
    stage.operator.listen(STORM_WITHOUT_BROKER_S)
    stage.lab.broker.start()
    return _attached_by_itself(stage)


def borrower_restarts_in_its_own_loan(stage: Stage) -> str:
    """The next run goes on with what the tags say: a loan that nobody asked for, and that may end by itself."""
    _begin(stage)
    stage.victim.storm.start()
    stage.wait_for_event("log in to lease")
    with stage.fault():
        stage.crash(stage.borrower)
    stage.wait_for_end_of(VolumePhase.ATTACHED, ATTACH_S)
    return _attached_by_itself(stage)


def _begin(stage: Stage) -> None:
    """Fill the process's memory; a fresh agent knows nothing of a person who returned the volume in the case before."""
    stage.victim.thrash  # noqa: B018 (filled while the volume is at home)
    before = _run(stage)
    stage.crash(stage.borrower)
    stage.wait(lambda: stage.online(stage.borrower) and _run(stage) != before, "the borrower is online again", 60.0)


def _run(stage: Stage) -> str:
    """Return which run of the borrower's agent was heard last."""
    status = stage.operator.retained.get(stage.borrower, "status", Status)
    return status.instance if status is not None else ""


def _attached_by_itself(stage: Stage) -> str:
    stage.operator.follow(VOLUME, VolumePhase.ATTACHED, TRIES_S)
    stage.note_recovery()
    volume = stage.operator.volume(VOLUME)
    if volume is None or "borrowed by itself" not in volume.step:
        raise CaseFailedError(f"it is not known any more that this was nobody's request: {volume}")
    return ""


CASES = (
    Case(
        "react-broker",
        "broker away when a storm comes that is borrowed for by itself",
        Mode.MOVE,
        broker_away_when_the_storm_comes,
        shape="react",
    ),
    Case(
        "react-borrower",
        "borrower's agent killed in a loan of its own",
        Mode.MOVE,
        borrower_restarts_in_its_own_loan,
        shape="react",
    ),
)
