"""Which lenders may be asked for a loan, and how much each has left. Pure; used by the manager before it places."""

from collections.abc import Collection

from ramshare.manager.cluster import Cluster, offer_of
from ramshare.manager.loans import Loan
from ramshare.manager.placement import Candidate
from ramshare.messages.state import Export, Mode, Offer
from ramshare.retained import ClientState
from ramshare.topics import name


def candidates(cluster: Cluster, loan: Loan, loans: Collection[Loan], now_s: float) -> list[Candidate]:
    """Return the lenders that may be asked. A host whose own swap is or is about to be remote must not lend."""
    shunned = loan.shunned()
    borrowing = cluster.borrowing_hosts() | {name(other.borrower) for other in loans}
    return [
        Candidate(view.client, _free_bytes(view, offer, loan.need.mode, loans))
        for view in cluster.lenders()
        if cluster.usable(view, now_s)
        and view.client not in shunned
        and name(view.client) not in borrowing
        and (offer := offer_of(view)) is not None
        and offer.exportable
    ]


def lending_hosts(cluster: Cluster, loans: Collection[Loan]) -> set[str]:
    """Return the hosts that lend memory, or are about to; they must not borrow."""
    return cluster.lending_hosts() | {name(lender) for loan in loans for lender in loan.lenders()}


def _free_bytes(view: ClientState, offer: Offer, mode: Mode, loans: Collection[Loan]) -> int:
    """What a lender has left in this mode: its last word, less what was lent or asked for since."""
    exports = {export.lease: export for export in view.of_kind(Export)}
    taken = [(export.size_bytes, export.mode) for export in exports.values()]
    for loan in loans:
        held = [share for lease, share in loan.held().items() if lease not in exports]
        taken += [(share.size_bytes, loan.need.mode) for share in held if share.lender == view.client]
    free = min(offer.free_bytes, offer.capacity_bytes - sum(size for size, _ in taken))
    if mode is Mode.MOVE:
        moved_bytes = sum(size for size, of_mode in taken if of_mode is Mode.MOVE)
        free = min(free, offer.committed_free_bytes, offer.committed_bytes - moved_bytes)
    return max(0, free)
