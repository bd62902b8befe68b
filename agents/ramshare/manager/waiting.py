"""The line of requests that the cluster could not serve at once: who is next, and until when each stands. Pure.

A request is kept alive by its borrower, which asks again whenever it hears `waiting`: so the line is nowhere written
down, a dead borrower's requests leave it by themselves, and a manager that has just started has everybody in line again
within seconds.

Next is the oldest request of the borrower that was served longest ago; a borrower's second request comes after every
other borrower's first. Whoever is next has a claim to what memory comes for `CLAIM_S`, so that small requests do not
eat away for ever what a large one waits for; after that those behind it are served with what does not suffice for it,
and it keeps its place. What only committed memory may back (a move, a pair) stands in a line of its own, for the other
kind of memory is of no use to it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from ramshare.manager.loans import Loan

HOLD_S = 5.0
"""A request that waits is answered `waiting` after so long, and its borrower asks again: each learns that the other
lives, well within the time that a request may take."""
KEEP_S = 15.0
"""The place of a borrower that does not ask again is kept so long; a broker that restarts takes less."""
CLAIM_S = 60.0
"""How long whoever is next is waited for. Lenders decide every few seconds, and a volume comes home within a minute."""
RETRY_S = 15.0
"""After lenders refused what they had offered, they are left alone so long by the same request."""
PER_BORROWER = 8
IN_ALL = 256
"""Requests that may wait. A pass over the line costs a placement for each, about 0.1 ms."""


@dataclass(eq=False)
class Ticket:
    """One request's place in line."""

    loan: Loan
    joined_s: float
    number: int
    until_s: float
    asked_s: float
    """When its borrower asked last."""
    answer_at_s: float
    """When it is to hear that it still waits: the first time at once."""
    held: bool = True
    """Its borrower waits for an answer at this moment."""
    trying: bool = False
    """Lenders are being asked for it."""
    reason: str = ""
    """Why it is not served."""
    not_before_s: float = 0.0
    claim_since_s: float | None = None
    """Since when it has been next, and was not served."""

    @property
    def lane(self) -> bool:
        """Which of the two lines it stands in: that for committed memory?"""
        return self.loan.wants_committed


class Line:
    """Those who wait, in the order in which they are served."""

    def __init__(self) -> None:
        self._tickets: dict[tuple[str, str], Ticket] = {}
        """By borrower and request."""
        self._of: Counter[str] = Counter()
        self._served_s: dict[str, float] = {}
        """When each borrower was served last, for as long as anybody waits."""
        self._number = 0

    def __len__(self) -> int:
        return len(self._tickets)

    def find(self, borrower: str, request_id: str) -> Ticket | None:
        """Return the place of a request, if it waits."""
        return self._tickets.get((borrower, request_id))

    def full_for(self, borrower: str) -> str:
        """Return why no more requests of `borrower` may wait, empty if one may."""
        if self._of[borrower] >= PER_BORROWER:
            return f"{PER_BORROWER} requests of {borrower} wait already, the most that may"
        return f"{IN_ALL} requests wait already, the most that may" if len(self) >= IN_ALL else ""

    def join(self, loan: Loan, now_s: float, wait_s: float, waited_s: float = 0.0) -> Ticket:
        """Put a request in line for at most `wait_s`; one that has `waited_s` before goes before those that came since.

        The caller has asked `full_for`.
        """
        self._number += 1
        ticket = Ticket(loan, now_s - waited_s, self._number, now_s + wait_s, now_s, now_s)
        self._tickets[_key(loan)] = ticket
        self._of[loan.borrower] += 1
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Take a request out of the line."""
        if self._tickets.pop(_key(ticket.loan), None) is not None:
            self._of[ticket.loan.borrower] -= 1
            if not self._of[ticket.loan.borrower]:
                del self._of[ticket.loan.borrower]
        if not self._tickets:
            self._served_s.clear()

    def served(self, borrower: str, now_s: float) -> None:
        """Note that a borrower got what it asked for, having waited or not: the others are next."""
        if self._tickets:
            self._served_s[borrower] = now_s

    def in_order(self) -> list[Ticket]:
        """Return those who wait, who is next first."""
        by_age: dict[str, list[Ticket]] = defaultdict(list)
        for ticket in sorted(self._tickets.values(), key=lambda t: (t.joined_s, t.number)):
            by_age[ticket.loan.borrower].append(ticket)
        ranked = [(rank, ticket) for tickets in by_age.values() for rank, ticket in enumerate(tickets)]
        never = float("-inf")
        return [
            ticket
            for _, ticket in sorted(
                ranked,
                key=lambda x: (x[0], self._served_s.get(x[1].loan.borrower, never), x[1].joined_s, x[1].number),
            )
        ]

    def place_of(self, ticket: Ticket) -> int:
        """Return 1 for who is next in its line, 2 for the one after."""
        return 1 + [other for other in self.in_order() if other.lane == ticket.lane].index(ticket)

    def before(self, loan: Loan, now_s: float) -> int:
        """Return how many wait before a request that comes now, 0 if none of them has a claim to what there is."""
        newcomer = self.join(loan, now_s, 0.0)
        try:
            order = [ticket for ticket in self.in_order() if ticket.lane == newcomer.lane]
        finally:
            self.leave(newcomer)
        ahead = order[: order.index(newcomer)]
        return len(ahead) if any(_claims(ticket, now_s) for ticket in ahead) else 0

    def serve(self, now_s: float, take: Callable[[Ticket], bool]) -> None:
        """Have `take` try to serve each whose turn it is, in order; it says whether there was memory for it."""
        closed: set[bool] = set()
        for ticket in self.in_order():
            if ticket.lane in closed or ticket.trying or take(ticket):
                continue
            if ticket.claim_since_s is None:
                ticket.claim_since_s = now_s
            if _claims(ticket, now_s):
                closed.add(ticket.lane)

    def over(self, now_s: float) -> list[Ticket]:
        """Return those whose time is over."""
        return [t for t in self._tickets.values() if now_s >= t.until_s and not t.trying]

    def to_answer(self, now_s: float) -> list[Ticket]:
        """Return those whose borrowers are to hear that they still wait."""
        return [t for t in self._tickets.values() if t.held and not t.trying and now_s >= t.answer_at_s]

    def silent(self, now_s: float) -> list[Ticket]:
        """Return those whose borrowers have not asked again."""
        return [t for t in self._tickets.values() if not t.held and now_s - t.asked_s >= HOLD_S + KEEP_S]


def _claims(ticket: Ticket, now_s: float) -> bool:
    since_s = ticket.claim_since_s
    return not ticket.trying and since_s is not None and now_s - since_s < CLAIM_S


def _key(loan: Loan) -> tuple[str, str]:
    return loan.borrower, loan.need.request_id
