"""What loans that are being made hold of whom, by lender and by borrower. Pure; used by the manager's lending."""

from collections import Counter
from collections.abc import Collection

from ramshare.manager.loans import Loan
from ramshare.manager.placement import Share
from ramshare.messages.state import is_committed
from ramshare.topics import name

Pledge = tuple[str, int, bool]
"""Lease, bytes and whether it is committed memory, of what a lender is being asked for, or has granted."""


class Pledges:
    """The loans that are being made, and what each question about them needs; no question looks at all of them."""

    def __init__(self) -> None:
        self._loans: dict[Loan, None] = {}
        self._by_lender: dict[str, dict[str, Pledge]] = {}
        self._borrowing: Counter[str] = Counter()

    def __contains__(self, loan: object) -> bool:
        return loan in self._loans

    @property
    def loans(self) -> list[Loan]:
        """Return the loans, oldest first."""
        return list(self._loans)

    def begin(self, loan: Loan) -> None:
        """Count a loan, and its borrower's host as one that borrows."""
        self._loans[loan] = None
        self._borrowing[name(loan.borrower)] += 1

    def end(self, loan: Loan) -> None:
        """Count a loan no more, nor what it holds."""
        del self._loans[loan]
        self._borrowing[name(loan.borrower)] -= 1
        for lease, share in loan.held().items():
            self.drop(share.lender, lease)

    def add(self, loan: Loan, lease: str, share: Share) -> None:
        """A lender is being asked for a lease."""
        committed = is_committed(loan.need.mode, share.leg)
        self._by_lender.setdefault(share.lender, {})[lease] = (lease, share.size_bytes, committed)

    def drop(self, lender: str, lease: str) -> None:
        """A lender did not grant a lease."""
        held = self._by_lender.get(lender, {})
        held.pop(lease, None)
        if not held:
            self._by_lender.pop(lender, None)

    def lenders(self) -> list[str]:
        """Return who has pledged something."""
        return list(self._by_lender)

    def of(self, lender: str) -> Collection[Pledge]:
        """Return what a lender has pledged."""
        return self._by_lender.get(lender, {}).values()

    def leases(self) -> set[str]:
        """Return every lease that is pledged."""
        return {lease for held in self._by_lender.values() for lease in held}

    def lends(self, lender: str) -> bool:
        """Whether a lender has pledged something."""
        return lender in self._by_lender

    def borrows(self, host: str) -> bool:
        """Whether a loan is being made for this host."""
        return self._borrowing[host] > 0

    def of_borrower(self, borrower: str) -> list[Loan]:
        """Return the loans that are being made for a borrower."""
        return [loan for loan in self._loans if loan.borrower == borrower] if self.borrows(name(borrower)) else []
