"""Simulated lenders, borrowers and guests: what real ones say and answer, without memory, targets or volumes behind it.

A lender's ledger, its offer, its seal and its desk are the product's. What takes a real one time on its host (zeroing a
RAM file, LVM) takes none here: only the bus, the broker and the manager are measured.
"""

import time
from collections.abc import Mapping
from functools import partial

from ramshare import __version__
from ramshare.agent import moment_of
from ramshare.bus.api import RequestArrived, StateArrived
from ramshare.bus.core import CoreBus
from ramshare.bus.publisher import Publisher
from ramshare.desk import Desk, RefusedError
from ramshare.lender.exports.ledger import Ledger
from ramshare.lender.exports.records import ExportRecord
from ramshare.lender.offer_plan import Limits, plan_offer
from ramshare.messages.replies import BorrowReply, ErrorCode, ExportReply, Grant, Reply
from ramshare.messages.requests import Announce, BorrowMemory, Confirm, ExportLease, ReleaseLease
from ramshare.messages.state import (
    Decisions,
    Lease,
    LeasePhase,
    Memory,
    Mode,
    Offer,
    SealingKey,
    Status,
    Volume,
    VolumePhase,
)
from ramshare.sealed import SealingKeys
from ramshare.topics import Root
from ramshare_lab.experiments.scale.carrier import Carrier
from ramshare_lab.experiments.scale.judge import Asked, Held

GIB, MIB = 1 << 30, 1 << 20
LENT_BYTES = 64 * MIB
"""Of each loan: the smallest lease."""
CAPACITY_BYTES = 4 * GIB
HEARTBEAT_S = 60.0
LOGIN_AFTER_S = 0.5
"""From a grant to its session, as a real borrower's login takes."""
HOLD_S = 3.0
"""How long a borrower keeps a loan."""
BORROW_TIMEOUT_S = 30.0
RELEASE_TIMEOUT_S = 15.0
PORTAL = "10.0.0.1:3260"
SECRET = "0" * 32


def memory_of(interval_s: float, total_bytes: int = 8 * GIB) -> Memory:
    """Return a report of a machine at rest."""
    used = total_bytes // 3
    return Memory(
        total_bytes=total_bytes,
        available_bytes=total_bytes - used,
        used_bytes=used,
        interval_s=interval_s,
        psi_some_avg10=0.0,
    )


class Lender:
    """One lender."""

    def __init__(self, carrier: Carrier, host: str, guests: list[str], interval_s: float, keys: Mapping[str, str]):
        self._carrier, self._keys, self._interval_s = carrier, keys, interval_s
        self._bus = carrier.join(f"lender.{host}", self._arrived)
        self._desk = Desk(self._bus.answer)
        self._ledger = Ledger(self._bus, host, PORTAL)
        self._ledger.listen(self._offer)
        self._ledger.open({}, draining=False)
        self._bus.set_state("decisions", Decisions(decisions=(f"2026-11-25T10:00:00Z {CAPACITY_BYTES} calm",)))
        for guest in guests:
            self._bus.watch_state(f"guest.{guest}", "memory")

    def _offer(self) -> None:
        self._plan = plan_offer(
            Limits(
                decided_bytes=CAPACITY_BYTES,
                decided_reason="the host is calm",
                available_bytes=2 * CAPACITY_BYTES - self._ledger.lent_bytes(),
                reserve_bytes=512 * MIB,
                lent_bytes=self._ledger.lent_bytes(),
                lent_committed_bytes=0,
                committed_bytes=0,
            )
        )
        offer = Offer(
            host=self._ledger.host,
            portal=PORTAL,
            capacity_bytes=self._plan.capacity_bytes,
            lent_bytes=self._ledger.lent_bytes(),
            free_bytes=self._plan.free_bytes,
            exportable=self._plan.exportable,
            reason=self._plan.reason,
        )
        self._bus.set_state("offer", offer)

    def heartbeat(self) -> None:
        """Say that it is there."""
        self._bus.set_state("status", Status(status="online", version=__version__))

    def report(self) -> None:
        """Say how the host's memory is."""
        self._bus.set_state("memory", memory_of(self._interval_s, 64 * GIB))

    def _arrived(self, bus: CoreBus) -> None:
        while (arrived := bus.next(0.0)) is not None:
            if not isinstance(arrived, RequestArrived):
                continue
            if isinstance(arrived.request, Announce):
                self._carrier.after(arrived.request.within_s * moment_of(bus.client), bus.republish)
            elif self._desk.admit(arrived):
                with self._desk.serving(arrived):
                    self._desk.settle(arrived, self._served(arrived))

    def _served(self, arrived: RequestArrived) -> Reply:
        request = arrived.request
        if isinstance(request, ExportLease):
            return ExportReply(request_id=request.request_id, grant=self._export(request))
        if isinstance(request, ReleaseLease):
            record = self._ledger.records.get(request.lease)
            if record is None:
                raise RefusedError(ErrorCode.UNKNOWN_LEASE, f"no lease {request.lease} here")
            self._ledger.strike(record)
            return Reply(request_id=request.request_id)
        if isinstance(request, Confirm):
            self._bus.republish()
            return Reply(request_id=request.request_id)
        raise RefusedError(ErrorCode.BAD_REQUEST, f"{arrived.verb} is not simulated")

    def _export(self, request: ExportLease) -> Grant:
        if request.lease not in self._ledger.records:
            if request.size_bytes > self._plan.free_bytes:
                raise RefusedError(ErrorCode.NO_CAPACITY, f"only {self._plan.free_bytes} bytes are free")
            key = self._keys.get(request.borrower)
            self._ledger.hear_key(request.borrower, None if key is None else SealingKey(public_key=key))
            record = ExportRecord.made(request, self._ledger.host, tid=1, secret=SECRET, proof=SECRET)
            self._ledger.require_key(request.borrower)
            self._ledger.enter(record)
            self._carrier.after(LOGIN_AFTER_S, partial(self._logged_in, request.lease))
        return self._ledger.grant(self._ledger.records[request.lease])

    def _logged_in(self, lease: str) -> None:
        if (record := self._ledger.records.get(lease)) is not None:
            attached = record.model_copy(update={"phase": LeasePhase.ATTACHED})
            self._ledger.note_sessions({lease: attached}, {lease: True})


