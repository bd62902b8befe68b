"""`ramshare lab react`: nobody types anything. The borrower's host swaps, and what follows is decided by its agent.

One lab with a slow disk: a blip, a storm, a lender that wants its memory back in the middle, the end of the storm. One
with a fast disk, where the loan is measured and given back. Every page of the process that swaps is checked.
"""

import time
from dataclasses import dataclass

from ramshare.errors import RamshareError
from ramshare.messages.events import EventKind
from ramshare.messages.requests import Drain, Undrain
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm_spec import DISK_IOPS, MIB
from ramshare_lab.experiments.faults.stage import ATTACH_S, HOME_S, Stage
from ramshare_lab.experiments.react.results import BORROWING, RETURNING, Blip, React, Reaction, Refusal, sayings
from ramshare_lab.load.thrash import Thrash, command
from ramshare_lab.show import Show

DECIDE_S = 60.0
"""A decision takes ten seconds; under emulation a busy machine is forgiven more."""
GUEST, FIRST, SECOND = "web1", "lender.hosta", "lender.hostb"
HOST_BYTES, GUEST_OWN_BYTES = 16 * MIB, 160 * MIB
"""What the first lender's host has besides its guest, and what that has beyond what it can spare."""
OFFER_S = 180.0
"""For the surplus policy to believe in what the guest can spare."""
POLICY_PACE = 0.005
"""The surplus policy's hours become seconds."""
AFTER_S = 15.0
"""For what is measured when the volume is attached."""


class ReactError(RamshareError):
    """The cluster did not react as it must."""


@dataclass(frozen=True)
class ReactPlan:
    """Sizes and times."""

    mode: Mode = Mode.MOVE
    swap_bytes: int = 224 * MIB
    blip_s: float = 3.0
    calm_s: float = 20.0
    """Before and after the blip: a blip that was believed would show."""
    quiet_s: float = 20.0
    """Short, or the lab would wait for ten minutes."""
    reclaim: bool = True
    fast_disk: bool = True

    @property
    def spared(self) -> bool:
        """Whether the first lender lends what a guest of its own can spare; a move takes committed memory only."""
        return self.reclaim and self.mode is not Mode.MOVE

    def lab(self, name: str, accel: str = "", *, fast: bool = False) -> LabSpec:
        """Return a lab of two lenders, each of which can hold the volume alone."""
        spared = self.spared and not fast
        return LabSpec(
            name=name,
            lenders=2,
            guests=1 if spared else 0,
            guest_memory_bytes=self.swap_bytes + GUEST_OWN_BYTES,
            host_bytes=HOST_BYTES if spared else None,
            committed_bytes=0 if spared else None,
            swap_bytes=self.swap_bytes,
            lender_bytes=self.swap_bytes + 16 * MIB,
            disk_iops=0 if fast else DISK_IOPS,
            disk_bytes_per_s=0 if fast else LabSpec.disk_bytes_per_s,
            accel=accel,
            env={
                "RAMSHARE_BORROWER_AUTO": f"{VOLUME}={self.mode}",
                "RAMSHARE_BORROWER_AUTO_QUIET_S": f"{self.quiet_s:g}",
                "RAMSHARE_LENDER_POLICY_PACE": f"{POLICY_PACE:g}",
            },
        )


def run_react(plan: ReactPlan, name: str, accel: str, show: Show) -> React:
    """Measure, in a lab for each disk. Raises `RamshareError` where the cluster does not react."""
    with Lab(plan.lab(name, accel), show.stage) as lab, Stage(lab, show.note) as stage:
        accel, disk_iops = lab.accel, lab.spec.disk_iops
        scene = Scene(stage, plan, show)
        blip = scene.blip()
        reaction = scene.react()
        loans = scene.loans()
        bad_pages = scene.check()
    refusal: Refusal | None = None
    if plan.fast_disk:
        fast = plan.lab(name, accel, fast=True)
        with Lab(fast, show.stage) as lab, Stage(lab, show.note) as stage:
            scene = Scene(stage, plan, show)
            refusal = scene.refuse()
            bad_pages += scene.check()
    return React(
        accel=accel,
        mode=plan.mode.value,
        disk_iops=disk_iops,
        volume_bytes=plan.swap_bytes,
        blip=blip,
        reaction=reaction,
        refusal=refusal,
        needless_loans=loans - 1,
        bad_pages=bad_pages,
    )


