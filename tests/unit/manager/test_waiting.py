"""The line of those who wait for memory, held to an obvious model, and its few rules one by one."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ramshare.bus.api import RequestArrived
from ramshare.manager.loans import Loan
from ramshare.manager.waiting import CLAIM_S, HOLD_S, IN_ALL, KEEP_S, PER_BORROWER, Line, Ticket
from ramshare.messages.requests import BorrowMemory
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

MIB = 1 << 20


def a_loan(borrower: str, number: int, mib: int = 1, mode: Mode = Mode.MIRROR) -> Loan:
    need = BorrowMemory(
        request_id=f"request-{number}",
        volume="vg0/swap",
        size_bytes=mib * MIB,
        mode=mode,
        initiator="iqn.x:b",
        wait_s=60,
    )
    return Loan(RequestArrived(f"borrower.{borrower}", "borrow", need, b""))


def names(line: Line) -> list[str]:
    return [ticket.loan.need.request_id.removeprefix("request-") for ticket in line.in_order()]


# ---- the rules


def test_a_borrowers_second_request_waits_behind_everybodys_first() -> None:
    line = Line()
    for number, borrower in enumerate("aaabc"):
        line.join(a_loan(borrower, number), float(number), 60.0)
    assert names(line) == ["0", "3", "4", "1", "2"]


def test_who_was_served_last_is_next_last() -> None:
    line = Line()
    for number, borrower in enumerate("aabb"):
        line.join(a_loan(borrower, number), float(number), 60.0)
    line.served("borrower.a", 10.0)
    assert names(line) == ["2", "0", "3", "1"]


def test_a_large_request_has_a_claim_for_a_while_and_then_the_others_go_on() -> None:
    line = Line()
    line.join(a_loan("a", 0, mib=100), 0.0, 600.0)
    small = line.join(a_loan("b", 1), 1.0, 600.0)
    tried: list[Ticket] = []

    def take(ticket: Ticket) -> bool:
        tried.append(ticket)
        return ticket is small

    line.serve(2.0, take)
    assert small not in tried
    assert line.before(a_loan("c", 2), 2.0) == 2
    line.serve(2.0 + CLAIM_S, take)
    assert tried[-1] is small
    assert names(line)[0] == "0"  # it keeps its place


def test_a_move_and_a_mirror_do_not_wait_for_each_other() -> None:
    line = Line()
    line.join(a_loan("a", 0, mode=Mode.MOVE), 0.0, 600.0)
    mirror = line.join(a_loan("b", 1), 1.0, 600.0)
    line.serve(2.0, lambda ticket: ticket is mirror)
    assert line.before(a_loan("c", 2, mode=Mode.MOVE), 3.0) == 1
    assert line.before(a_loan("c", 2, mode=Mode.PAIR), 3.0) == 1
    line.leave(mirror)
    assert line.before(a_loan("c", 2), 3.0) == 0


def test_the_line_is_bounded_for_each_borrower_and_in_all() -> None:
    line = Line()
    for number in range(PER_BORROWER):
        assert line.full_for("borrower.a") == ""
        line.join(a_loan("a", number), 0.0, 60.0)
    assert "8 requests of borrower.a wait" in line.full_for("borrower.a")
    for number in range(PER_BORROWER, IN_ALL):
        assert line.full_for("borrower.new") == ""
        line.join(a_loan(f"b{number}", number), 0.0, 60.0)
    assert f"{IN_ALL} requests wait" in line.full_for("borrower.new")


def test_who_does_not_ask_again_loses_its_place() -> None:
    line = Line()
    ticket = line.join(a_loan("a", 0), 0.0, 600.0)
    assert line.to_answer(0.0) == [ticket]
    ticket.held = False
    assert line.silent(HOLD_S + KEEP_S - 0.1) == []
    assert line.silent(HOLD_S + KEEP_S) == [ticket]


# ---- the obvious model


@dataclass
class Waiting:
    number: int
    borrower: str
    committed: bool
    mib: int
    joined_s: float
    next_since_s: float | None = None


class LineIsFair(RuleBasedStateMachine):
    """Joins, departures, time and memory in any order; the model looks at everybody for every question."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.tickets: dict[int, Ticket] = {}
        self.model: list[Waiting] = []
        self.served_s: dict[str, float] = {}
        self.now_s = 0.0
        self.number = 0

    @rule(borrower=st.sampled_from("abcd"), committed=st.booleans(), mib=st.integers(1, 9), waited=st.integers(0, 20))
    def join(self, borrower: str, committed: bool, mib: int, waited: int) -> None:
        of = sum(waiting.borrower == borrower for waiting in self.model)
        assert bool(self.line.full_for(f"borrower.{borrower}")) == (of >= PER_BORROWER)
        if of < PER_BORROWER:
            self.number += 1
            loan = a_loan(borrower, self.number, mib, Mode.MOVE if committed else Mode.MIRROR)
            self.tickets[self.number] = self.line.join(loan, self.now_s, 1e6, waited)
            self.model.append(Waiting(self.number, borrower, committed, mib, self.now_s - waited))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.model))
        self.line.leave(self.tickets.pop(gone.number))
        self._forget(gone)

    @rule(seconds=st.sampled_from([0.5, 7.0, CLAIM_S, 3 * CLAIM_S]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(free=st.integers(0, 12), committed=st.integers(0, 12))
    def memory_comes(self, free: int, committed: int) -> None:
        left = {False: free, True: committed}
        got: list[int] = []

        def take(ticket: Ticket) -> bool:
            mib = ticket.loan.need.size_bytes // MIB
            if left[ticket.lane] < mib:
                return False
            left[ticket.lane] -= mib
            got.append(int(ticket.loan.need.request_id.removeprefix("request-")))
            return True

        self.line.serve(self.now_s, take)
        assert got == self._served_by_the_book({False: free, True: committed})
        for number in got:
            ticket = self.tickets.pop(number)
            self.line.leave(ticket)
            self.line.served(ticket.loan.borrower, self.now_s)

    @invariant()
    def the_order_is_the_models(self) -> None:
        assert [int(n) for n in names(self.line)] == [waiting.number for waiting in self._in_order()]

    def _served_by_the_book(self, left: dict[bool, int]) -> list[int]:
        got: list[Waiting] = []
        for committed in (False, True):
            for waiting in [w for w in self._in_order() if w.committed == committed]:
                if waiting.mib <= left[committed]:
                    left[committed] -= waiting.mib
                    got.append(waiting)
                    continue
                waiting.next_since_s = self.now_s if waiting.next_since_s is None else waiting.next_since_s
                if self.now_s - waiting.next_since_s < CLAIM_S:
                    break
        order = self._in_order()
        got.sort(key=order.index)
        for waiting in got:
            self._forget(waiting)
            if self.model:
                self.served_s[waiting.borrower] = self.now_s
        return [waiting.number for waiting in got]

    def _in_order(self) -> list[Waiting]:
        """Ask again and again: of all borrowers' oldest, who had the fewest turns, and was served longest ago?"""
        left, order = list(self.model), list[Waiting]()
        while left:
            oldest = [
                min((w for w in left if w.borrower == borrower), key=lambda w: (w.joined_s, w.number))
                for borrower in sorted({w.borrower for w in left})
            ]
            turns = {w.borrower: sum(o.borrower == w.borrower for o in order) for w in oldest}
            least = min(turns.values())
            chosen = min(
                (w for w in oldest if turns[w.borrower] == least),
                key=lambda w: (self.served_s.get(w.borrower, -1.0), w.joined_s, w.number),
            )
            order.append(chosen)
            left.remove(chosen)
        return order

    def _forget(self, gone: Waiting) -> None:
        self.model.remove(gone)
        if not self.model:
            self.served_s.clear()


LineIsFair.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTheLineIsFair = LineIsFair.TestCase