class Borrower:
    """One borrower: asks the manager, holds what it gets for a while, and gives it back to the lenders."""

    def __init__(self, carrier: Carrier, host: str, key: str) -> None:
        self._carrier, self._host = carrier, host
        self._bus = carrier.join(f"borrower.{host}", self._arrived)
        self._bus.set_state("key", SealingKey(public_key=key))

    def heartbeat(self) -> None:
        """Say that it is there."""
        self._bus.set_state("status", Status(status="online", version=__version__))

    def _arrived(self, bus: CoreBus) -> None:
        while (arrived := bus.next(0.0)) is not None:
            if isinstance(arrived, RequestArrived) and isinstance(arrived.request, Announce):
                self._carrier.after(arrived.request.within_s * moment_of(bus.client), bus.republish)

    def borrow(self, asked: Asked, hold_s: float = HOLD_S) -> None:
        """Ask for a loan; `asked` tells what came of it."""
        need = BorrowMemory(
            volume="vg0/swap",
            size_bytes=LENT_BYTES,
            mode=Mode.MIRROR,
            initiator=f"iqn.1993-08.org.debian:01:{self._host}",
        )
        asked.at_s = time.monotonic()
        future = self._bus.ask("manager", need, BORROW_TIMEOUT_S)

        def done(answered_s: float, reply: Reply | None) -> None:
            asked.answered_s = answered_s
            if isinstance(reply, BorrowReply) and reply.ok:
                for grant in reply.grants:
                    self._hold(grant, asked, answered_s, hold_s)
            else:
                asked.refusal = reply.error.value if reply is not None and reply.error is not None else "no answer"

        def told(_: object) -> None:  # on the network's thread: the time is taken there
            error = future.exception()
            answered_s, reply = time.monotonic(), None if error is not None else future.result()
            self._carrier.post(lambda: done(answered_s, reply))

        future.add_done_callback(told)

    def _hold(self, grant: Grant, asked: Asked, since_s: float, hold_s: float) -> None:
        held = Held(grant.lease, grant.lender, self._bus.client, grant.size_bytes, since_s)
        asked.held.append(held)
        self._show(grant, LeasePhase.ATTACHED)
        self._carrier.after(hold_s, lambda: self._give_back(grant, held))

    def _give_back(self, grant: Grant, held: Held) -> None:
        held.until_s = time.monotonic()
        self._bus.set_state(f"lease/{grant.lease}", None)
        self._bus.ask(grant.lender, ReleaseLease(lease=grant.lease), RELEASE_TIMEOUT_S)

    def _show(self, grant: Grant, phase: LeasePhase) -> None:
        lease = Lease(
            lease=grant.lease,
            lender=grant.lender,
            volume="vg0/swap",
            size_bytes=grant.size_bytes,
            mode=Mode.MIRROR,
            phase=phase,
        )
        volume = Volume(
            volume="vg0/swap",
            size_bytes=LENT_BYTES,
            phase=VolumePhase.ATTACHED,
            mode=Mode.MIRROR,
            local_bytes=LENT_BYTES,
            remote_bytes=LENT_BYTES,
            leases=(grant.lease,),
        )
        self._bus.set_state(f"lease/{grant.lease}", lease)
        self._bus.set_state("volume/vg0/swap", volume)


class Guests:
    """Monitors, as the hosts' broker hears them: over one connection, that of the guests' broker's bridge."""

    def __init__(self, carrier: Carrier, names: list[str], interval_s: float) -> None:
        self._carrier, self._interval_s = carrier, interval_s
        self._publishers = {guest: Publisher(f"guest.{guest}", Root(), 180) for guest in names}
        self.sent = 0

    def report(self, guest: str) -> None:
        """One guest reports."""
        self._carrier.send(self._publishers[guest].set_state("memory", memory_of(self._interval_s)))
        self.sent += 1


def hear_keys(keys: dict[str, str], bus: CoreBus) -> None:
    """Take note of the borrowers' keys, for all lenders of a process: each would keep the same."""
    while (arrived := bus.next(0.0)) is not None:
        if isinstance(arrived, StateArrived) and isinstance(arrived.message, SealingKey):
            keys[arrived.client] = arrived.message.public_key


def new_key() -> str:
    """Return a public key; all simulated borrowers share it."""
    return SealingKeys().public
