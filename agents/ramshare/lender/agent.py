"""The lender: decides what its host can spare, exports it on request, and takes it back when it is needed.

What it owns (images, records, targets) is handled by `exports.py` on the worker thread; what it offers follows from a
policy (`policy/`) and `surplus.py`. It has the last word: the manager may be wrong about what is free, it is not.
"""

import logging
import socket
import time
from collections import deque
from collections.abc import Collection
from functools import partial

from ramshare.bus.api import Bus, RequestArrived, StateArrived
from ramshare.daemon import Agent, RefusedError
from ramshare.lender.balloon import wanted_bytes
from ramshare.lender.exports import Exports
from ramshare.lender.guests import HostGuests
from ramshare.lender.learnt import FILE_NAME, Learnt
from ramshare.lender.policy.model import HostSample
from ramshare.lender.policy.registry import DEFAULT_POLICY, make_policy
from ramshare.lender.reclaim import smallest_sufficient
from ramshare.lender.records import ExportRecord
from ramshare.lender.reports import GuestReports
from ramshare.lender.surplus import Limits, OfferPlan, plan_offer
from ramshare.linux.hypervisor import Hypervisor, NullHypervisor
from ramshare.linux.pressure_watch import NoWatch, Watch
from ramshare.linux.ramdisk import Ramdisk
from ramshare.linux.run import Runner, require_root, require_tools
from ramshare.linux.sampling import MemorySampler
from ramshare.linux.tgt import Tgt
from ramshare.messages.events import EventKind
from ramshare.messages.replies import ErrorCode, ExportReply, Grant, Reply
from ramshare.messages.requests import Drain, ExportLease, ReleaseLease, Undrain, Vacate
from ramshare.messages.state import Decisions, Export, Lease, Memory, Mode, Offer
from ramshare.settings import BrokerSettings, HostSettings, LenderSettings, load
from ramshare.topics import MANAGER, name, role

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Between two looks at tgtd's sessions."""
START_AGAIN_S = 5.0
"""After a start that failed (tgtd's port taken, no RAM file system) it is tried again, and said again."""
REMEMBERED_DECISIONS = 20


