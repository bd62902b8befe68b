"""What the manager asks of the retained topics: who may be asked, who lends, who borrows, what is abandoned. No I/O.

The manager owns nothing. This is a cache of what lenders and borrowers say of themselves, and may be thrown away at any
time.
"""

import logging

from ramshare.bus.api import StateArrived
from ramshare.messages.state import Export, Lease, LeasePhase, Offer
from ramshare.retained import ClientState, Retained
from ramshare.topics import name

log = logging.getLogger(__name__)


class Cluster(Retained):
    """Every agent's newest words, and the manager's questions about them."""

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
        """Return the hosts whose own swap is remote, by their or their lenders' word; they must not lend (deadlock)."""
        own = {name(view.client) for view in self.borrowers() if any(True for _ in view.of_kind(Lease))}
        return own | {name(export.borrower) for _, export in self.exports()}

    def lending_hosts(self) -> set[str]:
        """Return the hosts that have memory lent out; they must not borrow."""
        return {name(view.client) for view in self.lenders() if any(True for _ in view.of_kind(Export))}

    def _of(self, wanted: str) -> list[ClientState]:
        return [self.by_client[client] for client in self.clients(wanted)]


def _plausible(arrived: StateArrived) -> bool:
    """Whether a message speaks of the lease that its topic names; its author may be anyone with an account."""
    message = arrived.message
    return not isinstance(message, Export | Lease) or arrived.path.endswith(f"/{message.lease}")


def offer_of(view: ClientState) -> Offer | None:
    """Return the offer of the run that is online now; one that an earlier run left behind is nobody's word any more."""
    found, status = view.messages.get("offer"), view.messages.get("status")
    current = status is not None and found is not None and found.instance == status.instance
    return found if isinstance(found, Offer) and current else None