class Scene:
    """What happens on one lab's stage."""

    def __init__(self, stage: Stage, plan: ReactPlan, show: Show) -> None:
        self._stage = stage
        self._plan = plan
        self._show = show

    def loans(self) -> int:
        """Return how often the borrower has borrowed by itself so far."""
        return len(sayings(self._stage.operator.events, BORROWING))

    def blip(self) -> Blip:
        """Swap for a moment; nothing may come of it."""
        stage, plan = self._stage, self._plan
        stage.victim.thrash  # noqa: B018 (filled: most of it is written out, and none read)
        self._show.stage(f"a blip of {plan.blip_s:g} s")
        stage.operator.listen(plan.calm_s)
        stage.victim.storm.start()
        stage.operator.listen(plan.blip_s)
        stage.victim.stop_storm()
        stage.operator.listen(plan.calm_s)
        if self.loans():
            raise ReactError(f"a blip of {plan.blip_s:g} s was borrowed for")
        return Blip(seconds=plan.blip_s, loans=self.loans())

    def react(self) -> Reaction:
        """A storm that lasts: to remote memory and, when it is over, home again."""
        stage, storm = self._stage, self._stage.victim.storm
        if self._plan.spared:
            stage.operator.ask(SECOND, Drain())  # so that the loan is what the first lender's guest can spare
            stage.wait(self._first_offers, f"{FIRST} offers what {GUEST} can spare", OFFER_S)
        self._show.stage("a storm that lasts")
        began_s = time.monotonic()
        storm.start()
        decided_s = self._await_decision(BORROWING, "the borrower borrows by itself", DECIDE_S)
        stage.operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_S)
        attached_s = time.monotonic()
        stage.operator.listen(AFTER_S)
        after_s = storm.operations_s(attached_s, time.monotonic())
        leaves = self._guest_needs_it if self._plan.spared else self._lender_leaves
        left_s = leaves() if self._plan.reclaim else None
        storm.stop()
        self._show.stage("the storm is over: every page is checked, then the volume goes home")
        bad_pages = stage.victim.check_pages()
        if bad_pages:
            raise ReactError(f"{bad_pages} bad pages")
        ended_s = time.monotonic()
        self._await_decision(RETURNING, "the borrower returns by itself", 3 * self._plan.quiet_s + DECIDE_S)
        stage.wait(self._at_home, "the volume is home and its leases are given back", HOME_S)
        return Reaction(
            decided_s=decided_s - began_s,
            attached_s=attached_s - began_s,
            before_s=storm.operations_s(began_s, decided_s),
            after_s=after_s,
            lender_left_s=left_s,
            home_s=time.monotonic() - ended_s,
            quiet_s=self._plan.quiet_s,
        )

    def refuse(self) -> Refusal:
        """A storm that a loan would not help."""
        stage = self._stage
        stage.victim.thrash  # noqa: B018 (filled)
        self._show.stage("a storm on a fast disk")
        began_s = time.monotonic()
        stage.victim.storm.start()
        decided_s = self._await_decision(BORROWING, "the borrower asks for a loan", DECIDE_S)
        seen = stage.operator.events

        def gave_up() -> str:
            told = (event.sentence for _, _, event in seen if event.kind is EventKind.FAILED)
            return next((sentence for sentence in told if "times as fast as home" in sentence), "")

        stage.wait(lambda: bool(gave_up()) and not stage.operator.leases(), "the loan is given back", ATTACH_S)
        given_back_s = time.monotonic()
        stage.victim.stop_storm()
        if any(event.kind is EventKind.ATTACHED for _, _, event in seen):
            raise ReactError("a loan that does not help was used")
        return Refusal(decided_s=decided_s - began_s, given_back_s=given_back_s - decided_s, reason=gave_up())

    def check(self) -> int:
        """Check every page at home. Reading them all is a storm to the policy, so its agent ends first."""
        self._show.stage("every page is checked at home")
        self._stage.agent(self._stage.borrower).kill()
        return self._stage.victim.check_pages()

    def _await_decision(self, begins: str, what: str, within_s: float) -> float:
        """Wait for the next time that the borrower says so; return when."""
        stage = self._stage
        before = len(sayings(stage.operator.events, begins))
        stage.wait(lambda: len(sayings(stage.operator.events, begins)) > before, what, within_s)
        return sayings(stage.operator.events, begins)[before][0]

    def _lender_leaves(self) -> float:
        """The lender wants its memory back in the middle of the storm; return how long it waits."""
        stage = self._stage
        lender = stage.lenders_in_use()[0]
        self._show.stage(f"{lender} wants its memory back")
        asked_s = time.monotonic()
        stage.operator.ask(lender, Drain())
        stage.wait(lambda: not stage.operator.exports(lender), f"{lender} has its memory back", HOME_S)
        left_s = time.monotonic() - asked_s
        stage.operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_S)
        return left_s

    def _guest_needs_it(self) -> float:
        """The first lender's own guest fills its memory; return how long until the lender has back what it lent."""
        stage, guest = self._stage, self._stage.lab.vms[GUEST]
        stage.operator.ask(SECOND, Undrain())
        self._show.stage(f"{GUEST} of {FIRST} needs its memory itself")
        need_bytes = guest.spec.memory_bytes * 5 // 8
        with Thrash(guest.shell.open(command(need_bytes))) as process:
            asked_s = time.monotonic()
            process.init()
            stage.wait(lambda: not stage.operator.exports(FIRST), f"{FIRST} has its memory back", HOME_S)
            left_s = time.monotonic() - asked_s
            stage.operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_S)
        return left_s

    def _first_offers(self) -> bool:
        offer = self._stage.operator.offer(FIRST)
        return offer is not None and offer.free_bytes >= self._plan.swap_bytes + 16 * MIB

    def _at_home(self) -> bool:
        volume = self._stage.operator.volume(VOLUME)
        return (volume is None or volume.phase is VolumePhase.HOME) and not self._stage.operator.leases()
