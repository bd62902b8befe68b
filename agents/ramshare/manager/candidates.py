"""Which lenders may be asked for a loan, and how much each has left. Pure; used by the manager before it places.

Lenders are kept in the order in which they are chosen, so that a request looks at the first few only.
"""

from collections.abc import Collection, Iterable, Iterator

from sortedcontainers import SortedSet

from ramshare.manager.cluster import Cluster, offer_of
from ramshare.manager.loans import Loan
from ramshare.manager.placement import MAX_LENDERS, Candidate
from ramshare.manager.pledges import Pledge, Pledges
from ramshare.messages.state import Export, Offer, is_committed
from ramshare.retained import ClientState
from ramshare.topics import name


class Ranking:
    """The lenders that may be asked, most free memory first: of committed memory, and of any."""

    def __init__(self) -> None:
        self._free: dict[str, dict[bool, int]] = {}
        self._ranked: dict[bool, SortedSet] = {committed: SortedSet() for committed in (False, True)}

    def update(self, cluster: Cluster, lender: str, now_s: float) -> None:
        """Rank a lender anew, or no more. A host whose own swap is remote must not lend."""
        for committed, free_bytes in self._free.pop(lender, {}).items():
            self._ranked[committed].discard((-free_bytes, lender))
        view = cluster.by_client.get(lender)
        if view is not None and may_be_asked(cluster, view, now_s) and (offer := offer_of(view)) is not None:
            self._free[lender] = {
                committed: free_bytes_of(view, offer, (), committed=committed) for committed in (False, True)
            }
            for committed, free_bytes in self._free[lender].items():
                self._ranked[committed].add((-free_bytes, lender))

    def __contains__(self, lender: str) -> bool:
        return lender in self._free

    def in_order(self, *, committed: bool) -> Iterator[Candidate]:
        """Yield every lender, most free memory first."""
        return (Candidate(lender, -less_bytes) for less_bytes, lender in self._ranked[committed])


def may_be_asked(cluster: Cluster, view: ClientState, now_s: float) -> bool:
    """Whether a lender is there, offers something and does not borrow itself."""
    offer = offer_of(view)
    usable = cluster.usable(view, now_s) and offer is not None and offer.exportable
    return usable and not cluster.borrows(name(view.client))


def candidates(cluster: Cluster, ranking: Ranking, loan: Loan, pledges: Pledges, *, committed: bool) -> list[Candidate]:
    """Return the lenders that may be asked, as many as a placement looks at, and those that have pledged something.

    A host whose own swap is about to be remote must not lend.
    """
    shunned = loan.shunned()

    def wanted(lender: str) -> bool:
        return lender not in shunned and not pledges.borrows(name(lender))

    found = []
    for lender in pledges.lenders():
        view = cluster.by_client.get(lender)
        if lender in ranking and wanted(lender) and view is not None and (offer := offer_of(view)) is not None:
            found.append(Candidate(lender, free_bytes_of(view, offer, pledges.of(lender), committed=committed)))
    first = (c for c in ranking.in_order(committed=committed) if not pledges.lends(c.lender) and wanted(c.lender))
    return found + _at_most(first, MAX_LENDERS)


def _at_most(found: Iterable[Candidate], count: int) -> list[Candidate]:
    taken: list[Candidate] = []
    for candidate in found:
        if len(taken) == count or candidate.free_bytes == 0:
            break
        taken.append(candidate)
    return taken


def free_bytes_of(view: ClientState, offer: Offer, pledged: Collection[Pledge], *, committed: bool) -> int:
    """Return what a lender has left, committed or of any kind: its last word, less what was lent or asked for since."""
    exports = {export.lease: export for export in view.of_kind(Export)}
    taken = [(export.size_bytes, is_committed(export.mode, export.leg)) for export in exports.values()]
    taken += [(size_bytes, set_aside) for lease, size_bytes, set_aside in pledged if lease not in exports]
    free = min(offer.free_bytes, offer.capacity_bytes - sum(size for size, _ in taken))
    if committed:
        set_aside_bytes = sum(size for size, set_aside in taken if set_aside)
        free = min(free, offer.committed_free_bytes, offer.committed_bytes - set_aside_bytes)
    return max(0, free)
