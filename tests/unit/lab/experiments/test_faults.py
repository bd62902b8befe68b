"""The parts of the fault suite that judge, without a lab: books, gaps of a storm, choice of cases, rows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from ramshare.messages.state import Export, LeasePhase, Mode
from ramshare_lab.experiments.faults.case import FaultReport, FaultRow
from ramshare_lab.experiments.faults.command import fault_line, faults_table
from ramshare_lab.experiments.faults.ledger import Ledger
from ramshare_lab.experiments.faults.storm import Storm
from ramshare_lab.experiments.faults.suite import CASES, SHAPES, UnknownCaseError, select
from ramshare_lab.experiments.reclaim.results import series
from ramshare_lab.experiments.reclaim.scenario import ReclaimPlan
from ramshare_lab.load.thrash import Thrash

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def export(lease: str, size_bytes: int) -> Export:
    return Export(
        lease=lease,
        host="hosta",
        borrower="borrower.hostx",
        initiator="iqn.2024-01.org.ramshare:hostx",
        target=f"iqn.2026-11.io.ramshare:hosta.{lease}",
        portal="10.77.0.11:3260",
        size_bytes=size_bytes,
        mode=Mode.MIRROR,
        phase=LeasePhase.ATTACHED,
        connected=True,
        created_at=NOW,
        login_by=NOW + timedelta(seconds=60),
    )


def test_a_lender_that_lends_more_than_it_has_is_noticed() -> None:
    ledger = Ledger(limit_bytes=100)
    ledger.take([("lender.hosta", export("l1", 60)), ("lender.hosta", export("l2", 40))])
    assert not ledger.wrong
    ledger.take([("lender.hosta", export("l1", 60)), ("lender.hosta", export("l2", 41))])
    assert "lends 101 of 100 bytes" in ledger.wrong["lender.hosta"]


def test_what_an_old_broker_still_shows_of_a_returned_lease_is_not_lent() -> None:
    ledger = Ledger(limit_bytes=100, returned={"l1"})
    ledger.take([("lender.hosta", export("l1", 60)), ("lender.hosta", export("l2", 60))])
    assert not ledger.wrong


def test_a_lease_of_two_lenders_is_noticed() -> None:
    ledger = Ledger(limit_bytes=100)
    ledger.take([("lender.hosta", export("l1", 6)), ("lender.hostb", export("l1", 6))])
    assert "l1" in ledger.wrong


class Lines:
    """A thrash process that says what it is told to, line by line."""

    def __init__(self, lines: list[str]) -> None:
        self._lines: Iterator[str] = iter(lines)
        self.sent: list[str] = []

    def send_line(self, line: str) -> None:
        self.sent.append(line)

    def read_line(self, timeout_s: float) -> str | None:
        return next(self._lines, None)

    def close(self) -> None:
        pass


def progress(stall_s: float) -> str:
    return (
        '{"event":"progress","command":"storm","operations":1,"bytes":1,"seconds":1,"mb_s":1,"bad_pages":0,'
        f'"bad_pages_total":0,"sigbus":0,"stall_s":9,"interval_stall_s":{stall_s}}}'
    )


def test_a_stall_counts_between_fault_and_recovery_only_and_a_dead_process_is_told() -> None:
    ready = '{"event":"ready","size_bytes":4096,"locked":true}'
    storm = Storm(Thrash(Lines([ready, progress(0.5), progress(2.5)])))
    storm.start()
    with pytest.raises(Exception, match="thrash has ended"):
        storm.stop()
    assert storm.longest_stall_s(0.0, float("inf")) == 2.5
    assert storm.longest_stall_s(float("inf"), float("inf")) == 0.0


def test_cases_are_chosen_by_the_beginning_of_their_names() -> None:
    assert set(select([])) == set(CASES)
    labs = [case.lab for case in select([])]
    assert [lab for lab, after in zip(labs, [*labs[1:], ""], strict=True) if lab != after] == list(SHAPES)
    assert {case.name for case in select(["cut-3"])} == {"cut-3s", "cut-30s"}
    with pytest.raises(UnknownCaseError, match="nonsense"):
        select(["nonsense"])


def test_every_case_has_a_name_of_its_own_and_a_lab_that_exists() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        assert SHAPES[case.lab]("x").name == "x"


def test_only_the_death_of_the_last_copys_lender_may_cost_pages() -> None:
    assert {case.name for case in CASES if case.may_lose} == {"move-lender", "move-lender-home", "pair-both-die"}


def test_a_row_and_the_table_say_what_failed() -> None:
    row = FaultRow(
        name="cut-3s",
        fault="cut",
        mode="mirror",
        survived=False,
        bad_pages=3,
        stall_s=1.25,
        recovered_s=9.0,
        note="3 bad pages",
    )
    assert fault_line(row).startswith("FAILED cut-3s (mirror): 3 bad pages, stall 1.2 s, recovered in 9.0 s")
    console = Console(width=200, record=True, file=None, force_terminal=False)
    with console.capture() as shown:
        console.print(faults_table(FaultReport(accel="tcg", seconds=10.0, rows=(row,))))
    assert "NO" in shown.get()
    assert "3 bad pages" in shown.get()


def test_reclaim_is_judged_by_its_worst_round() -> None:
    parts = [{"drop": 0.5, "lender frees": 0.1}, {"drop": 0.7}, {"drop": 0.9}]
    found = series("mirror", "idle", [0.6, 0.7, 1.1], parts)
    assert (found.p50_s, found.worst_s, found.met) == (0.7, 1.1, False)
    assert found.parts_s == {"drop": 0.7, "lender frees": 0.1}
    assert series("move", "idle", [30.0], [{}]).met is None


def test_every_lab_swaps_through_a_queue() -> None:
    assert all(spec("x").swap_queue for spec in SHAPES.values())
    assert all(ReclaimPlan().lab(mode, "x").swap_queue for mode in Mode)
