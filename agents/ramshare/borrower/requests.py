"""What is asked of the borrower: people have it borrow for a volume and return it, lenders want leases back.

A request is answered when it is clear what becomes of it; `reconcile.py` does the rest. Used by the borrower's agent.
"""

from collections.abc import Callable, Iterable
from functools import partial

from ramshare.borrower.loans import Loans, NoMoreWaitedForError
from ramshare.borrower.machine.api import Host
from ramshare.borrower.plan.part import part_refused
from ramshare.borrower.plan.view import Goal, LeaseView, VolumeView
from ramshare.borrower.publish import Publisher
from ramshare.borrower.volumes import Volumes
from ramshare.bus.api import RequestArrived
from ramshare.desk import Desk, RefusedError
from ramshare.loop import Loop
from ramshare.messages.replies import AttachReply, BorrowReply, ErrorCode, Grant, Reply
from ramshare.messages.requests import BorrowVolume, ReturnVolume, Vacate
from ramshare.messages.state import Mode
from ramshare.topics import role


class Requests:
    """Serves `borrow`, `return` and `vacate`; knows for which volumes memory is being borrowed at this moment."""

    def __init__(
        self,
        loop: Loop,
        desk: Desk,
        host: Host,
        volumes: Volumes,
        loans: Loans,
        publisher: Publisher,
        mode: Mode | None = None,
    ) -> None:
        """`mode`: how to attach where a request does not say; None for by pair if it can be had, else by mirror."""
        self._loop = loop
        self._desk = desk
        self._host = host
        self._volumes = volumes
        self._loans = loans
        self._publisher = publisher
        self._mode = mode
        self._borrowing: set[str] = set()
        self._waiting: dict[str, VolumeView] = {}
        """The volumes that wait for memory; who asked has been told so."""

    def borrow(self, arrived: RequestArrived[BorrowVolume]) -> Reply | None:
        """Get memory for a volume; answered when there are leases, or why there are none.

        A dry run goes the same way up to what the manager would ask lenders for, and changes nothing here.
        """
        volume, mode = arrived.request.volume, arrived.request.mode or self._mode
        if volume in self._waiting:
            raise RefusedError(ErrorCode.BUSY, f"{volume} waits for memory already; ramshare return {volume} ends that")
        if volume in self._borrowing:
            raise RefusedError(ErrorCode.BUSY, f"{volume} is being borrowed for at this moment")
        if not arrived.request.dry_run:
            self._borrowing.add(volume)
            self._desk.when_answered(arrived, lambda _reply: self._borrowing.discard(volume))
            self._waiting.pop(volume, None)
        self._loop.work(partial(self._host.check_borrow, volume, mode), partial(self._checked, arrived, mode))
        return None

    def _checked(
        self, arrived: RequestArrived[BorrowVolume], mode: Mode | None, checked: VolumeView | Exception
    ) -> None:
        if isinstance(checked, Exception):
            raise checked
        dry_run = arrived.request.dry_run
        if why_not := part_refused(arrived.request, mode, checked):
            raise RefusedError(ErrorCode.CONFLICT, why_not)
        if checked.goal is Goal.ATTACHED and mode not in (None, checked.mode):
            self._convert(arrived, mode, checked)
        elif checked.automatic and checked.goal is Goal.ATTACHED and not (dry_run or _by_itself(arrived)):
            self._adopt(arrived, checked)
        elif checked.goal is Goal.ATTACHED:
            self._attached(arrived, checked.mode, "already borrowed", checked.leases)
        elif mode is None:
            # Only the mirror may wait: it needs the least.
            self._ask(arrived, Mode.PAIR, checked, partial(self._or_mirror, arrived, checked), wait_s=0.0)
        else:
            self._ask(arrived, mode, checked, partial(self._answered, arrived, mode, checked, ""))

    def _waits(self, arrived: RequestArrived[BorrowVolume], view: VolumeView, why: str) -> None:
        """Tell who asked, the first time, and everybody that a volume waits for memory."""
        volume = arrived.request.volume
        self._publisher.waits(view, why)
        if volume not in self._waiting:
            self._waiting[volume] = view
            self._desk.settle(arrived, AttachReply(request_id=arrived.request.request_id, sentence=why, waiting=True))

    def _ask(
        self,
        arrived: RequestArrived[BorrowVolume],
        mode: Mode,
        view: VolumeView,
        done: Callable[[BorrowReply | Exception], None],
        **other: object,
    ) -> None:
        request = arrived.request.model_copy(update={"mode": mode, **other})
        waits = partial(self._waits, arrived, view)
        self._loans.ask(request, view, done, waits=waits, automatic=_by_itself(arrived))

    def _or_mirror(
        self, arrived: RequestArrived[BorrowVolume], view: VolumeView, reply: BorrowReply | Exception
    ) -> None:
        """Take the pair, or ask for a mirror where the cluster has no two sets of lenders now."""
        if not (isinstance(reply, RefusedError) and reply.code is ErrorCode.NO_CAPACITY):
            self._answered(arrived, Mode.PAIR, view, "", reply)
            return
        why = f"by mirror, since {reply.message.partition('; borrow by ')[0]}: "
        # A question of its own to the manager, and the same again if the request comes again.
        request_id = f"{arrived.request.request_id[:57]}-mirror"
        done = partial(self._answered, arrived, Mode.MIRROR, view, why)
        self._ask(arrived, Mode.MIRROR, view, done, request_id=request_id)

    def _convert(self, arrived: RequestArrived[BorrowVolume], mode: Mode | None, view: VolumeView) -> None:
        """Have a volume that is attached go over to another mode; the plan gets what it needs for that."""
        sentence = f"going over from {view.mode} to {mode}, without going home"

        def written(outcome: Exception | None) -> None:
            if outcome is not None:
                raise outcome
            self._attached(arrived, mode, sentence, view.leases)

        if arrived.request.dry_run:
            self._attached(arrived, mode, sentence, view.leases)
        else:
            accept = partial(self._host.accept, view.volume, mode, (), ())
            self._loop.work(accept, written)

    def _adopt(self, arrived: RequestArrived[BorrowVolume], view: VolumeView) -> None:
        """A person wants what the policy borrowed: it stays until a person returns it."""

        def written(outcome: Exception | None) -> None:
            if outcome is not None:
                raise outcome
            sentence = "borrowed already, by itself; it is yours now and stays until you return it"
            self._attached(arrived, view.mode, sentence, view.leases)

        self._loop.work(partial(self._host.adopt, view.volume), written)

    def _answered(
        self,
        arrived: RequestArrived[BorrowVolume],
        mode: Mode,
        view: VolumeView,
        why: str,
        reply: BorrowReply | Exception,
    ) -> None:
        """Answer with what is granted, or would be; `why` says what `auto` chose."""
        volume = arrived.request.volume
        waited = self._waiting.pop(volume, None)
        if isinstance(reply, Exception):
            if waited is not None:
                stopped = isinstance(reply, NoMoreWaitedForError)
                self._publisher.waited_in_vain(waited, str(reply), stopped=stopped)
            self._desk.refuse(arrived, reply)
            return
        if not arrived.request.dry_run:
            self._publisher.waits_no_more(volume)
            self._attached(arrived, mode, why + reply.sentence, reply.grants)
            return
        answer = AttachReply(
            request_id=arrived.request.request_id,
            sentence=why + reply.sentence,
            lenders=tuple(share.lender for share in reply.shares),
            shares=reply.shares,
            mode=mode,
            size_bytes=view.size_bytes,
        )
        self._desk.settle(arrived, answer)

    def _attached(
        self,
        arrived: RequestArrived[BorrowVolume],
        mode: Mode | None,
        sentence: str,
        leases: Iterable[Grant | LeaseView],
    ) -> None:
        if not arrived.request.dry_run:
            self._volumes.asked_for(arrived.request.volume)
        leases = tuple(leases)
        answer = AttachReply(
            request_id=arrived.request.request_id,
            sentence=sentence,
            mode=mode,
            leases=tuple(x.lease for x in leases),
            lenders=tuple(x.lender for x in leases),
        )
        self._desk.settle(arrived, answer)

    def send_home(self, arrived: RequestArrived[ReturnVolume]) -> Reply | None:
        """Bring a volume home; answered when that has been written down."""
        volume, request_id = arrived.request.volume, arrived.request.request_id
        if self._loans.stop_waiting(volume):
            return Reply(request_id=request_id, sentence=f"{volume} waits for memory no more")
        if arrived.request.only_waiting:
            return Reply(request_id=request_id, sentence=f"{volume} does not wait for memory")
        if volume in self._borrowing:
            raise RefusedError(ErrorCode.BUSY, f"memory for {volume} is being asked for; return it after that")

        def written(coming: bool | Exception) -> None:
            if isinstance(coming, Exception):
                raise coming
            self._volumes.asked_for(volume)
            if not _by_itself(arrived):
                self._volumes.hand_back(volume)
            sentence = f"{volume} {'coming home' if coming else 'is at home already'}"
            self._desk.settle(arrived, Reply(request_id=request_id, sentence=sentence))

        send_home = partial(self._host.send_home, volume, only_automatic=_by_itself(arrived))
        self._loop.work(send_home, written)
        return None

    def vacate(self, arrived: RequestArrived[Vacate]) -> Reply | None:
        """Leave leases that their lender wants back."""
        request = arrived.request
        if request.deadline <= request.at:
            raise RefusedError(ErrorCode.DEADLINE_PASSED, "the deadline lies in the past")
        if not self._volumes.all_seen:
            raise RefusedError(ErrorCode.NOT_READY, "the borrower has just started and is still looking at its volumes")
        known = {x.lease: x for managed in self._volumes if managed.view for x in managed.view.leases}
        asked = [known[lease] for lease in request.leases if lease in known]
        if not asked:
            raise RefusedError(ErrorCode.UNKNOWN_LEASE, f"no volume here uses {', '.join(request.leases)}")
        for lease in asked:
            if lease.lender != arrived.client:
                raise RefusedError(ErrorCode.NOT_ALLOWED, f"lease {lease.lease} is not of {arrived.client}")
        self._volumes.wanted_back.update(lease.lease for lease in asked)
        self._volumes.care_for_all()
        return Reply(request_id=request.request_id, sentence=f"vacating {len(asked)} lease(s)")


def _by_itself(arrived: RequestArrived[BorrowVolume] | RequestArrived[ReturnVolume]) -> bool:
    """Whether the demand policy of this very agent asks; see `Agent.ask_self`."""
    return role(arrived.client) == "borrower"
