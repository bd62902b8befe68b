"""The borrower: on request gets leases and puts a live swap volume on them, shows progress, brings it home again.

Each cycle runs on the worker thread: look at a volume, plan a step, apply it. What the step needs from the bus (memory
from the manager, a release at a lender) is done on the loop. A volume that is where it should be is looked at rarely,
its sessions (a read of sysfs) every second.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial

from ramshare.borrower import report
from ramshare.borrower.host import BorrowerHost, Looked
from ramshare.borrower.owed import Owed
from ramshare.borrower.steps import (
    AskForMemory,
    Done,
    DropLostLeg,
    Forget,
    LetGo,
    Login,
    Release,
    SplitLeg,
    Step,
    Wait,
    WriteOff,
)
from ramshare.borrower.tags import LeaseTag
from ramshare.borrower.view import Goal, VolumeView
from ramshare.bus.api import Bus, RequestArrived, RequestTimeoutError
from ramshare.daemon import Agent, RefusedError
from ramshare.errors import RamshareError
from ramshare.linux.run import Runner
from ramshare.messages.base import Message
from ramshare.messages.events import EventKind
from ramshare.messages.replies import AttachReply, BorrowReply, ErrorCode, Reply
from ramshare.messages.requests import BorrowMemory, BorrowVolume, ReleaseLease, ReturnVolume, Vacate
from ramshare.messages.state import Mode
from ramshare.settings import BorrowerSettings, HostSettings
from ramshare.topics import MANAGER, name

log = logging.getLogger(__name__)

WORKING_S = 1.0
"""Between two looks at a volume that the kernel is working on."""
STEADY_S = 30.0
"""Between two looks at a volume that is where it should be; its sessions are watched every second."""
RETRY_FIRST_S, RETRY_MOST_S = 2.0, 60.0
"""Waits after a step that failed double from the first to the most."""
WRITE_OFF_AGAIN_S = 5.0
"""A write-off waits for memory: for processes that lost pages to end."""
RELEASE_TRIES = 3
"""After so many unanswered releases a lender is taken for dead; it is told when it returns."""
LOST_RELEASE_S = 5.0
"""A lender that seems dead is given so long to answer before it is told again."""
TELL_AGAIN = frozenset({ErrorCode.IN_USE, ErrorCode.BUSY, ErrorCode.NOT_READY, ErrorCode.FAILED})
"""What a lender may say for a while after it came back."""
OWED_AGAIN_S = 10.0
"""Between two tries to tell a lender that came back what is not needed any more."""
ASK_TRIES = 2
"""A manager that does not answer is asked the same again: if it died, its successor goes on with that loan."""


@dataclass
class Charge:
    """One volume in this agent's care."""

    volume: str
    due_s: float = 0.0
    view: VolumeView | None = None
    step: Step | None = None
    failures: int = 0
    error: str = ""
    told_error: str = ""
    told_lost: set[str] = field(default_factory=set)
    release_tries: dict[str, int] = field(default_factory=dict)
    asking: bool = False
    """The manager has been asked for memory and has not answered yet."""
    ask_id: str = ""
    """Id of a question to the manager that was never answered; asked again under it, no lease is made twice."""
    releasing: set[str] = field(default_factory=set)
    let_go: set[str] = field(default_factory=set)
    """Leases that were given back while LVM still had them in the group."""
    given_back: set[str] = field(default_factory=set)
    """Of those, the ones that their lender has taken back."""
    nothing_to_borrow: bool = False
    """The manager had nothing when last asked: a volume that must leave a lease goes home instead."""

    def vacated(self, wanted_back: Collection[str]) -> bool:
        """Whether a lender wants one of this volume's leases back."""
        return self.view is not None and any(lease.lease in wanted_back for lease in self.view.leases)


