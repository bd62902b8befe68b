"""What the manager asks of the retained topics: who may be asked, who lends, who borrows, what is abandoned. No I/O.

The manager owns nothing. This is a cache of what lenders and borrowers say of themselves, and may be thrown away at any
time. Everybody is believed of himself only.
"""

import logging

from ramshare.bus.api import StateArrived
from ramshare.messages.names import target_of
from ramshare.messages.state import Export, Lease, LeasePhase, Offer
from ramshare.retained import ClientState, Retained
from ramshare.topics import name

log = logging.getLogger(__name__)

SHOWN_WITHIN_S = 60.0
"""A lender shows a lease before it grants it; one that has lost its connection meanwhile does so within a heartbeat."""


class Cluster(Retained):
    """Every agent's newest words, the leases that this manager granted, and the manager's questions about them."""

    def __init__(self) -> None:
        super().__init__()
        self._granted: dict[tuple[str, str], tuple[str, float]] = {}
        """Lender and lease to borrower, and since when; for as long as the lender shows the lease."""

    def grant(self, lender: str, lease: str, borrower: str, now_s: float) -> None:
        """Note a lease that this manager granted: its lender is believed who has it."""
        self._granted[lender, lease] = (borrower, now_s)

    def forget_grants(self, now_s: float) -> None:
        """Forget the leases that their lenders do not show, or show no more."""
        for (lender, lease), (_, since_s) in list(self._granted.items()):
            if self.get(lender, f"export/{lease}", Export) is None and now_s - since_s > SHOWN_WITHIN_S:
                del self._granted[lender, lease]

    def vouched(self, lender: str, export: Export) -> bool:
        """Whether more than its lender's word says who has a lease: the borrower's own, or that we granted it."""
        own = self.get(export.borrower, f"lease/{export.lease}", Lease)
        granted, _ = self._granted.get((lender, export.lease), ("", 0.0))
        return granted == export.borrower or (own is not None and own.lender == lender)

    def take(self, arrived: StateArrived, said_s: float) -> None:
        """Fold in one retained topic, unless it contradicts its own name."""
        if _plausible(arrived):
            super().take(arrived, said_s)
        else:
            log.warning("ignored: state/%s/%s speaks of something else", arrived.client, arrived.path)

    def lenders(self) -> list[ClientState]:
        """Return the lenders, by name."""
        return self._of("lender")

    def borrowers(self) -> list[ClientState]:
        """Return the borrowers, by name."""
        return self._of("borrower")

    def usable(self, view: ClientState, now_s: float) -> bool:
        """Whether an agent may be asked now: online, heard by this manager, and not long ago."""
        return view.online and view.fresh and not view.stale(now_s)

    def portal_of(self, lender: str) -> str | None:
        """Return where a lender says that it serves, by its newest offer."""
        view = self.by_client.get(lender)
        offer = offer_of(view) if view else None
        return offer.portal if offer else None

    def unheard(self) -> list[str]:
        """Return the lenders and borrowers that are online by their retained status but have not spoken to us yet."""
        return [view.client for view in (*self.borrowers(), *self.lenders()) if view.online and not view.fresh]

    def exports(self) -> list[tuple[ClientState, Export]]:
        """Return every export of every lender."""
        return [(view, export) for view in self.lenders() for export in view.of_kind(Export)]

    def abandoned(self, export: Export, now_s: float) -> bool:
        """Whether an export has no session and none is to come: it never had one, or its borrower does not know it."""
        if export.connected:
            return False
        borrower = self.by_client.get(export.borrower)
        if export.phase is LeasePhase.EXPORTED or borrower is None:
            return export.phase is LeasePhase.EXPORTED
        return self.usable(borrower, now_s) and f"lease/{export.lease}" not in borrower.messages

    def borrowing_hosts(self) -> set[str]:
        """Return the hosts whose own swap is remote, by their own word or our grant; they must not lend (deadlock).

        No lender can say so of another host.
        """
        own = {name(view.client) for view in self.borrowers() if any(True for _ in view.of_kind(Lease))}
        return own | {name(export.borrower) for view, export in self.exports() if self.vouched(view.client, export)}

    def held_by(self, borrower: str) -> dict[tuple[str, str], int]:
        """Return lender and lease to bytes of what a borrower has: by its own word, and by our grants."""
        own = self.by_client.get(borrower)
        said = {(lease.lender, lease.lease): lease.size_bytes for lease in own.of_kind(Lease)} if own else {}
        return said | {
            (view.client, export.lease): export.size_bytes
            for view, export in self.exports()
            if export.borrower == borrower and self.vouched(view.client, export)
        }

    def lending_hosts(self) -> set[str]:
        """Return the hosts that have memory lent out; they must not borrow."""
        return {name(view.client) for view in self.lenders() if any(True for _ in view.of_kind(Export))}

    def _of(self, wanted: str) -> list[ClientState]:
        return [self.by_client[client] for client in self.clients(wanted)]


def _plausible(arrived: StateArrived) -> bool:
    """Whether a message speaks of the lease that its topic names, and a lender of nothing but its own host."""
    message, author = arrived.message, name(arrived.client)
    if isinstance(message, Export | Lease) and not arrived.path.endswith(f"/{message.lease}"):
        return False
    if isinstance(message, Export) and message.target != target_of(author, message.lease):
        return False
    return not isinstance(message, Export | Offer) or message.host == author


def offer_of(view: ClientState) -> Offer | None:
    """Return the offer of the run that is online now; one that an earlier run left behind is nobody's word any more."""
    found, status = view.messages.get("offer"), view.messages.get("status")
    current = status is not None and found is not None and found.instance == status.instance
    return found if isinstance(found, Offer) and current else None
