"""Broken links, a broker that dies or is away, and a borrower's host that is reset."""

import os
import shutil
import signal
import time

from ramshare.messages.state import Export, Lease, LeaseRecord, Mode, VolumePhase
from ramshare_lab.cluster.spec import VOLUME
from ramshare_lab.experiments.faults.case import Case, Play
from ramshare_lab.experiments.faults.cases_mirror import REPAIRED_S, leg_lost
from ramshare_lab.experiments.faults.stage import ATTACH_S, HOME_S, CaseFailedError, Stage

AWAY_S = 60.0
SAVED_WITHIN_S = 5.0
BOOT_S = 120.0


def host_of(client: str) -> str:
    """Return the host that an agent is on."""
    return client.partition(".")[2]


def cut_from_lender(seconds: float) -> Play:
    """Return a case that cuts the link between borrower and one lender for so long."""

    def run(stage: Stage) -> str:
        stage.attach(Mode.MIRROR)
        stage.victim.storm.start()
        stage.operator.listen(3.0)
        lender = host_of(stage.lenders_in_use()[0])
        with stage.fault():
            stage.lab.network.cut(lender, peer=host_of(stage.borrower))
        stage.operator.listen(seconds)
        stage.lab.network.mend(lender, peer=host_of(stage.borrower))
        stage.operator.listen(8.0)
        stage.operator.follow(VOLUME, VolumePhase.ATTACHED, REPAIRED_S)
        return leg_lost(stage)

    return run


def lender_cut_from_broker(stage: Stage) -> str:
    """The lender's pages stay in use while nobody hears of it."""
    stage.attach(Mode.MIRROR)
    stage.victim.storm.start()
    lender = stage.lenders_in_use()[0]
    with stage.fault():
        stage.lab.network.cut(host_of(lender), peer="switch")
    stage.operator.listen(40.0)
    stage.lab.network.mend(host_of(lender), peer="switch")
    stage.wait(lambda: stage.online(lender), f"{lender} is online again", 60.0)
    stage.operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_S)
    return leg_lost(stage)


def broker_away(stage: Stage) -> str:
    """No broker for a minute."""
    stage.attach(Mode.MIRROR)
    stage.victim.storm.start()
    with stage.fault():
        stage.lab.broker.kill()
    stage.operator.listen(AWAY_S)
    stage.lab.broker.start()
    _await_truth(stage, 60.0)
    return ""


def broker_on_old_state(stage: Stage) -> str:
    """The broker comes back with what it had saved two loans ago, and everybody tells it what is true."""
    saved = stage.lab.broker.directory / "mosquitto.db"
    old = saved.with_suffix(".old")
    stage.attach(Mode.MIRROR)
    _save_broker(stage)
    shutil.copy(saved, old)
    ghosts = stage.leases_in_use()
    stage.operator.send_home(VOLUME)
    stage.operator.follow(VOLUME, VolumePhase.HOME, HOME_S)
    stage.ledger.returned |= ghosts
    stage.attach(Mode.MIRROR)
    stage.victim.storm.start()
    with stage.fault():
        stage.lab.broker.kill()
    shutil.copy(old, saved)
    stage.lab.broker.start()
    stage.operator.listen(5.0)
    _await_truth(stage, 60.0, ghosts)
    return f"{len(ghosts)} ghosts of old leases cleared"


def _save_broker(stage: Stage) -> None:
    """Have Mosquitto write its database now."""
    process = stage.lab.broker.process
    assert process is not None
    saved = stage.lab.broker.directory / "mosquitto.db"
    before = saved.stat().st_mtime_ns if saved.exists() else 0
    os.kill(process.pid, signal.SIGUSR1)
    deadline = time.monotonic() + SAVED_WITHIN_S
    while not saved.exists() or saved.stat().st_mtime_ns == before:
        if time.monotonic() > deadline:
            raise CaseFailedError("the broker did not save its state")
        stage.operator.listen(0.1)


def _await_truth(stage: Stage, timeout_s: float, ghosts: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Wait until what is retained is what is true: the volume attached, its leases and no others."""

    def true() -> bool:
        volume = stage.operator.volume(VOLUME)
        if volume is None or volume.phase is not VolumePhase.ATTACHED:
            return False
        told = [lease for kind in (Export, Lease, LeaseRecord) for lease in _leases_by_topic(stage, kind)]
        everyone = all(map(stage.online, stage.lab.agents))
        return (
            everyone and set(told) == set(volume.leases) and not set(told) & ghosts and len(told) == 3 * len(set(told))
        )

    stage.wait(true, "everybody has said again what is true", timeout_s)


def _leases_by_topic(stage: Stage, kind: type[Export | Lease | LeaseRecord]) -> list[str]:
    return [said.lease for _, said in stage.operator.retained.of_kind(kind)]


def host_reset(mode: Mode) -> Play:
    """Return a case that presses the reset button of the borrower's host."""

    def run(stage: Stage) -> str:
        stage.attach(mode)
        stage.victim.storm.start()
        old = stage.leases_in_use()
        name = host_of(stage.borrower)
        with stage.fault():
            stage.lab.borrower.reset()
        stage.victim.end()
        stage.operator.listen(3.0)
        stage.lab.borrower.wait_ready(BOOT_S)
        booted_s = time.monotonic() - stage.injected_s
        stage.agent(stage.borrower).kill()
        stage.lab.start_agents_on(name)

        def usable() -> bool:
            now = stage.leases_in_use()
            exports = {export.lease for export in stage.operator.exports()}
            volume = stage.operator.volume(VOLUME)
            settled = volume is not None and volume.phase in (VolumePhase.ATTACHED, VolumePhase.HOME)
            return settled and not old & (now | exports)

        stage.wait(usable, "the volume is usable and the stale leases are gone", ATTACH_S)
        stage.note_recovery()
        stage.victim.storm.start()
        stage.operator.listen(5.0)
        return f"booted after {booted_s:.0f} s; the process ended with its host, so there is no stall to measure"

    return run


CASES = (
    Case("cut-3s", "borrower cut from a lender for 3 s in a swap storm", Mode.MIRROR, cut_from_lender(3.0)),
    Case("cut-30s", "borrower cut from a lender for 30 s in a swap storm", Mode.MIRROR, cut_from_lender(30.0)),
    Case("cut-broker", "lender cut from the broker only", Mode.MIRROR, lender_cut_from_broker),
    Case("broker-away", "broker away for 60 s in a swap storm", Mode.MIRROR, broker_away),
    Case("broker-old", "broker killed -9 and restarted on old persisted state", Mode.MIRROR, broker_on_old_state),
    Case("reset-mirror", "borrower's host reset with leases", Mode.MIRROR, host_reset(Mode.MIRROR)),
    Case("reset-move", "borrower's host reset with leases", Mode.MOVE, host_reset(Mode.MOVE)),
)
