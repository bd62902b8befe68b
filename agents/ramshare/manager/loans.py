"""A borrow request while its leases are being made. Pure; the manager drives it."""

import hashlib
from dataclasses import dataclass, field

from ramshare.bus.api import RequestArrived
from ramshare.manager.placement import Need, Share
from ramshare.messages.base import LEAST_LEASE_BYTES
from ramshare.messages.replies import Grant
from ramshare.messages.requests import BorrowMemory
from ramshare.messages.state import Mode, is_committed
from ramshare.topics import name


@dataclass(eq=False)
class Loan:
    """What was asked for, what lenders have granted, what they are being asked for, and who refused."""

    arrived: RequestArrived[BorrowMemory]
    least_lease_bytes: int = LEAST_LEASE_BYTES
    since_s: float = 0.0
    """When it was asked for."""
    begun: bool = False
    counter: int = 0
    reason: str = ""
    grants: dict[str, Grant] = field(default_factory=dict)
    waiting: dict[str, Share] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    confirming: set[str] = field(default_factory=set)
    """Lenders that are asked whether they are there, before anything is asked of them."""

    @property
    def need(self) -> BorrowMemory:
        """What was asked for."""
        return self.arrived.request

    @property
    def borrower(self) -> str:
        """The client that asked."""
        return self.arrived.client

    @property
    def prefix(self) -> str:
        """First part of the leases' ids. It follows from the request, so that a successor knows them again."""
        return "l" + hashlib.sha256(f"{self.borrower}/{self.need.request_id}".encode()).hexdigest()[:10] + "-"

    def new_lease(self) -> str:
        """Return an id that this loan has not used."""
        self.counter += 1
        return f"{self.prefix}{self.counter}"

    def recognise(self, lease: str) -> bool:
        """Return whether an earlier manager made this lease for the same request; its number is not used again."""
        number = lease.removeprefix(self.prefix)
        if number == lease or not number.isdecimal() or len(number) > 4:
            return False
        self.counter = max(self.counter, int(number))
        return True

    def held(self) -> dict[str, Share]:
        """Return lease to share: what is granted and what is being asked for."""
        granted = {lease: Share(g.lender, g.size_bytes, g.leg) for lease, g in self.grants.items()}
        return granted | self.waiting

    def lenders(self) -> set[str]:
        """Return who lends to this loan, or is being asked to."""
        return {share.lender for share in self.held().values()}

    @property
    def wants_pair(self) -> bool:
        """Whether both legs of a pair are asked for."""
        return self.need.mode is Mode.PAIR and not self.need.leg

    @property
    def wants_committed(self) -> bool:
        """Whether only memory that its owner set aside for good may back it, or one leg of it."""
        return self.wants_pair or is_committed(self.need.mode, self.need.leg)

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is granted or being asked for."""
        return all(self.missing(leg).size_bytes <= 0 for leg in self.asked_legs)

    @property
    def asked_legs(self) -> tuple[int, ...]:
        """The legs that are asked for; 0 stands for a volume without any."""
        return (1, 2) if self.wants_pair else (self.need.leg,)

    def missing(self, leg: int = 0) -> Need:
        """Return what is still to be found, of a pair for one leg; the size is zero or less if nothing is."""
        need, held = self.need, [share for share in self.held().values() if share.leg == leg]
        payload_bytes = sum(share.size_bytes for share in held) - len(held) * need.overhead_bytes
        wanted = -(-need.min_lenders // 2) if self.wants_pair else need.min_lenders
        spread = max(1, wanted - len({share.lender for share in held}))
        return Need(need.size_bytes - payload_bytes, self.grain_bytes, need.overhead_bytes, spread, need.at_most)

    @property
    def grain_bytes(self) -> int:
        """What leases are multiples of: the borrower's extents, as many as make the smallest lease."""
        grain_bytes = self.need.grain_bytes
        return -(-self.least_lease_bytes // grain_bytes) * grain_bytes

    def may_be_ours(self, size_bytes: int, leg: int = 0) -> bool:
        """Whether a lease of this size can be one that an earlier manager had made for this request."""
        if leg not in self.asked_legs:
            return False
        payload_bytes, missing = size_bytes - self.need.overhead_bytes, self.missing(leg)
        fits = 0 < payload_bytes < missing.size_bytes + missing.grain_bytes
        return fits and payload_bytes % missing.grain_bytes == 0

    def legs(self) -> dict[str, int]:
        """Return lender to the leg of a pair that it holds already."""
        return {share.lender: share.leg for share in self.held().values()}

    def start_over(self) -> None:
        """Forget what came of asking lenders; ids of leases are not used again."""
        self.begun, self.reason = False, ""
        self.grants, self.waiting, self.refused, self.confirming = {}, {}, {}, set()

    def shunned(self) -> set[str]:
        """Return the lenders not to ask: excluded, refusing, on the borrower's own host, or in the spread already."""
        unwanted = {*self.need.exclude, *self.refused, f"lender.{name(self.borrower)}"}
        return unwanted | (self.lenders() if self.need.min_lenders > len(self.lenders()) else set())
