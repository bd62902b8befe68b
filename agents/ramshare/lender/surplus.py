"""How much memory this host can spare: samples go to the policy, its word moves the guests' balloons.

What of it is offered is for `offer.py` to say. Used by the lender's agent, on its loop; it samples nothing and says
nothing itself.
"""

from dataclasses import replace

from ramshare.lender.exports.ledger import Ledger
from ramshare.lender.guests.balloon import wanted_bytes
from ramshare.lender.guests.by_hand import Parts, believable, divide, unknown
from ramshare.lender.guests.reports import LocalReports
from ramshare.lender.offer_plan import Limits
from ramshare.messages.state import Memory
from ramshare.policy.model import Decision, HostSample, Policy
from ramshare.settings import LenderSettings

NOTHING_DECIDED = Decision(0, "nothing decided yet")
ALONE = " alone"
"""After its name: the host without its guests, of which the policy learns apart. No host's name has a space."""


class Surplus:
    """Owns the policy's last decision, and what was available when it was made."""

    def __init__(
        self,
        settings: LenderSettings,
        ledger: Ledger,
        reports: LocalReports,
        policy: Policy,
        share_bytes: int | None,
    ) -> None:
        """`share_bytes` is this host's part of a machine that others use, too; None: it has the whole machine."""
        self._settings = settings
        self._ledger = ledger
        self._reports = reports
        self._guests = reports.guests
        self._policy = policy
        self._share_bytes = share_bytes
        self._decision = NOTHING_DECIDED
        self._decided = False
        self._used_last: dict[str, float] = {}
        """What each guest that is named by hand used, by its last believable report."""
        self._available_bytes = self._own_bytes = 0
        self._made_bytes = 0
        """What exports held when the available memory was looked at: of those since, it shows nothing yet."""

    @property
    def committed_bytes(self) -> int:
        """What the owner set aside for good."""
        return self._settings.committed_bytes

    def decide(self, memory: Memory, wall_s: float) -> None:
        """Have the policy decide on what was just sampled."""
        self.measure(memory)
        parts = self._parts(memory, wall_s)
        alone = self._policy.decide(self._sample_alone(memory, wall_s, parts)) if parts.guests else NOTHING_DECIDED
        decided = self._policy.decide(self._sample(memory, wall_s, parts))
        self._decision = max(decided, alone, key=lambda decision: decision.lendable_bytes)
        self._decided = True
        # At one moment: what a balloon or an export took since, the host's figures do not show yet.
        self._own_bytes = self._physical_bytes() - self._guests.ballooned_bytes + self._ledger.lent_bytes()

    def hold(self, why: str) -> None:
        """Have nothing more lent and what is lent left alone: nobody tells how much memory there is."""
        self._decision = Decision(self._ledger.lent_bytes(), f"nothing more is lent: {why}")

    @property
    def outdated(self) -> bool:
        """Whether memory has come back since the available memory was looked at."""
        return self._ledger.made_bytes < self._made_bytes

    def measure(self, memory: Memory) -> None:
        """Take note of what is available, without deciding anew."""
        self._available_bytes, self._made_bytes = memory.available_bytes, self._ledger.made_bytes

    def limits(self) -> Limits | None:
        """Return what bounds the offer, None while it is not known what is lent and who runs here."""
        if not self._ledger.ready or not self._guests.seen:
            return None
        return Limits(
            decided_bytes=self._decision.lendable_bytes,
            decided_reason=self._decision.reason,
            available_bytes=self._physical_bytes() - self._guests.owed_bytes,
            reserve_bytes=self._settings.reserve_bytes,
            lent_bytes=self._ledger.lent_bytes(),
            lent_committed_bytes=self._ledger.lent_bytes(committed=True),
            committed_bytes=self._settings.committed_bytes,
            limit_bytes=self._settings.limit_bytes,
            draining=self._ledger.draining,
            borrowing=self._reports.borrowing,
            left_alone={**self._guests.left_alone, **unknown(self._settings.guests, self._guests.names)},
            misplaced=self._ledger.misplaced,
        )

    def balance(self, now_s: float, wall_s: float) -> list[str]:
        """Bring balloons in line with what is to be lent; return sentences about those that failed.

        What is lent must be there until it is back, so balloons hold it, whatever the policy says now. Only a guest in
        need gets its memory before, as far as the host's reserve goes: it would swap. Without a hypervisor there are
        no balloons.
        """
        if not self._ledger.ready or not self._decided:
            return []
        settings, lent_bytes = self._settings, self._ledger.lent_bytes()
        decided = max(self._decision.lendable_bytes, settings.committed_bytes)
        if settings.limit_bytes is not None:
            decided = min(decided, settings.limit_bytes)
        if self._ledger.draining or self._reports.borrowing:
            decided = 0
        own_bytes = self._own_bytes - lent_bytes
        wanted = wanted_bytes(max(decided, lent_bytes), own_bytes, settings.reserve_bytes, lent_bytes)
        # What balloons hold and nobody has borrowed can always go back, even on a host that promised more than it has.
        spare_bytes = max(self._physical_bytes(), self._guests.ballooned_bytes - lent_bytes)
        return self._guests.balance(tuple(self._reports.said), wanted, now_s, wall_s, spare_bytes)

    def _physical_bytes(self) -> int:
        """What this host could hand out now: not what its guests have been given and have not touched yet."""
        guests, share = self._guests, self._share_bytes
        available = self._available_bytes - guests.untouched_bytes - (self._ledger.lent_bytes() - self._made_bytes)
        if share is not None and guests.known:
            given = sum(guest.actual_bytes for guest in guests.known)
            available = min(available, share - given - self._ledger.lent_bytes())
        return max(0, available)

    def _parts(self, memory: Memory, wall_s: float) -> Parts:
        """What belongs to no guest is the host's own; what is lent is not counted as used, or it would count twice."""
        share, said = self._share_bytes, tuple(self._reports.said)
        seen = {guest.name for guest in self._guests.known}
        believed = [guest for guest in self._guests.believed(said) if guest.guest in seen]
        total, sizes = memory.total_bytes if share is None else share, self._settings.guests
        self._used_last |= believable(said, sizes, wall_s)
        return divide(total, self._used_bytes(memory), believed, said, sizes, wall_s, self._used_last)

    def _used_bytes(self, memory: Memory) -> int:
        """What is in use beside exports and what guests hold by the hypervisor's word; nobody else's claim counts."""
        if self._share_bytes is not None:
            return 0
        return max(0, memory.used_bytes - self._ledger.lent_bytes() - self._guests.resident_bytes)

    def _sample(self, memory: Memory, wall_s: float, parts: Parts) -> HostSample:
        whole = self._share_bytes is None  # else pressure is that of others on this machine, too
        return HostSample(
            host=self._ledger.host,
            at_s=wall_s,
            capacity_bytes=parts.capacity_bytes,
            used_bytes=parts.used_bytes,
            guests=parts.guests,
            expected_guests=frozenset(guest.guest for guest in parts.guests),
            swap_in_bytes_s=memory.swap_in_bytes_s if whole else 0.0,
            psi_some=memory.psi_some_avg10 if whole else None,
            refault_pages_s=memory.refaults_s if whole else None,
        )

    def _sample_alone(self, memory: Memory, wall_s: float, parts: Parts) -> HostSample:
        """The host as if its guests used all that they have: what is lent of that, no claim of a guest can take away.

        A guest that plays its use or its pressure up holds what guests could spare, and no more; nor does the policy
        learn from it here.
        """
        used = min(parts.capacity_bytes, self._used_bytes(memory))
        own = replace(parts, used_bytes=used, guests=())
        return replace(self._sample(memory, wall_s, own), host=f"{self._ledger.host}{ALONE}")
