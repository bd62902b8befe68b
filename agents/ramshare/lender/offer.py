"""The lender's offer: what the policy decided, within what `surplus.py` allows, with its reason, whenever it changes.

Used by the lender's agent, on its loop.
"""

import time
from collections import deque

from ramshare.agent import Agent
from ramshare.desk import RefusedError
from ramshare.lender.exports.ledger import Ledger
from ramshare.lender.guests.reports import Neighbours
from ramshare.lender.offer_plan import Limits, OfferPlan, plan_offer
from ramshare.lender.surplus import Surplus
from ramshare.messages.events import EventKind
from ramshare.messages.replies import ErrorCode
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import Decisions, Mode, Offer
from ramshare.settings import LenderSettings

REMEMBERED_DECISIONS = 20
STARTING = OfferPlan(0, 0, 0, "starting")


class Offering:
    """Owns the offer that was published last, and the decisions before it."""

    def __init__(
        self, agent: Agent, settings: LenderSettings, ledger: Ledger, neighbours: Neighbours, surplus: Surplus
    ) -> None:
        self._agent = agent
        self._settings = settings
        self._ledger = ledger
        self._neighbours = neighbours
        self._surplus = surplus
        self._decisions: deque[str] = deque(maxlen=REMEMBERED_DECISIONS)
        self._told_lent_bytes = 0
        self.plan: OfferPlan | None = None

    def offer(self) -> None:
        """Work the offer out, and publish it (with its reason, and as an event) if it changed."""
        before, lent_bytes = self.plan, self._ledger.lent_bytes()
        plan = self.plan = self._plan(lent_bytes)
        if before == plan and lent_bytes == self._told_lent_bytes:
            return
        self._told_lent_bytes = lent_bytes
        self._publish(plan, lent_bytes)
        if before is None or before.capacity_bytes != plan.capacity_bytes:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self._decisions.append(f"{stamp} {plan.capacity_bytes} {plan.reason}")
            self._agent.bus.set_state("decisions", Decisions(decisions=tuple(self._decisions)))
            sentence = f"can lend {plan.capacity_bytes >> 20} MiB: {plan.reason}"
            self._agent.say(EventKind.OFFER_CHANGED, sentence, size_bytes=plan.capacity_bytes)

    def check_room(self, request: ExportLease) -> None:
        """Raise `RefusedError` if the offer does not cover what is asked for."""
        plan = self.plan or STARTING
        free = plan.free_bytes if request.mode is Mode.MIRROR else plan.committed_free_bytes
        if request.size_bytes > free:
            kind = "committed memory" if request.mode is Mode.MOVE else "memory"
            raise RefusedError(
                ErrorCode.NO_CAPACITY, f"{free >> 20} MiB of {kind} left, not {request.size_bytes >> 20} MiB"
            )

    def _plan(self, lent_bytes: int) -> OfferPlan:
        if not self._ledger.ready or not self._neighbours.vms.seen:
            return STARTING
        return plan_offer(
            Limits(
                decided_bytes=self._surplus.decision.lendable_bytes,
                decided_reason=self._surplus.decision.reason,
                available_bytes=self._surplus.physical_bytes() - self._neighbours.vms.owed_bytes,
                reserve_bytes=self._settings.reserve_bytes,
                lent_bytes=lent_bytes,
                lent_committed_bytes=self._ledger.lent_bytes(Mode.MOVE),
                committed_bytes=self._settings.committed_bytes,
                limit_bytes=self._settings.limit_bytes,
                draining=self._ledger.draining,
                borrowing=self._neighbours.borrowing,
            )
        )

    def _publish(self, plan: OfferPlan, lent_bytes: int) -> None:
        self._agent.bus.set_state(
            "offer",
            Offer(
                host=self._ledger.host,
                portal=self._ledger.portal,
                capacity_bytes=plan.capacity_bytes,
                lent_bytes=lent_bytes,
                free_bytes=plan.free_bytes,
                committed_bytes=self._settings.committed_bytes,
                committed_free_bytes=plan.committed_free_bytes,
                exportable=plan.exportable,
                draining=self._ledger.draining,
                reason=plan.reason,
            ),
        )