class Borrower(Agent):
    """See the module."""

    sweeps = True

    def __init__(
        self,
        bus: Bus,
        host_settings: HostSettings,
        settings: BorrowerSettings,
        runner: Runner,
        host: BorrowerHost | None = None,
    ) -> None:
        super().__init__(bus)
        self.settings = settings
        self.host = host or BorrowerHost(runner, settings.directory, patience_s=settings.patience_s)
        self.charges: dict[str, Charge] = {}
        self.vacate: set[str] = set()
        self.owed = Owed(settings.directory)
        self._telling: set[str] = set()
        self._next_owed_s = 0.0
        self._published: dict[str, Message] = {}
        self._borrowing: set[str] = set()
        self._started_up = False
        self._busy = False

    def begin(self) -> None:
        """Find the volumes that carry our tags and go on with them."""
        self.handlers = {BorrowVolume: self._borrow, ReturnVolume: self._return, Vacate: self._vacate}
        self._busy = True
        self.owed.load()
        self.work(self.host.start, self._started)

    def tick(self) -> float:
        """Look after the volume that is due first; one at a time, for they share LVM's lock."""
        now_s = self.clock()
        for device in self.host.resume_suspended(self.charges, now_s):
            self.say(EventKind.RESUMED_DEVICE, f"{device} was left suspended and has been resumed")
        if now_s >= self._next_owed_s:
            self._next_owed_s = now_s + OWED_AGAIN_S
            self._tell_lenders()
        if self._busy:
            return 1.0
        if self.host.sessions_changed():
            for charge in self.charges.values():
                charge.due_s = now_s
        due = [c for c in self.charges.values() if c.due_s <= now_s]
        if due:
            charge = min(due, key=lambda c: c.due_s)
            self._busy = True
            job = partial(self.host.cycle, charge.volume, frozenset(self.vacate), charge.nothing_to_borrow)
            self.work(job, partial(self._looked, charge))
        return 1.0

    def true_paths(self) -> Collection[str] | None:
        """See `Agent`: known as soon as every volume with our tags was looked at."""
        looked = self._started_up and all(charge.view is not None for charge in self.charges.values())
        return self._published.keys() if looked else None

    # ---- requests

    def _borrow(self, arrived: RequestArrived) -> Reply | None:
        request = arrived.request
        assert isinstance(request, BorrowVolume)
        if request.volume in self._borrowing:
            raise RefusedError(ErrorCode.BUSY, f"{request.volume} is being borrowed for at this moment")
        self._borrowing.add(request.volume)
        check = partial(self.host.check_borrow, request.volume, request.mode)
        self.work(check, partial(self._checked, arrived, request))
        return None

    def _checked(self, arrived: RequestArrived, request: BorrowVolume, checked: VolumeView | Exception) -> None:
        if isinstance(checked, Exception):
            self._borrowing.discard(request.volume)
            self._decline(arrived, checked)
        elif checked.goal is Goal.ATTACHED:
            self._settle_attached(arrived, checked)
        else:
            self._ask_for_memory(request, checked, partial(self._answer_borrow, arrived, request))

    def _ask_for_memory(
        self,
        request: BorrowVolume,
        view: VolumeView,
        done: Callable[[BorrowReply | Exception], None],
        step: AskForMemory | None = None,
    ) -> None:
        """Ask the manager for the whole volume, or for what a step says is missing of it."""
        need = BorrowMemory(
            request_id=request.request_id,
            volume=request.volume,
            size_bytes=step.size_bytes if step else view.size_bytes,
            exclude=step.exclude if step else (),
            overhead_bytes=self.host.overhead_bytes(request.volume, request.mode),
            grain_bytes=self.host.extent_bytes(request.volume),
            mode=request.mode,
            initiator=self.host.initiator(),
            min_lenders=request.min_lenders,
        )

        tries = 1

        def answered(reply: Reply | Exception) -> None:
            nonlocal tries
            if isinstance(reply, RequestTimeoutError) and tries < ASK_TRIES:
                tries += 1
                self.ask(MANAGER, need, self.settings.ask_timeout_s, answered)
            elif isinstance(reply, BorrowReply) and reply.ok:
                tags = [LeaseTag(g.lease, name(g.lender), g.size_bytes - need.overhead_bytes) for g in reply.grants]
                mode = request.mode if step is None else None
                job = partial(self.host.accept, request.volume, mode, tags, reply.grants)
                self.work(job, lambda outcome: done(outcome if isinstance(outcome, Exception) else reply))
            elif isinstance(reply, Reply):
                done(RefusedError(reply.error or ErrorCode.FAILED, reply.sentence))
            else:
                done(RefusedError(ErrorCode.NOT_READY, f"the manager does not answer: {reply}"))

        self.ask(MANAGER, need, self.settings.ask_timeout_s, answered)

    def _answer_borrow(self, arrived: RequestArrived, request: BorrowVolume, reply: BorrowReply | Exception) -> None:
        self._borrowing.discard(request.volume)
        if isinstance(reply, Exception):
            self._decline(arrived, reply)
            return
        self._care(request.volume)
        answer = AttachReply(
            request_id=request.request_id,
            sentence=reply.sentence,
            leases=tuple(g.lease for g in reply.grants),
            lenders=tuple(g.lender for g in reply.grants),
        )
        self.desk.settle(arrived, answer)

    def _settle_attached(self, arrived: RequestArrived, view: VolumeView) -> None:
        self._borrowing.discard(view.volume)
        self._care(view.volume)
        answer = AttachReply(
            request_id=arrived.request.request_id,
            sentence="already borrowed",
            leases=tuple(x.lease for x in view.leases),
            lenders=tuple(x.lender for x in view.leases),
        )
        self.desk.settle(arrived, answer)

    def _return(self, arrived: RequestArrived) -> Reply | None:
        request = arrived.request
        assert isinstance(request, ReturnVolume)
        if request.volume in self._borrowing:
            raise RefusedError(ErrorCode.BUSY, f"memory for {request.volume} is being asked for; return it after that")

        def done(outcome: bool | Exception) -> None:
            if isinstance(outcome, Exception):
                self._decline(arrived, outcome)
                return
            self._care(request.volume)
            sentence = "coming home" if outcome else "is at home already"
            self.desk.settle(arrived, Reply(request_id=request.request_id, sentence=f"{request.volume} {sentence}"))

        self.work(partial(self.host.send_home, request.volume), done)
        return None

    def _vacate(self, arrived: RequestArrived) -> Reply | None:
        request = arrived.request
        assert isinstance(request, Vacate)
        if request.deadline <= request.at:
            raise RefusedError(ErrorCode.DEADLINE_PASSED, "the deadline lies in the past")
        if self.true_paths() is None:
            raise RefusedError(ErrorCode.NOT_READY, "the borrower has just started and is still looking at its volumes")
        known = {x.lease: x for c in self.charges.values() if c.view for x in c.view.leases}
        asked = [known[lease] for lease in request.leases if lease in known]
        if not asked:
            raise RefusedError(ErrorCode.UNKNOWN_LEASE, f"no volume here uses {', '.join(request.leases)}")
        for lease in asked:
            if lease.lender != arrived.client:
                raise RefusedError(ErrorCode.NOT_ALLOWED, f"lease {lease.lease} is not of {arrived.client}")
        self.vacate.update(lease.lease for lease in asked)
        for charge in self.charges.values():
            self._care(charge.volume)
        return Reply(request_id=request.request_id, sentence=f"vacating {len(asked)} lease(s)")

    def _decline(self, arrived: RequestArrived, error: Exception) -> None:
        code = error.code if isinstance(error, RefusedError) else ErrorCode.FAILED
        sentence = str(error) if isinstance(error, RamshareError) else repr(error)
        log.info("refused %s of %s: %s", arrived.verb, arrived.client, sentence)
        self.desk.settle(arrived, Reply(request_id=arrived.request.request_id, error=code, sentence=sentence[:1000]))

    # ---- the cycle

    def _started(self, volumes: list[str] | Exception) -> None:
        self._busy = False
        if isinstance(volumes, Exception):
            log.error("cannot look at this host's volumes: %s", volumes)
            return
        self._started_up = True
        for volume in volumes:
            log.info("going on with %s", volume)
            self._care(volume)

    def _care(self, volume: str) -> None:
        charge = self.charges.setdefault(volume, Charge(volume))
        charge.due_s = self.clock()
        self.soon()

    def _looked(self, charge: Charge, looked: Looked | Exception) -> None:
        """Take note of a cycle's outcome, publish it, and do what the step needs from the bus."""
        self._busy = False
        before = charge.step
        if isinstance(looked, Exception):
            charge.failures += 1
            charge.error = str(looked)
            log.warning("%s: %s", charge.volume, looked)
            self._later(charge)
        else:
            charge.view, charge.step, charge.error = looked.view, looked.step, looked.error
            charge.failures = charge.failures + 1 if looked.error else 0
            self._tell(charge, before)
            self._follow(charge, looked.step, again=looked.step == before)
        self._publish(charge)
        self.soon()

    def _follow(self, charge: Charge, step: Step, again: bool) -> None:
        """Decide when to look again. A step that seems to have had no effect is not repeated without a pause."""
        if charge.error and isinstance(step, WriteOff):
            charge.due_s = self.clock() + WRITE_OFF_AGAIN_S
        elif charge.error:
            self._later(charge)
        elif isinstance(step, AskForMemory):
            self._ask_again(charge, step)
        elif isinstance(step, Release):
            self._release(charge, step)
        elif isinstance(step, SplitLeg | LetGo):
            charge.due_s = self.clock()
            if isinstance(step, LetGo):
                charge.let_go.update(lease.lease for lease in step.leaving)
            for lease in step.leaving:
                self._release(charge, Release(lease.lease, lease.lender))
        elif isinstance(step, Done):
            charge.due_s = self.clock() + STEADY_S
            if charge.view is not None and not charge.view.tagged:
                self.charges.pop(charge.volume, None)
        elif again or isinstance(step, Wait):
            charge.due_s = self.clock() + WORKING_S
        else:
            charge.due_s = self.clock()

    def _later(self, charge: Charge) -> None:
        charge.due_s = self.clock() + min(RETRY_MOST_S, RETRY_FIRST_S * 2 ** min(charge.failures, 10))

    def _ask_again(self, charge: Charge, step: AskForMemory) -> None:
        """Ask the manager unless it is being asked; meanwhile the volume is looked after as ever."""
        charge.due_s = self.clock() + WORKING_S
        view = charge.view
        if view is None or charge.asking:
            return
        charge.asking = True
        request = BorrowVolume(volume=charge.volume, mode=view.mode or Mode.MIRROR)
        if charge.ask_id:
            request = request.model_copy(update={"request_id": charge.ask_id})

        def done(reply: BorrowReply | Exception) -> None:
            charge.asking = False
            silent = isinstance(reply, RefusedError) and reply.code is ErrorCode.NOT_READY
            charge.ask_id = request.request_id if silent else ""
            charge.failures = charge.failures + 1 if isinstance(reply, Exception) else 0
            charge.error = str(reply) if isinstance(reply, Exception) else ""
            charge.nothing_to_borrow = isinstance(reply, Exception)
            if charge.nothing_to_borrow and not charge.vacated(self.vacate):
                self._later(charge)
            else:
                self._care(charge.volume)
            self._publish(charge)

        self._ask_for_memory(request, view, done, step)

    def _release(self, charge: Charge, step: Release) -> None:
        """Give a lease back. The volume does not wait for the lender of a lost one, which hears of it when it can."""
        charge.due_s = self.clock() + WORKING_S
        if step.lease in charge.releasing:
            return
        charge.releasing.add(step.lease)
        if step.lease in charge.given_back:
            self._drop(charge, step.lease)
            return
        tries = charge.release_tries[step.lease] = charge.release_tries.get(step.lease, 0) + 1

        def answered(reply: Reply | Exception) -> None:
            gone = isinstance(reply, Reply) and (reply.ok or reply.error is ErrorCode.UNKNOWN_LEASE)
            if step.lease in charge.let_go:
                self._gone_ahead(charge, step, gone)
            elif gone:
                self._drop(charge, step.lease)
            elif tries >= RELEASE_TRIES:
                self._owe(charge, step)
            else:
                charge.releasing.discard(step.lease)
                charge.error = f"{step.lender} does not take {step.lease} back: {reply}"
                charge.failures += 1
                self._later(charge)

        if step.lost:
            self._owe(charge, step)
        else:
            self.ask(step.lender, ReleaseLease(lease=step.lease), self.settings.ask_timeout_s, answered)

    def _gone_ahead(self, charge: Charge, step: Release, gone: bool) -> None:
        """A lease went back before LVM was through with it; it is forgotten when LVM is."""
        if not gone:
            self.owed.add(step.lease, step.lender)
            self._next_owed_s = 0.0
        charge.given_back.add(step.lease)
        charge.releasing.discard(step.lease)
        self.soon()

    def _owe(self, charge: Charge, step: Release) -> None:
        """Do without the lender: note that it has to be told, and begin to tell it."""
        self.owed.add(step.lease, step.lender)
        self._drop(charge, step.lease)
        self._next_owed_s = 0.0

    def _drop(self, charge: Charge, lease: str) -> None:
        """Forget a lease on this host."""

        def dropped(outcome: Exception | None) -> None:
            charge.releasing.discard(lease)
            charge.release_tries.pop(lease, None)
            if not isinstance(outcome, Exception):
                charge.let_go.discard(lease)
                charge.given_back.discard(lease)
            self.vacate.discard(lease)
            if isinstance(outcome, Exception):
                charge.error = str(outcome)
            self._care(charge.volume)

        self.work(partial(self.host.drop_lease, charge.volume, lease), dropped)

    def _tell_lenders(self) -> None:
        """Tell lenders that were away what is not needed any more."""
        for lease, lender in self.owed.all().items():
            if lease not in self._telling:
                self._telling.add(lease)
                self.ask(lender, ReleaseLease(lease=lease), LOST_RELEASE_S, partial(self._told, lease))

    def _told(self, lease: str, reply: Reply | Exception) -> None:
        self._telling.discard(lease)
        if isinstance(reply, Reply) and reply.error not in TELL_AGAIN:
            self.owed.settle(lease)

    # ---- telling

    def _tell(self, charge: Charge, before: Step | None) -> None:
        step, view = charge.step, charge.view
        if isinstance(step, WriteOff) and view is not None:
            self._tell_loss(charge, view, step)
        if charge.error:
            if charge.error != charge.told_error:
                self.say(EventKind.FAILED, f"could not {step}: {charge.error}", volume=charge.volume)
        elif isinstance(step, Done) and not isinstance(before, Done) and view is not None and before is not None:
            kind = EventKind.ATTACHED if view.goal is Goal.ATTACHED else EventKind.DETACHED
            self.say(kind, f"{charge.volume} is {step}", volume=charge.volume, size_bytes=view.size_bytes)
        elif isinstance(step, DropLostLeg) and not charge.let_go.issuperset(step.leases):
            self.say(EventKind.LEG_LOST, f"{charge.volume}: {step}", volume=charge.volume)
        elif step is not None and not isinstance(step, Wait | Done) and step != before:
            lease = step.lease if isinstance(step, Login | Release) else None
            self.say(EventKind.STEP, f"{charge.volume}: {step}", volume=charge.volume, lease=lease)
        charge.told_error = charge.error

    def _tell_loss(self, charge: Charge, view: VolumeView, step: WriteOff) -> None:
        """Say once, as soon as it is known, what is lost; writing it off may have to wait for memory."""
        gone = [lease for lease in view.leases if lease.lease in step.leases and lease.lease not in charge.told_lost]
        if gone:
            charge.told_lost.update(lease.lease for lease in gone)
            # LVM has one name for all that is missing, so the leases' shares cannot be told apart then.
            lost = min(view.size_bytes, sum(lease.used_bytes for lease in gone))
            names = ", ".join(f"{lease.lease} of {lease.lender}" for lease in gone)
            sentence = f"{charge.volume}: up to {lost >> 20} MiB of pages are lost with {names}"
            self.say(EventKind.PAGES_LOST, sentence, volume=charge.volume, size_bytes=lost)

    def _publish(self, charge: Charge) -> None:
        view = charge.view
        wanted: dict[str, Message] = {}
        if view is not None:
            wanted = report.states(view, charge.step, charge.error)
            if view.goal is Goal.HOME and isinstance(charge.step, Done | Forget):
                wanted = {path: message for path, message in wanted.items() if path.startswith("volume/")}
        mine = {p for p, m in self._published.items() if getattr(m, "volume", None) == charge.volume}
        for path, message in wanted.items():
            self.bus.set_state(path, message)
        for path in mine - wanted.keys():
            self.bus.set_state(path, None)
            self._published.pop(path)
        self._published |= wanted


def _is_gone(reply: Reply | Exception) -> bool:
    """Whether a lender's answer to a release means that the lease is no more."""
    return isinstance(reply, Reply) and (reply.ok or reply.error is ErrorCode.UNKNOWN_LEASE)
