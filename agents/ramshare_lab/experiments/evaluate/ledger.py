"""Who has lent what to whom in a simulated cluster, and what became of it. Pure."""

from dataclasses import dataclass, field

EARLY_S = 3600.0
"""A loan that its lender takes back within an hour was taken back early, as in `policies/score.py`."""


@dataclass
class Tally:
    """What happened so far."""

    loans: int = 0
    lent_bytes: float = 0.0
    revoked: int = 0
    revoked_bytes: float = 0.0
    early_bytes: float = 0.0
    by_lender_bytes: dict[str, float] = field(default_factory=dict)


@dataclass
class _Loan:
    lender: str
    borrower: str
    size_bytes: float
    since_s: float


class Ledger:
    """The loans that stand."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._by_lender: dict[str, list[_Loan]] = {}
        self._by_borrower: dict[str, list[_Loan]] = {}

    def lent_bytes(self, lender: str) -> float:
        """Return what a host has lent."""
        return sum(loan.size_bytes for loan in self._by_lender.get(lender, ()))

    def held_bytes(self, borrower: str) -> float:
        """Return what a host has borrowed."""
        return sum(loan.size_bytes for loan in self._by_borrower.get(borrower, ()))

    def lend(self, lender: str, borrower: str, size_bytes: float, at_s: float) -> None:
        """Note a new loan."""
        loan = _Loan(lender, borrower, size_bytes, at_s)
        self._by_lender.setdefault(lender, []).append(loan)
        self._by_borrower.setdefault(borrower, []).append(loan)
        self.tally.loans += 1
        self.tally.lent_bytes += size_bytes
        self.tally.by_lender_bytes[lender] = self.tally.by_lender_bytes.get(lender, 0.0) + size_bytes

    def revoke(self, lender: str, size_bytes: float, at_s: float) -> None:
        """Have a lender take back at least `size_bytes`, its newest loans first, each as a whole."""
        while size_bytes > 0 and (loans := self._by_lender.get(lender)):
            loan = loans[-1]
            self._end(loan)
            size_bytes -= loan.size_bytes
            self.tally.revoked += 1
            self.tally.revoked_bytes += loan.size_bytes
            if at_s - loan.since_s < EARLY_S:
                self.tally.early_bytes += loan.size_bytes

    def give_back(self, borrower: str, size_bytes: float) -> None:
        """Have a borrower return whole loans of up to `size_bytes` together, the oldest first."""
        for loan in list(self._by_borrower.get(borrower, ())):
            if loan.size_bytes <= size_bytes:
                size_bytes -= loan.size_bytes
                self._end(loan)

    def _end(self, loan: _Loan) -> None:
        self._by_lender[loan.lender].remove(loan)
        self._by_borrower[loan.borrower].remove(loan)
