"""What becomes of a request that the cluster cannot serve now: it waits in line (`waiting.py`), its borrower hears.

Used by the manager's lending, which says what can be served.
"""

from collections.abc import Callable

from ramshare.bus.api import RequestArrived
from ramshare.desk import Desk
from ramshare.loop import Loop
from ramshare.manager.loans import Loan
from ramshare.manager.waiting import HOLD_S, KEEP_S, RETRY_S, Line, Ticket
from ramshare.messages.replies import BorrowReply, ErrorCode, Reply
from ramshare.messages.requests import BorrowMemory

PASS_EVERY_S = 0.25
"""The line is gone through no more often, however much is heard; a long one less often yet."""
LONG_LINE = 32
"""256 that nobody can serve cost 66 ms a pass (measured, whatever the number of hosts), so 3 % of a core."""
REJOIN_S = HOLD_S + 2 * KEEP_S
"""So long after its start a manager believes how long requests have waited already: its predecessor knew their order.
Later nobody gets ahead by saying so."""


class Standing:
    """Owns the line; runs on the manager's loop."""

    def __init__(self, loop: Loop, desk: Desk) -> None:
        self._loop = loop
        self._desk = desk
        self._line = Line()
        self._next_pass_s = 0.0
        self._began_s: float | None = None

    def __len__(self) -> int:
        return len(self._line)

    def begin(self) -> None:
        """This manager makes loans: from now on who comes is served, or waits."""
        self._began_s = self._loop.clock()

    def give_up(self) -> list[Loan]:
        """Another manager makes loans: forget the line, and return those whose borrowers wait for an answer now.

        All ask again within seconds, and say how long they have waited.
        """
        tickets = self._line.in_order()
        for ticket in tickets:
            self._line.leave(ticket)
        return [ticket.loan for ticket in tickets if ticket.held]

    def comes_again(self, arrived: RequestArrived[BorrowMemory]) -> Loan | None:
        """Return the loan of a request that waits, which is asked for again; None if it does not wait."""
        ticket = self._line.find(arrived.client, arrived.request.request_id)
        if ticket is None:
            return None
        ticket.asked_s, ticket.held = self._loop.clock(), True
        ticket.answer_at_s = ticket.asked_s + HOLD_S
        ticket.until_s = min(ticket.until_s, ticket.asked_s + (arrived.request.wait_s or 0.0))
        ticket.loan.arrived = arrived
        return ticket.loan

    def turn_of_others(self, loan: Loan) -> str:
        """Return why a request that has just come is not served before those who wait, empty if it is its turn."""
        if loan.need.wait_s is None or self._line.find(loan.borrower, loan.need.request_id):
            return ""
        before = self._line.before(loan, self._loop.clock())
        return f"{before} request(s) wait for memory before this one" if before else ""

    def stand(self, loan: Loan, reason: str) -> str:
        """Let a request wait, or wait on after lenders refused; return why it may not, empty if it does."""
        now_s, need = self._loop.clock(), loan.need
        ticket = self._line.find(loan.borrower, need.request_id)
        if ticket is not None:
            ticket.trying, ticket.reason, ticket.not_before_s = False, reason, now_s + RETRY_S
            return ""
        if not need.wait_s:
            return reason
        if full := self._line.full_for(loan.borrower):
            return f"{reason}; it cannot wait: {full}"
        fresh = self._began_s is not None and now_s - self._began_s < REJOIN_S
        self._line.join(loan, now_s, need.wait_s, need.waited_s if fresh else 0.0).reason = reason
        return ""

    def ended(self, loan: Loan, reply: Reply) -> None:
        """Take note of an answer: whoever does not wait on has left the line."""
        if reply.error is ErrorCode.WAITING:
            return
        if reply.ok:
            self._line.served(loan.borrower, self._loop.clock())
        ticket = self._line.find(loan.borrower, loan.need.request_id)
        if ticket is not None:
            self._line.leave(ticket)

    def turn(self, can: Callable[[Loan], str], begin: Callable[[Loan], None]) -> None:
        """Serve whose turn it is and can be, and answer whose time is over.

        `can` says why a loan cannot be made now, empty if it can; `begin` makes it.
        """
        now_s = self._loop.clock()
        if not len(self._line) or now_s < self._next_pass_s:
            return
        self._next_pass_s = now_s + PASS_EVERY_S * (1 + len(self._line) / LONG_LINE)

        def take(ticket: Ticket) -> bool:
            if not ticket.held or now_s < ticket.not_before_s:
                return False
            if why_not := can(ticket.loan):
                ticket.reason = why_not
                return False
            ticket.trying = True
            with self._desk.serving(ticket.loan.arrived):
                begin(ticket.loan)
            return True

        self._line.serve(now_s, take)
        for ticket in self._line.over(now_s):
            self._line.leave(ticket)
            said = f"no memory came in the time given: {ticket.reason}"
            self._answer(ticket, ErrorCode.NO_CAPACITY, said)
        for ticket in self._line.silent(now_s):
            self._line.leave(ticket)
        for ticket in self._line.to_answer(now_s):
            place, of = self._line.place_of(ticket), len(self._line)
            self._answer(
                ticket, ErrorCode.WAITING, f"waits for memory, number {place} of {of} in line: {ticket.reason}"
            )

    def _answer(self, ticket: Ticket, code: ErrorCode, sentence: str) -> None:
        if ticket.held:
            ticket.held = False
            arrived = ticket.loan.arrived
            reply = BorrowReply(request_id=arrived.request.request_id, error=code, sentence=sentence)
            self._desk.settle(arrived, reply)