class Lender(Agent):
    """See the module."""

    sweeps = True

    def __init__(
        self,
        bus: Bus,
        host_settings: HostSettings,
        settings: LenderSettings,
        runner: Runner,
        exports: Exports | None = None,
        sampler: MemorySampler | None = None,
        watch: Watch | None = None,
        hypervisor: Hypervisor | None = None,
    ) -> None:
        super().__init__(bus)
        self.settings = settings
        self.host = host_settings.host
        self.portal = f"{settings.address or _own_address()}:{settings.port}"
        self._interval_s = host_settings.sample_interval_s
        self._exports = exports or Exports(
            Ramdisk(runner, settings.directory), Tgt(runner, settings.control_port), self.host, self.portal
        )
        self._sampler = sampler or MemorySampler(host_settings.sample_interval_s)
        self._watch = watch or NoWatch()
        self._vms = HostGuests(hypervisor or NullHypervisor(), self.post)
        self._policy = make_policy(settings.policy or DEFAULT_POLICY, settings.policy_caution, settings.policy_pace)
        self._learnt = Learnt(self._exports.marker.with_name(FILE_NAME))
        self._records: dict[str, ExportRecord] = {}
        self._connected: dict[str, bool] = {}
        self._pending: dict[str, ExportLease] = {}
        self._guests = GuestReports()
        self._heard = frozenset(settings.guests)
        self._own_leases: set[str] = set()
        self._reclaiming: dict[str, float] = {}
        self._decisions: deque[str] = deque(maxlen=REMEMBERED_DECISIONS)
        self._decided_bytes, self._decided_reason = 0, "nothing decided yet"
        self._decided = False
        self._available_bytes = self._own_bytes = 0
        self._plan: OfferPlan | None = None
        self._told_lent_bytes = 0
        self._draining = False
        self._ready = False
        self._looking = False
        self._next_sample_s = self._next_look_s = self._start_again_s = self._next_guests_s = 0.0

    def begin(self) -> None:
        """Check the machine, hear this host's guests, and bring records and targets in line."""
        require_root("a lender")
        require_tools(("tgtd", "tgtadm", "mount"))
        self.handlers = {
            ExportLease: self._export,
            ReleaseLease: self._release,
            Drain: partial(self._drain, draining=True),
            Undrain: partial(self._drain, draining=False),
        }
        for guest in self.settings.guests:
            self.bus.watch_state(f"guest.{guest}", "memory")
        self.bus.watch_state(f"borrower.{self.host}", "lease/+")
        self._watch.start(lambda: self.post(self._pressed))
        self._vms.start(self._look_at_guests)
        self._start()

    def end(self) -> None:
        """Keep what was learnt; exports stay."""
        self._watch.stop()
        self._vms.stop()
        if self._ready:
            self._learnt.save(self._policy)

    def _pressed(self) -> None:
        """This host's memory gets short: decide now, not at the next interval."""
        self._next_sample_s = 0.0
        self.soon()

    def _start(self) -> None:
        self._start_again_s = float("inf")
        self.work(self._exports.start, self._started)

    def on_state(self, arrived: StateArrived) -> None:
        """Take a guest's report, or note that this host's own swap is remote."""
        if role(arrived.client) == "borrower":
            if arrived.message is None:
                self._own_leases.discard(arrived.path)
            elif isinstance(arrived.message, Lease):
                self._own_leases.add(arrived.path)
        elif isinstance(arrived.message, Memory):
            self._guests.take(name(arrived.client), arrived.message, time.time(), stored=arrived.retained)
        else:
            self._guests.forget(name(arrived.client))
        self._next_sample_s = 0.0
        self.soon()

    def true_paths(self) -> Collection[str] | None:
        """See `Agent`: known as soon as the RAM file system was read."""
        leases = {*self._records, *self._pending}
        return {"memory", "offer", "decisions", *(f"export/{lease}" for lease in leases)} if self._ready else None

    def tick(self) -> float:
        """Sample, decide, offer, look at sessions, reclaim: what is due."""
        now_s = self.clock()
        if now_s >= self._next_sample_s:
            self._next_sample_s = now_s + self._interval_s
            self._sample()
        if now_s >= self._next_guests_s:
            self._look_at_guests()
        if not self._ready and now_s >= self._start_again_s:
            self._start()
        if self._ready:
            if now_s >= self._next_look_s and not self._looking:
                self._looking = True
                self.work(self._exports.look, self._looked)
            self._reclaim(now_s)
            self._learnt.save_if_due(self._policy, now_s)
        return min(1.0, self._vms.look_again_s)

    # ---- guests

    def _look_at_guests(self) -> None:
        self._next_guests_s = self.clock() + self._vms.look_again_s
        self._vms.look(self._guests_seen)

    def _guests_seen(self) -> None:
        """Hear those that run here now, and nobody else; a guest that migrates merely changes its listener."""
        wanted = self._vms.names | frozenset(self.settings.guests)
        for guest in sorted(wanted - self._heard):
            self.bus.watch_state(f"guest.{guest}", "memory")
        for guest in sorted(self._heard - wanted):
            self.bus.unwatch_state(f"guest.{guest}", "memory")
            self._guests.forget(guest)
        if wanted != self._heard:
            self._heard, self._next_sample_s = wanted, 0.0
            self.soon()
        self._balance()

    def _balance(self) -> None:
        """Bring balloons in line with what is to be lent; without a hypervisor there are none.

        What is lent must be there until it is back, so balloons hold it, whatever the policy says now. Only a guest in
        need gets its memory before, as far as the host's reserve goes: it would swap.
        """
        if not self._ready or not self._decided:
            return
        decided = max(self._decided_bytes, self.settings.committed_bytes)
        if self.settings.limit_bytes is not None:
            decided = min(decided, self.settings.limit_bytes)
        if self._draining or self._own_leases:
            decided = 0
        decided = max(decided, self._lent_bytes())
        wanted = wanted_bytes(decided, self._own_bytes, self.settings.reserve_bytes, self._lent_bytes())
        spare = self._physical_bytes()
        for sentence in self._vms.balance(tuple(self._guests), wanted, self.clock(), time.time(), spare):
            self.say(EventKind.FAILED, sentence)

    def _physical_bytes(self) -> int:
        """What this host could hand out now: not what its guests have been given and have not touched yet."""
        available = self._available_bytes - self._vms.untouched_bytes
        share = self.settings.capacity_bytes
        if share is not None and self._vms.known:
            given = sum(guest.actual_bytes for guest in self._vms.known)
            available = min(available, share - given - self._lent_bytes())
        return max(0, available)

    # ---- deciding

    def _sample(self) -> None:
        memory = self._sampler.sample()
        self.bus.set_state("memory", memory)
        self._available_bytes = memory.available_bytes
        decision = self._policy.decide(self._host_sample(memory))
        self._decided_bytes, self._decided_reason = decision.lendable_bytes, decision.reason
        # At one moment: what a balloon gave since, the host's figures do not show yet.
        self._decided = True
        self._own_bytes = self._physical_bytes() - self._vms.ballooned_bytes
        self._balance()
        self._offer()

    def _host_sample(self, memory: Memory) -> HostSample:
        """What belongs to no guest is the host's own; what is lent is not counted as used, or it would count twice."""
        guests = self._vms.believed(tuple(self._guests))
        by_hand = [g for g in guests if g.guest not in {vm.name for vm in self._vms.known}]
        given = sum(g.capacity_bytes for g in guests)
        used = 0.0
        if self.settings.capacity_bytes is None:
            used = (
                memory.used_bytes - self._lent_bytes() - self._vms.resident_bytes - sum(g.used_bytes for g in by_hand)
            )
        capacity = (self.settings.capacity_bytes or memory.total_bytes) - given
        whole = self.settings.capacity_bytes is None  # else the pressure is that of others on this machine, too
        return HostSample(
            host=self.host,
            at_s=time.time(),
            capacity_bytes=max(0.0, capacity),
            used_bytes=max(0.0, used),
            guests=guests,
            expected_guests=frozenset(self.settings.guests) | {vm.name for vm in self._vms.known},
            swap_in_bytes_s=memory.swap_in_bytes_s if whole else 0.0,
            psi_some=memory.psi_some_avg10 if whole else None,
            refault_pages_s=memory.refaults_s if whole else None,
        )

    def _lent_bytes(self, mode: Mode | None = None) -> int:
        made = [(r.size_bytes, r.mode) for r in self._records.values()]
        making = [(p.size_bytes, p.mode) for p in self._pending.values()]
        return sum(size for size, of_mode in made + making if mode is None or of_mode is mode)

    def _offer(self) -> None:
        """Work the offer out, and publish it (with its reason, and as an event) if it changed."""
        plan = plan_offer(
            Limits(
                decided_bytes=self._decided_bytes,
                decided_reason=self._decided_reason,
                available_bytes=self._physical_bytes() - self._vms.owed_bytes,
                reserve_bytes=self.settings.reserve_bytes,
                lent_bytes=self._lent_bytes(),
                lent_committed_bytes=self._lent_bytes(Mode.MOVE),
                committed_bytes=self.settings.committed_bytes,
                limit_bytes=self.settings.limit_bytes,
                draining=self._draining,
                borrowing=bool(self._own_leases),
            )
        )
        if not self._ready or not self._vms.seen:
            plan = OfferPlan(0, 0, 0, "starting")
        before, self._plan = self._plan, plan
        lent = self._lent_bytes()
        if before == plan and lent == self._told_lent_bytes:
            return
        self._told_lent_bytes = lent
        self.bus.set_state(
            "offer",
            Offer(
                host=self.host,
                portal=self.portal,
                capacity_bytes=plan.capacity_bytes,
                lent_bytes=lent,
                free_bytes=plan.free_bytes,
                committed_bytes=self.settings.committed_bytes,
                committed_free_bytes=plan.committed_free_bytes,
                exportable=plan.exportable,
                draining=self._draining,
                reason=plan.reason[:1000],
            ),
        )
        if before is None or before.capacity_bytes != plan.capacity_bytes:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self._decisions.append(f"{stamp} {plan.capacity_bytes} {plan.reason}"[:1000])
            self.bus.set_state("decisions", Decisions(decisions=tuple(self._decisions)))
            sentence = f"can lend {plan.capacity_bytes >> 20} MiB: {plan.reason}"
            self.say(EventKind.OFFER_CHANGED, sentence, size_bytes=plan.capacity_bytes)

    # ---- exporting

    def _export(self, arrived: RequestArrived) -> Reply | None:
        request = arrived.request
        assert isinstance(request, ExportLease)
        if not self._ready:
            raise RefusedError(ErrorCode.NOT_READY, "the lender has just started")
        if request.lease in self._pending:
            raise RefusedError(ErrorCode.BUSY, f"lease {request.lease} is being made")
        if request.lease not in self._records:
            self._check_room(request)
            self._pending[request.lease] = request
            self._offer()
        reserve = self.settings.reserve_bytes
        self.work(partial(self._exports.create, request, reserve), partial(self._exported, arrived, request))
        return None

    def _check_room(self, request: ExportLease) -> None:
        plan = self._plan or OfferPlan(0, 0, 0, "starting")
        free = plan.free_bytes if request.mode is Mode.MIRROR else plan.committed_free_bytes
        if request.size_bytes > free:
            kind = "committed memory" if request.mode is Mode.MOVE else "memory"
            raise RefusedError(
                ErrorCode.NO_CAPACITY, f"{free >> 20} MiB of {kind} left, not {request.size_bytes >> 20} MiB"
            )

    def _exported(self, arrived: RequestArrived, request: ExportLease, made: ExportRecord | Exception) -> None:
        self._pending.pop(request.lease, None)
        if isinstance(made, Exception):
            code = made.code if isinstance(made, RefusedError) else ErrorCode.FAILED
            self._offer()
            log.error("cannot export %s: %s", request.lease, made)
            reply = ExportReply(request_id=request.request_id, error=code, sentence=str(made)[:1000])
            self.desk.settle(arrived, reply)
            return
        new = made.lease not in self._records
        self._records[made.lease] = made
        self._offer()
        self._publish_export(made)
        if new:
            mib = made.size_bytes >> 20
            self.say(
                EventKind.EXPORTED,
                f"{mib} MiB for {made.borrower}, {made.mode}, as {made.target}",
                lease=made.lease,
                peer=made.borrower,
                size_bytes=made.size_bytes,
            )
        grant = Grant(
            lease=made.lease,
            lender=self.bus.client,
            portal=self.portal,
            target=made.target,
            size_bytes=made.size_bytes,
            chap_user=made.chap_user,
            chap_secret=made.chap_secret,
        )
        self.desk.settle(arrived, ExportReply(request_id=request.request_id, grant=grant))

    def _publish_export(self, record: ExportRecord) -> None:
        self.bus.set_state(
            f"export/{record.lease}",
            Export(
                lease=record.lease,
                host=self.host,
                borrower=record.borrower,
                initiator=record.initiator,
                target=record.target,
                portal=self.portal,
                size_bytes=record.size_bytes,
                mode=record.mode,
                phase=record.phase,
                connected=self._connected.get(record.lease, False),
                created_at=record.created_at,
                login_by=record.login_by,
            ),
        )

    # ---- taking back

    def _release(self, arrived: RequestArrived) -> Reply | None:
        request = arrived.request
        assert isinstance(request, ReleaseLease)
        if not self._ready:
            raise RefusedError(ErrorCode.NOT_READY, "the lender has just started and does not know its leases yet")
        record = self._records.get(request.lease)
        if record is None:
            raise RefusedError(ErrorCode.UNKNOWN_LEASE, f"no lease {request.lease} here; it may be released already")
        if arrived.client not in (record.borrower, MANAGER):
            raise RefusedError(ErrorCode.NOT_ALLOWED, f"lease {request.lease} is of {record.borrower}")
        self._remove(record, f"given back by {arrived.client}", arrived)
        return None

    def _remove(
        self, record: ExportRecord, why: str, arrived: RequestArrived | None = None, force: bool = False
    ) -> None:
        def removed(outcome: Exception | None) -> None:
            reply = None if arrived is None else Reply(request_id=arrived.request.request_id)
            if isinstance(outcome, Exception):
                code = outcome.code if isinstance(outcome, RefusedError) else ErrorCode.FAILED
                log.error("cannot remove %s: %s", record.lease, outcome)
                if reply is not None:
                    reply = reply.model_copy(update={"error": code, "sentence": str(outcome)[:1000]})
            else:
                self._gone(record, why)
            if arrived is not None and reply is not None:
                self.desk.settle(arrived, reply)

        self.work(partial(self._exports.remove, record.lease, force=force), removed)

    def _gone(self, record: ExportRecord, why: str) -> None:
        """The memory is back: say so, once, and offer it again."""
        if self._records.pop(record.lease, None) is None:
            return
        self._connected.pop(record.lease, None)
        self._reclaiming.pop(record.lease, None)
        self.bus.set_state(f"export/{record.lease}", None)
        self._available_bytes = self._sampler.sample().available_bytes
        self._offer()
        sentence = f"{record.size_bytes >> 20} MiB are back: {why}"
        self.say(EventKind.RELEASED, sentence, lease=record.lease, peer=record.borrower, size_bytes=record.size_bytes)

    def _reclaim(self, now_s: float) -> None:
        """Ask leases back when more is lent than can be; cut off mirrors whose borrower let the deadline pass."""
        plan = self._plan
        if plan is None:
            return
        asked = sum(self._records[x].size_bytes for x in self._reclaiming if x in self._records)
        need = self._lent_bytes() - plan.capacity_bytes - asked
        candidates = {
            r.lease: r.size_bytes
            for r in self._records.values()
            if r.lease not in self._reclaiming and (r.mode is Mode.MIRROR or self._draining)
        }
        chosen = smallest_sufficient(candidates, need)
        for borrower in sorted({self._records[lease].borrower for lease in chosen}):
            self._vacate(borrower, tuple(x for x in chosen if self._records[x].borrower == borrower), plan.reason)
        for lease, deadline_s in list(self._reclaiming.items()):
            record = self._records.get(lease)
            if record is None:
                self._reclaiming.pop(lease)
            elif now_s >= deadline_s:
                self._overdue(record)

    def _vacate(self, borrower: str, leases: tuple[str, ...], reason: str) -> None:
        within_s = self.settings.vacate_within_s
        size_bytes = sum(self._records[lease].size_bytes for lease in leases)
        request = Vacate.until(leases, size_bytes, within_s)
        for lease in leases:
            self._reclaiming[lease] = self.clock() + within_s
        sentence = f"ask {borrower} for {size_bytes >> 20} MiB back within {within_s:g} s: {reason}"
        self.say(EventKind.VACATED, sentence, peer=borrower, size_bytes=size_bytes)
        self.ask(borrower, request, within_s, lambda reply: log.info("vacate %s: %s", leases, reply))

    def _overdue(self, record: ExportRecord) -> None:
        """Cut a mirror off; of a move lease remind the borrower, which may have been restarted since it was asked."""
        if record.mode is Mode.MIRROR:
            self._reclaiming[record.lease] = self.clock() + LOOK_S * 5
            self._remove(record, f"{record.borrower} let the deadline pass; every page is on its disk too", force=True)
            return
        self._vacate(record.borrower, (record.lease,), "asked before")
        self.say(
            EventKind.FAILED,
            f"{record.borrower} has not moved lease {record.lease} home yet; it stays, for its pages lie only here",
            lease=record.lease,
            peer=record.borrower,
        )

    def _drain(self, arrived: RequestArrived, draining: bool) -> Reply | None:
        self._draining = draining
        if draining:
            self._exports.marker.touch()
        else:
            self._exports.marker.unlink(missing_ok=True)
        self._offer()
        self.soon()
        return Reply(
            request_id=arrived.request.request_id,
            sentence=f"{self._lent_bytes() >> 20} MiB to come back" if draining else "offering again",
        )

    # ---- what the worker reports

    def _started(self, records: dict[str, ExportRecord] | Exception) -> None:
        if isinstance(records, Exception):
            log.error("cannot serve: %s", records)
            self._start_again_s = self.clock() + START_AGAIN_S
            return
        self._records = dict(records)
        self._draining = self._exports.marker.exists()
        self._learnt.restore(self._policy)
        self._ready = True
        for record in records.values():
            self._publish_export(record)
        self._next_sample_s = 0.0
        self.soon()

    def _looked(self, connected: dict[str, bool] | Exception) -> None:
        self._looking = False
        self._next_look_s = self.clock() + LOOK_S
        if isinstance(connected, Exception):
            log.error("cannot look at tgtd: %s", connected)
            return
        for lease, now in connected.items():
            record = self._exports.records.get(lease)
            if record is None or lease not in self._records:
                continue
            changed = now != self._connected.get(lease, False) or record.phase != self._records[lease].phase
            self._records[lease], self._connected[lease] = record, now
            if changed:
                self._publish_export(record)


def _own_address() -> str:
    """The address of the route to the broker: what borrowers on the same network reach."""
    broker = load(BrokerSettings)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((broker.broker_host, broker.broker_port))
        return str(probe.getsockname()[0])
