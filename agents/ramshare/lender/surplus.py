"""How much memory this host can spare: samples go to the policy, its word moves the guests' balloons.

What of it is offered is for `offer.py` to say. Used by the lender's agent, on its loop.
"""

import time

from ramshare.agent import Agent
from ramshare.lender.exports.ledger import Ledger
from ramshare.lender.guests.balloon import wanted_bytes
from ramshare.lender.guests.reports import Neighbours
from ramshare.linux.sampling import MemorySampler
from ramshare.messages.events import EventKind
from ramshare.messages.state import Memory
from ramshare.policy.model import Decision, HostSample, Policy
from ramshare.settings import LenderSettings


class Surplus:
    """Owns the policy and its last decision."""

    def __init__(
        self,
        agent: Agent,
        settings: LenderSettings,
        ledger: Ledger,
        neighbours: Neighbours,
        sampler: MemorySampler,
        policy: Policy,
    ) -> None:
        self._agent = agent
        self._settings = settings
        self._ledger = ledger
        self._neighbours = neighbours
        self._sampler = sampler
        self._policy = policy
        self.decision = Decision(0, "nothing decided yet")
        self._decided = False
        self._available_bytes = self._own_bytes = 0
        self._made_bytes = 0
        """What exports held when the available memory was looked at: of those since, it shows nothing yet."""

    def sample(self) -> None:
        """Publish this host's memory and have the policy decide."""
        memory = self._sampler.sample()
        self._agent.bus.set_state("memory", memory)
        self._available_bytes, self._made_bytes = memory.available_bytes, self._ledger.made_bytes
        self.decision = self._policy.decide(self._host_sample(memory))
        self._decided = True
        # At one moment: what a balloon or an export took since, the host's figures do not show yet.
        self._own_bytes = self.physical_bytes() - self._neighbours.vms.ballooned_bytes + self._ledger.lent_bytes()

    def measure(self) -> None:
        """Look at what is available without deciding anew: memory has just come back."""
        self._available_bytes = self._sampler.sample().available_bytes
        self._made_bytes = self._ledger.made_bytes

    def physical_bytes(self) -> int:
        """What this host could hand out now: not what its guests have been given and have not touched yet."""
        vms, share = self._neighbours.vms, self._settings.capacity_bytes
        available = self._available_bytes - vms.untouched_bytes - (self._ledger.lent_bytes() - self._made_bytes)
        if share is not None and vms.known:
            given = sum(guest.actual_bytes for guest in vms.known)
            available = min(available, share - given - self._ledger.lent_bytes())
        return max(0, available)

    def balance(self) -> None:
        """Bring balloons in line with what is to be lent; without a hypervisor there are none.

        What is lent must be there until it is back, so balloons hold it, whatever the policy says now. Only a guest in
        need gets its memory before, as far as the host's reserve goes: it would swap.
        """
        if not self._ledger.ready or not self._decided:
            return
        settings, lent_bytes = self._settings, self._ledger.lent_bytes()
        decided = max(self.decision.lendable_bytes, settings.committed_bytes)
        if settings.limit_bytes is not None:
            decided = min(decided, settings.limit_bytes)
        if self._ledger.draining or self._neighbours.borrowing:
            decided = 0
        own_bytes = self._own_bytes - lent_bytes
        wanted = wanted_bytes(max(decided, lent_bytes), own_bytes, settings.reserve_bytes, lent_bytes)
        vms, samples = self._neighbours.vms, tuple(self._neighbours.reports)
        # What balloons hold and nobody has borrowed can always go back, even on a host that promised more than it has.
        spare_bytes = max(self.physical_bytes(), vms.ballooned_bytes - lent_bytes)
        for sentence in vms.balance(samples, wanted, self._agent.clock(), time.time(), spare_bytes):
            self._agent.say(EventKind.FAILED, sentence)

    def _host_sample(self, memory: Memory) -> HostSample:
        """What belongs to no guest is the host's own; what is lent is not counted as used, or it would count twice."""
        vms, share = self._neighbours.vms, self._settings.capacity_bytes
        guests = vms.believed(tuple(self._neighbours.reports))
        seen = {vm.name for vm in vms.known}
        used = 0.0
        if share is None:
            by_hand = sum(guest.used_bytes for guest in guests if guest.guest not in seen)
            used = memory.used_bytes - self._ledger.lent_bytes() - vms.resident_bytes - by_hand
        capacity = (share or memory.total_bytes) - sum(guest.capacity_bytes for guest in guests)
        whole = share is None  # else pressure is that of others on this machine, too
        return HostSample(
            host=self._ledger.host,
            at_s=time.time(),
            capacity_bytes=max(0.0, capacity),
            used_bytes=max(0.0, used),
            guests=guests,
            expected_guests=self._neighbours.by_hand | seen,
            swap_in_bytes_s=memory.swap_in_bytes_s if whole else 0.0,
            psi_some=memory.psi_some_avg10 if whole else None,
            refault_pages_s=memory.refaults_s if whole else None,
        )
