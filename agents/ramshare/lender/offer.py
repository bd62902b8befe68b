"""The lender's offer: what the policy decided, within what `surplus.py` allows, with its reason, whenever it changes.

Used by the lender's agent, on its loop.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from ramshare.bus.api import Bus
from ramshare.desk import RefusedError
from ramshare.generation import Generation
from ramshare.lender.exports.ledger import Ledger
from ramshare.lender.offer_plan import OfferPlan, plan_offer
from ramshare.lender.surplus import Surplus
from ramshare.loop import say
from ramshare.messages.events import EventKind
from ramshare.messages.replies import ErrorCode
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import Decisions, Offer, is_committed

REMEMBERED_DECISIONS = 20
STARTING = OfferPlan(0, 0, 0, "starting")


class PublishedOffer:
    """Owns the offer that was published last, and the decisions before it."""

    def __init__(self, bus: Bus, ledger: Ledger, surplus: Surplus, wall: Callable[[], float]) -> None:
        """`wall` dates the decisions."""
        self._bus = bus
        self._ledger = ledger
        self._surplus = surplus
        self._wall = wall
        self._decisions: deque[str] = deque(maxlen=REMEMBERED_DECISIONS)
        self._told: tuple[OfferPlan, int, Generation] | None = None
        self.plan = STARTING
        self.known = False
        """Whether it is known what can be lent; before, nothing is wanted back either."""

    def update(self) -> None:
        """Work the offer out, and publish it (with its reason, and as an event) if it changed."""
        limits, lent_bytes = self._surplus.limits(), self._ledger.lent_bytes()
        self.known = limits is not None
        plan = self.plan = self._starting() if limits is None else plan_offer(limits)
        before, self._told = self._told, (plan, lent_bytes, self._ledger.fence.newest)
        if before == self._told:
            return
        self._publish(plan, lent_bytes)
        if before is None or before[0].capacity_bytes != plan.capacity_bytes:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall()))
            self._decisions.append(f"{stamp} {plan.capacity_bytes} {plan.reason}")
            self._bus.set_state("decisions", Decisions(decisions=tuple(self._decisions)))
            sentence = f"can lend {plan.capacity_bytes >> 20} MiB: {plan.reason}"
            say(self._bus, EventKind.OFFER_CHANGED, sentence, size_bytes=plan.capacity_bytes)

    def check_room(self, request: ExportLease) -> None:
        """Raise `RefusedError` if the offer does not cover what is asked for."""
        committed = is_committed(request.mode, request.leg)
        free = self.plan.committed_free_bytes if committed else self.plan.free_bytes
        if request.size_bytes > free:
            kind = "committed memory" if committed else "memory"
            raise RefusedError(
                ErrorCode.NO_CAPACITY, f"{free >> 20} MiB of {kind} left, not {request.size_bytes >> 20} MiB"
            )

    def _starting(self) -> OfferPlan:
        misplaced = self._ledger.misplaced
        return replace(STARTING, reason=f"nothing is offered: {misplaced}") if misplaced else STARTING

    def _publish(self, plan: OfferPlan, lent_bytes: int) -> None:
        self._bus.set_state(
            "offer",
            Offer(
                host=self._ledger.host,
                portal=self._ledger.portal,
                capacity_bytes=plan.capacity_bytes,
                lent_bytes=lent_bytes,
                free_bytes=plan.free_bytes,
                committed_bytes=self._surplus.committed_bytes,
                committed_free_bytes=plan.committed_free_bytes,
                exportable=plan.exportable,
                draining=self._ledger.draining,
                generation=self._ledger.fence.newest.number,
                obeys=self._ledger.fence.newest.manager or None,
                reason=plan.reason,
            ),
        )
